package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
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
	return fmt.Sprintf("this etcd is that of cluster %s, and this node belongs to cluster %s; to move it there, set etcd.cluster_id to %s", e.Found, e.Want, e.Found)
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
	known, past, alone := c.record, c.past, c.most <= 1 && c.cfg.ClusterID == ""
	c.mu.Unlock()
	key := c.keys.cluster()
	r, err := client.Get(ctx, key) // nearly always it is there: do not write for nothing
	if err != nil {
		return fmt.Errorf("read the cluster's record: %w", err)
	}
	now := moment(r.Header)
	if len(r.Kvs) == 0 {
		fresh := record{ID: cmp.Or(known.ID, rand.Text()), Secret: known.Secret, Epoch: known.nextEpoch(), Scheme: Scheme}
		return c.write(ctx, client, known, fresh, 0)
	}
	got, err := readRecord(r.Kvs[0].Value)
	switch {
	case err != nil:
		return err
	case known.ID != "" && known.ID != got.ID && !alone:
		return &ForeignError{got.ID, known.ID}
	case known.ID != got.ID:
	case known.outlives(got) || known.Epoch == got.Epoch && now.before(past):
		got.Epoch = known.nextEpoch()
		return c.write(ctx, client, known, got, r.Kvs[0].ModRevision)
	}
	c.adopt(known, got, now)
	return nil
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
	c.adopt(known, r, moment(t.Header))
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
