package small

import (
	"fmt"
	"slices"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// variants are what one key selects. They are never changed, but replaced.
//
// Of what is on the disk some may be in memory and some not. They compete all the same
// (RFC 9111 §4.1), so what lies behind those that are here is noted with them.
type variants struct {
	here   []*Object // the newest last
	behind []variant // on the disk only; the newest last

	looked bool            // behind was looked up, at mark
	mark   swarmcache.Mark // of the disk
}

// current reports whether nothing lies behind but what is noted.
func (vs *variants) current() bool { return vs != nil && vs.looked && !vs.mark.Past() }

// stored is what all of them are, behind after here.
func (vs *variants) stored() []policy.Stored {
	all := make([]policy.Stored, 0, len(vs.here)+len(vs.behind))
	for _, o := range vs.here {
		all = append(all, *o.stored.Load())
	}
	for _, v := range vs.behind {
		all = append(all, v.Version.Stored)
	}
	return all
}

// same is the one that is here and selected as s is; nil: none.
func (vs *variants) same(s *policy.Stored) *Object {
	i := slices.IndexFunc(vs.here, func(o *Object) bool { return policy.SameVariant(s, o.stored.Load()) })
	if i < 0 {
		return nil
	}
	return vs.here[i]
}

// with returns a copy with o, the newest. If another one must go for it nobody knows
// any more what is on the disk only.
func (vs variants) with(o *Object) *variants {
	if vs.here = append(slices.Clone(vs.here), o); len(vs.here) > maxVariants {
		vs.here, vs.looked = vs.here[1:], false
	}
	return &vs
}

// weight is that of the variants that are here. It is nothing while all are on
// their way: what weighs nothing is not evicted, and those who wait for it are to
// find it. See settle.
func weight(key policy.Key, vs *variants) uint32 {
	n, whole := int64(len(key)), len(vs.here) == 0
	for _, o := range vs.here {
		if o.Complete() {
			n, whole = n+o.weight, true
		}
	}
	if !whole {
		return 0
	}
	return uint32(min(n+overhead*int64(len(vs.behind)), 1<<32-1))
}

// nowLocked is what there is of key in memory, at least nothing.
func (c *Cache) nowLocked(key policy.Key) *variants {
	if e, ok := c.entries.GetEntryQuietly(key); ok {
		return e.Value
	}
	return &variants{}
}

func (c *Cache) remember(o *Object, since swarmcache.Mark) error {
	key, s := o.version.Key, o.stored.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if since.Past() {
		return fmt.Errorf("%s: %w", key, ErrForgotten)
	}
	var vs variants
	for _, other := range c.nowLocked(key).here {
		switch st := other.stored.Load(); {
		case !policy.SameVariant(s, st):
			vs.here = append(vs.here, other)
		case policy.Older(s, st):
			return fmt.Errorf("%s: %w", key, ErrOutdated)
		}
	}
	c.entries.Set(key, vs.with(o))
	c.passLocked(key)
	if c.disk != nil { // even if it is evicted already
		o.mark = c.disk.marks.Mark(key)
	}
	return nil
}

// look notes what of a shelf, as it was at mark, is not in memory.
func (c *Cache) look(key policy.Key, shelf []variant, mark swarmcache.Mark) *variants {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.nowLocked(key)
	if mark.Past() { // it is being changed: what is here has to do
		return &variants{here: now.here}
	}
	vs := &variants{here: now.here, looked: true, mark: mark}
	for _, v := range shelf {
		if vs.same(&v.Version.Stored) == nil {
			vs.behind = append(vs.behind, v)
		}
	}
	if len(vs.here)+len(vs.behind) == 0 {
		c.entries.Invalidate(key)
		return nil
	}
	c.entries.Set(key, vs)
	return vs
}

// comesBack puts o, which was v on the disk, beside the variants that are here, and
// returns what is here now; nil: it was forgotten meanwhile. It was found in saw.
func (c *Cache) comesBack(o *Object, saw *variants, v variant) *Object {
	key := o.version.Key
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries.GetEntryQuietly(key)
	vs := e.Value
	switch {
	case ok:
	case saw.mark.Past():
		return nil
	default: // evicted meanwhile
		vs = saw
	}
	if other := vs.same(o.stored.Load()); other != nil {
		return other
	}
	i := slices.IndexFunc(vs.behind, func(other variant) bool { return other.Body == v.Body })
	if i < 0 {
		return nil
	}
	o.mark = c.disk.marks.Mark(key)
	next := vs.with(o)
	next.behind = slices.Delete(slices.Clone(vs.behind), i, i+1)
	c.entries.Set(key, next)
	return o
}

// refresh gives s to the response that o is. It returns what is in memory of that now:
// o may have been evicted, and have come back as another object, or come back itself.
// nil: it was forgotten, or replaced.
func (c *Cache) refresh(o *Object, s *policy.Stored) *Object {
	key := o.version.Key
	c.mu.Lock()
	defer c.mu.Unlock()
	o.stored.Store(s)
	vs := c.nowLocked(key)
	for _, other := range vs.here {
		if other.version.ID == o.version.ID {
			other.stored.Store(s)
			return other
		}
	}
	if c.disk == nil || !o.Complete() || o.mark.Past() || vs.same(s) != nil {
		return nil
	}
	c.entries.Set(key, (&variants{here: vs.here}).with(o))
	return o
}

// present is what o is now, if that may be written to the disk: another object of the
// same response, or o itself, if it was only evicted.
func (c *Cache) present(o *Object) *Object {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.nowLocked(o.version.Key).here {
		if other == o || other.version.ID == o.version.ID && other.Complete() {
			return other
		}
	}
	if o.mark.Past() {
		return nil
	}
	return o
}

// lookAgain has the shelf of key looked at again, where o came onto it that is not here.
func (c *Cache) lookAgain(o *Object) {
	key := o.version.Key
	c.mu.Lock()
	defer c.mu.Unlock()
	if vs := c.nowLocked(key); vs.looked && vs.same(o.stored.Load()) == nil {
		c.entries.Set(key, &variants{here: vs.here})
	}
}

func (c *Cache) weigh(o *Object) (here bool) {
	key := o.version.Key
	c.mu.Lock()
	defer c.mu.Unlock()
	vs := c.nowLocked(key)
	if here = slices.Contains(vs.here, o); here {
		c.entries.Set(key, vs)
	}
	return here
}

// removeHere removes from memory what goes, and makes sure that nothing of it comes
// back from the disk that was read before.
func (c *Cache) removeHere(key policy.Key, goes func(*Object) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(c.nowLocked(key).here), goes)
	if len(rest) > 0 {
		c.entries.Set(key, &variants{here: rest})
	} else {
		c.entries.Invalidate(key)
	}
	c.passLocked(key)
}

// pass makes the marks of key past, but for what is here.
func (c *Cache) pass(key policy.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passLocked(key)
}

func (c *Cache) passLocked(key policy.Key) {
	if c.disk == nil {
		return
	}
	c.disk.marks.Mark(key).Advance()
	mark := c.disk.marks.Mark(key)
	for _, o := range c.nowLocked(key).here {
		o.mark = mark
	}
}
