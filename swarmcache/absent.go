package swarmcache

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"shatabdi/policy"
)

// What is on a volume that is missing stays in the catalogue. When its bytes are wanted
// meanwhile they come again, as another body of the same object: until that one is whole
// the catalogue goes on speaking of the one that is away, if that is.

// absentee is an object that the catalogue has, on a volume that is missing, or whose
// file cannot be reached. It is not here, but must not come back after a purge.
type absentee struct {
	key policy.Key
	id  ObjectID
	o   *object // that was open when the volume went, or nil

	at   *volume // where its file cannot be reached, and takes size bytes; nil: it is on none that is here
	size int64
}

// awayLocked notes that an object is not here. When another body of it was coming, and
// went as well, it was so before.
func (c *Cache) awayLocked(a absentee) {
	base := a.key.Base()
	if slices.ContainsFunc(c.absentees[base], func(b absentee) bool { return b.id == a.id }) {
		return
	}
	c.absentees[base] = append(c.absentees[base], a)
	if a.at != nil {
		a.at.used += a.size
	}
}

// backLocked ends that an object is away. It needs selecting too.
func (c *Cache) backLocked(key policy.Key, id ObjectID) {
	base := key.Base()
	c.absentees[base] = slices.DeleteFunc(c.absentees[base], func(a absentee) bool {
		if a.id == id && a.at != nil {
			a.at.used -= a.size
		}
		return a.id == id
	})
	if len(c.absentees[base]) == 0 {
		delete(c.absentees, base)
	}
}

// loseUnsureLocked notes that what could not be reached on a volume went with it.
func (c *Cache) loseUnsureLocked(v *volume) {
	for _, all := range c.absentees {
		for i := range all {
			if a := &all[i]; a.at == v {
				v.used -= a.size
				a.at = nil
			}
		}
	}
}

// unsureLocked is the volume where the file of an object cannot be reached: nothing
// of that name may be made there.
func (c *Cache) unsureLocked(key policy.Key, id ObjectID) *volume {
	for _, a := range c.absentees[key.Base()] {
		if a.id == id {
			return a.at
		}
	}
	return nil
}

// awayOf are the absentees that which names among those of key and its variants.
func (c *Cache) awayOf(key policy.Key, which func(absentee) bool) (all []absentee) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.absentees[key.Base()] {
		if which(a) {
			all = append(all, a)
		}
	}
	return all
}

func (c *Cache) isAwayLocked(v Version) bool {
	return slices.ContainsFunc(c.absentees[v.Key.Base()], func(a absentee) bool { return a.id == v.ID })
}

// absentee returns the absentee of that id.
func (c *Cache) absentee(key policy.Key, id ObjectID) (a absentee, away bool) {
	all := c.awayOf(key, func(a absentee) bool { return a.id == id })
	if len(all) == 0 {
		return a, false
	}
	return all[0], true
}

// Away returns the record of an object that is on a volume that is missing: nothing of it
// is here now. Otherwise it returns ErrNotFound.
func (c *Cache) Away(id ObjectID) (Record, error) {
	r, err := c.cfg.Index.Summary(id)
	if err != nil {
		return Record{}, err
	}
	if _, away := c.absentee(r.Version.Key, id); !away {
		return Record{}, ErrNotFound
	}
	r.Pieces, r.Complete = nil, false
	return r, nil
}

// SelectedAway is the same of what key would select.
func (c *Cache) SelectedAway(key policy.Key) (Record, error) {
	for _, a := range c.awayOf(key, of(key)) {
		if r, err := c.Away(a.id); !errors.Is(err, ErrNotFound) {
			return r, err
		}
	}
	return Record{}, ErrNotFound
}

// of names an absentee that key selects.
func of(key policy.Key) func(absentee) bool {
	return func(a absentee) bool { return a.key == key }
}

// ofAll names one that key, or one of its variants, selects.
func ofAll(key policy.Key) func(absentee) bool {
	return func(a absentee) bool { return a.key == key || a.key.Base() == key }
}

// changeAway calls f, which changes the record of an absentee, while nobody else does.
// It reports whether that was away still.
func (c *Cache) changeAway(a absentee, f func() error) (was bool, err error) {
	if a.o != nil {
		a.o.writing.Lock() // what was being written when the volume went is so first
		defer a.o.writing.Unlock()
	}
	c.selecting.Lock()
	defer c.selecting.Unlock()
	if _, was = c.absentee(a.key, a.id); !was {
		return false, nil
	}
	if err := f(); err != nil {
		return true, fmt.Errorf("%s, which is on a missing volume: %w", a.id, err)
	}
	return true, nil
}

// amendAway changes the record of the absentee of that id, if there is one.
func (c *Cache) amendAway(id ObjectID, change func(*Record)) (was bool, err error) {
	rec, err := c.cfg.Index.Summary(id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	a, was := c.absentee(rec.Version.Key, id)
	if !was {
		return false, nil
	}
	return c.changeAway(a, func() error {
		rec, err := c.cfg.Index.Summary(id)
		if err != nil {
			return err
		}
		change(&rec)
		return c.cfg.Index.Put(rec)
	})
}

// changeAllAway is changeAway for those that which names. It tells how many there were.
func (c *Cache) changeAllAway(key policy.Key, which func(absentee) bool, f func(absentee) error) (n int, err error) {
	for _, a := range c.awayOf(key, which) {
		was, e := c.changeAway(a, func() error { return f(a) })
		if was {
			n++
		}
		err = errors.Join(err, e)
	}
	return n, err
}

// forgetAway takes absentees out of the catalogue. Their files belong to nothing when
// the volume comes back.
func (c *Cache) forgetAway(key policy.Key, which func(absentee) bool) (n int, err error) {
	return c.changeAllAway(key, which, func(a absentee) error {
		if err := c.cfg.Index.Delete(a.id); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.backLocked(a.key, a.id)
		return nil
	})
}

// putOver records o, of which another body is away. While that is whole and o is not
// nothing is written: o's file then belongs to nothing after a crash, and the bytes
// come again. o needs recording and writing.
func (o *object) putOver(a absentee, r Record) error {
	if a.o == o {
		return nil // it has just gone
	}
	c := o.c
	was, err := c.changeAway(a, func() error {
		old, err := c.cfg.Index.Summary(a.id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if old.Complete && !r.Complete {
			return nil
		}
		o.pinned, o.priority = o.pinned || old.Pinned, cmp.Or(o.priority, old.Priority)
		if err := o.writeLocked(r); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.objects[a.id] == o { // else its volume has gone as well
			c.entries[a.id].pinned = o.pinned
			c.backLocked(a.key, a.id)
		}
		return nil
	})
	if err == nil && !was && !o.file.Condemned() { // a purge of both may have come between
		return o.writeLocked(r)
	}
	return err
}

// unrecord takes an object that left its volume out of the catalogue, unless the
// catalogue speaks of another body, which is away.
func (c *Cache) unrecord(id ObjectID, e *entry) error {
	c.selecting.Lock()
	defer c.selecting.Unlock()
	if _, away := c.absentee(e.key, id); away {
		rec, err := c.cfg.Index.Summary(id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil || rec.Volume != e.volume.ID {
			return err
		}
	}
	return c.cfg.Index.Delete(id)
}
