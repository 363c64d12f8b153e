package cluster_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
)

func keptOf(key string, replicas int) swarmcache.Kept {
	return swarmcache.Kept{Key: policy.Key(key), ID: swarmcache.ObjectID("id of " + key), URL: key, InfoHash: swarmcache.InfoHash{7}, Replicas: replicas}
}

func TestWhatIsKeptIsFollowed(t *testing.T) {
	t.Parallel()
	p := prefix()
	a := run(t, cluster.Config{Endpoints: etcd.Endpoints(), Prefix: p, Self: swarmcache.Node{ID: "a"}})
	ctx := t.Context()
	one, two := keptOf("http://o.test/1", 2), keptOf("http://o.test/2", 3)
	eventually(t, "etcd answers", func() bool { return a.Keep(ctx, one) == nil })

	r := raw(t, etcd)
	noErr(t, a.Keep(ctx, one)) // nothing new: nothing is written
	after, err := r.Get(ctx, p+"kept/", clientv3.WithPrefix())
	noErr(t, err)
	if len(after.Kvs) != 1 || after.Kvs[0].Version != 1 {
		t.Errorf("what was known is written again: %v", after.Kvs)
	}

	kept := map[string]swarmcache.Kept{}
	seen := make(chan int, 100)
	follow, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		done <- a.FollowKept(follow, func(all bool, news map[string]swarmcache.Kept, gone []string) {
			if all {
				clear(kept)
			}
			for name, k := range news {
				kept[name] = k
			}
			for _, name := range gone {
				delete(kept, name)
			}
			seen <- len(kept)
		})
	}()
	want := func(n int) {
		t.Helper()
		for {
			select {
			case got := <-seen:
				if got == n {
					return
				}
			case <-time.After(time.Minute):
				t.Fatalf("never %d", n)
			}
		}
	}
	want(1)
	noErr(t, a.Keep(ctx, two))
	want(2)
	all, err := a.AllKept(ctx)
	noErr(t, err)
	if k, err := a.Kept(ctx, two.Key); err != nil || k != two || len(all) != 2 {
		t.Errorf("%+v %v, %+v", k, err, all)
	}
	// What is withdrawn, purged or not wanted any more is not kept.
	noErr(t, a.Purge(ctx, swarmcache.Purge{ID: "p", Key: one.Key, At: time.Now()}))
	want(1)
	two.Replicas = 0
	noErr(t, a.Keep(ctx, two))
	want(0)
	noErr(t, a.Keep(ctx, one))
	want(1)
	noErr(t, a.Withdraw(ctx, one.Key))
	want(0)
	if _, err := a.Kept(ctx, one.Key); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("%v", err)
	}
	stop()
	noErr(t, <-done)
}

func TestOrdersReachTheirNode(t *testing.T) {
	t.Parallel()
	p := prefix()
	a := run(t, cluster.Config{Endpoints: etcd.Endpoints(), Prefix: p, Self: swarmcache.Node{ID: "a"}})
	b := run(t, cluster.Config{Endpoints: etcd.Endpoints(), Prefix: p, Self: swarmcache.Node{ID: "b"}})
	ctx := t.Context()
	first := swarmcache.Order{Node: "b", Kept: keptOf("http://o.test/1", 2), At: time.Now().UTC().Truncate(time.Second)}
	second, other := first, first
	second.Kept, other.Node = keptOf("http://o.test/2", 2), "a"
	eventually(t, "etcd answers", func() bool { return a.Order(ctx, first) == nil })
	noErr(t, a.Order(ctx, other))

	got := make(chan swarmcache.Order, 10)
	follow, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- b.FollowOrders(follow, func(o swarmcache.Order) { got <- o }) }()
	if o := <-got; o != first {
		t.Errorf("%+v", o)
	}
	noErr(t, a.Order(ctx, second))
	if o := <-got; o != second {
		t.Errorf("%+v", o)
	}
	second.Failed = "no space"
	noErr(t, b.FailOrder(ctx, second))
	noErr(t, b.EndOrder(ctx, first))
	first.Failed = "too late"
	noErr(t, b.FailOrder(ctx, first)) // it was taken back
	all, err := a.Orders(ctx)
	noErr(t, err)
	if len(all) != 2 || all[0] != other || all[1] != second {
		t.Errorf("%+v", all)
	}
	stop()
	noErr(t, <-done)

	if _, err := b.Health(ctx); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("%v", err)
	}
	noErr(t, a.TellHealth(ctx, swarmcache.Health{Healthy: 3, Lost: 1, Ill: []swarmcache.Ill{{URL: "u", State: swarmcache.Lost}}}))
	if h, err := b.Health(ctx); err != nil || h.Healthy != 3 || len(h.Ill) != 1 || h.Ill[0].State != swarmcache.Lost {
		t.Errorf("%+v %v", h, err)
	}
	a.stop() // and with it goes what it saw
	eventually(t, "what it saw is forgotten", func() bool { _, err := b.Health(ctx); return errors.Is(err, swarmcache.ErrNotFound) })
}

