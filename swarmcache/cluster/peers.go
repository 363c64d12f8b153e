package cluster

import (
	"context"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// PeerName is under what others find a node by one of its addresses. Its peer id, in
// hexadecimal digits, is another one.
func PeerName(a netip.Addr) string { return a.Unmap().WithZone("").String() }

// PeerNames are what a node's record says of its peer.
func PeerNames(n swarmcache.Node) (l []string) {
	for _, p := range n.Peers {
		l = append(l, PeerName(p.Addr()))
	}
	if n.PeerID != "" {
		l = append(l, n.PeerID)
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// ArePeers reports, of each of some names, whether a node's peer has it. That is one
// short read for each of them, where the list of all nodes would be read by every node
// again and again when all come at once.
func (c *Cluster) ArePeers(ctx context.Context, names []string) (are []bool, err error) {
	for some := range slices.Chunk(names, maxNested) {
		err := c.do(ctx, opPeers, func(ctx context.Context, client *clientv3.Client) error {
			ops := make([]clientv3.Op, len(some))
			for i, name := range some {
				ops[i] = clientv3.OpGet(c.keys.peers(name), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))
			}
			r, err := client.Txn(ctx).Then(ops...).Commit()
			if err != nil {
				return err
			}
			for i := range some {
				are = append(are, only(r, i) != nil)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return are, nil
}
