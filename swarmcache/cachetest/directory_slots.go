package cachetest

import (
	"context"
	"slices"

	"shatabdi/swarmcache"
)

// slots are those that the nodes have at one origin, and who waits for one.
type slots struct {
	taken []*slot
	line  []*slot // in order of arrival
}

type slot struct {
	node swarmcache.NodeID
	of   int           // how many there are, as its node sees it
	ours chan struct{} // closed when it is taken
}

// serveLocked gives slots to those first in line.
func (o *slots) serveLocked() {
	for len(o.line) > 0 && len(o.taken) < o.line[0].of {
		s := o.line[0]
		o.line, o.taken = o.line[1:], append(o.taken, s)
		close(s.ours)
	}
}

func (o *slots) departLocked(id swarmcache.NodeID) {
	o.dropLocked(func(s *slot) bool { return s.node == id })
}

func (o *slots) dropLocked(which func(*slot) bool) {
	o.taken = slices.DeleteFunc(o.taken, which)
	o.line = slices.DeleteFunc(o.line, which)
	o.serveLocked()
}

func (d *directory) ClaimSlot(ctx context.Context, origin string, n int) (func(), error) {
	if err := d.lock(ctx, &d.counts.SlotClaims); err != nil {
		return nil, err
	}
	o := d.slots[origin]
	if o == nil {
		o = &slots{}
		d.slots[origin] = o
	}
	s := &slot{d.self.ID, n, make(chan struct{})}
	o.line = append(o.line, s)
	o.serveLocked()
	away := d.away
	d.mu.Unlock()

	drop := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		o.dropLocked(func(x *slot) bool { return x == s })
	}
	select {
	case <-s.ours:
		return drop, nil
	case <-ctx.Done():
		drop()
		return nil, ctx.Err()
	case <-away:
		drop()
		return nil, swarmcache.ErrUnavailable
	}
}
