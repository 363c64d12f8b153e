package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// slotLinger is how long a node keeps a slot that it does not use: the next
	// span of a fill takes it again without a word to etcd.
	slotLinger = 5 * time.Second
	// slotLingerScarce is the same when more than half of the slots were taken: in
	// a large fleet nodes take turns at the spans, and what they kept would be
	// missing elsewhere.
	slotLingerScarce = 250 * time.Millisecond
	// slotTenure is how long a node may take its slot again and again before it
	// looks whether others wait: an object of 100 GB must not shut the others out.
	slotTenure = 5 * time.Second
	// maxLine bounds those who stand in line: each of them is told of each who comes
	// or goes. Others come again after about lineFull.
	maxLine  = 32
	lineFull = 2 * time.Second
)

// slots are those of this node, by the prefix of their origin's keys.
type slots struct {
	kick chan struct{} // room for one: wakes sweepSlots

	mu      sync.Mutex // guards the fields below, and those of seats that say so
	origins map[string]*seats
}

// seats are this node's slots at one origin.
type seats struct {
	prefix string
	turn   chan struct{} // room for one: who asks etcd; the others wait here
	freed  chan struct{} // room for one: kept has a new one

	kept  []slot // not in use; guarded by slots.mu
	users int    // calls under way and slots in use; guarded by slots.mu
}

// slot is one that this node has in etcd.
type slot struct {
	key    string
	rev    int64
	lease  clientv3.LeaseID
	since  time.Time     // when it was claimed, or when nobody else waited for it
	linger time.Duration // how long it is kept
	until  time.Time     // kept: until then
}

func (b *slots) init() {
	b.kick = make(chan struct{}, 1)
	b.origins = map[string]*seats{}
}

