package swarmcache

import (
	"cmp"
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
	// patienceSilent is for how long a directory that did not answer is not asked again
	// about what is here.
	patienceSilent = 3 * time.Second
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

// Heard waits until this node has heard of the purges that were ordered while it was
// away, as untilHeard does, and reports whether it has.
func (c *Cache) Heard() bool {
	c.untilHeard(c.ctx)
	return c.hasHeard()
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
	c.silent = time.Time{}
}

// certain notes that the cluster, or the origin, was asked about an object in that
// round of doubt; 0: in the present one.
func (c *Cache) certain(id ObjectID, round uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		e.asked = cmp.Or(round, c.round)
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

// unheardOf reports whether an object may have been purged while this node was away
// for long.
func (c *Cache) unheardOf(o *Object) bool { return c.absent && !c.hasHeard() && !o.Certain() }

// toAsk tells whether the directory is to be asked about an object, and by whom: who
// gets no answered asks, and calls done; the others wait until it is closed.
func (c *Cache) toAsk(id ObjectID) (ask bool, answered <-chan struct{}, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.silent) {
		return false, nil, nil
	}
	if q := c.asking[id]; q != nil {
		return true, q, nil
	}
	q := make(chan struct{})
	c.asking[id] = q
	return true, nil, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asking, id)
		close(q)
	}
}

// ascertain returns local, which is complete, or what the directory knows better.
func (c *Cache) ascertain(ctx context.Context, local *Object, o Origin, wanted func(policy.Stored) bool, since Mark, directory func() (*Version, *FillRecord, error)) (*Object, error) {
	c.untilHeard(ctx)
	c.mu.Lock()
	round := c.round
	c.mu.Unlock()
	heard := c.hasHeard()
	v, fill, err := directory()
	if since.Past() {
		local.Close()
		return nil, errForgotten
	}
	// What the directory does not have any more it may not have for a purge.
	local.doubt = !heard && (c.absent || errors.Is(err, ErrNotFound))
	if err != nil && !errors.Is(err, ErrNotFound) {
		if errors.Is(err, ErrUnavailable) {
			c.mu.Lock()
			c.silent = time.Now().Add(patienceSilent)
			c.mu.Unlock()
		}
		return local, nil
	}
	_, v, fill = pick(v, fill, wanted)
	v, fill = running(v, fill)
	have := local.Version()
	if v == nil || v.ID == have.ID || v.older(&have) {
		if heard {
			c.certain(have.ID, round)
		}
		return local, nil
	}
	if busy := c.begins(); busy != nil {
		local.Close()
		return nil, busy
	}
	obj, err := c.take(*v, fill, o, since)
	if err == nil || errors.Is(err, errForgotten) {
		local.Close()
		return obj, err
	}
	local.doubt = true // the origin knows whether it was replaced
	return local, nil
}

// enterEraLocked notes in which era the directory is. It needs obeyed.mu.
func (c *Cache) enterEraLocked(now Era) {
	o := &c.obeyed
	if now == (Era{}) || now == o.Era {
		return
	}
	if o.Era != (Era{}) {
		o.Forgot = true
		c.log.Warn("the directory has lost what it was told", "was", o.Era, "is", now)
	}
	o.Moved = o.Moved || o.Era != (Era{}) && now.Cluster != o.Era.Cluster
	if !now.continues(o.Era) {
		o.Obeyed, o.own, o.begun = nil, nil, nil // those of another cluster are nobody's business here
	}
	o.Era = now
}

// missedPurges reports whether this node cannot know what was purged: it was away
// for longer than purges stand, or for long while the directory lost its data, or it
// comes from another cluster: that one took the place of its own proves little, where
// many are called alike.
func (c *Cache) missedPurges(now Era) bool {
	o := &c.obeyed
	if o.Touch.IsZero() {
		return false
	}
	away, other := c.now().Sub(o.Touch), now != (Era{}) && o.Era != (Era{}) && now != o.Era
	return away >= PurgesStand-time.Hour || other && (away >= awayLong || now.Cluster != o.Era.Cluster)
}

// distrust makes everything that is stored stale where purges may have been missed.
// How often that was so stands in the catalogue, with each record too: it is not
// written for every object, and what is opened later is stale as well.
func (c *Cache) distrust(now Era) error {
	if !c.missedPurges(now) {
		return nil
	}
	o := &c.obeyed
	c.log.Warn("purges may have been missed: all objects must be revalidated", "since", o.Touch)
	c.AdvanceAll()
	c.cfg.Distrusted()
	o.Distrusts++
	c.stale(o.Distrusts)
	o.Touch = c.now() // as good as: what comes from now on is of now
	return o.saveLocked(c.cfg.Index)
}

// stale makes stale what is in memory, and what was recorded before.
func (c *Cache) stale(distrusts uint32) {
	c.files.Lock() // nobody opens what was read before this
	defer c.files.Unlock()
	c.mu.Lock()
	for _, o := range c.objects {
		o.file.mu.Lock()
		o.file.version.Stored.Invalid = true
		o.file.mu.Unlock()
	}
	c.mu.Unlock()
	c.distrusts.Store(distrusts)
}

// recorded returns what the catalogue knows of an object, by one of its methods. What
// came after now, as this node's clock counted then, is of an age that nobody knows: the
// clock was set back.
func (c *Cache) recorded(read func(ObjectID) (Record, error), id ObjectID) (Record, error) {
	r, err := read(id)
	if r.Distrusts != c.distrusts.Load() {
		r.Version.Stored.Invalid = true
	}
	if s := &r.Version.Stored; s.ResponseTime.Add(-s.Doubt).After(c.now()) {
		s.Invalid = true
	}
	return r, err
}

// tellAll has the directory told of everything that is complete here, as it has lost
// that. A crash does not make this node forget that it owes it. Where it is another
// cluster's, that is only what was put, and the same everywhere: the rest is told when
// the origin that they have there has confirmed it.
func (c *Cache) tellAll(moved bool) error {
	var ids []ObjectID
	err := c.cfg.Index.Each(func(r Record) bool {
		if r.Complete && !r.Untold && (!moved || isPut(r.Version)) {
			ids = append(ids, r.Version.ID)
		}
		return true
	})
	owed := 0
	for ; err == nil && owed < len(ids); owed++ {
		err = c.owe(ids[owed])
	}
	if owed > 0 {
		c.log.Info("telling the directory again what is stored here", "objects", owed)
		c.publishLater(c.cfg.Settle+mrand.N(c.cfg.Settle), again, ids[:owed]...)
	}
	return err
}

// owe records that the directory is to be told of an object, unless it went.
func (c *Cache) owe(id ObjectID) error {
	o, err := c.look(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer o.file.Release()
	return o.setUntold(true)
}
