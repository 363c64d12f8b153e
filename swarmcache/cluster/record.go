package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// Scheme is the format of everything this package writes. Nodes of different
// schemes do not share a cluster.
const Scheme = 1

const secretLen = 32 // bytes

// record is the cluster's own.
type record struct {
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
	// Epoch rises when etcd has lost data: all of it, or what came after the copy that
	// it was restored from. It is the Unix time of that, since nobody may be left who
	// knows the last one.
	Epoch  int64 `json:"epoch"`
	Scheme int   `json:"scheme"`
	// Born is the Unix time at which a node that belonged to no cluster made it; 0: one
	// that belonged to this cluster did.
	Born int64 `json:"born,omitempty"`
	// After is the cluster in whose place this node found this one.
	After string `json:"-"`
}

func (r record) era() swarmcache.Era {
	return swarmcache.Era{Cluster: r.ID, Epoch: r.Epoch, After: r.After}
}

// SchemeError says that the cluster speaks another format than this program.
// The node works alone until one of them changes.
type SchemeError struct{ Found, Want int }

func (e *SchemeError) Error() string {
	return fmt.Sprintf("the cluster uses format %d, this program uses %d", e.Found, e.Want)
}

// ForeignError says that etcd holds the data of another cluster than the one that
// this node belongs to. What they have stored, purged and agreed on must not mix:
// the node works alone until somebody says where it belongs. One that was the only
// node of its cluster mixes nothing, and moves.
type ForeignError struct{ Found, Want string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("this etcd is that of cluster %s, and this node belongs to cluster %s; to move it there, start it with --etcd-cluster-id %s", e.Found, e.Want, e.Found)
}

// refused reports whether the cluster is one that this node must stay out of.
func refused(err error) bool {
	var scheme *SchemeError
	var foreign *ForeignError
	return errors.As(err, &scheme) || errors.As(err, &foreign)
}

func (c *Cluster) mismatch() bool {
	var e *SchemeError
	return errors.As(c.State(), &e)
}

func (c *Cluster) foreign() bool {
	var e *ForeignError
	return errors.As(c.State(), &e)
}

// meet reads the cluster's record, or makes it: with the secret that this node
// knows, so that a cluster whose etcd lost everything stays the same swarm.
func (c *Cluster) meet(ctx context.Context, client *clientv3.Client) error {
	c.mu.Lock()
	known, past, alone := c.record, c.past, c.most == 1 && c.cfg.ClusterID == ""
	c.mu.Unlock()
	key := c.keys.cluster()
	r, err := client.Get(ctx, key) // nearly always it is there: do not write for nothing
	if err != nil {
		return fmt.Errorf("read the cluster's record: %w", err)
	}
	now := moment(r.Header)
	if len(r.Kvs) == 0 {
		fresh := record{ID: cmp.Or(known.ID, rand.Text()), Secret: known.Secret, Epoch: known.nextEpoch(), Scheme: Scheme, After: known.After}
		if known.ID == "" {
			fresh.Born = time.Now().Unix()
		}
		return c.write(ctx, client, known, fresh, 0)
	}
	got, err := readRecord(r.Kvs[0].Value)
	if err != nil {
		return err
	}
	rev := r.Kvs[0].ModRevision
	switch {
	case known.ID == "":
	case known.ID != got.ID:
		return c.meetOther(ctx, client, known, got, now, rev, alone)
	default:
		got.After = known.After
		if known.outlives(got) || known.Epoch == got.Epoch && now.before(past) {
			got.Epoch = known.nextEpoch()
			return c.write(ctx, client, known, got, rev)
		}
	}
	c.adopt(known, got, now, rev)
	return nil
}

// meetOther decides what becomes of this node where etcd holds another cluster than
// its own. One that was made by a node which knew of no cluster may be what came after
// an etcd that was wiped: where nobody uses it yet it ends, and where somebody does
// this node belongs to it from now on, if it succeeded the node's own. Everything else
// is foreign.
func (c *Cluster) meetOther(ctx context.Context, client *clientv3.Client, known, got record, now Moment, rev int64, alone bool) error {
	heir := c.succeeded(got)
	if !alone {
		if got.Born == 0 || c.cfg.ClusterID != "" {
			return &ForeignError{got.ID, known.ID}
		}
		used, err := c.oust(ctx, client, known, got, rev)
		switch {
		case err != nil || !used:
			return err
		case !heir:
			return &ForeignError{got.ID, known.ID}
		}
	}
	if heir {
		got.After = known.ID
	}
	c.adopt(known, got, now, rev)
	return nil
}

