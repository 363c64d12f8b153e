package swarmcache_test

import (
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// A soft purge reaches the nodes of now, the one that was away and the one that comes
// after it: none uses what was there before the origin has confirmed it, and none
// loses it. Once it is confirmed nobody has to ask for long.
func TestSoftPurgeReachesEveryNode(t *testing.T) {
	d := cachetest.NewDirectory()
	m, other := newMemory("a", 1<<20), newMemory("other", 1<<20)
	key := policy.Key(m.name)
	sites := []*site{newSite(t, "asked"), newSite(t, "there"), newSite(t, "away")}
	var nodes []*swarmcache.Cache
	for _, s := range sites {
		c := s.start(t, d, 0)
		fill(t, c, m).Close()
		fill(t, c, other).Close()
		nodes = append(nodes, c)
	}
	published := func(key policy.Key) (v *swarmcache.Version) {
		eventually(t, func() bool {
			var err error
			v, _, err = d.Node(swarmcache.Node{}).Lookup(t.Context(), key)
			return err == nil && v != nil
		})
		return v
	}
	invalid := func(c *swarmcache.Cache, m memory) bool {
		t.Helper()
		obj, err := c.Lookup(t.Context(), policy.Key(m.name), m)
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Close()
		return obj.Version().Stored.Invalid
	}
	nodes[2].Close()

	if had, err := nodes[0].SoftPurge(t.Context(), key); err != nil || had != 1 {
		t.Fatal(had, err)
	}
	if !invalid(nodes[0], m) || !here(nodes[0], m) {
		t.Error("who was asked believes it, or has lost it")
	}
	eventually(t, func() bool { return invalid(nodes[1], m) })
	nodes[2] = sites[2].restart(t, nodes[2], d, 0)
	eventually(t, func() bool { return invalid(nodes[2], m) })
	nodes[0] = sites[0].restart(t, nodes[0], d, 0)
	for i, c := range nodes {
		if !invalid(c, m) || invalid(c, other) || !here(c, m) {
			t.Errorf("node %d after that", i)
		}
	}
	late := newSite(t, "late").start(t, d, 0)
	eventually(t, func() bool { return invalid(late, m) })
	if invalid(late, other) {
		t.Error("something else was purged")
	}

	obj, err := nodes[0].Local(key, m)
	must(t, err)
	defer obj.Close()
	s := obj.Version().Stored
	now := func() time.Time { return began.Add(30 * time.Since(began)) }
	purged := now()
	eventually(t, func() bool { return now().Sub(purged) > 61*time.Second }) // what comes sooner is in doubt
	s.Invalid, s.ResponseTime = false, now()
	s.Header = s.Header.Clone()
	s.Header.Set("Date", s.ResponseTime.UTC().Format(time.RFC1123))
	must(t, nodes[0].Refresh(t.Context(), obj, s))
	if invalid(nodes[0], m) || published(key).Stored.Invalid {
		t.Error("what the origin has confirmed is not believed")
	}
	nodes[0] = sites[0].restart(t, nodes[0], d, 0)
	if invalid(nodes[0], m) {
		t.Error("the purge was obeyed twice")
	}
	there, err := nodes[1].Local(key, m)
	must(t, err)
	defer there.Close()
	if !there.Version().Stored.Invalid {
		t.Error("one that has not asked believes it")
	}
	if news, err := nodes[1].Renew(t.Context(), there); err != nil || !news || there.Version().Stored.Invalid {
		t.Errorf("another's confirmation does not count: news %t, %v", news, err)
	}
}

// What is marked stays so in the directory, when the purge does not stand any more, and
// who had not heard of it publishes the same facts.
func TestSoftPurgeOutlivesItself(t *testing.T) {
	d := newDoubter(t, nothing)
	m := newMemory("a", 1<<20)
	d.tell(swarmcache.Standing{Afresh: true})
	obj := fill(t, d.Cache, m)
	defer obj.Close()
	other := d.all.Node(swarmcache.Node{ID: "other"})
	eventually(t, func() bool {
		v, _, err := other.Lookup(t.Context(), policy.Key(m.name))
		return err == nil && v != nil
	})
	before, _, err := other.Lookup(t.Context(), policy.Key(m.name))
	must(t, err)
	unmarked := *before
	d.tell(swarmcache.Standing{Purges: []swarmcache.Purge{{ID: "1", Key: policy.Key(m.name), At: d.cfg.Now(), Soft: true}}})
	marked := func() bool {
		v, _, err := other.Lookup(t.Context(), policy.Key(m.name))
		return err == nil && v != nil && v.Stored.Invalid
	}
	eventually(t, marked)
	must(t, other.Publish(t.Context(), unmarked))
	if !marked() {
		t.Error("it counts again")
	}
}

// A soft purge of one node has that one ask the origin, for what is small anew, and
// tells no other. What the origin was asked for before is not stored after it.
func TestSoftPurgeOfOneNode(t *testing.T) {
	d := cachetest.NewDirectory()
	m := newMemory("a", 1<<20)
	key := policy.Key(m.name)
	asked, there := newSite(t, "asked"), newSite(t, "there")
	a, b := asked.start(t, d, 0), there.start(t, d, 0)
	fill(t, a, m).Close()
	fill(t, b, m).Close()
	mark := a.Mark(key)
	asked.small = func(k policy.Key) int {
		if k != key || !mark.Past() {
			t.Errorf("%s is removed while what comes in may still be stored", k)
		}
		return 2
	}
	if had, err := a.PurgeHere(key, true); err != nil || had != 3 {
		t.Fatal(had, err)
	}
	invalid := func(c *swarmcache.Cache) bool {
		t.Helper()
		obj, err := c.Lookup(t.Context(), key, m)
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Close()
		return obj.Version().Stored.Invalid
	}
	if !invalid(a) || invalid(b) || there.heard(m.name) {
		t.Error("not this node alone asks the origin")
	}
	if a = asked.restart(t, a, d, 0); !invalid(a) {
		t.Error("after a restart it is believed")
	}
}
