package tracker

import (
	"math"
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

// spot is where the peer stands; nowhere, if it is an outsider.
func (i identity) spot() spot {
	if i.member == nil {
		return spot{}
	}
	if rec := i.member.rec.Load(); rec != nil {
		return rec.spot
	}
	return spot{}
}

// record is what Members and Place last said.
type record struct {
	addrs []netip.AddrPort
	spot  spot
	known bool
	at    time.Time
}

// recordLife is how long an answer of Members is reused.
const recordLife = time.Second

type members struct {
	lookup func(node string) ([]netip.AddrPort, bool)
	place  func(node string) (zone, rack string)

	mu     sync.RWMutex // guards the fields below; never held while lookup or place runs
	byNode map[string]*member
	spots  map[[2]string]uint16 // zones, without a rack, and racks
}

// get returns the member that is node, or nil if no such node is known.
func (s *members) get(node string, now time.Time) *member {
	s.mu.RLock()
	m := s.byNode[node]
	s.mu.RUnlock()
	if m != nil {
		if _, known := s.addrs(m, now); known {
			return m
		}
	}
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
	rec := &record{addrs: usable(addrs), known: known, at: now}
	if zone, rack := s.place(node); zone != "" {
		rec.spot = s.spotOf(zone, rack)
	}
	return rec
}

// usable is where others may connect, in the form in which they are told.
func usable(addrs []netip.AddrPort) (l []netip.AddrPort) {
	for _, a := range addrs {
		a = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
		if a.IsValid() && !a.Addr().IsUnspecified() && a.Port() != 0 {
			l = append(l, a)
		}
	}
	return l
}

// spotOf numbers a place. Zones and racks beyond 65,000 are nowhere.
func (s *members) spotOf(zone, rack string) (at spot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at.zone = s.numberLocked(zone, "")
	if rack != "" {
		at.rack = s.numberLocked(zone, rack)
	}
	return at
}

func (s *members) numberLocked(zone, rack string) uint16 {
	name := [2]string{zone, rack}
	n, known := s.spots[name]
	if !known && len(s.spots) < math.MaxUint16 {
		if s.spots == nil {
			s.spots = make(map[[2]string]uint16)
		}
		n = uint16(len(s.spots) + 1)
		s.spots[name] = n
	}
	return n
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
