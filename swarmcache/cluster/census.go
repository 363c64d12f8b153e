package cluster

import (
	"context"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// When hundreds of nodes want the same object in the same moment, etcd answers
// one after the other. A node that takes its patience from small clusters would
// hold etcd for dead then, and go to the origin alone, and so would all others.
// Each node therefore knows about how many they are.

const (
	// perNode is how much more patience there is for each node beyond those that
	// a board lists.
	perNode = 4 * time.Millisecond
	// maxSlack bounds that: a client waits, and a lease runs out.
	maxSlack = 2 * time.Second
	// censusEvery is how often nodes are counted, by those of a small cluster.
	censusEvery = time.Minute
	// firstCensus is when the one of the start is repeated: others have started too.
	firstCensus = 10 * time.Second
)

// census counts the nodes.
func (c *Cluster) census(ctx context.Context, client *clientv3.Client) error {
	r, err := client.Get(ctx, c.keys.nodes(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err == nil {
		c.counted(r.Header, r.Count)
	}
	return err
}

// Size implements swarmcache.Directory.
func (c *Cluster) Size() int { return int(c.size.Load()) }

// slack is the patience that the cluster's size calls for, none in a small one, and what
// this node's computer does.
func (c *Cluster) slack() time.Duration { return c.crowd() + c.starved.patience() }

func (c *Cluster) crowd() time.Duration {
	return min(max(0, time.Duration(c.size.Load())-swarmcache.MaxListed)*perNode, maxSlack)
}

// spread keeps those who waited for the same event from asking all at once.
func (c *Cluster) spread(ctx context.Context) {
	if d := c.crowd(); d > 0 {
		pause(ctx, rand.N(d))
	}
}

// seldom is how often each node does what is done so often in a cluster that a board can
// list: where there are more, all of them together do it no more often.
func (c *Cluster) seldom(every time.Duration) time.Duration {
	return every * max(1, time.Duration(c.size.Load())/swarmcache.MaxListed)
}
