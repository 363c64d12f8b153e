package tracker

import (
	"net/netip"

	"shatabdi/tracker/wire"
)

// identity tells peers apart: a member by its node, an outsider by where it
// listens. It is not the peer id, which anybody may invent.
type identity struct {
	member *member
	ip     [16]byte // of an outsider
	port   uint16   // of an outsider
}

func outsider(addr netip.AddrPort) identity {
	return identity{ip: addr.Addr().As16(), port: addr.Port()}
}

// addr returns the address of an outsider.
func (i *identity) addr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(i.ip).Unmap(), i.port)
}

// peer is one peer of a swarm, 64 bytes.
type peer struct {
	identity
	id wire.PeerID
	spot
	seen int64 // last announce, Unix nanoseconds
}

// swarm is who shares one infohash. Its shard's lock guards it.
type swarm struct {
	peers     []peer // the seeders, then the leechers, both in random order
	seeders   int
	completed int              // Completed events
	index     map[identity]int // where in peers
}

func newSwarm() *swarm { return &swarm{index: make(map[identity]int)} }

func (s *swarm) stat(infohash wire.InfoHash) wire.Swarm {
	return wire.Swarm{
		InfoHash: infohash, Complete: s.seeders, Incomplete: len(s.peers) - s.seeders, Downloaded: s.completed,
	}
}

// put adds p or renews it, as a seeder or a leecher. rnd is a random number: a new one
// comes anywhere, so that the peers that stand together are as good as any.
func (s *swarm) put(p peer, seeder bool, rnd uint64) {
	if i, ok := s.index[p.identity]; ok {
		if seeder == (i < s.seeders) {
			s.peers[i] = p
			return
		}
		s.removeAt(i)
	}
	last := len(s.peers)
	s.peers = append(s.peers, p)
	s.index[p.identity] = last
	begin, end := s.seeders, last+1
	if seeder {
		s.swap(last, s.seeders)
		s.seeders++
		begin, end, last = 0, s.seeders, s.seeders-1
	}
	s.swap(last, begin+int(rnd>>33)%(end-begin))
}

// seeds reports whether who is in the swarm as a seeder.
func (s *swarm) seeds(who identity) bool {
	i, ok := s.index[who]
	return ok && i < s.seeders
}

// remove forgets a peer, if it is there.
func (s *swarm) remove(who identity) {
	if i, ok := s.index[who]; ok {
		s.removeAt(i)
	}
}

func (s *swarm) removeAt(i int) {
	if i < s.seeders { // make it the first leecher
		s.seeders--
		s.swap(i, s.seeders)
		i = s.seeders
	}
	last := len(s.peers) - 1
	s.swap(i, last)
	delete(s.index, s.peers[last].identity)
	s.peers[last] = peer{} // no pointer to its member stays
	s.peers = s.peers[:last]
}

func (s *swarm) swap(i, j int) {
	if i == j {
		return
	}
	s.peers[i], s.peers[j] = s.peers[j], s.peers[i]
	s.index[s.peers[i].identity] = i
	s.index[s.peers[j].identity] = j
}

// sweep removes the peers last seen before, and those of members that are gone.
func (s *swarm) sweep(before int64) {
	// Backwards: removal moves only peers from behind, which were looked at.
	for i := len(s.peers) - 1; i >= 0; i-- {
		p := &s.peers[i]
		if p.seen < before || p.member != nil && p.member.gone.Load() {
			s.removeAt(i)
		}
	}
	if cap(s.peers) > 64 && len(s.peers) < cap(s.peers)/4 {
		s.shrink()
	}
}

// shrink gives back the memory of a swarm that was large once.
func (s *swarm) shrink() {
	s.peers = append(make([]peer, 0, len(s.peers)), s.peers...)
	s.index = make(map[identity]int, len(s.peers))
	for i := range s.peers {
		s.index[s.peers[i].identity] = i
	}
}
