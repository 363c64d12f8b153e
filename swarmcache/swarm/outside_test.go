package swarm

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
)

// nothing is held.
type nothing struct{ asked int }

func (n *nothing) Held(swarmcache.InfoHash) (*swarmcache.File, func(), bool) {
	n.asked++
	return nil, nil, false
}
func (*nothing) EachHeld(func(swarmcache.InfoHash) bool) {}

func TestWhoMayTakePart(t *testing.T) {
	member, friend, stranger := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	fill, other := handshake{infoHash: metainfo.Hash{1}}, handshake{infoHash: metainfo.Hash{2}}
	held := &nothing{}
	s := &Swarm{held: held, torrents: map[metainfo.Hash]*joined{fill.infoHash: {fill: true}}}
	if !s.admits(stranger, other) {
		t.Error("where nobody tells members from others, somebody is refused")
	}
	s.cfg.Member = func(a netip.Addr, id [20]byte) bool { return a == member || id == [20]byte{7} }
	for _, from := range []netip.Addr{member, friend, stranger} {
		if !s.admits(from, fill) {
			t.Errorf("%s knows the infohash of a fill torrent and is refused", from)
		}
		if got := s.admits(from, other); got != (from == member) {
			t.Errorf("%s: %t", from, got)
		}
	}
	if !s.admits(stranger, handshake{infoHash: other.infoHash, peerID: [20]byte{7}}) {
		t.Error("a member that comes from another address is refused")
	}
	s.cfg.AllowOutside = func(a netip.Addr) bool { return a == friend }
	if s.admits(friend, other) || held.asked != 1 || s.admits(stranger, other) || held.asked != 1 {
		t.Errorf("asked %d times what is held", held.asked)
	}
}

func message(id byte, body ...byte) []byte { return appendMessage(nil, id, body) }

func pieceMessage(b block, data []byte) []byte {
	m := binary.BigEndian.AppendUint32(nil, b.index)
	m = binary.BigEndian.AppendUint32(m, b.begin)
	return message(msgPiece, append(m, data...)...)
}

// feed gives bytes in parts of any size, as connections do.
func feed(f func(dst, b []byte) []byte, b []byte) (out []byte) {
	for len(b) > 0 {
		n := min(len(b), 1+rand.IntN(20_000))
		out, b = f(out, b[:n]), b[n:]
	}
	return out
}

func TestLargeRequestsAreCutForOthers(t *testing.T) {
	data := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(data)
	whole := block{3, 1 << 17, uint32(len(data))}
	small := block{3, 0, 1000}
	other := message(20, make([]byte, 70_000)...) // is not looked at, however large
	for _, fast := range []bool{true, false} {
		x := newBlocks(fast)
		said := feed(x.leave, bytes.Join([][]byte{{0, 0, 0, 0}, other, whole.message(msgRequest), small.message(msgRequest)}, nil))
		want := append([]byte{0, 0, 0, 0}, other...)
		var parts []block
		whole.cut(func(b block) { parts = append(parts, b); want = append(want, b.message(msgRequest)...) })
		if want = append(want, small.message(msgRequest)...); !bytes.Equal(said, want) {
			t.Fatalf("fast %t: what was asked for is not what should be", fast)
		}
		// The answers come in any order, and one of them twice.
		rand.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
		answers := append([]byte(nil), other...)
		for _, p := range append(parts[:1:1], parts...) {
			off := p.begin - whole.begin
			answers = append(answers, pieceMessage(p, data[off:off+p.length])...)
		}
		answers = append(answers, pieceMessage(small, data[:1000])...)
		want = append(append(append([]byte(nil), other...), pieceMessage(whole, data)...), pieceMessage(small, data[:1000])...)
		if got := feed(x.come, answers); !bytes.Equal(got, want) {
			t.Fatalf("fast %t: what was put together is not what was sent: %d bytes, want %d", fast, len(got), len(want))
		}
		if len(x.asked) > 0 {
			t.Errorf("fast %t: %d blocks are still waited for", fast, len(x.asked))
		}
	}
}

// With the fast extension every request is answered: the whole is rejected once
// one part of it is.
func TestRejectedPartsRejectTheWhole(t *testing.T) {
	x := newBlocks(true)
	whole := block{1, 0, 3 * maxBlock}
	x.leave(nil, whole.message(msgRequest))
	x.leave(nil, whole.message(msgCancel))
	var answers []byte
	whole.cut(func(b block) {
		if b.begin == 0 {
			answers = append(answers, pieceMessage(b, make([]byte, maxBlock))...)
		} else {
			answers = append(answers, b.message(msgReject)...)
		}
	})
	if got := feed(x.come, answers); !bytes.Equal(got, whole.message(msgReject)) {
		t.Errorf("the engine hears %x", got)
	}
	if len(x.asked) > 0 {
		t.Error("it is still waited for")
	}
}

// Without it a choke takes all requests back.
func TestChokeForgetsWithoutTheFastExtension(t *testing.T) {
	x := newBlocks(false)
	x.leave(nil, block{1, 0, 1 << 17}.message(msgRequest))
	if got := x.come(nil, message(msgChoke)); !bytes.Equal(got, message(msgChoke)) || len(x.asked) > 0 {
		t.Errorf("%x, and %d are waited for", got, len(x.asked))
	}
}

func FuzzBlocks(f *testing.F) {
	f.Add([]byte{0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0}, []byte{0, 0, 0, 9, 7, 0, 0, 0, 1, 0, 0, 0, 0}, true)
	f.Add([]byte{0, 0, 0, 13, 8}, []byte{0, 0, 0, 1, 0, 255, 255, 255, 255, 7}, false)
	f.Fuzz(func(t *testing.T, ours, theirs []byte, fast bool) {
		x := newBlocks(fast)
		x.out.held = nil
		if len(ours) > 0 && len(ours) < 1<<12 && !huge(ours) {
			x.leave(nil, ours)
		}
		out := x.come(nil, theirs)
		if len(x.asked) == 0 && len(out) > len(theirs) {
			t.Errorf("%d bytes became %d", len(theirs), len(out))
		}
	})
}

// huge reports a request that the engine would not make.
func huge(b []byte) bool {
	for i := 0; i+17 <= len(b); i++ {
		if binary.BigEndian.Uint32(b[i+13:]) > maxChunk {
			return true
		}
	}
	return false
}
