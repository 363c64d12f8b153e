package cluster

import (
	"context"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A leader that etcd hears and the other nodes do not keeps its lease, and nobody
// can announce. So nodes tell etcd when they do not reach it, and a leader that
// most of the others do not reach resigns, and does not take the seat again for a
// while.

const (
	// complainAfter is how long after an announce that failed none has succeeded: one
	// that has died is replaced meanwhile.
	complainAfter = 3 * time.Second
	// fewComplaints are not believed: of two nodes that do not reach each other
	// neither is better.
	fewComplaints = 2
	// sitOutFor is how long a leader that resigned for this does not campaign.
	sitOutFor = time.Minute
	// listenEvery is how often a leader looks for complaints.
	listenEvery = 2 * time.Second
)

// unheard is what this node knows of a leader that is not reached.
type unheard struct {
	mu       sync.Mutex // guards the fields below; a leaf
	about    int64      // the creation of the seat that was last tried
	since    time.Time  // it has been silent; zero: it is not
	told     int64      // about which one etcd was told; 0: none
	listened time.Time  // when this node, leading, last looked for complaints
	until    time.Time  // does not campaign
}

func (u *unheard) sitsOut() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Now().Before(u.until)
}

// Reached tells whether the tracker at that URL, the leader's, answered. It does
// no I/O.
func (c *Cluster) Reached(url string, answered bool) {
	c.leading.mu.Lock()
	seat := c.leading.seat
	c.leading.mu.Unlock()
	if seat.URL != url || seat.Node == c.cfg.Self.ID {
		return // it was another one
	}
	u := &c.unheard
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case answered:
		u.since = time.Time{}
	case u.about != seat.rev || u.since.IsZero():
		u.since = time.Now()
	}
	u.about = seat.rev
}

// listen complains of a leader that is silent, takes that back, and hears what
// others complain of. tend calls it about once a second.
func (c *Cluster) listen(ctx context.Context) {
	now := time.Now()
	c.leading.mu.Lock()
	rev := c.leading.seat.rev
	c.leading.mu.Unlock()
	u := &c.unheard
	u.mu.Lock()
	told, about := u.told, int64(0)
	if u.about == rev && !u.since.IsZero() && now.Sub(u.since) > complainAfter {
		about = u.about
	}
	due := now.Sub(u.listened) >= listenEvery
	u.mu.Unlock()

	if _, _, self := c.Leader(); self {
		if due {
			u.mu.Lock()
			u.listened = now
			u.mu.Unlock()
			c.heed(ctx)
		}
		about = 0
	}
	if about == told {
		return
	}
	key := c.keys.unheard() + string(c.cfg.Self.ID)
	err := c.do(ctx, opUnheard, func(ctx context.Context, client *clientv3.Client) error {
		op := clientv3.OpDelete(key)
		if about != 0 {
			op = clientv3.OpPut(key, strconv.FormatInt(about, 10), clientv3.WithLease(c.leaseID()))
		}
		_, err := client.Do(ctx, op)
		return err
	})
	if err == nil {
		u.mu.Lock()
		u.told = about
		u.mu.Unlock()
	}
}

// heed has this node resign if most of the others complain.
func (c *Cluster) heed(ctx context.Context) {
	c.leading.mu.Lock()
	rev := strconv.FormatInt(c.leading.seat.rev, 10)
	c.leading.mu.Unlock()
	var complaints, others int64
	err := c.do(ctx, opUnheard, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Txn(ctx).Then(
			clientv3.OpGet(c.keys.unheard(), clientv3.WithPrefix()),
			clientv3.OpGet(c.keys.nodes(), clientv3.WithPrefix(), clientv3.WithCountOnly())).Commit()
		if err != nil {
			return err
		}
		for _, kv := range r.Responses[0].GetResponseRange().Kvs {
			if string(kv.Value) == rev {
				complaints++
			}
		}
		others = r.Responses[1].GetResponseRange().Count - 1
		return nil
	})
	if err != nil || complaints < fewComplaints || 2*complaints <= others {
		return
	}
	c.log.Warn("most nodes do not reach this tracker: another one is to lead", "complaints", complaints, "others", others)
	c.unheard.mu.Lock()
	c.unheard.until = time.Now().Add(sitOutFor)
	c.unheard.mu.Unlock()
	c.resign(ctx) // the complaints stand, and are heard again
}
