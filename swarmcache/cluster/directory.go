package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Lookup asks in one round trip for the version that key selects and the fill
// that runs for it.
func (c *Cluster) Lookup(ctx context.Context, key policy.Key) (*swarmcache.Version, *swarmcache.FillRecord, error) {
	c.untilClocked(ctx)
	var version *swarmcache.Version
	var fill *swarmcache.FillRecord
	err := c.do(ctx, opLookup, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Txn(ctx).Then(
			clientv3.OpGet(c.keys.object(key)),
			clientv3.OpGet(c.keys.filling(key)),
		).Commit()
		if err != nil {
			return err
		}
		if version, err = readVersion(r, 0); err != nil {
			return err
		}
		if kv := only(r, 1); kv != nil {
			var p pointer
			if err := decode("pointer", kv.Value, &p); err != nil {
				return err
			}
			fill = p.running()
		}
		if version == nil && fill == nil {
			return swarmcache.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return c.versionHere(version), c.fillHere(fill), nil
}

// readVersion returns the version that the i-th operation read, or nil.
func readVersion(r *clientv3.TxnResponse, i int) (*swarmcache.Version, error) {
	kv := only(r, i)
	if kv == nil {
		return nil, nil
	}
	v := new(swarmcache.Version)
	if err := decode("version", kv.Value, v); err != nil {
		return nil, err
	}
	return v, nil
}

// only returns the key that the i-th operation of a transaction read, or nil.
func only(r *clientv3.TxnResponse, i int) *mvccpb.KeyValue {
	if kvs := r.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}

// Publish makes v current unless the directory's response is newer, or its key was purged
// since v.Obeyed. Of the same version the more recent facts stay, and what is known of its
// bytes is kept.
func (c *Cluster) Publish(ctx context.Context, v swarmcache.Version) error {
	c.untilClocked(ctx)
	key, v, obeyed := c.keys.object(v.Key), c.versionThere(v), c.obeyedFor(&v)
	err := c.do(ctx, opPublish, func(ctx context.Context, client *clientv3.Client) error {
		var old *swarmcache.Version // at first we suppose that there is none
		var rev int64
		for {
			next := v
			switch {
			case old == nil:
			case old.ID == v.ID && old.SHA256 != "" && v.SHA256 != "" && old.SHA256 != v.SHA256:
				return swarmcache.ErrPoisoned
			case old.ID == v.ID:
				next = merge(*old, v)
			default:
				was := factsFor(old, v.Scale)
				if policy.Older(&v.Stored, &was) {
					return swarmcache.ErrStale
				}
				next = v
				if old.Scale != v.Scale && (old.Stored.Undated || v.Stored.Undated) && !policy.Older(&was, &v.Stored) {
					next.Stored.Doubt = policy.Unknown // nobody can tell which of them is newer: the origin can
				}
			}
			unchanged := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", rev)}
			filled := old == nil && c.takesPart(v.ID)
			if filled {
				// Who made key select nothing took the fill away with that. What was
				// published after it others would find, and keep.
				unchanged = append(unchanged, clientv3.Compare(clientv3.CreateRevision(c.keys.filling(v.Key)), ">", 0))
			}
			r, err := client.Txn(ctx).If(unchanged...).
				Then(c.unlessPurged(v.Key, obeyed, nil, []clientv3.Op{clientv3.OpPut(key, encode(next))}, nil)).
				Else(clientv3.OpGet(key), clientv3.OpGet(c.keys.filling(v.Key), clientv3.WithKeysOnly())).Commit()
			switch {
			case err != nil:
				return err
			case r.Succeeded && !done(r, 0):
				return swarmcache.ErrPurged
			case r.Succeeded:
				return nil
			}
			if filled && only(r, 0) == nil && only(r, 1) == nil {
				return swarmcache.ErrStale
			}
			old, rev = nil, 0
			if kv := only(r, 0); kv != nil {
				old, rev = new(swarmcache.Version), kv.ModRevision
				if err := decode("version", kv.Value, old); err != nil {
					old = nil // replace it
				}
			}
		}
	})
	if err == nil && v.Key != v.Key.Base() {
		err = c.boundVariants(ctx, v.Key.Base())
	}
	return err
}

// boundVariants deletes those variants of a key that were published first, where
// there are too many.
func (c *Cluster) boundVariants(ctx context.Context, base policy.Key) error {
	return c.do(ctx, opPublish, func(ctx context.Context, client *clientv3.Client) error {
		g, err := client.Get(ctx, c.keys.object(base)+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly(),
			clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortAscend))
		if err != nil {
			return err
		}
		for _, kv := range g.Kvs[:max(0, len(g.Kvs)-swarmcache.MaxVariants)] {
			if _, err := client.Delete(ctx, string(kv.Key)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Withdraw makes key select nothing, and lead to no fill: one that runs goes on
// for those who take part in it.
func (c *Cluster) Withdraw(ctx context.Context, key policy.Key) error {
	return c.do(ctx, opWithdraw, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).Then(
			clientv3.OpDelete(c.keys.object(key)),
			clientv3.OpDelete(c.keys.filling(key)),
			clientv3.OpDelete(c.keys.kept(key)),
		).Commit()
		return err
	})
}

// WithdrawVersion makes key select nothing where it selects that version, or its fill.
func (c *Cluster) WithdrawVersion(ctx context.Context, key policy.Key, id swarmcache.ObjectID) error {
	return c.do(ctx, opWithdraw, func(ctx context.Context, client *clientv3.Client) error {
		for {
			r, err := client.Txn(ctx).Then(clientv3.OpGet(c.keys.object(key)), clientv3.OpGet(c.keys.filling(key))).Commit()
			if err != nil {
				return err
			}
			v, err := readVersion(r, 0)
			if err != nil {
				return err
			}
			at, err := readEntry(r, 1)
			if err != nil {
				return err
			}
			var unchanged []clientv3.Cmp
			var gone []clientv3.Op
			if v != nil && v.ID == id {
				unchanged = append(unchanged, clientv3.Compare(clientv3.ModRevision(c.keys.object(key)), "=", only(r, 0).ModRevision))
				gone = append(gone, clientv3.OpDelete(c.keys.object(key)), clientv3.OpDelete(c.keys.kept(key)))
			}
			if fill := at.running(); fill != nil && fill.Version.ID == id {
				unchanged = append(unchanged, clientv3.Compare(clientv3.ModRevision(c.keys.filling(key)), "=", at.rev))
				gone = append(gone, clientv3.OpDelete(c.keys.filling(key)))
			}
			if len(gone) == 0 {
				return nil
			}
			if t, err := client.Txn(ctx).If(unchanged...).Then(gone...).Commit(); err != nil || t.Succeeded {
				return err
			}
		}
	})
}

// merge refreshes the facts of a version: the more recent response counts, of two of a
// second the one that came later, and what is known of the bytes is never forgotten. Of
// the same facts those count whose times are known best.
func merge(old, v swarmcache.Version) swarmcache.Version {
	was := factsFor(&old, v.Scale)
	switch {
	case policy.Older(&v.Stored, &was), sameFacts(&was, &v.Stored) && was.Doubt <= v.Stored.Doubt:
		v.Stored, v.Scale = old.Stored, old.Scale
	case !policy.Older(&was, &v.Stored):
		// Unless it came later, v confirms nothing.
		invalid := v.Stored.Invalid || old.Stored.Invalid && !cameBefore(&was, &v.Stored)
		if cameBefore(&v.Stored, &was) {
			v.Stored, v.Scale = old.Stored, old.Scale
		}
		v.Stored.Invalid = invalid
	}
	v.Stored.Guarded = v.Stored.Guarded || old.Stored.Guarded // only a purge lets everybody have it
	if v.SHA256 == "" {
		v.SHA256 = old.SHA256
	}
	if v.InfoHash.IsZero() {
		v.InfoHash = old.InfoHash
	}
	return v
}

// cameBefore reports whether a certainly came before b did.
func cameBefore(a, b *policy.Stored) bool {
	return b.ResponseTime.Sub(a.ResponseTime) > policy.Doubts(a.Doubt, b.Doubt)
}

// factsFor is what v tells, to be compared with times of a scale: its own of another
// one mean nothing there.
func factsFor(v *swarmcache.Version, scale string) policy.Stored {
	s := v.Stored
	if v.Scale != scale {
		s.Doubt = policy.Unknown
	}
	return s
}

// sameFacts reports whether a and b tell of the same response.
func sameFacts(a, b *policy.Stored) bool {
	apart := a.ResponseTime.Sub(b.ResponseTime).Abs()
	return a.Invalid == b.Invalid && (apart <= a.Doubt || apart <= b.Doubt) && maps.EqualFunc(a.Header, b.Header, slices.Equal)
}

// ClaimFirst claims the first GET for key, under this node's lease. It looks and
// claims in one transaction, because a client's first byte waits for it.
func (c *Cluster) ClaimFirst(ctx context.Context, key policy.Key) (release func(), fresh bool, err error) {
	c.untilClocked(ctx)
	k, mine := c.keys.first(key), c.newClaim()
	var rev int64
	var taken *swarmcache.ClaimedError
	err = c.patiently(ctx, func(again bool) (err error) {
		rev, fresh, err = c.claimFirst(ctx, key, mine, again)
		return err
	})
	switch {
	case errors.As(err, &taken) && taken.Holder != "":
		if err := c.untilDeleted(ctx, k, rev); err != nil {
			return nil, false, err
		}
		c.spread(ctx)
		return nil, false, taken
	case taken != nil:
		return nil, false, taken
	case asked(err):
		// It may have been made for all we know; it must not stand for ever.
		c.debts.add(deleteClaim(k, mine))
		return nil, false, err
	case err != nil:
		return nil, false, err
	}
	return sync.OnceFunc(func() { c.deleteOrOwe(deleteClaim(k, mine)) }), fresh, nil
}

// newClaim is what a claim of this node holds: no other claim, even of this node, holds
// the same. Whoever gives it back, however late, takes nothing from another one.
func (c *Cluster) newClaim() string { return string(c.cfg.Self.ID) + "\n" + rand.Text() }

func claimHolder(claim []byte) swarmcache.NodeID {
	id, _, _ := bytes.Cut(claim, []byte("\n"))
	return swarmcache.NodeID(id)
}

// claimFirst tries once; again: etcd is waited for already. The claim may be there, made
// by an attempt whose answer was not heard. rev is the revision of what stands in its way.
func (c *Cluster) claimFirst(ctx context.Context, key policy.Key, mine string, again bool) (rev int64, fresh bool, err error) {
	k, o := c.keys.first(key), opFirst
	o.awaited = !again // once it is waited for, it is until etcd can be expected to have answered
	err = c.do(ctx, o, func(ctx context.Context, client *clientv3.Client) error {
		var at entry // of a fill that is over; at first we suppose that there is none
		for {
			lease := c.leaseID()
			r, err := client.Txn(ctx).
				If(
					clientv3.Compare(clientv3.CreateRevision(k), "=", 0),
					clientv3.Compare(clientv3.CreateRevision(c.keys.object(key)), "=", 0),
					clientv3.Compare(clientv3.ModRevision(c.keys.filling(key)), "=", at.rev),
				).
				Then(clientv3.OpPut(k, mine, clientv3.WithLease(lease))).
				Else(
					clientv3.OpGet(k),
					clientv3.OpGet(c.keys.object(key)),
					clientv3.OpGet(c.keys.filling(key)),
				).Commit()
			if err != nil {
				return err
			}
			if rev = r.Header.Revision; r.Succeeded {
				fresh = at.rev == 0
				return nil
			}
			if at, err = readEntry(r, 2); err != nil {
				return err
			}
			version, err := readVersion(r, 1)
			if err != nil {
				return err
			}
			there := swarmcache.Selected{Version: c.versionHere(version), Fill: c.fillHere(at.running())}
			held := only(r, 0)
			ours := held != nil && string(held.Value) == mine
			switch nothing := there == (swarmcache.Selected{}); {
			case ours && nothing && clientv3.LeaseID(held.Lease) == lease:
				fresh = at.rev == 0
				return nil
			case ours: // with what came meanwhile, or with a lease that ended, it is worth nothing
				if _, err := client.Txn(ctx).Then(deleteClaim(k, mine)).Commit(); err != nil {
					return err
				}
				if !nothing {
					return &swarmcache.ClaimedError{There: &there}
				}
			case held != nil:
				return &swarmcache.ClaimedError{Holder: claimHolder(held.Value)}
			case !nothing:
				return &swarmcache.ClaimedError{There: &there}
			}
		}
	})
	return rev, fresh, err
}

// deleteOrOwe gives things back; when etcd cannot be asked, that becomes a debt.
func (c *Cluster) deleteOrOwe(ops ...clientv3.Op) {
	err := c.do(context.Background(), opRelease, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		c.debts.add(ops...)
	}
}

// deleteMade deletes a key that was made at rev.
func deleteMade(k string, rev int64) clientv3.Op {
	return clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(k), "=", rev)},
		[]clientv3.Op{clientv3.OpDelete(k)}, nil)
}

// deleteClaim deletes a key if it holds that claim.
func deleteClaim(k, claim string) clientv3.Op {
	return clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Value(k), "=", claim)},
		[]clientv3.Op{clientv3.OpDelete(k)}, nil)
}

