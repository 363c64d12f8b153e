package cluster

import (
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// ClaimSpare implements swarmcache.Keeper. The claims have a lease of their own, for
// they are to outlive the node.
func (c *Cluster) ClaimSpare(ctx context.Context, torrents []swarmcache.InfoHash) (mine []swarmcache.InfoHash, err error) {
	for some := range slices.Chunk(torrents, maxNested) {
		err := c.do(ctx, opKeep, func(ctx context.Context, client *clientv3.Client) error {
			l, err := client.Grant(ctx, int64(swarmcache.SpareStands/time.Second))
			if err != nil {
				return err
			}
			ops := make([]clientv3.Op, len(some))
			for i, ih := range some {
				ops[i] = c.claimSpare(ih, l.ID)
			}
			r, err := client.Txn(ctx).Then(ops...).Commit()
			if err != nil {
				return err // what was won all the same is ours next time
			}
			had := len(mine)
			for i, ih := range some {
				t := r.Responses[i].GetResponseTxn()
				if t.Succeeded || t.Responses[0].GetResponseTxn().Succeeded {
					mine = append(mine, ih)
				}
			}
			if len(mine) == had {
				c.revoke(client, l.ID) // nothing stands under it
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return mine, nil
}

// claimSpare makes a claim where there is none, or this node's.
func (c *Cluster) claimSpare(ih swarmcache.InfoHash, lease clientv3.LeaseID) clientv3.Op {
	key, self := c.keys.spare(ih), string(c.cfg.Self.ID)
	claim := []clientv3.Op{clientv3.OpPut(key, self, clientv3.WithLease(lease))}
	again := clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", self)}, claim, nil)
	return clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, claim, []clientv3.Op{again})
}
