package tracker

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// member is one node of the cluster. All its peers share it, so a peer costs a
// pointer, and its addresses are asked for once a second, not once a peer.
type member struct {
	node string
	gone atomic.Bool // the directory knows it no more; a node that returns gets a new member
	rec  atomic.Pointer[record]
}

// record is what Members last said.
type record struct {
	addrs []netip.AddrPort
	known bool
	at    time.Time
}

// recordLife is how long an answer of Members is reused.
const recordLife = time.Second

type members struct {
	lookup func(node string) ([]netip.AddrPort, bool)

	mu     sync.RWMutex // guards the field below; never held while lookup runs
	byNode map[string]*member
}

// get returns the member that is node, or nil if there is no such node now.
func (s *members) get(node string, now time.Time) *member {
	s.mu.RLock()
	m := s.byNode[node]
	s.mu.RUnlock()
	if m != nil {
		if _, known := s.addrs(m, now); known {
			return m
		}
	}
	// Only a fresh answer refuses an announce: the node may be a moment old.
	rec := s.ask(node, now)
	if !rec.known {
		return nil
	}
	if m == nil || m.gone.Load() {
		m = s.add(node)
	}
	m.rec.Store(rec)
	return m
}

// add returns the member for node, which may have come in between. The name is
// copied: it may be part of a whole query.
func (s *members) add(node string) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.byNode[node]; m != nil {
		return m
	}
	if s.byNode == nil {
		s.byNode = make(map[string]*member)
	}
	m := &member{node: strings.Clone(node)}
	s.byNode[m.node] = m
	return m
}

// addrs returns the addresses of m, at most a second old. Two that ask at the
// same moment may both call lookup; either answer will do.
func (s *members) addrs(m *member, now time.Time) ([]netip.AddrPort, bool) {
	if m.gone.Load() {
		return nil, false
	}
	rec := m.rec.Load()
	if rec == nil || now.Sub(rec.at) >= recordLife {
		rec = s.ask(m.node, now)
		m.rec.Store(rec)
	}
	return rec.addrs, rec.known
}

func (s *members) ask(node string, now time.Time) *record {
	addrs, known := s.lookup(node)
	return &record{addrs: addrs, known: known, at: now}
}

// sweep drops the members whose nodes are gone. Their peers go with the store's
// sweep, which must come after.
func (s *members) sweep() {
	s.mu.RLock()
	all := make([]*member, 0, len(s.byNode))
	for _, m := range s.byNode {
		all = append(all, m)
	}
	s.mu.RUnlock()
	for _, m := range all {
		if _, known := s.lookup(m.node); !known {
			s.drop(m)
		}
	}
}

func (s *members) drop(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.gone.Store(true)
	if s.byNode[m.node] == m {
		delete(s.byNode, m.node)
	}
}

func (s *members) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.byNode {
		m.gone.Store(true)
	}
	clear(s.byNode)
}
