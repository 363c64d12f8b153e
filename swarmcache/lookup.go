package swarmcache

import (
	"context"
	"errors"
	"fmt"

	"shatabdi/policy"
)

// Lookup finds what key selects: a local object, one being filled, or one the
// cluster holds; with the directory's answer bounded in time. ErrNotFound: a
// miss. ErrBusy: what is not here yet cannot come now. The object is a handle:
// Close it. o serves the spans that this node may have to fetch while the handle's
// readers want them.
func (c *Cache) Lookup(ctx context.Context, key policy.Key, o Origin) (*Object, error) {
	return c.LookupWanted(ctx, key, o, func(policy.Stored) bool { return true })
}

// LookupWanted is Lookup, but takes of what only the directory knows nothing but
// what is wanted; an *OtherVariantError where there is nothing else.
func (c *Cache) LookupWanted(ctx context.Context, key policy.Key, o Origin, wanted func(policy.Stored) bool) (*Object, error) {
	for range 3 {
		since := c.Mark(key.Base())
		obj, err := c.find(ctx, key, o, wanted, since, func() (*Version, *FillRecord, error) { return c.known(ctx, key) })
		if err != errForgotten {
			return obj, err
		}
	}
	return nil, ErrNotFound
}

// errForgotten: what the directory said was forgotten before it was here, and
// nobody who forgets it would have found it.
var errForgotten = errors.New("forgotten meanwhile")

// Mark is Epochs.Mark, with what this node has obeyed.
func (c *Cache) Mark(key policy.Key) Mark {
	obeyed := c.cfg.Directory.Obeyed()
	m := c.Epochs.Mark(key)
	m.Obeyed = obeyed
	return m
}

// find is LookupWanted with what directory says of key, at since or later.
func (c *Cache) find(ctx context.Context, key policy.Key, o Origin, wanted func(policy.Stored) bool, since Mark, directory func() (*Version, *FillRecord, error)) (*Object, error) {
	local, err := c.Local(key, o)
	if err == nil && local.Complete() && !local.Certain() {
		ask, answered, done := c.toAsk(local.o.file.version.ID)
		switch {
		case done != nil:
			defer done()
			return c.ascertain(ctx, local, o, wanted, since, directory)
		case ask:
			local.Close()
			select {
			case <-answered:
				return c.find(ctx, key, o, wanted, since, directory)
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	if err == nil && (local.Complete() || local.o.busy()) {
		return local, nil
	}
	if busy := c.begins(); busy != nil {
		if err == nil {
			local.Close()
		}
		return nil, busy
	}
	if err == nil {
		c.untilHeard(ctx)
		local.doubt = c.unheardOf(local)
	}
	v, fill, derr := directory()
	if err == nil && since.Past() {
		local.Close()
		return nil, errForgotten
	}
	var other *Version
	if derr == nil {
		other, v, fill = pick(v, fill, wanted)
		v, fill = running(v, fill)
	}
	switch {
	case derr == nil && v != nil:
	case err != nil && other != nil:
		return nil, &OtherVariantError{other.Stored}
	case err == nil: // nothing is known of it elsewhere: what is here counts
		return local, nil
	case errors.Is(derr, ErrUnavailable):
		return nil, fmt.Errorf("%w here, and the %w", ErrNotFound, derr)
	default:
		return nil, ErrNotFound
	}
	if err == nil {
		if local.Version().ID == v.ID {
			local.o.learn(v.InfoHash)
			local.o.expect(fill)
			return local, nil
		}
		local.Close()
	}
	obj, err := c.take(*v, fill, o, since)
	if err != nil && err != errForgotten {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return obj, err
}

// take admits what the directory said of a key at since or later, unless that was
// forgotten meanwhile.
func (c *Cache) take(v Version, fill *FillRecord, o Origin, since Mark) (*Object, error) {
	obj, err := c.admit(v)
	if err != nil {
		return nil, err
	}
	h := obj.handle(o)
	if since.Past() {
		h.Close()
		c.forget(v.ID)
		return nil, errForgotten
	}
	obj.expect(fill)
	return h, nil
}

// running is what counts of a version and a fill: the fill, while it runs.
func running(v *Version, fill *FillRecord) (*Version, *FillRecord) {
	switch {
	case fill == nil || fill.Ended != "":
		return v, nil
	case v == nil || v.ID != fill.Version.ID:
		return &fill.Version, fill
	}
	return v, fill
}

// OtherVariantError tells of the only response that a key selects, which is not
// the one that is wanted.
type OtherVariantError struct{ Stored policy.Stored }

func (e *OtherVariantError) Error() string { return "another variant stands under that key" }

// pick leaves out what is not wanted; other is one of those.
func pick(v *Version, fill *FillRecord, wanted func(policy.Stored) bool) (other, _ *Version, _ *FillRecord) {
	if v != nil && !wanted(v.Stored) {
		other, v = v, nil
	}
	if fill != nil && !wanted(fill.Version.Stored) {
		other, fill = &fill.Version, nil
	}
	return other, v, fill
}
