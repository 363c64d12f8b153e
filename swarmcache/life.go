package swarmcache

import (
	"math/bits"
	"time"
)

// A node that gets nothing cannot tell by itself whether the swarm is dead or
// only slow: among hundreds, or on machines that have too much to do, a piece may
// take long to come round to it. If its patience alone sent it to the origin, all
// would go there at once and make everything slower still. So it looks at its
// neighbours: as long as those get pieces, its turn will come.

// lookEvery is how often a node that gets nothing looks at its neighbours.
const lookEvery = 500 * time.Millisecond

// maxRound bounds what a node's own uplink adds to its patience.
const maxRound = 30 * time.Second

// life is what neighbours had when they were last looked at.
type life struct {
	looked        time.Time
	peers, copies int // of pieces that readers here want and do not have
}

// lookAround notes whether neighbours got something. Those who have just come
// have brought what they have and prove nothing.
func (t *transfer) lookAround(now time.Time) {
	if now.Sub(t.alive) < lookEvery || now.Sub(t.peers.looked) < lookEvery {
		return
	}
	was := t.peers
	t.peers = t.neighbours(now)
	if t.peers.peers <= was.peers && t.peers.copies > was.copies {
		t.alive = now
	}
}

// neighbours is what they have now.
func (t *transfer) neighbours(now time.Time) life {
	l := life{looked: now}
	wanted := t.wantedPieces()
	for _, tor := range t.torrents() {
		peers, copies := tor.Neighbours(wanted)
		l.peers += peers
		l.copies += copies
	}
	return l
}

// stuck reports whether nothing at all came, here or at the neighbours', for so
// long that this node should help itself to span i.
func (t *transfer) stuck(i int, now time.Time) bool {
	return now.Sub(t.alive) > max(overdueAfter, 3*t.spanTime(i), 2*t.roundTime())
}

// roundTime is how long a piece needs at least to come round from one node to
// all, if their uplinks are like this one's: those who have it double in the time
// that one copy takes. 0: nobody knows. It is bounded, for they may be faster.
func (t *transfer) roundTime() time.Duration {
	if t.c.cfg.Swarm == nil {
		return 0
	}
	uplink, _ := t.c.cfg.Swarm.Limits()
	if uplink == 0 {
		return 0
	}
	copy := time.Duration(float64(t.file.layout.PieceLen) / float64(uplink) * float64(time.Second))
	return min(copy*time.Duration(bits.Len(uint(t.c.cfg.Directory.Size()))), maxRound)
}
