package swarmcache

import "fmt"

// errDraining is one of space: responses pass through.
var errDraining = fmt.Errorf("%w: the node is draining", ErrNoSpace)

// Drain has this node begin no more fills and claim no spans that others can
// fetch, or ends that. What is here is served, to clients and peers.
func (c *Cache) Drain(on bool) { c.draining.Store(on) }

// Draining reports whether it does.
func (c *Cache) Draining() bool { return c.draining.Load() }

// leavesToOthers reports whether a fill's spans are for the others, because this
// node drains and there are some.
func (c *Cache) leavesToOthers(t *transfer) bool { return c.draining.Load() && len(t.nodes) > 0 }
