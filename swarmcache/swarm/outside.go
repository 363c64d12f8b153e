package swarm

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"

	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Nodes ask each other for whole pieces. Other clients give at most 16 KiB at a
// time, and aria2 hangs up on who asks for more than 64 KiB. The engine knows one
// size for all peers of a torrent, so towards who does not call itself one of us
// its requests are cut here, and what comes is put together again.

// ourName begins the peer id of every node (BEP 20). SH is nobody else's.
const ourName = "-SH0001-"

// maxBlock is the most that every client gives in one message.
const maxBlock = 16 << 10

// Of the wire (BEP 3, BEP 6).
const (
	protocolHead  = "\x13BitTorrent protocol"
	handshakeLen  = 68 // head, 8 reserved, infohash, peer id
	fastExtension = 0x04

	msgChoke   = 0
	msgRequest = 6
	msgPiece   = 7
	msgCancel  = 8
	msgReject  = 16
)

var (
	errNoHandshake = errors.New("the peer does not begin with a BitTorrent handshake")
	errOutsider    = errors.New("the peer is an outsider, who may not have this")
)

// handshake is what a peer says first.
type handshake struct {
	infoHash metainfo.Hash
	peerID   [20]byte
	fast     bool
}

func parseHandshake(b []byte) (h handshake, err error) {
	if string(b[:len(protocolHead)]) != protocolHead {
		return h, errNoHandshake
	}
	h.fast = b[27]&fastExtension != 0
	copy(h.infoHash[:], b[28:48])
	copy(h.peerID[:], b[48:68])
	return h, nil
}

// ours reports whether the peer takes requests of any size.
func (h handshake) ours() bool { return strings.HasPrefix(string(h.peerID[:]), ourName) }

// admit is admits, counted.
func (s *Swarm) admit(from netip.Addr, h handshake) bool {
	ok := s.admits(from, h)
	if !ok {
		s.refused.Add(1)
		s.log.Debug("refused a peer", "peer", from, "infohash", swarmcache.InfoHash(h.infoHash))
	}
	return ok
}

// admits reports whether a peer may take part in a torrent: members, and where
// the operator allows it others too, but not in what is private. The infohash of a
// fill torrent is a capability: who knows it is a member.
func (s *Swarm) admits(from netip.Addr, h handshake) bool {
	if s.cfg.Member == nil || s.cfg.Member(from, h.peerID) {
		return true
	}
	s.mu.Lock()
	t, held := s.torrents[h.infoHash], s.held
	s.mu.Unlock()
	switch {
	case t != nil && t.fill:
		return true
	case s.cfg.AllowOutside == nil || !s.cfg.AllowOutside(from):
		return false
	case t != nil:
		return policy.ForOutsiders(t.file.Version().Stored)
	case held == nil:
		return false
	}
	f, release, ok := held.Held([20]byte(h.infoHash))
	if !ok {
		return false
	}
	defer release()
	return policy.ForOutsiders(f.Version().Stored)
}

// blocks translates between the engine and a peer that gives maxBlock at a time.
// in is used by the one goroutine that reads, out by the one that writes.
type blocks struct {
	in, out stream
	fast    bool

	mu    sync.Mutex // guards asked
	asked map[block]*gathering
}

// block is a part of a piece, as requests and their answers name it.
type block struct{ index, begin, length uint32 }

func (b block) message(id byte) []byte {
	m := make([]byte, 0, 17)
	m = binary.BigEndian.AppendUint32(m, 13)
	m = append(m, id)
	m = binary.BigEndian.AppendUint32(m, b.index)
	m = binary.BigEndian.AppendUint32(m, b.begin)
	return binary.BigEndian.AppendUint32(m, b.length)
}

// cut calls f for the parts of b.
func (b block) cut(f func(block)) {
	for off := uint32(0); off < b.length; off += maxBlock {
		f(block{b.index, b.begin + off, min(maxBlock, b.length-off)})
	}
}

// gathering is a block that the engine asked for, of which parts have come.
type gathering struct {
	data    []byte // nil before the first
	come    map[uint32]bool
	missing uint32 // bytes
}

