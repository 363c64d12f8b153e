package swarmcache

import "time"

// A node that gets nothing cannot tell by itself whether the swarm is dead or
// only slow: among hundreds, or on machines that have too much to do, a piece may
// take long to come round to it. If its patience alone sent it to the origin, all
// would go there at once and make everything slower still. So it looks at its
// neighbours: as long as those get pieces, its turn will come.

// lookEvery is how often a node that gets nothing looks at its neighbours.
const lookEvery = 500 * time.Millisecond

// life is what neighbours had when they were last looked at.
type life struct {
	looked        time.Time
	peers, pieces int
}

// lookAround notes whether neighbours got something. Those who have just come
// have brought what they have and prove nothing.
func (t *transfer) lookAround(now time.Time) {
	if now.Sub(t.alive) < lookEvery || now.Sub(t.peers.looked) < lookEvery {
		return
	}
	was := t.peers
	t.peers = life{looked: now}
	for _, tor := range t.torrents() {
		peers, pieces := tor.Neighbours()
		t.peers.peers += peers
		t.peers.pieces += pieces
	}
	if t.peers.peers <= was.peers && t.peers.pieces > was.pieces {
		t.alive = now
	}
}

// stuck reports whether nothing at all came, here or at the neighbours', for so
// long that this node should help itself to span i.
func (t *transfer) stuck(i int, now time.Time) bool {
	return now.Sub(t.alive) > max(overdueAfter, 3*t.spanTime(i))
}
