package swarm

import (
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anacrolix/torrent"

	"shatabdi/swarmcache"
)

// question is the payload of a message of hashesExtension by which a node that has no
// directory asks for the hashes that a peer knows. Who does not know it takes it for a
// message that is broken.
var question = []byte{'?'}

// ofNoPiece is the index in a message without hashes: its sender has a directory.
const ofNoPiece = math.MaxInt32

// sayAtOnce bounds what one peer is told in one answer: it asks again.
const sayAtOnce = 256

// answers is what this torrent tells those who ask. Only who answers uses log and known;
// the others are guarded by hashTalk.mu.
type answers struct {
	log    [][]byte    // messages, one for all who ask
	known  map[int]int // bytes of hashes in them, by the first piece
	guided []byte      // the message that this node has a directory

	askers map[*torrent.PeerConn]*asker
}

// asker is a peer that has asked.
type asker struct {
	last  time.Time
	again bool // since it was last told whether this node has a directory
	next  int  // what it is told next, in the log
}

// Ask implements swarmcache.Torrent.
func (t *joined) Ask() {
	for _, c := range t.t.PeerConns() {
		c.WriteExtendedMessage(hashesExtension, question) // an error: it does not speak this
	}
}

// asked notes a question. The engine's lock is held.
func (h *hashTalk) asked(c *torrent.PeerConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetAskers()
	a := h.askers[c]
	if a == nil {
		a = new(asker)
		h.askers[c] = a
	}
	a.last, a.again = time.Now(), true
}

// forgetAskers forgets those who have not asked for long.
func (h *hashTalk) forgetAskers() {
	if h.askers == nil {
		h.askers = map[*torrent.PeerConn]*asker{}
	}
	maps.DeleteFunc(h.askers, func(_ *torrent.PeerConn, a *asker) bool { return time.Since(a.last) > swarmcache.AnswerFor })
}

// Answer implements swarmcache.Torrent.
func (t *joined) Answer(guided bool, known iter.Seq2[int, []byte]) {
	seal := func(from int, hashes []byte) []byte { return sealHashes(t.s.cfg.Secret(), t.ih, from, hashes) }
	for c, msgs := range t.hashes.news(guided, known, seal) {
		for _, msg := range msgs {
			c.WriteExtendedMessage(hashesExtension, msg)
		}
	}
}

// news is what each of those who asked is to be told now.
func (h *hashTalk) news(guided bool, known iter.Seq2[int, []byte], seal func(from int, hashes []byte) []byte) map[*torrent.PeerConn][][]byte {
	if h.known == nil {
		h.known, h.guided = map[int]int{}, seal(ofNoPiece, nil)
	}
	for from, hashes := range known {
		if len(hashes) > h.known[from] {
			h.known[from] = len(hashes)
			h.log = append(h.log, seal(from, hashes))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetAskers()
	all := map[*torrent.PeerConn][][]byte{}
	for c, a := range h.askers {
		to := min(len(h.log), a.next+sayAtOnce)
		msgs := h.log[a.next:to:to]
		if a.next = to; guided && a.again {
			a.again = false
			msgs = append(msgs, h.guided)
		}
		all[c] = msgs
	}
	return all
}

// Askers implements swarmcache.Torrent. What all know of each other is the peer id.
func (t *joined) Askers() (self swarmcache.NodeID, others []swarmcache.NodeID) {
	t.hashes.mu.Lock()
	t.hashes.forgetAskers()
	for c := range t.hashes.askers {
		if id := string(c.PeerID[:]); strings.HasPrefix(id, ourName) {
			others = append(others, swarmcache.NodeID(id))
		}
	}
	t.hashes.mu.Unlock()
	slices.Sort(others)
	id := t.s.PeerID()
	return swarmcache.NodeID(id[:]), slices.Compact(others)
}
