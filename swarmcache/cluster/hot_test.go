package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
)

func TestHottestOfAllNodes(t *testing.T) {
	t.Parallel()
	p := prefix()
	a, b := join(t, config(p, 1)), join(t, config(p, 2))
	ctx := t.Context()
	hot := func(heat float64, name string) swarmcache.Hot {
		url := "http://o.test/" + name
		key, _, _ := strings.Cut(url, "?")
		return swarmcache.Hot{Key: policy.Key(key), URL: url, Length: 7, Heat: heat}
	}
	noErr(t, a.TellHot(ctx, []swarmcache.Hot{hot(5, "one"), hot(2, "signed?x=1")}))
	noErr(t, b.TellHot(ctx, []swarmcache.Hot{hot(4, "signed?x=2"), hot(3, "two")}))
	is := func(want string) {
		t.Helper()
		all, err := a.Hottest(ctx, 3)
		noErr(t, err)
		got := ""
		for _, h := range all {
			got += fmt.Sprintf("%s %.0f of %d; ", h.Key, h.Heat, h.Nodes)
		}
		if got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	is("http://o.test/signed 6 of 2; http://o.test/one 5 of 1; http://o.test/two 3 of 1; ")
	if one, err := b.Hottest(ctx, 1); err != nil || len(one) != 1 || one[0].Heat != 6 {
		t.Errorf("%+v %v", one, err)
	}

	// What is hardly news is not written.
	noErr(t, a.TellHot(ctx, []swarmcache.Hot{hot(5.5, "one"), hot(1.9, "signed?x=1")}))
	r := raw(t, etcd)
	at, err := r.Get(ctx, p+"hot/", clientv3.WithPrefix())
	noErr(t, err)
	if len(at.Kvs) != 2 || at.Kvs[0].Version != 1 {
		t.Errorf("%v", at.Kvs)
	}
	noErr(t, a.TellHot(ctx, []swarmcache.Hot{hot(1, "one")}))
	is("http://o.test/signed 4 of 1; http://o.test/two 3 of 1; http://o.test/one 1 of 1; ")
	noErr(t, a.TellHot(ctx, nil))
	is("http://o.test/signed 4 of 1; http://o.test/two 3 of 1; ")
	b.stop() // and what it told goes with it
	eventually(t, "it is forgotten", func() bool { all, err := a.Hottest(ctx, 3); return err == nil && len(all) == 0 })
}

// Who reads of some nodes only does so of others each time, wherever their ids lie,
// and of as many as it may.
func TestHottestOfSomeNodes(t *testing.T) {
	t.Parallel()
	p := prefix()
	m := run(t, config(p, 1), func(c *cluster.Cluster) { c.MaxTellers(2) })
	healthy(t, m)
	const nodes = "0123456789abcdef"
	etcd := raw(t, etcd)
	for _, digit := range nodes {
		id := strings.Repeat(string(digit), 16)
		_, err := etcd.Put(t.Context(), p+"hot/"+id, fmt.Sprintf(`[{"url":"http://o.test/%c","heat":1}]`, digit))
		noErr(t, err)
	}
	seen := map[policy.Key]bool{}
	eventually(t, "all are heard", func() bool {
		m.SetSize(len(nodes))
		some, err := m.Hottest(t.Context(), len(nodes))
		noErr(t, err)
		if len(some) != 2 {
			t.Fatalf("%+v", some)
		}
		for _, h := range some {
			seen[h.Key] = true
		}
		return len(seen) == len(nodes)
	})
}
