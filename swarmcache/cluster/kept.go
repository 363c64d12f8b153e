package cluster

import (
	"context"
	"strings"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// What the cluster keeps copies of, and who is to make them. Nothing here is
// asked or written while all is well, but when something becomes complete that is
// kept: the leader follows what is kept, each node its own orders.

// Keep implements swarmcache.Keeper.
func (c *Cluster) Keep(ctx context.Context, k swarmcache.Kept) error {
	key, value := c.keys.kept(k.Key), encode(k)
	return c.do(ctx, opKeep, func(ctx context.Context, client *clientv3.Client) error {
		if k.Replicas <= 0 {
			_, err := client.Delete(ctx, key)
			return err
		}
		// A comparison with a key that is not there fails.
		_, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.Value(key), "=", value)).
			Else(clientv3.OpPut(key, value)).Commit()
		return err
	})
}

// AllKept implements swarmcache.Keeper.
func (c *Cluster) AllKept(ctx context.Context) (all []swarmcache.Kept, err error) {
	err = c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Get(ctx, c.keys.allKept(), clientv3.WithPrefix())
		if err == nil {
			all = decodeAll[swarmcache.Kept](c, r.Kvs)
		}
		return err
	})
	return all, err
}

// Kept returns what is kept of a key, or ErrNotFound.
func (c *Cluster) Kept(ctx context.Context, key policy.Key) (k swarmcache.Kept, err error) {
	err = c.get(ctx, c.keys.kept(key), &k)
	return k, err
}

// FollowKept calls f, from one goroutine, with all that is kept, and then with
// what changes: what is kept of some keys now, by names that are theirs, and of
// which nothing is any more. It returns when ctx is done.
func (c *Cluster) FollowKept(ctx context.Context, f func(all bool, kept map[string]swarmcache.Kept, gone []string)) error {
	name := func(kv *mvccpb.KeyValue) string { return strings.TrimPrefix(string(kv.Key), c.keys.allKept()) }
	take := func(to map[string]swarmcache.Kept, kv *mvccpb.KeyValue) {
		for _, k := range decodeAll[swarmcache.Kept](c, []*mvccpb.KeyValue{kv}) {
			to[name(kv)] = k
		}
	}
	return c.follow(ctx, follower{
		prefix: c.keys.allKept(),
		state: func(_ int64, kvs []*mvccpb.KeyValue) error {
			all := make(map[string]swarmcache.Kept, len(kvs))
			for _, kv := range kvs {
				take(all, kv)
			}
			f(true, all, nil)
			return nil
		},
		changed: func(events changes) error {
			news, gone := map[string]swarmcache.Kept{}, []string(nil)
			for _, e := range events {
				delete(news, name(e.Kv))
				if e.Type == clientv3.EventTypeDelete {
					gone = append(gone, name(e.Kv))
				} else {
					take(news, e.Kv)
				}
			}
			f(false, news, gone)
			return nil
		},
	})
}

func (c *Cluster) order(o swarmcache.Order) string {
	return c.keys.ordersOf(o.Node) + sum(o.Kept.Key)
}

// Order gives a node an order, in the place of one for the same key.
func (c *Cluster) Order(ctx context.Context, o swarmcache.Order) error {
	return c.do(ctx, opOrder, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Put(ctx, c.order(o), encode(o))
		return err
	})
}

// FailOrder says why an order that still stands cannot be obeyed.
func (c *Cluster) FailOrder(ctx context.Context, o swarmcache.Order) error {
	return c.do(ctx, opOrder, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(c.order(o)), ">", 0)).
			Then(clientv3.OpPut(c.order(o), encode(o))).Commit()
		return err
	})
}

// EndOrder takes an order back.
func (c *Cluster) EndOrder(ctx context.Context, o swarmcache.Order) error {
	return c.do(ctx, opOrder, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Delete(ctx, c.order(o))
		return err
	})
}

// Orders returns all orders that stand.
func (c *Cluster) Orders(ctx context.Context) (all []swarmcache.Order, err error) {
	err = c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Get(ctx, c.keys.orders(), clientv3.WithPrefix())
		if err == nil {
			all = decodeAll[swarmcache.Order](c, r.Kvs)
		}
		return err
	})
	return all, err
}

// FollowOrders calls f, from one goroutine, with each order for this node. It
// returns when ctx is done.
func (c *Cluster) FollowOrders(ctx context.Context, f func(swarmcache.Order)) error {
	tell := func(kvs ...*mvccpb.KeyValue) {
		for _, o := range decodeAll[swarmcache.Order](c, kvs) {
			f(o)
		}
	}
	return c.follow(ctx, follower{
		prefix: c.keys.ordersOf(c.cfg.Self.ID),
		state:  func(_ int64, kvs []*mvccpb.KeyValue) error { tell(kvs...); return nil },
		changed: func(events changes) error {
			for _, e := range events {
				if e.Type != clientv3.EventTypeDelete {
					tell(e.Kv)
				}
			}
			return nil
		},
	})
}

// TellHealth lets all nodes know what this one sees, for as long as it lives.
func (c *Cluster) TellHealth(ctx context.Context, h swarmcache.Health) error {
	return c.do(ctx, opHealth, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Put(ctx, c.keys.health(), encode(h), clientv3.WithLease(c.leaseID()))
		return err
	})
}

// Health is what the leader sees, or ErrNotFound before it has looked.
func (c *Cluster) Health(ctx context.Context) (h swarmcache.Health, err error) {
	err = c.get(ctx, c.keys.health(), &h)
	return h, err
}

// get reads one value, or returns ErrNotFound.
func (c *Cluster) get(ctx context.Context, key string, v any) error {
	return c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Get(ctx, key)
		switch {
		case err != nil:
			return err
		case len(r.Kvs) == 0:
			return swarmcache.ErrNotFound
		}
		return decode(key, r.Kvs[0].Value, v)
	})
}

// decodeAll leaves out what is unreadable.
func decodeAll[T any](c *Cluster, kvs []*mvccpb.KeyValue) []T {
	all := make([]T, 0, len(kvs))
	for _, kv := range kvs {
		var v T
		if err := decode(string(kv.Key), kv.Value, &v); err != nil {
			c.log.Warn("a record is unreadable", "err", err)
			continue
		}
		all = append(all, v)
	}
	return all
}
