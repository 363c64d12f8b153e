package swarmcache_test

import (
	"context"
	"crypto/sha1"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// naming is a swarm in which torrents are called by what they are of.
type naming struct{ sealing }

func (naming) Seal(f *swarmcache.File) swarmcache.InfoHash {
	return sha1.Sum([]byte(f.Version().ID))
}

// Three nodes have one copy each of what the cluster keeps two of, and all of them know
// that it is one too many. They run out of space at the same time, again and again: of
// none of it do more copies go than can be spared, as long as there is something else.
func TestSurplusGoesOnOneNode(t *testing.T) {
	t.Parallel()
	const wanted, name = 2, "%s-kept"
	r := newRealm(t)
	var nodes []*resident
	copies := func(_ context.Context, all []swarmcache.InfoHash) (map[swarmcache.InfoHash]int, error) {
		n := map[swarmcache.InfoHash]int{}
		for _, node := range nodes {
			node.EachHeld(func(ih swarmcache.InfoHash) bool { n[ih]++; return true })
		}
		return n, nil
	}
	for i := range 3 {
		nodes = append(nodes, r.settleWith(swarmcache.NodeID(fmt.Sprint("n", i)), func(c *swarmcache.Config) {
			c.Size, c.Swarm, c.Copies = 4<<20, naming{}, copies
			c.Replicas = func(v swarmcache.Version) int {
				if strings.HasSuffix(v.URL, fmt.Sprintf(name, "")) {
					return wanted
				}
				return 0
			}
		}))
	}
	put := func(n *resident, name string) swarmcache.InfoHash {
		rec, err := n.Put(t.Context(), name, func(u *url.URL) policy.Key { return policy.Key(u.String()) }, strings.NewReader(strings.Repeat(name, 900<<10/len(name))))
		if err != nil {
			t.Error(err)
		}
		return rec.Version.InfoHash
	}
	kept := map[string]swarmcache.InfoHash{}
	for _, n := range nodes {
		for _, x := range []string{"a", "b", "c"} {
			kept[x] = put(n, fmt.Sprintf(name, x))
		}
		put(n, "other "+string(n.id))
	}
	for round := range 6 {
		for _, n := range nodes {
			must(t, swarmcache.CountNow(n.Cache, t.Context()))
		}
		var all sync.WaitGroup
		for _, n := range nodes {
			all.Go(func() { put(n, fmt.Sprint("round ", round, " on ", n.id)) })
		}
		all.Wait()
		has, _ := copies(t.Context(), nil)
		for x, ih := range kept {
			if has[ih] < wanted {
				t.Errorf("round %d: %d copies of %s are left, wanted are %d", round, has[ih], x, wanted)
			}
		}
	}
	has, _ := copies(t.Context(), nil)
	if n := has[kept["a"]]; n != wanted {
		t.Errorf("there are %d copies of what was not used for longest: the one too many stays", n)
	}
}
