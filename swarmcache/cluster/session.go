package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// sessions holds one lease after the other until ctx is done.
func (c *Cluster) sessions(ctx context.Context, client *clientv3.Client) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.beat(ctx) })
	wg.Go(func() { c.watchConnection(ctx, client) })
	wg.Go(func() { c.followMode(ctx) })
	wg.Go(func() { c.followLeader(ctx) })
	wg.Go(func() { c.campaign(ctx) })
	wg.Go(func() { c.tend(ctx) })
	wg.Go(func() { c.sweepSlots(ctx) })
	for wait := retryMin; ctx.Err() == nil; {
		err := c.session(ctx, client)
		if ctx.Err() != nil {
			return
		}
		c.trip(err)
		if errors.Is(err, errLeaseLost) {
			c.m.leaseLosses.Inc()
			wait = retryMin
		}
		if refused(err) {
			c.health.down(err) // say so, whatever was said before
			wait = 5 * time.Second
		}
		pauseUntil(ctx, c.health.ready, wait/2+rand.N(wait))
		wait = min(2*wait, retryMax)
	}
}

// session takes part in the cluster for as long as one lease lives.
func (c *Cluster) session(ctx context.Context, client *clientv3.Client) error {
	granted := time.Now()
	id, err := c.enter(ctx, client)
	if err != nil {
		return err
	}
	c.joined.CompareAndSwap(nil, &granted) // from now on answers come, whose age is to be known
	c.lease.Store(int64(id))
	c.debts.leaseEnded()
	c.leading.extend(granted.Add(c.leaseSure()))
	c.health.answered()
	c.restore()
	c.health.renew()
	c.rejoin(ctx)
	c.log.Info("joined the cluster", "cluster", c.ID(), "lease", fmt.Sprintf("%x", int64(id)))

	err = c.keepAlive(ctx, client, id)
	// The id stays until there is another: etcd refuses to put anything under a
	// lease that is gone, and would keep for ever what is put under none.
	c.leading.extend(time.Time{})
	c.evaluateLeader()
	if ctx.Err() != nil {
		c.revoke(client, id)
	}
	return err
}

// enter reads or makes the cluster's record, takes a lease and registers.
func (c *Cluster) enter(ctx context.Context, client *clientv3.Client) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout+c.slack())
	defer cancel()
	if err := c.meet(ctx, client); err != nil {
		return 0, err
	}
	seconds := (c.cfg.LeaseTTL + time.Second - 1) / time.Second
	l, err := client.Grant(ctx, int64(seconds))
	if err != nil {
		return 0, fmt.Errorf("take a lease: %w", err)
	}
	if err := c.register(ctx, client, l.ID); err != nil {
		c.revoke(client, l.ID)
		return 0, err
	}
	if err := c.census(ctx, client); err != nil {
		c.revoke(client, l.ID)
		return 0, fmt.Errorf("count the nodes: %w", err)
	}
	return l.ID, nil
}

// register tells of this node, unless the cluster's record has changed since it was met.
func (c *Cluster) register(ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) error {
	c.mu.Lock()
	self, rev := c.self, c.recorded
	c.mu.Unlock()
	tell := []clientv3.Op{clientv3.OpPut(c.keys.node(self.ID), encode(self), clientv3.WithLease(id))}
	for _, name := range PeerNames(self) {
		tell = append(tell, clientv3.OpPut(c.keys.peers(name)+string(self.ID), "", clientv3.WithLease(id)))
	}
	t, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(c.keys.cluster()), "=", rev)).
		Then(tell...).Commit()
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if !t.Succeeded {
		return errRestored // the cluster's record is another one
	}
	return nil
}