// A copy can be spared on one node at a time, which may claim that again; and on
// another one when the claim has ended, and not already with the node.
func TestSpareOnOneNode(t *testing.T) {
	t.Parallel()
	p := prefix()
	a := run(t, cluster.Config{Endpoints: etcd.Endpoints(), Prefix: p, Self: swarmcache.Node{ID: "a"}})
	b := run(t, cluster.Config{Endpoints: etcd.Endpoints(), Prefix: p, Self: swarmcache.Node{ID: "b"}})
	var all []swarmcache.InfoHash
	for i := range byte(120) { // more than one transaction takes
		all = append(all, swarmcache.InfoHash{i})
	}
	claim := func(c *member, what []swarmcache.InfoHash, want ...swarmcache.InfoHash) {
		t.Helper()
		mine, err := c.ClaimSpare(t.Context(), what)
		if err != nil || !slices.Equal(mine, want) {
			t.Errorf("%d are claimed of %d, %v; want %d", len(mine), len(what), err, len(want))
		}
	}
	eventually(t, "etcd answers", func() bool { _, err := a.ClaimSpare(t.Context(), all[:1]); return err == nil })
	eventually(t, "etcd answers", func() bool { _, err := b.ClaimSpare(t.Context(), nil); return err == nil && b.Healthy() })
	claim(a, all[:100], all[:100]...)
	claim(b, all, all[100:]...)
	r := raw(t, etcd)
	leases := func() map[clientv3.LeaseID]bool {
		list, err := r.Leases(t.Context())
		noErr(t, err)
		all := map[clientv3.LeaseID]bool{}
		for _, l := range list.Leases {
			all[l.ID] = true
		}
		return all
	}
	before := leases()
	claim(b, all[:100])
	for id := range leases() {
		life, err := r.TimeToLive(t.Context(), id, clientv3.WithAttachedKeys())
		noErr(t, err)
		if !before[id] && life.GrantedTTL == int64(swarmcache.SpareStands/time.Second) && len(life.Keys) == 0 {
			t.Error("claims that won nothing leave a lease")
		}
	}
	claim(a, all, all[:100]...)

	kv, err := r.Get(t.Context(), p+"spare/"+all[0].String())
	noErr(t, err)
	life, err := r.TimeToLive(t.Context(), clientv3.LeaseID(kv.Kvs[0].Lease))
	noErr(t, err)
	if got, want := time.Duration(life.TTL)*time.Second, swarmcache.SpareStands-time.Minute; got < want {
		t.Errorf("a claim stands for %v, want %v", got, want)
	}
	_, err = r.Revoke(t.Context(), clientv3.LeaseID(kv.Kvs[0].Lease))
	noErr(t, err)
	claim(b, all[:100], all[:50]...)
}
