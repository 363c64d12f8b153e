package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Purge withdraws a key with its variants, unless it is soft, and leaves a purge
// behind, both or none.
// One that stands already did so: what came after it stays.
func (c *Cluster) Purge(ctx context.Context, p swarmcache.Purge) error {
	p = c.purgeThere(p)
	return c.do(ctx, opPurge, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(c.keys.purge(p.ID)), "=", 0)).
			Then(c.purge(p)...).Commit()
		if err == nil {
			c.saw(r.Header) // an etcd that does not know of it any more has lost data
		}
		return err
	})
}

func (c *Cluster) purge(p swarmcache.Purge) []clientv3.Op {
	if p.Soft {
		return []clientv3.Op{clientv3.OpPut(c.keys.purge(p.ID), encode(p))}
	}
	ops := []clientv3.Op{
		clientv3.OpPut(c.keys.purge(p.ID), encode(p)),
		clientv3.OpPut(c.keys.purged(p.Key), c.orderer(p)),
		clientv3.OpDelete(c.keys.kept(p.Key)),
	}
	for _, k := range []string{c.keys.object(p.Key), c.keys.filling(p.Key)} {
		ops = append(ops, clientv3.OpDelete(k), clientv3.OpDelete(k+"/", clientv3.WithPrefix()))
	}
	return ops
}

// Invalidate is Purge, unless etcd knows nothing of the key. While etcd is away it
// is owed: others must not go on for hours with what was changed.
func (c *Cluster) Invalidate(ctx context.Context, p swarmcache.Purge) (told bool, err error) {
	p = c.purgeThere(p)
	err = c.do(ctx, opPurge, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Txn(ctx).Then(c.purgeIfKnown(p)).Commit()
		told = err == nil && !r.Responses[0].GetResponseTxn().Succeeded
		return err
	})
	if errors.Is(err, swarmcache.ErrUnavailable) {
		c.debts.addPurge(p)
		told = true // maybe
	}
	return told, err
}

// purgeIfKnown is the other branch of what finds that nothing is known of a key.
func (c *Cluster) purgeIfKnown(p swarmcache.Purge) clientv3.Op {
	nothing := func(k string) []clientv3.Cmp {
		return []clientv3.Cmp{
			clientv3.Compare(clientv3.CreateRevision(k), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(k+"/"), "=", 0).WithPrefix(),
		}
	}
	unknown := slices.Concat(nothing(c.keys.object(p.Key)), nothing(c.keys.filling(p.Key)), nothing(c.keys.first(p.Key)), nothing(c.keys.coming(p.Key)))
	return clientv3.OpTxn(unknown, nil, c.purge(p))
}

// Expect stands under this node's lease.
func (c *Cluster) Expect(ctx context.Context, key policy.Key) (end func() (known bool), err error) {
	k, lease := c.keys.coming(key.Base())+"/"+rand.Text(), c.leaseID()
	err = c.do(ctx, opExpect, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Put(ctx, k, string(c.cfg.Self.ID), clientv3.WithLease(lease))
		return err
	})
	if err != nil {
		c.debts.add(deleteOurs(k, lease))
		return nil, err
	}
	return func() (known bool) {
		err := c.do(context.Background(), opExpect, func(ctx context.Context, client *clientv3.Client) error {
			r, err := client.Delete(ctx, k)
			known = err == nil && r.Deleted > 0
			return err
		})
		if err != nil {
			c.debts.add(deleteOurs(k, lease))
		}
		return known
	}, nil
}

// obeysAll is the revision of a node that follows no purges.
const obeysAll = math.MaxInt64 - 1

// Obeyed is the revision of etcd up to which this node has obeyed the purges.
func (c *Cluster) Obeyed() int64 { return c.obeyed.Load() }

// obeyedFor is that, as of when a version was last sure not to have been purged. An etcd
// that was restored since counts from before.
func (c *Cluster) obeyedFor(v *swarmcache.Version) int64 {
	now := c.Obeyed()
	return min(cmp.Or(v.Obeyed, now), now)
}

// justOrdered is how old a purge is at most that its node orders for the first time. It
// forgets what it purges before and after etcd is told, and so needs not hear of it; what
// it owed, or orders again, is nobody's.
const justOrdered = 2 * time.Second

func (c *Cluster) orderer(p swarmcache.Purge) string {
	if c.time().Sub(p.At) > justOrdered {
		return ""
	}
	return string(c.cfg.Self.ID)
}

