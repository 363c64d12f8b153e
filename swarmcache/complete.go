package swarmcache

import (
	"context"
	"math/rand/v2"
	"time"

	"shatabdi/swarmcache/events"
)

// complete is called once every piece and every hash is here: it records the
// object, joins its sealed torrent and publishes it.
func (t *transfer) complete(ctx context.Context) {
	// The opener publishes at once, the others only what is still missing then.
	wait := time.Duration(0)
	if t.rec != nil && t.rec.Opener != t.c.cfg.Node.ID && len(t.nodes) > 0 {
		wait = time.Second + rand.N(2*time.Second)
	}
	how := soon
	if t.alone || t.wasAlone {
		how = late
	}
	t.background.Go(func() {
		if err := t.o.seal(); err != nil {
			t.send(damaged{err})
			return
		}
		t.c.metrics.completed.Inc()
		v := t.file.Version()
		e := t.c.event(events.Completed, v)
		e.Took = t.c.now().Sub(t.started).Seconds()
		t.c.cfg.Events.Tell(e)
		t.log.Info("object complete", "bytes", v.Length, "infohash", v.InfoHash, "took", t.c.now().Sub(t.started).Round(time.Millisecond))
		if s := t.c.cfg.Swarm; s != nil {
			// Join, so that the tracker hears of a new seeder at once; then let go.
			if tor, err := s.Sealed(t.file); err == nil {
				tor.Drop()
			}
		}
		t.publish(ctx, wait, how)
		t.send(published{})
	})
}

// publish tells the directory before this node leaves the board: else who comes
// in between finds a fill that nobody is at. While the directory is away, it is
// told later.
func (t *transfer) publish(ctx context.Context, wait time.Duration, how telling) {
	for range 3 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if t.file.Condemned() {
			return
		}
		if t.c.publish(ctx, t.o, how) == nil {
			t.o.told()
			t.c.recheck(t.file)
			return
		}
		wait = time.Second
	}
	t.c.publishLater(wait, late, t.file.Version().ID)
}

// mayLeave reports whether nobody can need this complete node on the board.
func (t *transfer) mayLeave(now time.Time) bool {
	if t.completed.IsZero() {
		return false
	}
	since := now.Sub(t.completed)
	switch {
	case t.lander != nil && !t.lander.idle() && since < lingerLanding:
		return false
	case len(t.nodes) == 0:
		return true
	}
	return since > lingerFill
}
