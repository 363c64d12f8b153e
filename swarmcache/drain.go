package swarmcache

import (
	"fmt"
	"time"
)

// errDraining is one of space: responses pass through.
var errDraining = fmt.Errorf("%w: the node is draining", ErrNoSpace)

// Drain has this node begin no more fills and claim no spans that others can
// fetch, or ends that. What is here is served, to clients and peers.
func (c *Cache) Drain(on bool) { c.draining.Store(on) }

// Draining reports whether it does.
func (c *Cache) Draining() bool { return c.draining.Load() }

// patienceDrain is how long a node that drains goes without a new piece, here and at
// its neighbours, before it fetches all the same: the others may drain as well, or want
// something else.
const patienceDrain = 3 * time.Second

// leavesToOthers reports whether the fill's spans are for the others, because this
// node drains and there are some. Once they have let it wait it is so no more.
func (t *transfer) leavesToOthers(now time.Time) bool {
	if !t.c.draining.Load() || t.forsaken {
		return false
	}
	for _, m := range t.nodes {
		if !m.Draining {
			t.forsaken = now.Sub(t.alive) > max(patienceDrain, t.roundTime())
			return !t.forsaken
		}
	}
	return false
}