// deleteOurs deletes a key if it stands under our lease.
func deleteOurs(k string, lease clientv3.LeaseID) clientv3.Op {
	return clientv3.OpTxn(standsUnder(k, lease), []clientv3.Op{clientv3.OpDelete(k)}, nil)
}

func standsUnder(k string, lease clientv3.LeaseID) []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.LeaseValue(k), "=", lease),
		clientv3.Compare(clientv3.CreateRevision(k), ">", 0),
	}
}

// untilDeleted waits until a key is gone or ctx is done, and returns nil; or
// ErrUnavailable when etcd goes away, because then it may never tell.
func (c *Cluster) untilDeleted(ctx context.Context, k string, rev int64) error {
	client := c.client.Load()
	if client == nil {
		return unavailable(errStopped)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	wg.Go(func() { c.cancelWhenAway(wctx, cancel) })
	// Watch itself blocks until etcd has confirmed it.
	ch := client.Watch(wctx, k, clientv3.WithFilterPut(), clientv3.WithCreatedNotify())
	r := <-ch
	if r.Created && r.Err() == nil {
		if r.Header.Revision > rev {
			// Not known is as good as gone: the watch does not tell what was before it.
			if gone, err := c.isGone(wctx, k, rev); gone || err != nil {
				return nil
			}
		}
		r = <-ch
	}
	if len(r.Events) > 0 || ctx.Err() != nil {
		return nil
	}
	if err := c.health.state(); err != nil && !c.isSlow() {
		return unavailable(err)
	}
	return nil // if it is not gone, the caller meets it again
}

// cancelWhenAway cancels ctx when etcd goes away, and returns when ctx is done.
func (c *Cluster) cancelWhenAway(ctx context.Context, cancel context.CancelFunc) {
	for pause(ctx, retryMin) {
		if !c.Healthy() && !c.isSlow() {
			cancel()
		}
	}
}