// unlessPurged does then, if cmps hold, unless a key was purged after a revision by
// another node: this one forgets what it purges before and after etcd is told. A purge
// makes its key select nothing, and what is told later would undo that, for those who ask
// until this node has obeyed too.
func (c *Cluster) unlessPurged(key policy.Key, after int64, cmps []clientv3.Cmp, then, otherwise []clientv3.Op) clientv3.Op {
	k := c.keys.purged(key)
	before := clientv3.Compare(clientv3.ModRevision(k), "<", after+1)
	ours := clientv3.Compare(clientv3.Value(k), "=", string(c.cfg.Self.ID))
	return clientv3.OpTxn(append(slices.Clip(cmps), before), then,
		[]clientv3.Op{clientv3.OpTxn(append(slices.Clip(cmps), ours), then, otherwise)})
}

// done reports whether unlessPurged, the i-th operation, did it.
func done(r *clientv3.TxnResponse, i int) bool {
	t := r.Responses[i].GetResponseTxn()
	return t.Succeeded || t.Responses[0].GetResponseTxn().Succeeded
}

// inTouchEvery is how often those who follow the purges hear that nothing is new.
const inTouchEvery = time.Hour

// Purges follows what was purged.
func (c *Cluster) Purges(ctx context.Context, f func(swarmcache.Standing)) error {
	c.obeyed.CompareAndSwap(obeysAll, 1) // no key was made at that revision
	w := &purgeWatch{c: c, tell: f, standing: map[string]swarmcache.Purge{}}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for pause(ctx, inTouchEvery) {
			if c.Healthy() {
				w.again()
			}
		}
	})
	return c.follow(ctx, follower{prefix: c.keys.purges(), state: w.state, changed: w.changed})
}

// purgeWatch is one Purges: what stands, by key.
type purgeWatch struct {
	c    *Cluster
	tell func(swarmcache.Standing)

	mu       sync.Mutex // held across tell
	standing map[string]swarmcache.Purge
	caught   bool
	absences int // when it was last told of a state
	era      swarmcache.Era
}

func (w *purgeWatch) state(rev int64, kvs []*mvccpb.KeyValue) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.standing)
	for _, kv := range kvs {
		w.takeLocked(kv)
	}
	absences, era := w.c.absence()
	afresh := !w.caught || absences != w.absences || era != w.era
	w.caught, w.absences, w.era = true, absences, era
	w.tellLocked(afresh)
	w.c.obeyed.Store(rev)
	return nil
}

func (w *purgeWatch) changed(events changes) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if e.Type == clientv3.EventTypeDelete {
			delete(w.standing, string(e.Kv.Key))
		} else {
			w.takeLocked(e.Kv)
		}
	}
	w.tellLocked(false)
	w.c.obeyed.Store(events[len(events)-1].Kv.ModRevision)
	return nil
}

func (w *purgeWatch) takeLocked(kv *mvccpb.KeyValue) {
	var p swarmcache.Purge
	if err := decode("purge", kv.Value, &p); err != nil {
		w.c.log.Warn("a purge is unreadable", "err", err)
		return
	}
	p.ID = strings.TrimPrefix(string(kv.Key), w.c.keys.purges())
	w.standing[string(kv.Key)] = w.c.purgeHere(p)
}

func (w *purgeWatch) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.caught {
		w.tellLocked(false)
	}
}

func (w *purgeWatch) tellLocked(afresh bool) {
	w.tell(swarmcache.Standing{Purges: slices.Collect(maps.Values(w.standing)), Era: w.c.Era(), Afresh: afresh})
}

// forgetPurges deletes purges that have stood long enough.
func (c *Cluster) forgetPurges(ctx context.Context) error {
	return c.do(ctx, opCollect, func(ctx context.Context, client *clientv3.Client) error {
		g, err := client.Get(ctx, c.keys.purges(), clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range g.Kvs {
			var p swarmcache.Purge
			if decode("purge", kv.Value, &p) == nil && c.time().Sub(p.At) < swarmcache.PurgesStand {
				continue
			}
			purged := c.keys.purged(p.Key)
			_, err := client.Txn(ctx).
				If(clientv3.Compare(clientv3.ModRevision(purged), "=", kv.ModRevision)). // no later one
				Then(clientv3.OpDelete(string(kv.Key)), clientv3.OpDelete(purged)).
				Else(clientv3.OpDelete(string(kv.Key))).Commit()
			if err != nil {
				return err
			}
		}
		return nil
	})
}