func newBlocks(fast bool) *blocks { return &blocks{fast: fast, asked: map[block]*gathering{}} }

// leave translates what the engine says.
func (t *blocks) leave(dst, said []byte) []byte {
	return t.out.each(dst, said, func(id byte) bool { return id == msgRequest || id == msgCancel }, func(dst []byte, id byte, m []byte) []byte {
		b, ok := parseBlock(m)
		if !ok || b.length <= maxBlock {
			return appendMessage(dst, id, m)
		}
		t.mu.Lock()
		switch {
		case id == msgRequest:
			t.asked[b] = &gathering{come: map[uint32]bool{}, missing: b.length}
		case !t.fast: // else it is answered in either way
			delete(t.asked, b)
		}
		t.mu.Unlock()
		b.cut(func(part block) { dst = append(dst, part.message(id)...) })
		return dst
	})
}

// come translates what the peer says.
func (t *blocks) come(dst, said []byte) []byte {
	wanted := func(id byte) bool { return id == msgPiece || id == msgReject || id == msgChoke }
	return t.in.each(dst, said, wanted, func(dst []byte, id byte, m []byte) []byte {
		t.mu.Lock()
		defer t.mu.Unlock()
		switch id {
		case msgChoke:
			if !t.fast {
				clear(t.asked)
			}
			return appendMessage(dst, id, m)
		case msgReject:
			if b, ok := parseBlock(m); ok {
				if whole, _ := t.ofLocked(b); whole.length > 0 {
					delete(t.asked, whole)
					return append(dst, whole.message(msgReject)...)
				}
				if b.length == maxBlock {
					return dst // of what was rejected before
				}
			}
			return appendMessage(dst, id, m)
		}
		if len(m) < 8 {
			return appendMessage(dst, id, m)
		}
		b := block{binary.BigEndian.Uint32(m), binary.BigEndian.Uint32(m[4:]), uint32(len(m) - 8)}
		whole, g := t.ofLocked(b)
		if g == nil {
			return appendMessage(dst, id, m) // a small one; or the engine does not want it any more
		}
		if g.come[b.begin] {
			return dst
		}
		if g.data == nil {
			g.data = make([]byte, whole.length)
		}
		g.come[b.begin] = true
		g.missing -= uint32(copy(g.data[b.begin-whole.begin:], m[8:]))
		if g.missing > 0 {
			return dst
		}
		delete(t.asked, whole)
		dst = binary.BigEndian.AppendUint32(dst, 9+whole.length)
		dst = append(dst, msgPiece)
		dst = binary.BigEndian.AppendUint32(dst, whole.index)
		dst = binary.BigEndian.AppendUint32(dst, whole.begin)
		return append(dst, g.data...)
	})
}

// ofLocked finds the block that the engine asked for and of which b is a part.
func (t *blocks) ofLocked(b block) (block, *gathering) {
	for whole, g := range t.asked {
		if off := b.begin - whole.begin; whole.index == b.index && b.begin >= whole.begin && off < whole.length &&
			off%maxBlock == 0 && b.length == min(maxBlock, whole.length-off) {
			return whole, g
		}
	}
	return block{}, nil
}

func parseBlock(m []byte) (b block, ok bool) {
	if len(m) != 12 {
		return b, false
	}
	return block{binary.BigEndian.Uint32(m), binary.BigEndian.Uint32(m[4:]), binary.BigEndian.Uint32(m[8:])}, true
}

func appendMessage(dst []byte, id byte, m []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(m)))
	return append(append(dst, id), m...)
}

// stream cuts bytes into messages, however they come.
type stream struct {
	held []byte // of a message that is looked at, and is not whole yet
	pass uint32 // bytes of one that is not
}

// maxHeld bounds what is kept of a message that is not whole: more than any that
// is looked at should have.
const maxHeld = 4 * maxBlock

