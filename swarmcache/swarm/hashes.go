package swarm

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"shatabdi/swarmcache"
)

// hashesExtension carries hashes of pieces from node to node while the directory
// is away (BEP 10): of pieces, for who has begun alone may have other spans. Its
// payload is
//
//	32 bytes  HMAC-SHA256, keyed with the cluster's secret, of infohash and rest
//	 4 bytes  index of the first piece, big endian
//	20 bytes  SHA-1 of that piece, and of those behind it, one after the other
//
// so that only members can tell hashes, as in the directory.
const hashesExtension pp.ExtensionName = "shatabdi_piece_hashes"

const hashesHead = sha256.Size + 4

// hashTalk is what a torrent tells and hears of hashes past the directory.
type hashTalk struct {
	hear atomic.Pointer[swarmcache.Hearing]

	mu   sync.Mutex     // guards the fields below; a leaf
	told map[int][]byte // messages, by their first piece
	answers
}

// Tell implements swarmcache.Torrent. Peers that come later are told too.
func (t *joined) Tell(from int, hashes []byte) {
	msg := sealHashes(t.s.cfg.Secret(), t.ih, from, hashes)
	t.hashes.mu.Lock()
	if t.hashes.told == nil {
		t.hashes.told = map[int][]byte{}
	}
	t.hashes.told[from] = msg
	t.hashes.mu.Unlock()
	for _, c := range t.t.PeerConns() {
		c.WriteExtendedMessage(hashesExtension, msg) // an error: it does not speak this
	}
}

// Hear implements swarmcache.Torrent.
func (t *joined) Hear(h swarmcache.Hearing) { t.hashes.hear.Store(&h) }

// sealHashes makes a message, and openHashes takes one apart; false: no member
// of the cluster made it for this torrent.
func sealHashes(secret []byte, ih metainfo.Hash, from int, hashes []byte) []byte {
	rest := append(binary.BigEndian.AppendUint32(nil, uint32(from)), hashes...)
	return append(signHashes(secret, ih, rest), rest...)
}

func openHashes(secret []byte, ih metainfo.Hash, msg []byte) (from int, hashes []byte, ok bool) {
	if len(msg) < hashesHead || (len(msg)-hashesHead)%sha1.Size != 0 {
		return 0, nil, false
	}
	mac, rest := msg[:sha256.Size], msg[sha256.Size:]
	if !hmac.Equal(mac, signHashes(secret, ih, rest)) {
		return 0, nil, false
	}
	return int(binary.BigEndian.Uint32(rest)), bytes.Clone(rest[4:]), true
}

func signHashes(secret []byte, ih metainfo.Hash, rest []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("hashes"))
	mac.Write(ih[:])
	mac.Write(rest)
	return mac.Sum(nil)
}

// speak announces our extensions on a new connection. The engine's own map is
// shared by all of them.
func speak(c *torrent.PeerConn) {
	m := *c.LocalLtepProtocolMap
	m.Index = slices.Clone(m.Index)
	m.AddUserProtocol(hashesExtension)
	m.AddUserProtocol(seeAgain)
	c.LocalLtepProtocolMap = &m
}

// hearHashes takes in a message of a peer. The engine's lock is held.
func (s *Swarm) hearHashes(e torrent.PeerConnReadExtensionMessageEvent) {
	if !isExtension(e.PeerConn, e.ExtensionNumber, hashesExtension) {
		return
	}
	if len(e.Payload) == len(wake) {
		s.answerWake(e.PeerConn)
		return
	}
	t := s.torrentOf(e.PeerConn)
	if t == nil {
		return
	}
	hear := t.hashes.hear.Load()
	if hear == nil {
		return
	}
	if bytes.Equal(e.Payload, question) {
		t.hashes.asked(e.PeerConn)
		hear.Asked()
		return
	}
	switch from, hashes, ok := openHashes(s.cfg.Secret(), t.ih, e.Payload); {
	case !ok:
	case from == ofNoPiece:
		hear.Guided()
	default:
		hear.Hashes(from, hashes)
	}
}

// tellAgain tells a peer that has just connected what the others were told. The
// engine's lock is held.
func (s *Swarm) tellAgain(c *torrent.PeerConn) {
	t := s.torrentOf(c)
	if t == nil {
		return
	}
	t.hashes.mu.Lock()
	msgs := slices.Collect(maps.Values(t.hashes.told))
	t.hashes.mu.Unlock()
	if len(msgs) == 0 {
		return
	}
	s.goWork(func() {
		for _, msg := range msgs {
			c.WriteExtendedMessage(hashesExtension, msg)
		}
	})
}

// torrentOf is what a connection is about; nil: we left it, or the peer never said.
func (s *Swarm) torrentOf(c *torrent.PeerConn) *joined {
	about := c.Torrent()
	if about == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.torrents[about.InfoHash()]
}
