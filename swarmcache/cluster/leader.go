package cluster

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// seat is the leader's key: who sits there, under which lease.
type seat struct {
	URL  string            `json:"url"`
	Node swarmcache.NodeID `json:"node"`

	lease int64
	rev   int64 // the key's creation: no two leaders have the same
}

// leading is what this node knows about the leader. The election is one key
// under the leader's lease: every node watches that key anyway, because it must
// announce itself anew when the leader changes.
type leading struct {
	notify sync.Mutex // taken before mu; keeps the calls of OnLeader in order

	mu        sync.Mutex
	seat      seat      // as etcd tells; zero: vacant
	yields    int64     // rev of the seat that this node is giving up
	sure      time.Time // until when our lease certainly lives
	url       string    // as told last
	id        swarmcache.NodeID
	self      bool
	collected time.Time
	aside     time.Time     // until when others have the first choice
	kick      chan struct{} // wakes campaign; made by it
	collect   sync.Mutex    // one CollectOrphans at a time
}

func (l *leading) extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sure = until
}

func (l *leading) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default: // full, or nobody campaigns
	}
}

func (l *leading) collectDue(every time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.collected) < every {
		return false
	}
	l.collected = time.Now()
	return true
}

// Leader returns who leads, where its tracker answers, and whether it is this
// node. It does no I/O. self ends as soon as this node cannot be sure of its
// lease, which is before another can take over.
func (c *Cluster) Leader() (url string, id swarmcache.NodeID, self bool) {
	c.leading.mu.Lock()
	defer c.leading.mu.Unlock()
	return c.leadsLocked()
}

func (c *Cluster) leadsLocked() (string, swarmcache.NodeID, bool) {
	l := &c.leading
	if l.seat.Node != c.cfg.Self.ID {
		return l.seat.URL, l.seat.Node, false
	}
	if l.seat.rev == l.yields || l.seat.lease != c.lease.Load() || !time.Now().Before(l.sure) {
		return "", "", false // it was us
	}
	return l.seat.URL, l.seat.Node, true
}

// evaluateLeader tells OnLeader when there is something new.
func (c *Cluster) evaluateLeader() {
	l := &c.leading
	l.notify.Lock()
	defer l.notify.Unlock()
	l.mu.Lock()
	url, id, self := c.leadsLocked()
	same := url == l.url && id == l.id && self == l.self
	l.url, l.id, l.self = url, id, self
	l.mu.Unlock()
	if same {
		return
	}
	c.log.Info("the leader changed", "leader", id, "self", self)
	if c.cfg.OnLeader != nil {
		c.cfg.OnLeader(url, self)
	}
}

// followLeader watches the seat.
func (c *Cluster) followLeader(ctx context.Context) {
	take := func(kv *mvccpb.KeyValue) {
		var s seat
		if kv != nil {
			if err := decode("the leader", kv.Value, &s); err != nil {
				c.log.Warn("the leader's record is unreadable", "err", err)
			}
			s.lease, s.rev = kv.Lease, kv.CreateRevision
		}
		c.leading.mu.Lock()
		c.leading.seat = s
		c.leading.mu.Unlock()
		c.evaluateLeader()
		c.leading.wake()
	}
	c.follow(ctx, follower{
		prefix: c.keys.leader(),
		state: func(_ int64, kvs []*mvccpb.KeyValue) error {
			if len(kvs) == 0 {
				take(nil)
			} else {
				take(kvs[0])
			}
			return nil
		},
		changed: func(events changes) error {
			if e := events[len(events)-1]; e.Type == clientv3.EventTypeDelete {
				take(nil)
			} else {
				take(e.Kv)
			}
			return nil
		},
	})
	c.leading.mu.Lock()
	c.leading.seat = seat{}
	c.leading.mu.Unlock()
	c.evaluateLeader()
}

// campaign takes the seat when it is vacant. The first to wake wins; the others
// see it and do not even try, thanks to a random delay.
func (c *Cluster) campaign(ctx context.Context) {
	kick := make(chan struct{}, 1)
	c.leading.mu.Lock()
	c.leading.kick = kick
	c.leading.mu.Unlock()
	for pauseUntil(ctx, kick, time.Second) {
		c.mu.Lock()
		self := c.self
		c.mu.Unlock()
		switch {
		case self.Draining && c.sits():
			c.resign(ctx) // tried again in a second, until it is told that it worked
		case c.vacant() && self.Tracker != "" && !self.Draining && !c.leading.stepsAside() && c.Healthy() && !c.unheard.sitsOut():
			if pause(ctx, rand.N(150*time.Millisecond)) && c.vacant() {
				c.take(ctx, self)
			}
		}
	}
}

