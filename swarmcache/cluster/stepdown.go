package cluster

import (
	"context"
	"time"

	"shatabdi/swarmcache"
)

// stepsAside is for how long a node that gave the lead up leaves it to others. One
// that is alone takes it again then.
const stepsAside = 5 * time.Second

// StepDown has this node give the lead up to another one, if it leads; ErrNotLeading.
// After an error nothing has changed. It does not end with ctx: an order that was heard is obeyed.
func (c *Cluster) StepDown(ctx context.Context) error {
	if err := c.State(); err != nil {
		return unavailable(err)
	}
	if _, _, self := c.Leader(); !self {
		return swarmcache.ErrNotLeading
	}
	c.leading.standAside(time.Now().Add(stepsAside))
	err := c.resign(context.WithoutCancel(ctx)) // do bounds it
	if err != nil {
		c.leading.standAside(time.Time{})
	}
	return err
}

func (l *leading) standAside(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside = until
}

// stepsAside reports whether this node has given the lead up a moment ago.
func (l *leading) stepsAside() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.aside)
}
