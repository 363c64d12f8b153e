package swarmcache_test

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// keeper is what the cluster keeps, in memory.
type keeper struct {
	mu   sync.Mutex
	kept map[policy.Key]swarmcache.Kept
}

func (k *keeper) Keep(_ context.Context, x swarmcache.Kept) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept[x.Key] = x; x.Replicas == 0 {
		delete(k.kept, x.Key)
	}
	return nil
}

func (k *keeper) AllKept(context.Context) (all []swarmcache.Kept, err error) { return nil, nil }

func (k *keeper) ClaimSpare(context.Context, []swarmcache.InfoHash) ([]swarmcache.InfoHash, error) {
	return nil, nil
}

func (k *keeper) of(key policy.Key) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept[key].Replicas
}

// What is kept goes after what is not, and the last copy of it last, whatever was
// used when.
func TestLastCopyGoesLast(t *testing.T) {
	self := swarmcache.Node{ID: "me"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: cachetest.NewDirectory().Node(self), Node: self,
		Size: 3 << 20, Logger: slog.New(slog.DiscardHandler),
		Replicas: func(v swarmcache.Version) int {
			if strings.Contains(v.URL, "kept") {
				return 2
			}
			return 0
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ids := map[string]swarmcache.ObjectID{}
	put := func(name string) {
		t.Helper()
		r, err := c.Put(t.Context(), name, func(u *url.URL) policy.Key { return policy.Key(u.String()) }, strings.NewReader(strings.Repeat(name[:1], 900<<10)))
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = r.Version.ID
	}
	here := func(want ...string) {
		t.Helper()
		n := 0
		for name, id := range ids {
			if _, err := c.Record(id); err == nil {
				n++
				if !strings.Contains(strings.Join(want, " "), name) {
					t.Errorf("%s is here", name)
				}
			}
		}
		if n != len(want) {
			t.Errorf("%d objects are here, want %v", n, want)
		}
	}
	put("a-kept")
	put("b-kept")
	put("c")
	swarmcache.SetCopies(c, ids["a-kept"], 1)
	swarmcache.SetCopies(c, ids["b-kept"], 2)
	put("d")
	here("a-kept", "b-kept", "d")
	put("e-kept")
	here("a-kept", "b-kept", "e-kept")
	swarmcache.SetCopies(c, ids["e-kept"], 1)
	put("f-kept") // there is another copy of b
	here("a-kept", "e-kept", "f-kept")
	swarmcache.SetCopies(c, ids["f-kept"], 3) // more than wanted: it goes by its use
	put("g")
	here("a-kept", "e-kept", "g")
}

func TestPinsAndRulesAreKept(t *testing.T) {
	self, k := swarmcache.Node{ID: "me"}, &keeper{kept: map[policy.Key]swarmcache.Kept{}}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: cachetest.NewDirectory().Node(self), Node: self,
		Logger: slog.New(slog.DiscardHandler), Swarm: sealing{}, Keeper: k, PinnedReplicas: 2,
		Replicas: func(v swarmcache.Version) int {
			if strings.Contains(v.URL, "rule") {
				return 3
			}
			return 0
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	put := func(name string) swarmcache.Record {
		t.Helper()
		r, err := c.Put(t.Context(), name, func(u *url.URL) policy.Key { return policy.Key(name) }, strings.NewReader(name))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	put("put")
	put("rule")
	eventually(t, func() bool { return k.of("put") == 2 && k.of("rule") == 3 })
	if id := k.kept["put"].ID; !swarmcache.Complete(c, id) {
		t.Errorf("%s is kept", id)
	}
}

// sealing is a swarm that knows infohashes and nobody.
type sealing struct{ swarmcache.Swarm }

func (sealing) Seal(*swarmcache.File) swarmcache.InfoHash        { return swarmcache.InfoHash{1} }
func (sealing) Offer(swarmcache.Held)                            {}
func (sealing) Vouch(context.Context, swarmcache.InfoHash) error { return nil }
func (sealing) Withdraw(swarmcache.InfoHash)                     {}
func (sealing) Limits() (int64, int64)                           { return 0, 0 }
func (sealing) Uplink() int64                                    { return 0 }