// sits reports whether the seat is this node's, as far as etcd has told.
func (c *Cluster) sits() bool {
	c.leading.mu.Lock()
	defer c.leading.mu.Unlock()
	return c.leading.seat.Node == c.cfg.Self.ID
}

// unseated returns whether this node has lost the seat without being told: the
// watch may stand still where keeping the lease does not. Who cannot find out is
// not sure of it.
func (c *Cluster) unseated(ctx context.Context, client *clientv3.Client) bool {
	c.leading.mu.Lock()
	seat := c.leading.seat
	c.leading.mu.Unlock()
	if seat.Node != c.cfg.Self.ID {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.LeaseTTL/6)
	defer cancel()
	r, err := client.Get(ctx, c.keys.leader())
	if err != nil {
		return true
	}
	if len(r.Kvs) == 1 && r.Kvs[0].CreateRevision == seat.rev {
		return false
	}
	c.vacate(seat)
	return true
}

// vacate forgets who sat there, if nobody else does by now.
func (c *Cluster) vacate(was seat) {
	c.leading.mu.Lock()
	if c.leading.seat == was {
		c.leading.seat = seat{}
	}
	c.leading.mu.Unlock()
	c.evaluateLeader()
}

func (c *Cluster) vacant() bool {
	c.leading.mu.Lock()
	defer c.leading.mu.Unlock()
	return c.leading.seat == seat{}
}

func (c *Cluster) take(ctx context.Context, self swarmcache.Node) {
	key := c.keys.leader()
	c.do(ctx, opLead, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, encode(seat{URL: self.Tracker, Node: self.ID}), clientv3.WithLease(c.leaseID()))).
			Commit()
		return err // who won comes with the watch
	})
}

// resign gives the seat up. This node ceases to answer before another can begin; it
// goes on when etcd could not be told, which would leave the seat to nobody: its
// lease lives.
func (c *Cluster) resign(ctx context.Context) error {
	if err := c.State(); err != nil {
		return unavailable(err)
	}
	c.leading.mu.Lock()
	was := c.leading.seat
	c.leading.mu.Unlock()
	if was.Node != c.cfg.Self.ID {
		return nil // it has just been lost
	}
	c.yield(was.rev)
	key := c.keys.leader()
	err := c.do(ctx, opLead, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", was.rev)).
			Then(clientv3.OpDelete(key)).Commit()
		return err
	})
	if err != nil {
		c.yield(0) // if it happened all the same, the watch tells
		return err
	}
	c.vacate(was)
	return nil
}

// yield has this node not lead in the seat of that rev, though it sits there.
func (c *Cluster) yield(rev int64) {
	c.leading.mu.Lock()
	c.leading.yields = rev
	c.leading.mu.Unlock()
	c.evaluateLeader()
}

// CollectOrphans deletes fills that nobody has taken part in for OrphanAge, and
// memories of restarts that are over. It returns how many fills it deleted. Run
// calls it while this node leads. A fill is seen empty twice before it goes.
func (c *Cluster) CollectOrphans(ctx context.Context) (int, error) {
	c.leading.collect.Lock()
	defer c.leading.collect.Unlock()
	empty, err := c.emptyFills(ctx)
	if err != nil {
		return 0, err
	}
	for id := range c.orphans {
		if !empty[id] {
			delete(c.orphans, id)
		}
	}
	n := 0
	for id := range empty {
		since, known := c.orphans[id]
		if !known {
			c.orphans[id] = time.Now()
			continue
		}
		if time.Since(since) < c.cfg.OrphanAge {
			continue
		}
		deleted, err := c.deleteBoard(ctx, id)
		if err != nil {
			return n, err
		}
		delete(c.orphans, id)
		if deleted {
			n++
			c.m.orphans.Inc()
		}
	}
	if err := c.forgetPurges(ctx); err != nil {
		return n, err
	}
	return n, c.forgetRestarts(ctx)
}

// emptyFills returns the fills without a participant.
func (c *Cluster) emptyFills(ctx context.Context) (map[swarmcache.ObjectID]bool, error) {
	empty := map[swarmcache.ObjectID]bool{}
	prefix := c.keys.fills()
	err := c.do(ctx, opCollect, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs { // in order: nodes/ comes before record and spans/
			id, part, _ := strings.Cut(string(kv.Key[len(prefix):]), "/")
			_, seen := empty[swarmcache.ObjectID(id)]
			if taken := strings.HasPrefix(part, partNodes); taken || !seen {
				empty[swarmcache.ObjectID(id)] = !taken
			}
		}
		return nil
	})
	for id, is := range empty {
		if !is {
			delete(empty, id)
		}
	}
	return empty, err
}
