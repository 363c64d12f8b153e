package swarm

import (
	"maps"
	"net/netip"
	"slices"
)

// FillInfo lets tests seed a fill torrent of their own.
var FillInfo = fillInfo

// SealedInfo is that of the sealed torrent.
var SealedInfo = sealedInfo

// Avoided are the peers that this node does not talk to for now: where they
// listen.
func (s *Swarm) Avoided() []netip.AddrPort {
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	return slices.Collect(maps.Keys(s.judge.dialed))
}

// Torrents counts what is in the engine.
func (s *Swarm) Torrents() int { return len(s.list()) }

// SomePeers is how many a node dials among many.
const SomePeers = somePeers

// Across is what came from other zones.
func (s *Swarm) Across() (n int64) {
	for _, t := range s.list() {
		n += t.Stats().BytesAcross
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return n + s.past.BytesAcross
}
