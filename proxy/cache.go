package proxy

import (
	"context"
	"io"
	"net/url"
	"sync/atomic"

	"shatabdi/policy"
	"shatabdi/proxy/small"
	"shatabdi/swarmcache"
)

// cache is what the proxy needs of *swarmcache.Cache, whose docs hold here too.
type cache interface {
	Mark(key policy.Key) swarmcache.Mark
	Local(key policy.Key, o swarmcache.Origin) (object, error)
	LookupWanted(ctx context.Context, key policy.Key, o swarmcache.Origin, wanted func(policy.Stored) bool) (object, error)
	ClaimFirst(ctx context.Context, key policy.Key, o swarmcache.Origin, wanted func(policy.Stored) bool) (release func(), there object, err error)
	// Fill leaves body untouched whenever it fails.
	Fill(ctx context.Context, v swarmcache.Version, ranges bool, body io.ReadCloser, o swarmcache.Origin) (object, error)
	CountUse(ctx context.Context, key policy.Key) int
	Withdraw(ctx context.Context, key policy.Key) error
	Invalidate(ctx context.Context, key policy.Key) error
	Purge(ctx context.Context, key policy.Key) (had int, err error)
	Spool(v swarmcache.Version) spool
	PutAt(ctx context.Context, at swarmcache.Place, key func(*url.URL) policy.Key, holds func(exists bool) bool, r io.Reader) (rec swarmcache.Record, created bool, err error)
}

// object is a stored response, or one that is coming in: of the swarm, or small.
type object interface {
	Version() swarmcache.Version
	Complete() bool
	// Open opens the body of a complete object.
	Open() (io.ReadSeekCloser, error)
	// NewReader reads bytes as they come.
	NewReader(ctx context.Context, from, to int64) io.ReadCloser
	Sources() (local, swarm, origin int64)
	// Refresh records new freshness facts, and Renew takes over what others know
	// better. Withdraw makes what selects the object select it no more.
	Refresh(ctx context.Context, s policy.Stored) error
	Renew(ctx context.Context) (news bool, err error)
	Withdraw(ctx context.Context) error
	Close()
}

type spool interface {
	io.Writer
	Commit(ctx context.Context, atLeast int64) error
	Abort()
}

// swarmCache gives a *swarmcache.Cache the shape of cache.
type swarmCache struct{ *swarmcache.Cache }

func (c swarmCache) wrap(o *swarmcache.Object, err error) (object, error) {
	if err != nil {
		return nil, err
	}
	return swarmObject{o, c.Cache}, nil
}

func (c swarmCache) Local(key policy.Key, o swarmcache.Origin) (object, error) {
	return c.wrap(c.Cache.Local(key, o))
}

func (c swarmCache) LookupWanted(ctx context.Context, key policy.Key, o swarmcache.Origin, wanted func(policy.Stored) bool) (object, error) {
	return c.wrap(c.Cache.LookupWanted(ctx, key, o, wanted))
}

func (c swarmCache) ClaimFirst(ctx context.Context, key policy.Key, o swarmcache.Origin, wanted func(policy.Stored) bool) (release func(), there object, err error) {
	release, obj, err := c.Cache.ClaimFirst(ctx, key, o, wanted)
	if obj != nil {
		there, err = c.wrap(obj, err)
	}
	return release, there, err
}

func (c swarmCache) Fill(ctx context.Context, v swarmcache.Version, ranges bool, body io.ReadCloser, o swarmcache.Origin) (object, error) {
	return c.wrap(c.Cache.Fill(ctx, v, ranges, body, o))
}

func (c swarmCache) Spool(v swarmcache.Version) spool { return c.Cache.Spool(v) }

// swarmObject gives a *swarmcache.Object the shape of object.
type swarmObject struct {
	*swarmcache.Object
	c *swarmcache.Cache
}

func (o swarmObject) Open() (io.ReadSeekCloser, error) {
	f, err := o.Object.Open()
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (o swarmObject) NewReader(ctx context.Context, from, to int64) io.ReadCloser {
	return o.Object.NewReader(ctx, from, to)
}

func (o swarmObject) Refresh(ctx context.Context, s policy.Stored) error {
	return o.c.Refresh(ctx, o.Object, s)
}

func (o swarmObject) Renew(ctx context.Context) (bool, error) { return o.c.Renew(ctx, o.Object) }

func (o swarmObject) Withdraw(ctx context.Context) error { return o.c.Withdraw(ctx, o.Version().Key) }

// isCertain reports whether obj is what the cluster has, as far as this node knows.
func isCertain(obj object) bool {
	c, ok := obj.(interface{ Certain() bool })
	return !ok || c.Certain()
}

// readAlong is a small object on its way, as one request reads it.
type readAlong struct {
	*small.Object
	n atomic.Int64
}

func (o *readAlong) NewReader(ctx context.Context, from, to int64) io.ReadCloser {
	return &counted{o.Object.NewReader(ctx, from, to), &o.n}
}

func (o *readAlong) Sources() (local, swarm, origin int64) { return 0, 0, o.n.Load() }

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// smallObject gives a *small.Object the shape of object.
func smallObject(o *small.Object) object {
	if o.Complete() {
		return o
	}
	return &readAlong{Object: o}
}

// inMemory is what is special about a small object: its body is in one piece.
type inMemory interface{ Bytes() []byte }

func isSmall(obj object) bool {
	_, is := obj.(inMemory)
	return is
}