// clocksDiffer is by how much the clocks of two nodes may.
const clocksDiffer = time.Minute

// succeeded reports whether a cluster came in the place of this node's own: under the
// same address and prefix, and not before this node last was in touch with its own.
// Two clusters that live at a time are never that.
func (c *Cluster) succeeded(got record) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := slices.ContainsFunc(c.places, func(p string) bool { return slices.Contains(c.cfg.places(), p) })
	return same && got.Born != 0 && !c.seen.IsZero() && !time.Unix(got.Born, 0).Before(c.seen.Add(-clocksDiffer))
}

// oust makes a cluster's record stand again in an etcd that was wiped, and that a node
// which knew nothing of the cluster reached first: one whose disk was lost as well.
// Where that node is not the only one, or anything was stored or ordered already, it
// is used, and stays as it is.
func (c *Cluster) oust(ctx context.Context, client *clientv3.Client, known, got record, rev int64) (used bool, err error) {
	nodes, err := client.Get(ctx, c.keys.nodes(), clientv3.WithPrefix())
	if err != nil {
		return false, fmt.Errorf("read who made the cluster's record: %w", err)
	}
	if len(nodes.Kvs) > 1 {
		return true, nil
	}
	unchanged := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(c.keys.cluster()), "=", rev)}
	for _, stored := range []string{c.keys.allObjects(), c.keys.purges(), c.keys.allKept(), c.keys.jobs()} {
		unchanged = append(unchanged, clientv3.Compare(clientv3.CreateRevision(stored), "=", 0).WithPrefix())
	}
	ours := record{ID: known.ID, Secret: known.Secret, Epoch: known.nextEpoch(), Scheme: Scheme, After: known.After}
	t, err := client.Txn(ctx).If(unchanged...).
		Then(clientv3.OpPut(c.keys.cluster(), encode(ours))).
		Else(clientv3.OpGet(c.keys.cluster())).Commit()
	switch {
	case err != nil:
		return false, fmt.Errorf("write the cluster's record: %w", err)
	case t.Succeeded:
	case only(t, 0) != nil && only(t, 0).ModRevision == rev:
		return true, nil
	default: // another node was faster
		return false, c.meet(ctx, client)
	}
	c.log.Warn("etcd was wiped, and met first by a node that knew nothing: this is its cluster again", "was", got.ID, "is", ours.ID)
	for _, kv := range nodes.Kvs { // it has to come again, and then it moves
		if _, err := client.Revoke(ctx, clientv3.LeaseID(kv.Lease)); err != nil {
			c.log.Warn("end the lease of a node", "node", string(kv.Key), "err", err)
		}
	}
	c.adopt(known, ours, moment(t.Header), t.Header.Revision)
	return false, nil
}

// write makes r the cluster's record in the place of that of a revision. Should
// another node come first, the next attempt reads what it wrote.
func (c *Cluster) write(ctx context.Context, client *clientv3.Client, known, r record, rev int64) error {
	key := c.keys.cluster()
	t, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
		Then(clientv3.OpPut(key, encode(r))).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("write the cluster's record: %w", err)
	case !t.Succeeded:
		return c.meet(ctx, client)
	}
	c.adopt(known, r, moment(t.Header), t.Header.Revision)
	return nil
}

func readRecord(b []byte) (record, error) {
	// The scheme first: of another one, nothing else may be readable.
	var scheme struct{ Scheme int }
	if err := decode("the cluster's record", b, &scheme); err != nil {
		return record{}, err
	}
	if scheme.Scheme != Scheme {
		return record{}, &SchemeError{scheme.Scheme, Scheme}
	}
	var r record
	if err := decode("the cluster's record", b, &r); err != nil {
		return record{}, err
	}
	if len(r.Secret) != secretLen {
		return record{}, fmt.Errorf("the cluster's secret has %d bytes, want %d", len(r.Secret), secretLen)
	}
	return r, nil
}
