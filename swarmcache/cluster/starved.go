package cluster

import (
	"context"
	"sync/atomic"
	"time"
)

// A node whose computer has too much to do hears late what etcd answered in time. Would
// it hold that for an etcd that is away, it would go to the origin alone, and give its
// computer more to do. So it measures how late its own timers are.

const (
	// beatEvery is how often.
	beatEvery = 100 * time.Millisecond
	// lateFactor is how much longer than one timer a request may be held up here: by who
	// asks, who writes, who reads, and who is told.
	lateFactor = 4
	// lateUsual is how late timers are where there is nothing to be said.
	lateUsual = 10 * time.Millisecond
	// maxStarved bounds what that may cost a client that waits.
	maxStarved = 4 * time.Second
)

// beat measures until ctx is done.
func (c *Cluster) beat(ctx context.Context) {
	if c.unhurried {
		return
	}
	for {
		due := time.Now().Add(beatEvery)
		if !pause(ctx, beatEvery) {
			return
		}
		c.starved.note(time.Since(due))
	}
}

// starved is the patience that a computer with too much to do calls for, in
// nanoseconds: at once when a timer is late, and for some seconds after that.
type starved struct{ atomic.Int64 }

func (s *starved) note(late time.Duration) {
	fades := time.Duration(s.Load()) * 49 / 50 // a third is left after five seconds
	s.Store(int64(max(fades, min(max(0, late-lateUsual)*lateFactor, maxStarved))))
}

func (s *starved) patience() time.Duration { return time.Duration(s.Load()) }
