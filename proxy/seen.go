package proxy

import (
	"hash/maphash"
	"sync"

	"shatabdi/policy"
)

// seen remembers of URLs whether they turned out large and storable. It only
// saves or spends a claim: being wrong, or forgetting, costs little.
type seen struct {
	seed maphash.Seed

	mu    sync.Mutex // guards young and old
	young map[uint64]bool
	old   map[uint64]bool
}

// seenMax bounds each of the two generations; a full one becomes the old one.
const seenMax = 16 << 10

func newSeen() *seen {
	return &seen{seed: maphash.MakeSeed(), young: map[uint64]bool{}}
}

func (s *seen) note(key policy.Key, large bool) {
	h := maphash.String(s.seed, string(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= seenMax {
		s.old, s.young = s.young, map[uint64]bool{}
	}
	s.young[h] = large
}

func (s *seen) recall(key policy.Key) (known, large bool) {
	h := maphash.String(s.seed, string(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if large, known = s.young[h]; !known {
		large, known = s.old[h]
	}
	return known, large
}
