package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Invalidate is Purge, unless etcd knows nothing of the key: then nobody should have
// it, and there may be many such changes. But a node that could not tell what it
// stored, while etcd was away, would tell it afterwards, and others would use what the
// origin has changed since. So it is noted when that last was, for many keys together,
// and what may be older is not taken any more: its node has the origin confirm it.
//
// While etcd is away both are owed: others must not go on for hours with what was
// changed.
func (c *Cluster) Invalidate(ctx context.Context, p swarmcache.Purge) (told bool, err error) {
	unknown := c.unknown(p.Key)
	err = c.do(ctx, opPurge, func(ctx context.Context, client *clientv3.Client) error {
		key := c.keys.change(p.Key)
		for at := (change{}); ; {
			r, err := client.Txn(ctx).
				If(append(unknown, at.stands(key))...).
				Then(clientv3.OpPut(key, encode(at.with(c.purgeThere(p))))).
				Else(clientv3.OpTxn(unknown, []clientv3.Op{clientv3.OpGet(key)}, c.purge(p))).Commit()
			if err != nil || r.Succeeded {
				return err
			}
			still := (*clientv3.TxnResponse)(r.Responses[0].GetResponseTxn())
			if told = !still.Succeeded; told {
				return nil
			}
			if at, err = readChange(still, 0); err != nil {
				return err
			}
		}
	})
	if errors.Is(err, swarmcache.ErrUnavailable) {
		c.debts.put([]debt{{op: clientv3.OpTxn(unknown, nil, c.purge(p)), stays: true}})
		c.changed.owe(c.keys.change(p.Key), p)
		told = true // maybe
	}
	return told, err
}

// unknown holds where there is nothing of a key, nor of its variants.
func (c *Cluster) unknown(key policy.Key) (l []clientv3.Cmp) {
	for _, k := range []string{c.keys.object(key), c.keys.filling(key), c.keys.first(key)} {
		l = append(l, clientv3.Compare(clientv3.CreateRevision(k), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(k+"/"), "=", 0).WithPrefix())
	}
	return slices.Clip(l)
}

// change is when one of many keys was last changed of which nothing was known; the zero
// change: never.
type change struct {
	At    time.Time     `json:"at"`
	Doubt time.Duration `json:"doubt,omitempty"` // as of a swarmcache.Purge
	Scale string        `json:"scale,omitempty"`
	rev   int64
}

func readChange(r *clientv3.TxnResponse, i int) (at change, err error) {
	if kv := only(r, i); kv != nil {
		at.rev = kv.ModRevision
		err = decode("change", kv.Value, &at)
	}
	return at, err
}

// stands holds while nothing was changed after it.
func (at change) stands(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", at.rev)
}

// with is the later of the two, or, where their times cannot be compared, p.
func (at change) with(p swarmcache.Purge) change {
	next := change{At: p.At, Doubt: p.Doubt, Scale: p.Scale}
	if at.rev > 0 && at.Scale == p.Scale {
		next.Doubt = max(at.Doubt, p.Doubt)
		if at.At.After(p.At) {
			next.At = at.At
		}
	}
	return next
}

// mayUndo reports whether v may be of before the change. What was put has no origin at
// which it could be changed.
func (at change) mayUndo(v *swarmcache.Version) bool {
	if at.rev == 0 || swarmcache.IsPut(*v) {
		return false
	}
	asked := v.Stored.RequestTime
	if asked.IsZero() {
		asked = v.Stored.ResponseTime
	}
	return at.Scale != v.Scale || asked.Sub(at.At) <= policy.Doubts(at.Doubt, v.Stored.Doubt)
}

// redate gives a change the present time in the cluster's scale when it has another:
// else nothing could ever be told after it.
func (c *Cluster) redate(ctx context.Context, client *clientv3.Client, key policy.Key, at change) error {
	now := c.purgeThere(swarmcache.Purge{At: c.cfg.Now()})
	if now.Scale == "" || now.Scale == at.Scale {
		return nil
	}
	k := c.keys.change(key)
	_, err := client.Txn(ctx).If(at.stands(k)).Then(clientv3.OpPut(k, encode(change{}.with(now)))).Commit()
	return err
}

// owedChanges are changes of which etcd is to be told when it is back, by their keys
// there: so few that none need be dropped.
type owedChanges struct {
	mu  sync.Mutex
	due map[string]swarmcache.Purge
}

func (o *owedChanges) owe(key string, p swarmcache.Purge) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.due == nil {
		o.due = map[string]swarmcache.Purge{}
	}
	if !o.due[key].At.After(p.At) {
		o.due[key] = p
	}
}

func (o *owedChanges) take() map[string]swarmcache.Purge {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.due)
}

func (o *owedChanges) paid(key string, p swarmcache.Purge) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.due[key].At.Equal(p.At) {
		delete(o.due, key)
	}
}

func (o *owedChanges) pay(ctx context.Context, c *Cluster) {
	for key, p := range o.take() {
		err := c.do(ctx, opPurge, func(ctx context.Context, client *clientv3.Client) error {
			for at := (change{}); ; {
				r, err := client.Txn(ctx).If(at.stands(key)).
					Then(clientv3.OpPut(key, encode(at.with(c.purgeThere(p))))).
					Else(clientv3.OpGet(key)).Commit()
				if err != nil || r.Succeeded {
					return err
				}
				if at, err = readChange(r, 0); err != nil {
					return err
				}
			}
		})
		if err != nil {
			return
		}
		o.paid(key, p)
	}
}
