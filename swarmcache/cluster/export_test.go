package cluster

import (
	"context"
	"time"

	"shatabdi/swarmcache"
)

// RelistEvery makes the wait for a place among the participants short.
func (c *Cluster) RelistEvery(d time.Duration) { c.relist = d }

// Silence is after how long without etcd others may have replaced what is here.
func (c *Cluster) Silence(d time.Duration) { c.silence = d }

// Late is how soon an opening is late.
func (c *Cluster) Late(d time.Duration) { c.late = d }

// Unhurried has the patience of a node not depend on how busy the computer is.
func (c *Cluster) Unhurried() { c.unhurried = true }

// Starve has timers be so late.
func (c *Cluster) Starve(late time.Duration) { c.starved.note(late) }

// NoPings leaves finding dead connections to us.
func (c *Cluster) NoPings() { c.ping = time.Hour }

// LeaseID lets a test end this node's lease behind its back.
func (c *Cluster) LeaseID() int64 { return c.lease.Load() }

// Debts is how many claims wait to be given back.
func (c *Cluster) Debts() int {
	c.debts.mu.Lock()
	defer c.debts.mu.Unlock()
	return len(c.debts.due) + len(c.debts.purges)
}

// Slack is how much more patience there is because the cluster is large.
func (c *Cluster) Slack() time.Duration { return c.slack() }

// Seat returns what has this node believe that the leader is who it is now, as if
// the watch stood still.
func (c *Cluster) Seat() (restore func()) {
	c.leading.mu.Lock()
	defer c.leading.mu.Unlock()
	was := c.leading.seat
	return func() {
		c.leading.mu.Lock()
		defer c.leading.mu.Unlock()
		c.leading.seat = was
	}
}

// SetSize has this node believe that they are n, until it counts them again.
func (c *Cluster) SetSize(n int) { c.size.Store(int64(n)) }

// MaxTellers makes what is read of what is hot smaller.
func (c *Cluster) MaxTellers(n int) { c.tellers = n }

// PublishedPage is how many keys are read at a time.
const PublishedPage = publishedPage

// PayWhileOpening owes something of a fill, pays while it is being opened, and returns
// how much is owed then.
func (c *Cluster) PayWhileOpening(ctx context.Context, id swarmcache.ObjectID) (left int) {
	defer c.begins(id)()
	c.debts.addUnlessIn(id, deleteOurs(c.keys.member(id, c.cfg.Self.ID), c.leaseID()))
	c.debts.pay(ctx, c)
	return c.Debts()
}

// OweClaims owes as much as is kept.
func (c *Cluster) OweClaims() {
	for range maxDebts {
		c.debts.add(deleteOurs(c.keys.first("none"), c.leaseID()))
	}
}
