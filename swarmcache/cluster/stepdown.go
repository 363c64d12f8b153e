package cluster

import (
	"context"
	"errors"
	"time"
)

// ErrNotLeading: another node leads, or nobody does.
var ErrNotLeading = errors.New("this node does not lead")

// stepsAside is for how long a node that gave the lead up leaves it to others. One
// that is alone takes it again then.
const stepsAside = 5 * time.Second

// StepDown has this node give the lead up to another one, if it leads.
func (c *Cluster) StepDown(ctx context.Context) error {
	if err := c.State(); err != nil {
		return err
	}
	c.leading.mu.Lock()
	_, _, self := c.leadsLocked()
	if self {
		c.leading.aside = time.Now().Add(stepsAside)
	}
	c.leading.mu.Unlock()
	if !self {
		return ErrNotLeading
	}
	c.resign(ctx)
	return nil
}

// stepsAside reports whether this node has given the lead up a moment ago.
func (l *leading) stepsAside() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.aside)
}
