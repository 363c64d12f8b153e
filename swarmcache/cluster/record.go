package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

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
	// Epoch rises when the record is made anew, because etcd lost its data. It is
	// the Unix time of the making, since nobody may be left who knows the last one.
	Epoch  int64 `json:"epoch"`
	Scheme int   `json:"scheme"`
}

// SchemeError says that the cluster speaks another format than this program.
// The node works alone until one of them changes.
type SchemeError struct{ Found, Want int }

func (e *SchemeError) Error() string {
	return fmt.Sprintf("the cluster uses format %d, this program uses %d", e.Found, e.Want)
}

func (c *Cluster) mismatch() bool {
	var e *SchemeError
	return errors.As(c.State(), &e)
}

// meet reads the cluster's record, or makes it: with the secret that this node
// knows, so that a cluster whose etcd lost everything stays the same swarm.
func (c *Cluster) meet(ctx context.Context, client *clientv3.Client) error {
	c.mu.Lock()
	known := c.record
	c.mu.Unlock()
	fresh := record{ID: known.ID, Secret: known.Secret, Epoch: time.Now().Unix(), Scheme: Scheme}
	if fresh.ID == "" {
		fresh.ID = rand.Text()
	}
	key := c.keys.cluster()
	r, err := client.Get(ctx, key) // nearly always it is there: do not write for nothing
	if err != nil {
		return fmt.Errorf("read the cluster's record: %w", err)
	}
	kvs := r.Kvs
	if len(kvs) == 0 {
		t, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, encode(fresh))).
			Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return fmt.Errorf("make the cluster's record: %w", err)
		}
		if !t.Succeeded {
			kvs = t.Responses[0].GetResponseRange().Kvs
		}
	}
	got := fresh
	if len(kvs) > 0 {
		if got, err = readRecord(kvs[0].Value); err != nil {
			return err
		}
	}
	c.adopt(known, got)
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

func (c *Cluster) adopt(known, got record) {
	c.mu.Lock()
	c.record = got
	c.mu.Unlock()
	if known.ID != "" && known.ID != got.ID {
		c.log.Warn("this is another cluster than before", "was", known.ID, "is", got.ID)
	}
	if known.Epoch != 0 && known.Epoch != got.Epoch {
		c.log.Warn("etcd lost the cluster's data", "epoch", got.Epoch)
	}
	changed := c.cfg.CachedSecret == nil && known.ID == "" || known.ID != got.ID || !bytes.Equal(known.Secret, got.Secret)
	if changed && c.cfg.OnSecret != nil {
		c.cfg.OnSecret(got.ID, bytes.Clone(got.Secret))
	}
}
