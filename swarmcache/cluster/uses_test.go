package cluster_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// The uses of all nodes are counted together, each once, under keys that end by
// themselves; what etcd lost is counted anew.
func TestUsesAreCountedTogether(t *testing.T) {
	t.Parallel()
	p := prefix()
	nodes := []*member{join(t, config(p, 1)), join(t, config(p, 2)), join(t, config(p, 3))}
	const each = 10
	var mu sync.Mutex
	seen := map[int]bool{}
	var wg sync.WaitGroup
	for _, m := range nodes {
		wg.Go(func() {
			for range each {
				n, err := m.CountUse(t.Context(), "http://o/a")
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				seen[n] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for n := 1; n <= each*len(nodes); n++ {
		if !seen[n] {
			t.Errorf("nobody was told of %d", n)
		}
	}
	if n, err := nodes[0].CountUse(t.Context(), "http://o/b"); n != 1 || err != nil {
		t.Errorf("another key: %d, %v", n, err)
	}
	c := raw(t, etcd)
	g, err := c.Get(t.Context(), p+"uses/", clientv3.WithPrefix())
	noErr(t, err)
	if len(g.Kvs) != 2 {
		t.Errorf("%d keys", len(g.Kvs))
	}
	leases := map[clientv3.LeaseID]bool{} // both keys may stand under one
	for _, kv := range g.Kvs {
		leases[clientv3.LeaseID(kv.Lease)] = true
		l, err := c.TimeToLive(t.Context(), clientv3.LeaseID(kv.Lease))
		if noErr(t, err); l.TTL <= 0 {
			t.Errorf("%s stands for ever", kv.Key)
		}
	}
	for l := range leases {
		_, err = c.Revoke(t.Context(), l)
		noErr(t, err)
	}
	eventually(t, "it is counted anew", func() bool { n, _ := nodes[0].CountUse(t.Context(), "http://o/a"); return n == 1 })
	nodes[0].stop()
	if _, err := nodes[0].CountUse(t.Context(), "http://o/a"); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Error(err)
	}
}

// A client that goes away costs no lease, and each of many nodes counts less.
func TestUsesAreBounded(t *testing.T) {
	t.Parallel()
	p := prefix()
	m := join(t, config(p, 1))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, key := range []policy.Key{"http://o/a", "http://o/b"} {
		_, err := m.CountUse(t.Context(), key)
		noErr(t, err)
		if _, err := m.CountUse(gone, "http://o/c"); err == nil {
			t.Error("counted for nobody")
		}
	}
	g, err := raw(t, etcd).Get(t.Context(), p+"uses/", clientv3.WithPrefix())
	noErr(t, err)
	if len(g.Kvs) != 2 || g.Kvs[0].Lease != g.Kvs[1].Lease {
		t.Errorf("under how many leases? %v", g.Kvs)
	}
	counted := 0
	for n := 1; n > 0 && counted < 1000; counted++ {
		m.SetSize(10_000)
		n, err = m.CountUse(t.Context(), "http://o/a")
		noErr(t, err)
	}
	if counted > 64 {
		t.Errorf("one of 10,000 counts %d", counted)
	}
}
