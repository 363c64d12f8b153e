package swarmcache

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
)

// A soft purge takes no byte of an object away. (What is small goes: to have it
// confirmed costs the origin as much as to have it sent.) What its key selected must be confirmed by the
// origin before it is used again, on every node: what is here is marked so, in the
// catalogue too, and what the directory tells is taken for so as long as the purge
// stands, if its response may be older than that. Who has marked something publishes
// it as marked, so that it stays so after that.

// SoftPurge makes every node have the origin confirm what key selects before it is
// used again. Otherwise it is as Purge.
func (c *Cache) SoftPurge(ctx context.Context, key policy.Key) (had int, err error) {
	ctx = context.WithoutCancel(ctx)
	p := Purge{ID: rand.Text(), Key: key, At: c.now(), Soft: true}
	c.order(p)
	told := c.cfg.Directory.Purge(ctx, p)
	all := c.expire(key)
	had = c.cfg.Purged(key) + len(all)
	for _, g := range all {
		err = errors.Join(err, c.expired(ctx, g))
	}
	n, away := c.expireAway(key, ofAll(key)) // last: a volume may have gone meanwhile
	had, err = had+n, errors.Join(err, away)
	c.cfg.Events.Tell(events.Event{Kind: events.Purged, Key: string(key), Self: true})
	return had, cmp.Or(err, told)
}

// order notes that this node orders a purge.
func (c *Cache) order(p Purge) {
	c.obeyed.order(p)
	c.obeyed.mu.Lock()
	defer c.obeyed.mu.Unlock()
	c.softenLocked(p)
}

// ofKind is a key, and whether a purge of it is soft.
type ofKind struct {
	key  policy.Key
	soft bool
}

// softenLocked has what the directory tells of a key count as from before a purge. It
// needs obeyed.mu.
func (c *Cache) softenLocked(all ...Purge) {
	soft := map[ofKind]Purge{}
	if now := c.softened.Load(); now != nil {
		maps.Copy(soft, *now)
	}
	for _, p := range all {
		if k := (ofKind{p.Key, p.Soft}); p.At.After(soft[k].At) {
			soft[k] = p
		}
	}
	maps.DeleteFunc(soft, func(_ ofKind, p Purge) bool { return c.now().Sub(p.At) > PurgesStand })
	c.softened.Store(&soft)
}

// known is Directory.Lookup.
func (c *Cache) known(ctx context.Context, key policy.Key) (*Version, *FillRecord, error) {
	v, fill, err := c.cfg.Directory.Lookup(ctx, key)
	c.soften(v, fill)
	return v, fill, err
}

// soften marks what the directory tells, where its response may be from before a soft
// purge, or certainly is from before one that is not: who was about to tell of it then may
// have done so after.
func (c *Cache) soften(v *Version, fill *FillRecord) {
	if fill != nil {
		c.soften(&fill.Version, nil)
	}
	soft := c.softened.Load()
	if v == nil || soft == nil {
		return
	}
	since := func(p Purge) time.Duration { return v.Stored.ResponseTime.Sub(p.At) }
	if p, ok := (*soft)[ofKind{v.Key.Base(), true}]; ok && since(p) < policy.Doubts(v.Stored.Doubt, p.Doubt, soonAfter) {
		v.Stored.Invalid = true
	}
	if p, ok := (*soft)[ofKind{v.Key.Base(), false}]; ok && -since(p) > policy.Doubts(v.Stored.Doubt, p.Doubt) {
		v.Stored.Invalid = true
	}
}

// expire marks what key selects here, for who asks.
func (c *Cache) expire(key policy.Key) (all []gone) {
	c.Mark(key).Advance() // what the origin was asked before says nothing
	for _, k := range c.variantsOf(key) {
		c.spools.forget(k)
		id, ok := c.selected(k)
		if !ok {
			continue
		}
		o, err := c.look(id)
		if err != nil {
			continue // it is gone, or nobody can use it
		}
		o.file.mu.Lock()
		o.file.version.Stored.Invalid = true
		o.file.mu.Unlock()
		all = append(all, gone{key: k, id: id, stays: &marked{o: o}})
	}
	return all
}

// expireAway marks absentees, in the catalogue: they are stale when they come back.
func (c *Cache) expireAway(key policy.Key, which func(absentee) bool) (n int, err error) {
	return c.changeAllAway(key, which, func(a absentee) error {
		rec, err := c.cfg.Index.Summary(a.id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		rec.Version.Stored.Invalid = true
		return c.cfg.Index.Put(rec)
	})
}

// marked is an object in memory, which stays there until that is recorded.
type marked struct {
	o    *object
	done bool
}

// expired records what expire marked, and publishes it as it is now.
func (c *Cache) expired(ctx context.Context, g gone) error {
	if g.stays.done {
		return nil
	}
	if err := g.stays.o.rewrite(); err != nil {
		return err
	}
	v := g.stays.o.file.Version()
	g.stays.done = true
	g.stays.o.file.Release()
	if !v.Stored.Invalid {
		return nil // it was confirmed meanwhile
	}
	have, _, err := c.cfg.Directory.Lookup(ctx, g.key)
	if err == nil && have != nil && have.ID == v.ID {
		err = c.offer(ctx, g.stays.o.file, v)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrStale) || errors.Is(err, ErrPurged) || errors.Is(err, ErrPoisoned) {
		return nil
	}
	return err
}
