package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// How often the cluster has asked for something that it does not store yet. A count
// is the version of a key, which etcd raises with each put. It is forgotten when it
// was not raised for usesStand, for it stands under a lease that nobody keeps.

const (
	usesStand = 20 * time.Minute
	// maxCounted bounds what a node counts under one lease, and so in half that time.
	// However many nodes there are, all together count about countedInAll.
	maxCounted   = 4096
	leastCounted = 64
	countedInAll = 4 * maxCounted
)

// uses is the lease of a node's counts.
type uses struct {
	mu    sync.Mutex // held while a lease is taken
	lease clientv3.LeaseID
	until time.Time // it is used for new counts
	made  int
}

var _ swarmcache.UseCounter = (*Cluster)(nil)

// CountUse implements swarmcache.UseCounter.
func (c *Cluster) CountUse(ctx context.Context, key policy.Key) (n int, err error) {
	err = c.do(ctx, opUse, func(ctx context.Context, client *clientv3.Client) error {
		lease, err := c.uses.take(ctx, client, c.mayCount())
		if err != nil || lease == 0 {
			return err
		}
		k := c.keys.use(key)
		r, err := client.Txn(ctx).Then(clientv3.OpPut(k, "", clientv3.WithLease(lease)), clientv3.OpGet(k)).Commit()
		if err != nil {
			if errors.Is(err, rpctypes.ErrLeaseNotFound) {
				c.uses.drop(lease) // etcd has lost data
			}
			return err
		}
		n = int(r.Responses[1].GetResponseRange().Kvs[0].Version)
		return nil
	})
	return n, err
}

// mayCount is how many uses this node may count under one lease.
func (c *Cluster) mayCount() int {
	return min(maxCounted, max(leastCounted, countedInAll/max(1, c.Size())))
}

// take returns the lease for the next count; 0 when there were most of late.
func (u *uses) take(ctx context.Context, client *clientv3.Client, most int) (clientv3.LeaseID, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lease == 0 || time.Now().After(u.until) {
		l, err := client.Grant(ctx, int64(usesStand/time.Second))
		if err != nil {
			return 0, err
		}
		u.lease, u.until, u.made = l.ID, time.Now().Add(usesStand/2), 0
	}
	if u.made++; u.made > most {
		return 0, nil
	}
	return u.lease, nil
}

func (u *uses) drop(lease clientv3.LeaseID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lease == lease {
		u.lease = 0
	}
}
