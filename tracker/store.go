package tracker

import (
	"sync"
	"sync/atomic"

	"shatabdi/tracker/wire"
)

// store holds all swarms, in shards so that announces rarely wait for each other.
type store struct {
	shards              [64]shard
	maxSwarms, maxPeers int
	membersOpen         bool // an outsider does not make a swarm

	swarms, seeders, leechers atomic.Int64
}

type shard struct {
	mu     sync.Mutex // guards the swarms and all that is in them; no hook is called under it
	swarms map[wire.InfoHash]*swarm
	_      [48]byte // to a cache line each
}

func (s *store) init(maxSwarms, maxPeers int) {
	s.maxSwarms, s.maxPeers = maxSwarms, maxPeers
	for i := range s.shards {
		s.shards[i].swarms = make(map[wire.InfoHash]*swarm)
	}
}

func (s *store) shard(h wire.InfoHash) *shard { return &s.shards[int(h[19])%len(s.shards)] }

// placed says what became of an announce.
type placed uint8

const (
	listed        placed = iota
	swarmFull            // answered, but others will not hear of it
	tooManySwarms        // neither
	notOpen              // nor this: no member has announced the swarm
)

// announcement is one announce, as the store sees it.
type announcement struct {
	infohash wire.InfoHash
	peer     peer
	event    wire.Event
	seeder   bool
	blank    bool   // it may not know yet what it lacks
	want     int    // peers
	rnd      uint64 // chooses them
}

// announce enters or removes a peer, appends others to dst and returns the
// swarm's state.
func (s *store) announce(dst []peer, a *announcement) ([]peer, wire.Swarm, placed) {
	sh := s.shard(a.infohash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.swarms[a.infohash]
	if w == nil {
		if a.event == wire.Stopped {
			return dst, wire.Swarm{InfoHash: a.infohash}, listed
		}
		if s.membersOpen && a.peer.member == nil {
			return dst, wire.Swarm{}, notOpen
		}
		if w = s.openLocked(sh, a.infohash); w == nil {
			return dst, wire.Swarm{}, tooManySwarms
		}
	}
	defer s.count(w)()
	if a.event == wire.Stopped {
		w.remove(a.peer.identity)
		state := w.stat(a.infohash)
		s.closeIfEmptyLocked(sh, a.infohash, w)
		return dst, state, listed
	}
	result := listed
	if s.fullLocked(w, a.peer.identity) {
		result = swarmFull
	} else {
		if a.event == wire.Completed && a.seeder && !w.seeds(a.peer.identity) {
			w.completed++ // once a peer, however often it says so
		}
		w.put(a.peer, a.seeder, a.rnd)
	}
	dst = w.pick(dst, a.peer.identity, a.peer.spot, a.seeder && !a.blank, a.want, a.rnd)
	return dst, w.stat(a.infohash), result
}

// fullLocked reports whether who must stay out. A member never: there are only
// as many as nodes, and outsiders must not be able to shut them out.
func (s *store) fullLocked(w *swarm, who identity) bool {
	if who.member != nil || len(w.peers) < s.maxPeers {
		return false
	}
	_, listed := w.index[who]
	return !listed
}

// openLocked returns a new swarm, or nil if there are too many.
func (s *store) openLocked(sh *shard, h wire.InfoHash) *swarm {
	if s.swarms.Add(1) > int64(s.maxSwarms) {
		s.swarms.Add(-1)
		return nil
	}
	w := newSwarm()
	sh.swarms[h] = w
	return w
}

func (s *store) closeIfEmptyLocked(sh *shard, h wire.InfoHash, w *swarm) {
	if len(w.peers) == 0 {
		delete(sh.swarms, h)
		s.swarms.Add(-1)
	}
}

// count keeps the totals: call it before a change of w and what it returns after.
func (s *store) count(w *swarm) func() {
	seeders, leechers := w.seeders, len(w.peers)-w.seeders
	return func() {
		s.seeders.Add(int64(w.seeders - seeders))
		s.leechers.Add(int64(len(w.peers) - w.seeders - leechers))
	}
}

// stat returns the state of a swarm, and whether there is one.
func (s *store) stat(h wire.InfoHash) (wire.Swarm, bool) {
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.swarms[h]
	if w == nil {
		return wire.Swarm{InfoHash: h}, false
	}
	return w.stat(h), true
}

// sweep forgets the peers last seen before (Unix nanoseconds), those of members
// that are gone, and the swarms nobody is left in. It returns how many peers.
func (s *store) sweep(before int64) int {
	removed := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for h, w := range sh.swarms {
			n, counted := len(w.peers), s.count(w)
			w.sweep(before)
			counted()
			removed += n - len(w.peers)
			s.closeIfEmptyLocked(sh, h, w)
		}
		sh.mu.Unlock()
	}
	return removed
}

// clear forgets all. It returns how many peers there were.
func (s *store) clear() int {
	const never = 1<<63 - 1
	return s.sweep(never)
}
