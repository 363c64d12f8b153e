package swarmcache

import (
	"cmp"
	"errors"

	"shatabdi/policy"
)

// Priority says how much of a limited link the object gets while others want it
// too; never empty.
func (f *File) Priority() policy.Priority {
	if p := f.priority.Load(); p != nil {
		return *p
	}
	return policy.PriorityNormal
}

// SetPriority holds for the chunks that come from now on; empty is normal.
func (f *File) SetPriority(p policy.Priority) {
	p = cmp.Or(p, policy.PriorityNormal)
	f.priority.Store(&p)
}

// PriorityOf is the priority of the object that r records: the one that was set,
// or what the configuration says of such objects.
func (c *Cache) PriorityOf(r Record) policy.Priority {
	if r.Priority != "" || c.cfg.Priority == nil {
		return cmp.Or(r.Priority, policy.PriorityNormal)
	}
	return cmp.Or(c.cfg.Priority(r.Version), policy.PriorityNormal)
}

// SetPriority gives an object another priority on this node, at once and for as
// long as it is kept; empty leaves it to the configuration. ErrNotFound.
func (c *Cache) SetPriority(id ObjectID, p policy.Priority) error {
	return c.amend(id, func(r *Record) { r.Priority = p }, func(o *object) {
		o.priority = p
		o.file.SetPriority(c.PriorityOf(Record{Version: o.file.Version(), Priority: p}))
	})
}

// SetPinned keeps an object from eviction, or no longer. A version that takes
// its place is pinned too; a purge, and whatever else makes this node forget it,
// takes the pin along. One that is on a missing volume comes back with it, or without.
// ErrNotFound.
func (c *Cache) SetPinned(id ObjectID, pinned bool) error {
	err := c.amend(id, func(r *Record) { r.Pinned = pinned }, func(o *object) {
		o.pinned = pinned
		c.mu.Lock()
		defer c.mu.Unlock()
		if e := c.entries[id]; e != nil {
			e.pinned = pinned
		}
	})
	if err == nil {
		c.repin(id)
	}
	return err
}

// amend records what an operator says of an object: of the body that is away, if one
// is, and then, for that takes over what the other has on record, of the one that is here.
func (c *Cache) amend(id ObjectID, away func(*Record), here func(*object)) error {
	wasAway, err := c.amendAway(id, away)
	if err != nil {
		return err
	}
	if err := c.amendHere(id, here); !wasAway || !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

func (c *Cache) amendHere(id ObjectID, change func(*object)) error {
	if !c.has(id) {
		return ErrNotFound
	}
	o, err := c.open(id)
	if err != nil {
		return err
	}
	defer o.file.Release()
	o.recording.Lock()
	defer o.recording.Unlock()
	change(o)
	return o.rewriteLocked()
}
