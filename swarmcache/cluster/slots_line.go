package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// slotTurn spreads those who wait for a slot: the first in line takes one that
// comes free at once, each one behind so much later, should it still be there.
const slotTurn = 50 * time.Millisecond

// errLostThread: the changes could not be followed; look again from the start.
var errLostThread = errors.New("lost the thread of changes")

func (o *seats) slot(i int) string                 { return o.prefix + partSlots + strconv.Itoa(i) }
func (o *seats) place(id swarmcache.NodeID) string { return o.prefix + partLine + string(id) }

// standing is who has slots at an origin and who waits, as of a revision.
type standing struct {
	rev   int64
	taken map[string]bool             // by number
	line  map[swarmcache.NodeID]int64 // to the revision at which each one came
}

func readStanding(prefix string, r *clientv3.TxnResponse, i int) standing {
	st := standing{r.Header.Revision, map[string]bool{}, map[swarmcache.NodeID]int64{}}
	for _, kv := range r.Responses[i].GetResponseRange().Kvs {
		st.put(prefix, kv)
	}
	return st
}

func (st *standing) put(prefix string, kv *mvccpb.KeyValue) {
	switch part := string(kv.Key[len(prefix):]); {
	case strings.HasPrefix(part, partSlots):
		st.taken[part[len(partSlots):]] = true
	case strings.HasPrefix(part, partLine):
		st.line[swarmcache.NodeID(part[len(partLine):])] = kv.CreateRevision
	}
}

// apply takes in what changed after st.rev.
func (st *standing) apply(prefix string, events changes) {
	for _, e := range events {
		switch part := string(e.Kv.Key[len(prefix):]); {
		case e.Kv.ModRevision <= st.rev:
		case e.Type != clientv3.EventTypeDelete:
			st.put(prefix, e.Kv)
		case strings.HasPrefix(part, partSlots):
			delete(st.taken, part[len(partSlots):])
		default:
			delete(st.line, swarmcache.NodeID(part[len(partLine):]))
		}
	}
}

func (st *standing) free(n int) int { return n - len(st.taken) }

// pick returns one of the free slots, or 0.
func (st *standing) pick(n int) int {
	for _, i := range rand.Perm(n) {
		if !st.taken[strconv.Itoa(i)] {
			return i
		}
	}
	return 0
}

// before is how many came before this one; all, if it is not in line.
func (st *standing) before(id swarmcache.NodeID) (k int) {
	came, there := st.line[id]
	for _, other := range st.line {
		if !there || other < came {
			k++
		}
	}
	return k
}

// waitForSlot stands in line until there is a slot for this node. There is one
// watch for each origin that a node waits for, however many streams want it.
func (c *Cluster) waitForSlot(ctx context.Context, o *seats, n int) (slot, error) {
	lost, lease := c.health.lost(), c.leaseID()
	st, err := c.standInLine(ctx, o, lease)
	if err != nil {
		return slot{}, err
	}
	left := false
	defer func() {
		if !left {
			c.deleteOrOwe(deleteOurs(o.place(c.cfg.Self.ID), lease))
		}
	}()
	client := c.client.Load()
	if client == nil {
		return slot{}, unavailable(errStopped)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	wg.Go(func() { c.cancelWhenAway(wctx, cancel) })
	ch := client.Watch(wctx, o.prefix, clientv3.WithPrefix(), clientv3.WithRev(st.rev+1))

	var freeSince time.Time
	jitter := rand.N(slotTurn)
	for {
		var try <-chan time.Time
		switch free := st.free(n); {
		case free <= 0:
			freeSince = time.Time{}
		case freeSince.IsZero():
			freeSince = time.Now()
			fallthrough
		default:
			wait := time.Duration(0)
			if behind := st.before(c.cfg.Self.ID) - free + 1; behind > 0 {
				wait = time.Duration(behind)*slotTurn + jitter
			}
			try = time.After(time.Until(freeSince.Add(wait)))
		}
		select {
		case <-try:
			s, now, err := c.seize(ctx, o, st.pick(n), n, true)
			if err != nil || s.key != "" {
				left = err == nil
				return s, err
			}
			st = now // somebody was faster
		case r, ok := <-ch:
			if !ok || r.Err() != nil {
				return slot{}, c.whyLost(ctx)
			}
			c.m.watchEvents.Add(float64(len(r.Events)))
			st.apply(o.prefix, r.Events)
		case <-o.freed:
			s, ok := c.slots.again(o, lease)
			if ok && (len(st.line) <= 1 || time.Since(s.since) < slotTenure) {
				return s, nil
			}
			if ok {
				c.giveUp([]slot{s}) // the others' turn
			}
		case <-lost: // our place in line too
			return slot{}, c.whyLost(ctx)
		}
	}
}

// whyLost is the error of a wait that cannot go on.
func (c *Cluster) whyLost(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.health.state(); err != nil {
		return unavailable(err)
	}
	pause(ctx, retryMin) // never a tight loop
	return errLostThread
}

// standInLine takes a place behind those who wait, and reads how things stand.
func (c *Cluster) standInLine(ctx context.Context, o *seats, lease clientv3.LeaseID) (st standing, err error) {
	place := o.place(c.cfg.Self.ID)
	all := clientv3.OpGet(o.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	err = c.do(ctx, opLine, func(ctx context.Context, client *clientv3.Client) error {
		r, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(place), "=", 0)).
			Then(clientv3.OpPut(place, "", clientv3.WithLease(lease)), all).
			Else(clientv3.OpGet(place), all).Commit()
		if err == nil {
			st = readStanding(o.prefix, r, 1)
		}
		return err
	})
	if err != nil {
		c.debts.add(deleteOurs(place, lease))
	}
	return st, err
}
