package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Each node tells which of its objects are wanted most, in one record under its
// lease. However many nodes there are, all records together have about hotInAll
// objects, and who asks reads those of maxTellers: what is hot is so on many nodes.
const (
	hotInAll   = 4096
	leastHot   = 8
	maxTellers = 256
)

// told is what this node has told of what is hot.
type told struct {
	mu    sync.Mutex // guards the fields below; held while etcd is told
	lease clientv3.LeaseID
	hot   []swarmcache.Hot
}

// TellHot lets all nodes know, for as long as this one lives, what of its objects is
// wanted most, the hottest first. It writes only what is news.
func (c *Cluster) TellHot(ctx context.Context, hot []swarmcache.Hot) error {
	most := swarmcache.MaxHot
	if n := c.Size(); n > 0 {
		most = min(most, max(leastHot, hotInAll/n))
	}
	hot = slices.Clone(hot[:min(len(hot), most)])
	for i := range hot {
		if hot[i].URL == string(hot[i].Key) {
			hot[i].Key = ""
		}
	}
	c.told.mu.Lock()
	defer c.told.mu.Unlock()
	lease := c.leaseID()
	had := c.told.hot
	if c.told.lease != lease {
		had = nil
	}
	if !isNews(had, hot) {
		return nil
	}
	key := c.keys.hot() + string(c.cfg.Self.ID)
	err := c.do(ctx, opHot, func(ctx context.Context, client *clientv3.Client) error {
		op := clientv3.OpDelete(key)
		if len(hot) > 0 {
			op = clientv3.OpPut(key, encode(hot), clientv3.WithLease(lease))
		}
		_, err := client.Do(ctx, op)
		return err
	})
	if err == nil {
		c.told.lease, c.told.hot = lease, hot
	}
	return err
}

// isNews reports whether others are hot than were, or one is much hotter or cooler.
func isNews(was, is []swarmcache.Hot) bool {
	if len(was) != len(is) {
		return true
	}
	before := make(map[string]float64, len(was))
	for _, h := range was {
		before[h.URL] = h.Heat
	}
	return slices.ContainsFunc(is, func(h swarmcache.Hot) bool {
		b := before[h.URL]
		return b == 0 || math.Abs(b-h.Heat) > b/4
	})
}

// Hottest returns up to n of the objects that are wanted most in the whole cluster,
// the hottest first.
func (c *Cluster) Hottest(ctx context.Context, n int) ([]swarmcache.Hot, error) {
	sums := map[policy.Key]*swarmcache.Hot{}
	err := c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
		prefix := c.keys.hot()
		end := clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix))
		from := prefix
		if c.Size() > c.tellers { // those from a place on that each time is another one
			from += fmt.Sprintf("%016x", rand.Uint64()) // a node's id is such
		}
		r, err := client.Get(ctx, from, end, clientv3.WithLimit(int64(c.tellers)))
		if err != nil {
			return err
		}
		kvs := r.Kvs
		if rest := c.tellers - len(kvs); rest > 0 && from != prefix {
			r, err := client.Get(ctx, prefix, clientv3.WithRange(from), clientv3.WithLimit(int64(rest)))
			if err != nil {
				return err
			}
			kvs = append(kvs, r.Kvs...)
		}
		for _, told := range decodeAll[[]swarmcache.Hot](c, kvs) {
			for _, h := range told {
				h.Key = cmp.Or(h.Key, policy.Key(h.URL))
				h.Nodes = 1
				if s := sums[h.Key]; s != nil {
					h.Heat, h.Nodes = h.Heat+s.Heat, 1+s.Nodes
				}
				sums[h.Key] = &h
			}
		}
		return nil
	})
	hottest := make([]swarmcache.Hot, 0, len(sums))
	for _, h := range sums {
		hottest = append(hottest, *h)
	}
	slices.SortFunc(hottest, func(a, b swarmcache.Hot) int {
		return cmp.Or(cmp.Compare(b.Heat, a.Heat), strings.Compare(string(a.Key), string(b.Key)))
	})
	return hottest[:min(n, len(hottest))], err
}