// each appends to dst what f makes of the messages that are wanted, and the others
// as they are.
func (s *stream) each(dst, b []byte, wanted func(id byte) bool, f func(dst []byte, id byte, m []byte) []byte) []byte {
	for len(b) > 0 {
		if s.pass > 0 {
			n := min(int(s.pass), len(b))
			dst, b, s.pass = append(dst, b[:n]...), b[n:], s.pass-uint32(n)
			continue
		}
		need := 5 // up to the id
		if len(s.held) >= 4 {
			need = 4 + int(binary.BigEndian.Uint32(s.held))
			if need > 4 && (len(s.held) < 5 || need > maxHeld) {
				need = 5
			}
		} else {
			need = 4
		}
		n := min(need-len(s.held), len(b))
		s.held, b = append(s.held, b[:n]...), b[n:]
		if len(s.held) < 4 {
			continue
		}
		size := binary.BigEndian.Uint32(s.held)
		switch {
		case size > 0 && len(s.held) < 5:
		case size == 0 || size > maxHeld || !wanted(s.held[4]):
			dst = append(dst, s.held...)
			s.pass = size - min(size, 1)
			s.held = s.held[:0]
		case uint32(len(s.held)) == 4+size:
			dst = f(dst, s.held[4], s.held[5:])
			s.held = s.held[:0]
		}
	}
	return dst
}

// greeting looks at what a peer says first, and decides how to go on with it.
type greeting struct {
	heard  []byte // of its handshake
	spoken int    // bytes of ours that the engine wrote

	blocks *blocks // nil: what is said goes through as it is
	ready  []byte  // translated, for the engine
}

// Read implements net.Conn. Until the peer's handshake was heard nothing else
// happens; after that bytes go through, translated where they have to be.
func (k *socket) Read(b []byte) (int, error) {
	g := &k.greeting
	if k.familiar.Load() {
		return k.TCPConn.Read(b)
	}
	for len(g.ready) == 0 {
		n, err := k.TCPConn.Read(b)
		if n == 0 {
			return 0, err
		}
		if g.blocks != nil {
			g.ready = g.blocks.come(g.ready, b[:n])
			continue
		}
		rest := handshakeLen - len(g.heard)
		g.heard = append(g.heard, b[:min(n, rest)]...)
		if len(g.heard) == handshakeLen {
			if err := k.greet(b[min(n, rest):n]); err != nil {
				return 0, err
			}
			g.ready = append(append([]byte(nil), b[:min(n, rest)]...), g.ready...)
			continue
		}
		return n, nil
	}
	n := copy(b, g.ready)
	if g.ready = g.ready[n:]; len(g.ready) == 0 {
		g.ready = nil
		k.familiar.Store(g.blocks == nil)
	}
	return n, nil
}

// greet decides about a peer whose handshake was heard; more is what it said after.
func (k *socket) greet(more []byte) error {
	h, err := parseHandshake(k.greeting.heard)
	if err == nil && !k.of.admits(k.remote(), h) {
		err = errOutsider
	}
	if err != nil {
		k.Close()
		return err
	}
	if h.ours() {
		k.greeting.ready = append(k.greeting.ready, more...)
		return nil
	}
	g := newBlocks(h.fast)
	k.greeting.ready = g.come(k.greeting.ready, more)
	k.greeting.blocks = g
	k.translated.Store(g)
	return nil
}

func (k *socket) remote() netip.Addr {
	a, _ := netip.ParseAddrPort(k.RemoteAddr().String())
	return a.Addr().Unmap().WithZone("")
}

// say writes what the engine says to a peer that needs translation. The handshake
// goes through: it may be written before the peer's was heard.
func (k *socket) say(b []byte) (int, error) {
	g := &k.greeting
	head := min(max(0, handshakeLen-g.spoken), len(b))
	g.spoken += len(b)
	t := k.translated.Load()
	if t == nil || head == len(b) {
		return k.send(b)
	}
	if n, err := k.send(t.leave(append([]byte(nil), b[:head]...), b[head:])); err != nil {
		return min(n, len(b)), err
	}
	return len(b), nil
}

var _ io.Reader = (*socket)(nil)
