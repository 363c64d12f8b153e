package swarmcache_test

import (
	"errors"
	"log/slog"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// What became complete while the directory was away is published when it is
// back, and be it after a restart; what was purged meanwhile is not.
func TestCompletedWhileTheDirectoryWasAway(t *testing.T) {
	dir, index, objects := cachetest.NewDirectory(), cachetest.NewIndex(), t.TempDir()
	self := swarmcache.Node{ID: "me"}
	start := func() *swarmcache.Cache {
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: objects, Index: index.Reopen(), Directory: dir.Node(self), Node: self,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	published := func(m memory) bool {
		v, _, err := dir.Node(swarmcache.Node{ID: "other"}).Lookup(t.Context(), policy.Key(m.name))
		return err == nil && v != nil
	}
	early, kept, purged := newMemory("early", 300_000), newMemory("kept", 300_000), newMemory("purged", 300_000)
	c := start()
	fill(t, c, early).Close()
	eventually(t, func() bool { return published(early) })
	dir.SetAvailable(false)
	fill(t, c, kept).Close()
	fill(t, c, purged).Close()
	if err := c.Withdraw(t.Context(), policy.Key(purged.name)); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Fatal(err)
	}
	c.Close()

	dir.SetAvailable(true)
	before := dir.Counts().Publishes
	c = start()
	defer c.Close()
	eventually(t, func() bool { return published(kept) && c.Untold() == 0 })
	if published(purged) {
		t.Error("a purged object came back")
	}
	if n := dir.Counts().Publishes - before; n != 1 {
		t.Errorf("%d objects published again, want 1", n)
	}
}
