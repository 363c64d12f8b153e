package proxy

import (
	"hash/maphash"
	"sync"

	"shatabdi/policy"
)

// seen remembers of URLs how often they were asked for, and whether they turned
// out large and storable. Forgetting, or being wrong, costs little: a claim saved
// or spent, an object stored a little later.
type seen struct {
	seed maphash.Seed

	mu    sync.Mutex // guards young and old
	young map[uint64]sight
	old   map[uint64]sight
}

type sight struct {
	what kind
	uses int32
}

// kind is what the last answer for a key was.
type kind int8

const (
	unknownKind kind = iota
	largeKind        // stored, and for the swarm
	smallKind        // too small for that
	passingKind      // not to be stored, whoever asks: nobody waits for another's (hit-for-miss)
)

// seenMax bounds each of the two generations; a full one becomes the old one.
const seenMax = 16 << 10

func newSeen() *seen {
	return &seen{seed: maphash.MakeSeed(), young: map[uint64]sight{}}
}

// use counts a request for key, and tells what is known of it.
func (s *seen) use(key policy.Key) sight {
	return s.change(key, func(at *sight) { at.uses = min(at.uses+1, 1<<30) })
}

func (s *seen) note(key policy.Key, what kind) {
	s.change(key, func(at *sight) { at.what = what })
}

// of tells what is known of key.
func (s *seen) of(key policy.Key) sight { return s.change(key, func(*sight) {}) }

func (s *seen) change(key policy.Key, f func(*sight)) sight {
	h := maphash.String(s.seed, string(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.young[h]
	if !ok {
		at = s.old[h]
		if len(s.young) >= seenMax {
			s.old, s.young = s.young, map[uint64]sight{}
		}
	}
	f(&at)
	s.young[h] = at
	return at
}
