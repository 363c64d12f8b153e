package swarmcache_test

import (
	"fmt"
	"log/slog"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// Variants of a key stand side by side, so many and no more, also after a restart;
// a purge of the key ends all of them, on other nodes too.
func TestVariantsOfAKey(t *testing.T) {
	dir, index, objects := cachetest.NewDirectory(), cachetest.NewIndex(), t.TempDir()
	start := func(id swarmcache.NodeID, objects string, index swarmcache.Index) *swarmcache.Cache {
		self := swarmcache.Node{ID: id}
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: objects, Index: index, Directory: dir.Node(self), Node: self,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	of := func(i int) memory {
		base := policy.Key("http://o.test/x")
		if i == 0 {
			return newMemory(string(base), 1000)
		}
		return newMemory(string(base.Variant(map[string][]string{"Accept-Language": {fmt.Sprint(i)}})), 1000)
	}
	count := func(c *swarmcache.Cache) (n int) {
		for i := range swarmcache.MaxVariants + 3 {
			if here(c, of(i)) {
				n++
			}
		}
		return n
	}
	c := start("a", objects, index)
	for i := range swarmcache.MaxVariants + 3 {
		fill(t, c, of(i)).Close()
		eventually(t, func() bool { return c.Untold() == 0 })
	}
	if n := count(c); n != swarmcache.MaxVariants+1 || !here(c, of(0)) || !here(c, of(swarmcache.MaxVariants+2)) {
		t.Errorf("%d variants are here", n)
	}
	c.Close()
	c = start("a", objects, index.Reopen())
	defer c.Close()
	if n := count(c); n != swarmcache.MaxVariants+1 {
		t.Errorf("%d variants are here after a restart", n)
	}
	other := start("b", t.TempDir(), cachetest.NewIndex())
	defer other.Close()
	if err := other.Invalidate(t.Context(), policy.Key(of(0).name)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return count(c) == 0 })
}
