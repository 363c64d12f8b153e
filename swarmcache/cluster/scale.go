package cluster

import (
	"context"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/clock"
)

// In etcd all times are the cluster's, each with its doubt; on a node they are by that
// node's clock. Here is where they change. What was dated by another scale than this
// node knows, or by none, keeps its times, which mean nothing, and is told Unknown.

func (c *Cluster) reading() clock.Reading {
	if c.cfg.Clock == nil {
		return clock.Reading{}
	}
	return c.cfg.Clock()
}

// patienceClocked is how long after it has joined a node waits until it knows the
// cluster's time. Until then everything is of an age that nobody knows, and what is begun
// is so for all others too: the origin would confirm it for each, or send it again.
const patienceClocked = time.Second

func (c *Cluster) untilClocked(ctx context.Context) {
	joined := c.joined.Load()
	if c.cfg.Clocked == nil || joined == nil {
		return
	}
	select {
	case <-c.cfg.Clocked:
		return
	default:
	}
	t := time.NewTimer(time.Until(joined.Add(patienceClocked)))
	defer t.Stop()
	select {
	case <-c.cfg.Clocked:
	case <-t.C:
	case <-ctx.Done():
	}
}

// time is the cluster's, or this node's while nothing is known of that: for what
// matters little.
func (c *Cluster) time() time.Time { return c.cfg.Now().Add(c.reading().Offset) }

// versionThere is v as etcd keeps it. Where this node's clock was set since it counted
// v's times, nobody knows which of the two was right.
func (c *Cluster) versionThere(v swarmcache.Version) swarmcache.Version {
	if c.cfg.Clock == nil {
		return v
	}
	r := c.reading()
	v.Scale = r.Scale
	d := doubt(r)
	if apart := (r.Offset + v.Stored.Ahead).Abs(); apart > d {
		d = policy.Doubts(d, apart)
	}
	v.Stored = policy.Shifted(v.Stored, r.Offset, d, 0)
	return v
}

// versionHere is v, which etcd told, as this node takes it.
func (c *Cluster) versionHere(v *swarmcache.Version) *swarmcache.Version {
	if v == nil || c.cfg.Clock == nil {
		return v
	}
	here := *v
	offset, doubt := c.since(v.Scale)
	here.Scale = ""
	here.Stored = policy.Shifted(v.Stored, offset, doubt, offset)
	return &here
}

func (c *Cluster) fillHere(r *swarmcache.FillRecord) *swarmcache.FillRecord {
	if r == nil {
		return nil
	}
	here := *r
	here.Version = *c.versionHere(&r.Version)
	return &here
}

func (c *Cluster) purgeThere(p swarmcache.Purge) swarmcache.Purge {
	if c.cfg.Clock == nil {
		return p
	}
	r := c.reading()
	p.At, p.Doubt, p.Scale = p.At.Add(r.Offset), policy.Doubts(p.Doubt, doubt(r)), r.Scale
	return p
}

func (c *Cluster) purgeHere(p swarmcache.Purge) swarmcache.Purge {
	if c.cfg.Clock == nil {
		return p
	}
	offset, doubt := c.since(p.Scale)
	p.At, p.Doubt, p.Scale = p.At.Add(offset), policy.Doubts(p.Doubt, doubt), ""
	return p
}

// since is what turns times of a scale into this node's.
func (c *Cluster) since(scale string) (offset, doubt time.Duration) {
	r := c.reading()
	if r.Scale == "" || r.Scale != scale {
		return 0, policy.Unknown
	}
	return -r.Offset, r.Doubt
}

func doubt(r clock.Reading) time.Duration {
	if r.Scale == "" {
		return policy.Unknown
	}
	return r.Doubt
}
