package swarmcache

import (
	"context"
	"errors"
	mrand "math/rand/v2"
	"time"

	"shatabdi/policy"
)

// A node that was away, or whose directory lost data, cannot know what it missed.
// Three things follow, and purges come first in each of them.
//
//   - Before it has heard of the purges in this run, it publishes nothing that it
//     had before, and who asks for that waits a moment.
//   - What it had before it was out of touch counts once the directory was asked
//     whether there is something newer. That is done when somebody wants it.
//   - Where even purges may have been missed, all of it counts once the origin has
//     confirmed it.

const (
	// patienceHear bounds how long a request waits at the start of a run until this
	// node has heard of the purges.
	patienceHear = 2 * time.Second
	// awayLong is how long a node may be out of touch and still take what it has
	// for as good as it was. It hears every hour that nothing is new.
	awayLong = 2 * time.Hour
	// defaultSettle is how long a node waits, once the directory has lost data, with
	// telling what it holds: for the purges that others order again.
	defaultSettle = 5 * time.Second
)

// inTouch notes that this node has heard of the purges in this run.
func (c *Cache) inTouch() {
	select {
	case <-c.heard:
	default:
		close(c.heard)
	}
}

func (c *Cache) hasHeard() bool {
	select {
	case <-c.heard:
		return true
	default:
		return false
	}
}

// untilHeard waits until this node has heard of the purges, or must do without.
func (c *Cache) untilHeard(ctx context.Context) {
	t := time.NewTimer(time.Until(c.born.Add(patienceHear)))
	defer t.Stop()
	select {
	case <-c.heard:
	case <-t.C:
	case <-ctx.Done():
	}
}

// doubtAll makes everything that is stored uncertain.
func (c *Cache) doubtAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
}

// certain notes that the cluster, or the origin, was asked about an object.
func (c *Cache) certain(id ObjectID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		e.asked = c.round
	}
}

// Certain reports whether nobody can have replaced the object without this node's
// knowing, as far as the directory tells. Otherwise look up.
func (o *Object) Certain() bool {
	c := o.o.c
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[o.o.file.version.ID]
	return e == nil || e.asked == c.round
}

// ascertain returns local, or what the directory knows better.
func (c *Cache) ascertain(ctx context.Context, local *Object, o Origin, wanted func(policy.Stored) bool, since Mark, directory func() (*Version, *FillRecord, error)) (*Object, error) {
	c.untilHeard(ctx)
	v, fill, err := directory()
	if since.Past() {
		local.Close()
		return nil, errForgotten
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		local.doubt = c.absent && !c.hasHeard()
		return local, nil
	}
	if fill != nil && fill.Ended == "" && (v == nil || v.ID != fill.Version.ID) {
		v = &fill.Version
	} else {
		fill = nil
	}
	have := local.Version()
	if v == nil || v.ID == have.ID || v.date().Before(have.date()) || !wanted(v.Stored) {
		c.certain(have.ID)
		return local, nil
	}
	local.Close()
	obj, err := c.admit(*v)
	if err != nil {
		return nil, err
	}
	obj.expect(fill)
	return obj.handle(o), nil
}

// enterEraLocked notes in which era the directory is. It needs obeyed.mu.
func (c *Cache) enterEraLocked(now Era) {
	o := &c.obeyed
	if now == (Era{}) || now == o.Era {
		return
	}
	if o.Era != (Era{}) {
		o.forgot = true
		c.log.Warn("the directory has lost what it was told", "was", o.Era, "is", now)
	}
	if o.Era.Cluster != "" && o.Era.Cluster != now.Cluster {
		o.Obeyed, o.own = nil, nil // those of another cluster are nobody's business here
	}
	o.Era = now
}

// missedPurges reports whether this node cannot know what was purged: it was away
// for longer than purges stand, or for long while the directory lost its data, or it
// comes from another cluster.
func (c *Cache) missedPurges(now Era) bool {
	o := &c.obeyed
	if o.Touch.IsZero() {
		return false
	}
	away, other := c.now().Sub(o.Touch), now != (Era{}) && o.Era != (Era{}) && now != o.Era
	return away >= PurgesStand-time.Hour || other && (away >= awayLong || now.Cluster != o.Era.Cluster)
}

// distrust makes everything that is stored stale where purges may have been missed.
func (c *Cache) distrust(now Era) error {
	if !c.missedPurges(now) {
		return nil
	}
	c.log.Warn("purges may have been missed: all objects must be revalidated", "since", c.obeyed.Touch)
	c.AdvanceAll()
	c.cfg.Distrusted()
	stale := func(r *Record) bool {
		was := r.Version.Stored.Invalid
		r.Version.Stored.Invalid = true
		return !was
	}
	c.mu.Lock()
	for _, o := range c.objects {
		o.file.mu.Lock()
		o.file.version.Stored.Invalid = true
		o.file.mu.Unlock()
	}
	c.mu.Unlock()
	_, err := c.rewriteAll(stale)
	if err == nil {
		c.obeyed.Touch = c.now() // as good as: what comes from now on is of now
	}
	return err
}

// tellAll has the directory told of everything that is complete here, as it has lost
// that. A crash does not make this node forget that it owes it.
func (c *Cache) tellAll() error {
	ids, err := c.rewriteAll(func(r *Record) bool {
		owes := r.Complete && !r.Untold
		r.Untold = r.Untold || owes
		return owes
	})
	if err == nil && len(ids) > 0 {
		c.log.Info("telling the directory again what is stored here", "objects", len(ids))
		c.publishLater(c.cfg.Settle+mrand.N(c.cfg.Settle), ids...)
	}
	return err
}

// rewriteAll changes the records for which f says that it changed them, and returns
// their ids.
func (c *Cache) rewriteAll(f func(*Record) bool) (ids []ObjectID, err error) {
	err = c.cfg.Index.Each(func(r Record) bool {
		if f(&r) {
			ids = append(ids, r.Version.ID)
		}
		return true
	})
	for _, id := range ids {
		if err != nil {
			break
		}
		err = c.rewriteOne(id, f)
	}
	return ids, err
}

// rewriteOne changes a record, unless its object is gone, or on its way out.
func (c *Cache) rewriteOne(id ObjectID, f func(*Record) bool) error {
	c.files.Lock()
	o, err := c.inMemory(id)
	if o == nil {
		defer c.files.Unlock() // so that it is not opened with what the record says now
	} else {
		c.files.Unlock()
		defer o.file.Release()
		o.recording.Lock()
		defer o.recording.Unlock()
	}
	if err != nil {
		return err
	}
	c.selecting.Lock()
	defer c.selecting.Unlock()
	r, err := c.cfg.Index.Get(id)
	if errors.Is(err, ErrNotFound) || err == nil && (!c.has(id) || !f(&r)) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.cfg.Index.Put(r)
}
