package main

import (
	"context"
	"errors"
	"time"

	"shatabdi/swarmcache"
)

// A node that drains takes on nothing new: it is not ready, gives the lead up,
// fills nothing, and its copies do not count any more, so that others are made.
// What it has it gives until it stops.

// drain begins that, or ends it. When nobody can be told, that is no error.
func (d *daemon) drain(ctx context.Context, p *parts, on bool) error {
	d.ready.drain(on)
	p.cache.Drain(on)
	self := p.node
	self.Draining = on
	if err := p.cluster.Announce(ctx, self); !errors.Is(err, swarmcache.ErrUnavailable) {
		return err
	}
	return nil
}

// Uploads may go on for so long when the daemon stops, and for silence after the
// last byte.
const (
	finishUploads = 5 * time.Second
	silence       = 500 * time.Millisecond
)

// finishUploads lets peers have what they are just taking.
func (p *parts) finishUploads(ctx context.Context) error {
	tick := time.NewTicker(silence)
	defer tick.Stop()
	end := time.After(finishUploads)
	for sent := p.swarm.Sent(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case <-tick.C:
		}
		now := p.swarm.Sent()
		if now == sent {
			return nil
		}
		sent = now
	}
}
