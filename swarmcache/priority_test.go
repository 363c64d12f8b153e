package swarmcache_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// The configuration gives an object its priority, until an operator gives it
// another one; that one stays when the node starts again.
func TestPriority(t *testing.T) {
	self := swarmcache.Node{ID: "me"}
	dir, index := t.TempDir(), cachetest.NewIndex()
	start := func() *swarmcache.Cache {
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: dir, Index: index, Directory: cachetest.NewDirectory().Node(self), Node: self, Logger: slog.New(slog.DiscardHandler),
			Priority: func(v swarmcache.Version) policy.Priority {
				if strings.HasSuffix(v.URL, "nightly") {
					return policy.PriorityLow
				}
				return ""
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := start()
	nightly, other := newMemory("nightly", 300<<10), newMemory("other", 300<<10)
	obj := fill(t, c, nightly)
	id := obj.Version().ID
	want := func(p policy.Priority) {
		t.Helper()
		r, err := c.Record(id)
		if got := c.PriorityOf(r); err != nil || got != p || obj.Priority() != p {
			t.Errorf("priority %q recorded, %q in use, want %q; %v", got, obj.Priority(), p, err)
		}
	}
	want(policy.PriorityLow)
	set := func(p policy.Priority) {
		t.Helper()
		if err := c.SetPriority(id, p); err != nil {
			t.Fatal(err)
		}
	}
	set(policy.PriorityHigh)
	want(policy.PriorityHigh)
	obj.Close()

	fill(t, c, other).Close()
	c.Close()
	index = index.Reopen()
	c = start()
	var err error
	if obj, err = c.Local(nightly.version().Key, nightly); err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	want(policy.PriorityHigh)
	if !obj.Complete() {
		t.Error("the object is not complete any more")
	}
	set("")
	want(policy.PriorityLow)
	r, err := c.Selected(other.version().Key)
	if err != nil || c.PriorityOf(r) != policy.PriorityNormal {
		t.Errorf("the other object has priority %q, %v", c.PriorityOf(r), err)
	}
	if err := c.SetPriority("absent", policy.PriorityHigh); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("%v for an object that is not here", err)
	}
}
