package proxy

import (
	"context"
	"io"
	"os"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// cache is what the proxy needs of *swarmcache.Cache, whose docs hold here too.
type cache interface {
	Local(key policy.Key, o swarmcache.Origin) (object, error)
	Lookup(ctx context.Context, key policy.Key, o swarmcache.Origin) (object, error)
	ClaimFirst(ctx context.Context, key policy.Key) (release func(), err error)
	// Fill leaves body untouched whenever it fails.
	Fill(ctx context.Context, v swarmcache.Version, ranges bool, body io.ReadCloser, o swarmcache.Origin) (object, error)
	Refresh(ctx context.Context, obj object, s policy.Stored) error
	Renew(ctx context.Context, obj object) (news bool, err error)
	Withdraw(ctx context.Context, key policy.Key) error
	Spool(v swarmcache.Version) spool
}

type object interface {
	Version() swarmcache.Version
	Complete() bool
	Open() (*os.File, error)
	NewReader(ctx context.Context, from, to int64) io.ReadCloser
	Sources() (local, swarm, origin int64)
	Close()
}

type spool interface {
	io.Writer
	Commit(ctx context.Context, atLeast int64) error
	Abort()
}

// swarmCache gives a *swarmcache.Cache the shape of cache.
type swarmCache struct{ *swarmcache.Cache }

type swarmObject struct{ *swarmcache.Object }

func (o swarmObject) NewReader(ctx context.Context, from, to int64) io.ReadCloser {
	return o.Object.NewReader(ctx, from, to)
}

func wrapObject(o *swarmcache.Object, err error) (object, error) {
	if err != nil {
		return nil, err
	}
	return swarmObject{o}, nil
}

func (c swarmCache) Local(key policy.Key, o swarmcache.Origin) (object, error) {
	return wrapObject(c.Cache.Local(key, o))
}

func (c swarmCache) Lookup(ctx context.Context, key policy.Key, o swarmcache.Origin) (object, error) {
	return wrapObject(c.Cache.Lookup(ctx, key, o))
}

func (c swarmCache) Fill(ctx context.Context, v swarmcache.Version, ranges bool, body io.ReadCloser, o swarmcache.Origin) (object, error) {
	return wrapObject(c.Cache.Fill(ctx, v, ranges, body, o))
}

func (c swarmCache) Refresh(ctx context.Context, obj object, s policy.Stored) error {
	return c.Cache.Refresh(ctx, obj.(swarmObject).Object, s)
}

func (c swarmCache) Renew(ctx context.Context, obj object) (bool, error) {
	return c.Cache.Renew(ctx, obj.(swarmObject).Object)
}

func (c swarmCache) Spool(v swarmcache.Version) spool { return c.Cache.Spool(v) }