func (b *slots) enter(prefix string) *seats {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.origins[prefix]
	if o == nil {
		o = &seats{prefix: prefix, turn: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
		b.origins[prefix] = o
	}
	o.users++
	return o
}

func (b *slots) leave(o *seats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.users--
	b.dropLocked(o)
}

func (b *slots) dropLocked(o *seats) {
	if o.users == 0 && len(o.kept) == 0 {
		delete(b.origins, o.prefix)
	}
}

// keep takes a slot back from its user.
func (b *slots) keep(o *seats, s slot) {
	b.mu.Lock()
	s.until = time.Now().Add(s.linger)
	o.kept = append(o.kept, s)
	o.users--
	b.mu.Unlock()
	for _, c := range []chan struct{}{o.freed, b.kick} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// again takes a slot that was kept, if there is one. What stood under another
// lease is gone.
func (b *slots) again(o *seats, lease clientv3.LeaseID) (slot, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(o.kept) > 0 {
		s := o.kept[len(o.kept)-1]
		o.kept = o.kept[:len(o.kept)-1]
		if s.lease == lease {
			return s, true
		}
	}
	return slot{}, false
}

// due takes the slots that were kept long enough, and tells when there will be
// more.
func (b *slots) due(now time.Time, lease clientv3.LeaseID) (due []slot, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait = time.Hour
	for _, o := range b.origins {
		left := o.kept[:0]
		for _, s := range o.kept {
			switch {
			case s.lease != lease:
			case now.Before(s.until):
				left = append(left, s)
				wait = min(wait, s.until.Sub(now))
			default:
				due = append(due, s)
			}
		}
		o.kept = left
		b.dropLocked(o)
	}
	return due, wait
}

// sweepSlots gives slots back that nobody here has used for a while.
func (c *Cluster) sweepSlots(ctx context.Context) {
	for ctx.Err() == nil {
		due, wait := c.slots.due(time.Now(), c.leaseID())
		c.giveUp(due)
		pauseUntil(ctx, c.slots.kick, wait)
	}
}

// giveUp deletes slots; when etcd cannot be asked, that becomes a debt.
func (c *Cluster) giveUp(l []slot) {
	for len(l) > 0 {
		n := min(len(l), maxNested)
		var ops []clientv3.Op
		for _, s := range l[:n] {
			ops = append(ops, deleteMade(s.key, s.rev))
		}
		l = l[n:]
		c.deleteOrOwe(ops...)
	}
}

// ClaimSlot claims a slot under this node's lease: one that was kept, one that
// is free, or, in line with the other nodes, one that comes free. Calls for one
// origin are served one after the other.
func (c *Cluster) ClaimSlot(ctx context.Context, origin string, n int) (func(), error) {
	o := c.slots.enter(c.keys.origin(origin))
	s, err := c.slot(ctx, o, n)
	if err != nil {
		c.slots.leave(o)
		return nil, err
	}
	return sync.OnceFunc(func() { c.slots.keep(o, s) }), nil
}

func (c *Cluster) slot(ctx context.Context, o *seats, n int) (slot, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return slot{}, ctx.Err()
	}
	for {
		if _, err := c.health.connection(false); err != nil {
			return slot{}, unavailable(err)
		}
		if s, ok := c.slots.again(o, c.leaseID()); ok && c.mayGoOn(ctx, o, &s) {
			return s, nil
		}
		s, st, err := c.seize(ctx, o, rand.IntN(n), n, false)
		for err == nil && s.key == "" && st.free(n) > 0 && len(st.line) == 0 {
			s, st, err = c.seize(ctx, o, st.pick(n), n, false)
		}
		if err == nil && s.key == "" && len(st.line) >= maxLine {
			pauseUntil(ctx, o.freed, lineFull/2+rand.N(lineFull)+c.crowd())
			if ctx.Err() != nil {
				return slot{}, ctx.Err()
			}
			continue
		}
		if err == nil && s.key == "" {
			s, err = c.waitForSlot(ctx, o, n)
		}
		if !errors.Is(err, errLostThread) {
			return s, err
		}
	}
}

// mayGoOn reports whether this node may use a slot once more. After a while it
// looks whether others wait; then it gives the slot up and joins them.
func (c *Cluster) mayGoOn(ctx context.Context, o *seats, s *slot) bool {
	if time.Since(s.since) < slotTenure {
		return true
	}
	waiting := int64(1)
	c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Get(ctx, o.prefix+partLine, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			waiting = r.Count
		}
		return err
	})
	if waiting > 0 {
		c.giveUp([]slot{*s})
		return false
	}
	s.since = time.Now()
	return true
}

// seize takes slot i of n if nobody has it, and, unless this node is in line
// itself, if nobody waits. The zero slot: no, and this is how things stand.
func (c *Cluster) seize(ctx context.Context, o *seats, i, n int, inLine bool) (s slot, st standing, err error) {
	key, lease := o.slot(i), c.leaseID()
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
	then := []clientv3.Op{
		clientv3.OpPut(key, string(c.cfg.Self.ID), clientv3.WithLease(lease)),
		clientv3.OpGet(o.prefix+partSlots, clientv3.WithPrefix(), clientv3.WithCountOnly()),
	}
	if inLine {
		then = append(then, clientv3.OpDelete(o.place(c.cfg.Self.ID)))
	} else {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(o.prefix+partLine).WithPrefix(), "=", 0))
	}
	err = c.do(ctx, opSlot, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Txn(ctx).If(cmps...).Then(then...).
			Else(clientv3.OpGet(o.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())).Commit()
		if err != nil {
			return err
		}
		if !r.Succeeded {
			st = readStanding(o.prefix, r, 0)
			return nil
		}
		s = slot{key: key, rev: r.Header.Revision, lease: lease, since: time.Now()}
		if s.linger = slotLinger; r.Responses[1].GetResponseRange().Count > int64(n/2) {
			s.linger = slotLingerScarce
		}
		return nil
	})
	if err != nil {
		c.debts.add(deleteOurs(key, lease)) // it may have been made for all we know
	}
	return s, st, err
}