// revoke gives a lease back, and with it everything that stands under it. If
// that does not work within the second that a stop may take, the lease runs out.
func (c *Cluster) revoke(client *clientv3.Client, id clientv3.LeaseID) {
	timeout := time.Second
	if !c.Healthy() {
		timeout /= 5 // worth a try
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	client.Revoke(ctx, id)
}

// leaseSure is for how long after asking for it a lease certainly lives, with
// room for a clock that runs slow and for telling others that we ceased to lead.
func (c *Cluster) leaseSure() time.Duration { return c.cfg.LeaseTTL * 5 / 6 }

// keepAlive keeps the lease until it is lost or ctx is done. While the circuit
// is open it is also the probe that closes it.
func (c *Cluster) keepAlive(ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) error {
	every := c.cfg.LeaseTTL / 3
	retry := retryMin
	for next := every; ; {
		// A trip wakes us for a probe, but not while the last one has just failed.
		if next == every {
			select {
			case <-ctx.Done():
			case <-c.health.tripped:
			case <-time.After(next):
			}
		} else {
			pauseUntil(ctx, c.health.ready, next)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sent, down := time.Now(), !c.Healthy()
		header, err := c.probe(ctx, client, id)
		switch {
		case err == nil && c.seemsRestored(header):
			err = c.meetAgain(ctx, client)
		case err == nil:
			c.health.answered()
			c.saw(header)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return errLeaseLost
		case errors.Is(err, errRestored) || refused(err):
			return err
		case err != nil:
			c.trip(fmt.Errorf("keep the lease: %w", err))
			next, retry = retry, min(2*retry, retryMax)
		default:
			if down && time.Since(sent) > probeTimeout+c.slack() {
				c.health.answeredLate() // the next one that a client awaits would fail
				next, retry = retry, min(2*retry, retryMax)
			} else {
				c.restore()
				next, retry = every, retryMin
			}
			if !c.unseated(ctx, client) {
				c.leading.extend(sent.Add(c.leaseSure()))
			}
		}
		c.evaluateLeader()
	}
}

// probe keeps the lease. When etcd was away it also writes: an etcd that answers
// without being able to write is of no use.
func (c *Cluster) probe(ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) (*etcdserverpb.ResponseHeader, error) {
	down := !c.Healthy()
	timeout := c.cfg.LeaseTTL / 3
	switch {
	case down && c.isSlow(): // some wait for it
		timeout = c.cfg.CallTimeout + c.crowd()
	case down:
		timeout = probeTimeout + c.slack()
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := client.KeepAliveOnce(ctx, id)
	if err != nil {
		return nil, err
	}
	if down {
		err = c.register(ctx, client, id)
	}
	return r.ResponseHeader, err
}

// meetAgain reads the cluster's record once more. errRestored: etcd is not what it
// was. A lease of the copy may look like ours; nothing that was watched goes on.
func (c *Cluster) meetAgain(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout+c.slack())
	defer cancel()
	was := c.Era()
	if err := c.meet(ctx, client); err != nil {
		return err
	}
	if c.Era() != was {
		return errRestored
	}
	return nil
}

// Announce changes what this node tells about itself, such as that it drains.
// A draining node gives up leading. Its id must not change.
func (c *Cluster) Announce(ctx context.Context, n swarmcache.Node) error {
	c.mu.Lock()
	n.ID = c.self.ID
	c.self = n
	c.mu.Unlock()
	c.leading.wake()
	return c.do(ctx, opAnnounce, func(ctx context.Context, client *clientv3.Client) error {
		return c.register(ctx, client, c.leaseID())
	})
}

// Nodes returns the members that live.
func (c *Cluster) Nodes(ctx context.Context) ([]swarmcache.Node, error) {
	var nodes []swarmcache.Node
	err := c.do(ctx, opNodes, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Get(ctx, c.keys.nodes(), clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			var n swarmcache.Node
			if err := decode("node", kv.Value, &n); err != nil {
				c.log.Warn("a node's record is unreadable", "err", err)
				continue
			}
			nodes = append(nodes, n)
		}
		return nil
	})
	return nodes, err
}

func (c *Cluster) leaseID() clientv3.LeaseID { return clientv3.LeaseID(c.lease.Load()) }

// tend does what can wait: debts, participants that are not listed, the census,
// orphans.
func (c *Cluster) tend(ctx context.Context) {
	relisted, count := time.Now(), time.Now().Add(firstCensus)
	for every := time.Second; pause(ctx, every/2+rand.N(every)); {
		if !c.answers() {
			continue
		}
		c.debts.pay(ctx, c)
		c.listen(ctx)
		if time.Since(relisted) > c.relist {
			c.rejoin(ctx)
			relisted = time.Now()
		}
		if time.Now().After(count) {
			c.do(ctx, opCensus, c.census)
			count = time.Now().Add(c.seldom(censusEvery))
		}
		if _, _, self := c.Leader(); self && c.leading.collectDue(c.cfg.OrphanAge/4) {
			if n, err := c.CollectOrphans(ctx); err == nil && n > 0 {
				c.log.Info("collected orphaned fills", "fills", n)
			}
		}
	}
}

// debts are claims that could not be given back while etcd was away, but that
// our lease keeps alive; and purges that others must still hear of.
type debts struct {
	mu     sync.Mutex // guards the fields below
	due    []debt
	purges map[policy.Key]swarmcache.Purge // of what may be known: the latest of a key says it all; none is dropped
}

// debt is an operation that is owed; that of a fill, if one is named, only while
// this node does not take part in it.
type debt struct {
	op    clientv3.Op
	fill  swarmcache.ObjectID
	purge *swarmcache.Purge // instead of op; it stays when the lease ends
}

// maxDebts bounds the queue. What does not fit is freed by the lease, or by
// others who see no progress.
const maxDebts = 4096

func (d *debts) add(ops ...clientv3.Op) { d.addUnlessIn("", ops...) }

func (d *debts) addUnlessIn(fill swarmcache.ObjectID, ops ...clientv3.Op) {
	due := make([]debt, len(ops))
	for i, op := range ops {
		due[i] = debt{op: op, fill: fill}
	}
	d.putBack(due)
}

func (d *debts) addPurge(p swarmcache.Purge) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.purges == nil {
		d.purges = map[policy.Key]swarmcache.Purge{}
	}
	d.purges[p.Key] = p
}

