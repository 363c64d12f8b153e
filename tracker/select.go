package tracker

import "slices"

// spot is where a peer stands: its zone and its rack, as numbers that the tracker
// gave them; 0: none.
type spot struct{ zone, rack uint16 }

// Distances, as seen by who asks.
const (
	sameRack = iota
	sameZone
	farAway // and who does not tell
	distances
)

func (s spot) distance(other spot) int {
	switch {
	case s.rack != 0 && s.rack == other.rack:
		return sameRack
	case s.zone == other.zone:
		return sameZone
	}
	return farAway
}

const (
	// outOf is which part of the peers given are not of the asker's rack, and not of
	// its zone, if there are as many: without links out of them, racks and zones
	// would be swarms of their own.
	outOf = 5
	// maxLooked bounds how many peers are looked at for one who tells where it
	// stands: 10 µs.
	maxLooked = 4096
)

// pick appends up to want peers of s to dst, without the asker, and without the
// seeders if the asker seeds itself. rnd is a random number. Who does not tell
// where it stands is given any; who does, those of its rack first, then of its zone,
// then others, with some of each. They are those that come next from a random place,
// as their order is random too: each that stands alone in memory would cost 50 ns.
func (s *swarm) pick(dst []peer, asker identity, at spot, seeding bool, want int, rnd uint64) []peer {
	from := s.peers
	if seeding {
		from = s.peers[s.seeders:]
	}
	if at.zone == 0 {
		return pickRun(dst, from, asker, want, rnd)
	}
	if n := len(from); n > maxLooked {
		begin := int(rnd % uint64(n-maxLooked))
		from = from[begin : begin+maxLooked]
	}
	for distance, n := range shares(count(from, asker, at), want) {
		dst = pickFrom(dst, from, asker, n, rnd, func(p *peer) bool { return at.distance(p.spot) == distance })
	}
	return dst
}

// count is how many peers there are at each distance.
func count(from []peer, asker identity, at spot) (n [distances]int) {
	for i := range from {
		n[at.distance(from[i].spot)]++
	}
	for i := range from {
		if from[i].identity == asker {
			n[at.distance(from[i].spot)]--
			break
		}
	}
	return n
}

// shares divides want among what there is at each distance.
func shares(there [distances]int, want int) (take [distances]int) {
	want = max(want, 0)
	out := (want + outOf - 1) / outOf
	far := min(there[farAway], out)
	zone := min(there[sameZone], out, want-far)
	take[sameRack] = min(there[sameRack], want-far-zone)
	take[sameZone] = min(there[sameZone], want-far-take[sameRack])
	take[farAway] = min(there[farAway], want-take[sameRack]-take[sameZone])
	return take
}

// pickRun appends want peers.
func pickRun(dst, from []peer, asker identity, want int, rnd uint64) []peer {
	if want <= 0 || len(from) == 0 {
		return dst
	}
	given := len(dst)
	begin := start(from, rnd)
	n := min(want+1, len(from)) // one more, in place of the asker
	first := from[begin:min(begin+n, len(from))]
	dst = append(append(dst, first...), from[:n-len(first)]...)
	for i := given; i < len(dst); i++ {
		if dst[i].identity == asker {
			dst = slices.Delete(dst, i, i+1)
			break
		}
	}
	return dst[:min(len(dst), given+want)]
}

// pickFrom appends want peers that are eligible.
func pickFrom(dst, from []peer, asker identity, want int, rnd uint64, eligible func(*peer) bool) []peer {
	if want <= 0 || len(from) == 0 {
		return dst
	}
	begin := start(from, rnd)
	for _, part := range [...][]peer{from[begin:], from[:begin]} {
		for i := range part {
			if p := &part[i]; eligible(p) && p.identity != asker {
				dst = append(dst, *p)
				if want--; want == 0 {
					return dst
				}
			}
		}
	}
	return dst
}

func start(from []peer, rnd uint64) int { return int(rnd&(1<<31-1)) % len(from) }
