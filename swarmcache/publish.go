package swarmcache

import (
	"context"
	"errors"
	mrand "math/rand/v2"
	"time"

	"shatabdi/policy"
)

// Refresh records new freshness facts of obj's version, here and in the
// directory, after a 304.
func (c *Cache) Refresh(ctx context.Context, obj *Object, s policy.Stored) error {
	if err := obj.o.freshen(s); err != nil {
		return err
	}
	v := obj.o.file.Version()
	c.certain(v.ID, 0)
	err := c.offer(ctx, obj.o.file, v)
	if errors.Is(err, ErrPoisoned) {
		obj.o.mismatch()
	}
	if errors.Is(err, ErrStale) {
		return obj.o.unconfirmed(v)
	}
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrPurged) {
		return nil
	}
	return err
}

// Renew takes over what the directory knows better about obj's key, by Date:
// fresher facts of the same version, or another version. It reports whether there
// was anything; then look up again.
func (c *Cache) Renew(ctx context.Context, obj *Object) (news bool, err error) {
	have := obj.Version()
	v, fill, err := c.known(ctx, have.Key)
	if err != nil {
		return false, err
	}
	if fill != nil && fill.Ended == "" && (v == nil || v.ID != fill.Version.ID) {
		v = &fill.Version
	}
	switch {
	case v == nil || !have.older(v) && !surer(v, &have), !policy.SameVariant(&v.Stored, &have.Stored):
		return false, nil
	case v.ID == have.ID:
		return true, obj.o.freshen(v.Stored)
	}
	o, err := c.admit(*v)
	if err != nil {
		return false, err
	}
	defer o.file.Release()
	o.expect(fill)
	return true, nil
}

// surer reports whether v's times are known, of what is here and may be older.
func surer(v, have *Version) bool {
	return v.ID == have.ID && have.Stored.Doubt == policy.Unknown && v.Stored.Doubt != policy.Unknown && !v.older(have)
}

// Withdraw makes key select nothing, here and in the directory. Advance its marks
// before, lest what the origin was asked already is stored after.
func (c *Cache) Withdraw(ctx context.Context, key policy.Key) error {
	if err := c.forgetKey(key); err != nil {
		return err
	}
	err := c.cfg.Directory.Withdraw(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// publish tells the directory of a complete object, unless it knows. What the directory
// does not take, because it knows better, is for the origin to confirm, and so is what
// others have there. What is ofNoUse it need not know.
//
// What comes late is too: where nothing is known of a key, who changes it at the origin
// (RFC 9111 §4.4) leaves no purge.
func (c *Cache) publish(ctx context.Context, o *object, how telling) error {
	v := o.file.Version()
	have, _, err := c.cfg.Directory.Lookup(ctx, v.Key)
	there := err == nil && have != nil && have.ID == v.ID
	known := there && !have.Stored.Invalid && !have.older(&v)
	doubted := how >= soon && there && have.Stored.Invalid && !have.older(&v)
	switch {
	case how >= late && errors.Is(err, ErrUnavailable):
		return err // it may be known there
	case doubted, how >= late && !known:
		if err := o.unconfirmed(v); err != nil {
			return err
		}
		v = o.file.Version()
	}
	if nothing := errors.Is(err, ErrNotFound) || err == nil && have == nil; nothing && ofNoUse(&v) {
		return nil
	}
	marks := how == unmarked && known && v.Stored.Invalid && !v.older(have)
	if there && !marks && !have.InfoHash.IsZero() {
		return c.keep(ctx, v)
	}
	err = c.offer(ctx, o.file, v)
	switch {
	case errors.Is(err, ErrStale):
		return o.unconfirmed(v)
	case errors.Is(err, ErrPoisoned): // see compare
		return nil
	case err != nil:
		return err
	}
	return c.keep(ctx, v)
}

// offer publishes what is of f, unless that was forgotten.
func (c *Cache) offer(ctx context.Context, f *File, v Version) error {
	v.Obeyed = c.cfg.Directory.Obeyed()
	if f.Condemned() { // later the directory sees it
		return ErrStale
	}
	return c.cfg.Directory.Publish(ctx, v)
}

// telling is what the directory knew of a complete object before it is told of it.
type telling int

const (
	again    telling = iota // all of it, and has lost it
	soon                    // that it comes, or it came just now
	late                    // nothing, for longer: what was changed meanwhile at its origin nobody was told of
	unmarked                // the same, or all of it but that the origin is to confirm it
)

// tellEvery is how often at least the directory is tried: until it is told, nobody tells
// this node what others change.
const tellEvery = 10 * time.Second

// publishLater publishes complete objects, and tries again while the directory
// is away. What this node does not get done, it does after its next start.
func (c *Cache) publishLater(wait time.Duration, how telling, ids ...ObjectID) {
	c.goWork(func() {
		select {
		case <-c.heard:
		case <-c.ctx.Done():
		}
		for len(ids) > 0 {
			select {
			case <-c.ctx.Done():
				return
			case <-time.After(wait):
			}
			if err := c.publishStored(ids[0], how); err != nil {
				c.log.Debug("publish", "object", ids[0], "error", err)
				wait = min(max(2*wait, time.Second), tellEvery) + mrand.N(time.Second)
				if how == soon {
					how = late
				}
				continue
			}
			ids, wait = ids[1:], 0
		}
	})
}

// publishStored publishes an object, unless it was purged meanwhile.
func (c *Cache) publishStored(id ObjectID, how telling) error {
	o, err := c.look(id)
	if err != nil {
		return nil // it must not come back
	}
	defer o.file.Release()
	if err := c.publish(c.ctx, o, how); err != nil {
		return err
	}
	o.told()
	c.recheck(o.file)
	return nil
}

// recheck takes back what was published if it was forgotten in that moment: who
// purged it may have looked too early to find it.
func (c *Cache) recheck(f *File) {
	if !f.Condemned() {
		return
	}
	have := f.Version()
	v, _, err := c.cfg.Directory.Lookup(c.ctx, have.Key)
	if err == nil && v != nil && v.ID == have.ID && !putAgain(v, &have) {
		err = c.cfg.Directory.WithdrawVersion(c.ctx, have.Key, have.ID)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.log.Warn("withdraw what was forgotten", "key", have.Key, "error", err)
	}
}