// take takes some out, purges first.
func (d *debts) take(n int) (some []debt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, p := range d.purges {
		if len(some) == n {
			return some
		}
		delete(d.purges, key)
		some = append(some, debt{purge: &p})
	}
	n = min(n-len(some), len(d.due))
	some = append(some, d.due[:n]...)
	d.due = d.due[n:]
	return some
}

func (d *debts) putBack(l []debt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range l {
		switch {
		case x.purge == nil && len(d.due) < maxDebts:
			d.due = append(d.due, x)
		case x.purge != nil:
			if _, later := d.purges[x.purge.Key]; !later {
				d.purges[x.purge.Key] = *x.purge
			}
		}
	}
}

// leaseEnded forgets what ended with the lease.
func (d *debts) leaseEnded() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = nil
}

// pay runs them, some at a time. Each is a transaction that checks for itself
// whether it still applies.
func (d *debts) pay(ctx context.Context, c *Cluster) {
	var later []debt
	defer func() { d.putBack(later) }()
	for {
		some := d.take(maxNested)
		if len(some) == 0 {
			return
		}
		var ops []clientv3.Op
		for _, x := range some {
			switch {
			case x.purge != nil:
				ops = append(ops, c.purgeIfKnown(*x.purge))
			case x.fill == "":
				ops = append(ops, x.op)
			case c.isOpening(x.fill): // before takesPart, which follows it
				later = append(later, x)
			case !c.takesPart(x.fill):
				ops = append(ops, x.op)
			}
		}
		if len(ops) == 0 {
			continue
		}
		err := c.do(ctx, opRelease, func(ctx context.Context, client *clientv3.Client) error {
			_, err := client.Txn(ctx).Then(ops...).Commit()
			return err
		})
		if err != nil {
			d.putBack(some)
			return
		}
	}
}
