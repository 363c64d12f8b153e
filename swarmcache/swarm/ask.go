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

// askedFor is for how long an answer goes on with what is news: who still needs it asks
// again.
const askedFor = 5 * time.Second

// asker is a peer that has asked.
type asker struct {
	last   time.Time
	guided bool        // it was told since that this node has a directory
	told   map[int]int // bytes of hashes, by the first piece
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
		a = &asker{told: map[int]int{}}
		h.askers[c] = a
	}
	a.last, a.guided = time.Now(), false
}

// forgetAskers forgets those who have not asked for long.
func (h *hashTalk) forgetAskers() {
	if h.askers == nil {
		h.askers = map[*torrent.PeerConn]*asker{}
	}
	maps.DeleteFunc(h.askers, func(_ *torrent.PeerConn, a *asker) bool { return time.Since(a.last) > askedFor })
}

// Answer implements swarmcache.Torrent.
func (t *joined) Answer(guided bool, known iter.Seq2[int, []byte]) {
	secret := t.s.cfg.Secret()
	for c, news := range t.hashes.news(guided, known) {
		for _, n := range news {
			c.WriteExtendedMessage(hashesExtension, sealHashes(secret, t.ih, n.from, n.hashes))
		}
	}
}

// news is what each of those who asked is to be told now.
func (h *hashTalk) news(guided bool, known iter.Seq2[int, []byte]) map[*torrent.PeerConn][]hashesOf {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetAskers()
	all := map[*torrent.PeerConn][]hashesOf{}
	for c, a := range h.askers {
		all[c] = a.news(guided, known)
	}
	return all
}

type hashesOf struct {
	from   int
	hashes []byte
}

func (a *asker) news(guided bool, known iter.Seq2[int, []byte]) (news []hashesOf) {
	if guided && !a.guided {
		a.guided = true
		news = append(news, hashesOf{from: ofNoPiece})
	}
	for from, hashes := range known {
		if len(hashes) > a.told[from] {
			a.told[from] = len(hashes)
			news = append(news, hashesOf{from, hashes})
		}
	}
	return news
}

// Peers implements swarmcache.Torrent. What all know of each other is the peer id.
func (t *joined) Peers() (self swarmcache.NodeID, others []swarmcache.NodeID) {
	for _, c := range t.t.PeerConns() {
		if id := string(c.PeerID[:]); strings.HasPrefix(id, ourName) {
			others = append(others, swarmcache.NodeID(id))
		}
	}
	slices.Sort(others)
	id := t.s.PeerID()
	return swarmcache.NodeID(id[:]), slices.Compact(others)
}
