package swarmcache

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Of what the cluster keeps, a node that runs out of space lets those copies go first
// of which there are others. But all nodes count them at about the same time, and if
// each let its own go because there are two more, none would be left. So a copy counts
// as one that can be spared on one node at a time only: the one that has claimed that
// in the directory, and has counted after that. Who has not takes its copy for the last one.
const (
	// SpareStands is how long a claim stands, on from when it was last made.
	SpareStands = 30 * time.Minute
	// spareFor is how long a node goes by it: so much shorter that the tracker knows
	// what went before another node claims, and counts. In renewSpare before its end it
	// claims anew.
	spareFor   = 20 * time.Minute
	renewSpare = 5 * time.Minute
	// spareMost is of how many objects a node claims that, those first that were not
	// used for longest.
	spareMost = 50
	// tight is the share of a volume that is free when a node begins to claim.
	tight = 1. / 8
)

// claimSpare claims what may go next, if space is short.
func (c *Cache) claimSpare(ctx context.Context) error {
	some := c.spareable()
	if len(some) == 0 || c.cfg.Keeper == nil {
		return nil
	}
	until := time.Now().Add(spareFor) // before it is asked for
	mine, err := c.cfg.Keeper.ClaimSpare(ctx, some)
	if err != nil || len(mine) == 0 {
		return err
	}
	return c.countThese(ctx, mine, func(e *entry) { e.spare = until })
}

// spareable are those objects on volumes that get full of which there are other copies,
// and no claim that stands for a while. From a volume without a bound nothing goes.
func (c *Cache) spareable() (some []InfoHash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*entry
	claimed := time.Now().Add(renewSpare)
	for _, e := range c.entries {
		short := e.volume.Size > 0 && float64(e.volume.freeLocked()) < tight*float64(e.volume.Size)
		if short && e.spare.Before(claimed) && e.wanted > 0 && e.seen > 1 && !e.pinned && !e.infoHash.IsZero() {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.lastUsed, b.lastUsed) })
	for _, e := range all[:min(spareMost, len(all))] {
		some = append(some, e.infoHash)
	}
	return some
}

// lastTurn is that of what the cluster keeps and nobody else may have.
const lastTurn = 2

// turn is when an object goes: what is kept, after what is not, and its last copy
// last of all. Of what is not kept the number of copies does not count: most of
// what passes once is nowhere else, and must not stay for that.
func (e *entry) turn(now time.Time) int {
	switch {
	case e.wanted == 0:
		return 0
	case now.After(e.spare):
		return lastTurn
	case e.seen > e.wanted:
		return 0
	case e.seen > 1:
		return 1
	}
	return lastTurn
}
