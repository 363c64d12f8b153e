package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

const (
	// restartWindow is how long the restart of a fill counts against its key: an
	// origin whose servers disagree about the validator shows within it.
	restartWindow = 2 * time.Minute
	// maxRestarts in a row, and the next fill has one claimer.
	maxRestarts = 2
	// unheardFor is how long after its opening was asked for a fill is opened as if nobody
	// could have missed it: who changed the object at its origin meanwhile found nothing.
	unheardFor = time.Second
)

// pointer leads from a key to the fill that runs for it. It holds a copy of the
// record so that Lookup needs one round trip; both are written in one
// transaction. It outlives the fill for its count of restarts.
type pointer struct {
	Record   *swarmcache.FillRecord `json:"record,omitempty"`
	Restarts int                    `json:"restarts,omitempty"`
	Poisoned bool                   `json:"poisoned,omitempty"`
	Last     int64                  `json:"last,omitempty"` // restart, Unix seconds
}

// running returns the record, unless the fill has ended.
func (p *pointer) running() *swarmcache.FillRecord {
	if p.Record == nil || p.Record.Ended != "" {
		return nil
	}
	return p.Record
}

func (p *pointer) recent(now time.Time) bool { return now.Sub(time.Unix(p.Last, 0)) < restartWindow }

// single reports whether the next fill must do with one claimer.
func (p *pointer) single(now time.Time) bool {
	return p.recent(now) && (p.Restarts >= maxRestarts || p.Poisoned)
}

// ended counts why a fill will have to be restarted.
func (p *pointer) ended(why string, now time.Time) {
	if !p.recent(now) {
		p.Restarts, p.Poisoned = 0, false
	}
	switch why {
	case swarmcache.EndChanged:
		p.Restarts++
	case swarmcache.EndPoisoned:
		p.Poisoned = true
	}
	p.Last = now.Unix()
}

// entry is a pointer as it stands in etcd; rev 0 means there is none.
type entry struct {
	pointer
	rev int64
}

func readEntry(r *clientv3.TxnResponse, i int) (entry, error) {
	kv := only(r, i)
	if kv == nil {
		return entry{}, nil
	}
	e := entry{rev: kv.ModRevision}
	return e, decode("pointer", kv.Value, &e.pointer)
}

// OpenFill creates the record of a fill and points its key there, both or none.
// The pointer goes to the fill of the most recent response; one of an older
// response gets a record all the same. The opener is listed and has its first
// spans with that, and its claim on the first GET ends: clients wait here for
// their first byte, and on other nodes for that claim, so that this is all one
// transaction.
func (c *Cluster) OpenFill(ctx context.Context, r swarmcache.FillRecord, spans ...int) (swarmcache.FillRecord, swarmcache.Board, error) {
	c.untilClocked(ctx)
	own := r.Version
	r.Version = c.versionThere(own)
	stands := r
	var mine *board
	defer c.begins(r.Version.ID)()
	late, obeyed := time.Now().Add(c.late), c.obeyedFor(&r.Version)
	err := c.patiently(ctx, func(again bool) (err error) {
		stands, mine, err = c.openFill(ctx, r, spans, again, late, obeyed)
		return err
	})
	switch {
	case asked(err):
		// For all we know this node has begun it; nobody would go on with that.
		c.debts.addUnlessIn(r.Version.ID, deleteOurs(c.keys.member(r.Version.ID, c.cfg.Self.ID), c.leaseID()))
		for _, i := range spans {
			c.debts.addUnlessIn(r.Version.ID, deleteOurs(c.keys.span(r.Version.ID, i), c.leaseID()))
		}
		return swarmcache.FillRecord{}, nil, err
	case err != nil:
		return swarmcache.FillRecord{}, nil, err
	case mine == nil:
		return *c.fillHere(&stands), nil, nil
	}
	c.partake(mine)
	own.Stored.Invalid = own.Stored.Invalid || stands.Version.Stored.Invalid
	stands.Version = own // as this node received it: its own clock it need not doubt
	return stands, mine, nil
}

// openFill tries once; again: this node may have opened the fill already, and not heard
// of it. Without a board the record is another one's. A fill that is opened late is for
// the origin to confirm, unless this node's claim on the first GET told of it till then,
// and so is one whose key was purged since obeyed.
func (c *Cluster) openFill(ctx context.Context, r swarmcache.FillRecord, spans []int, again bool, late time.Time, obeyed int64) (swarmcache.FillRecord, *board, error) {
	recordKey, pointerKey, first := c.keys.fillRecord(r.Version.ID), c.keys.filling(r.Version.Key), c.keys.first(r.Version.Key)
	var mine *board
	err := c.do(ctx, opOpen, func(ctx context.Context, client *clientv3.Client) error {
		b := c.newBoard(r)
		b.begin.lost = c.health.lost()
		var at entry // at first we suppose that there is none
		for {
			lease, next := c.leaseID(), at.pointer
			r.Single = r.Single || next.single(c.time())
			old, older := next.running(), false
			if old != nil {
				was := factsFor(&old.Version, r.Version.Scale)
				older = policy.Older(&r.Version.Stored, &was)
			}
			record := func(r swarmcache.FillRecord) []clientv3.Op {
				ops := []clientv3.Op{clientv3.OpPut(recordKey, encode(r))}
				if !older {
					next.Record = &r
					ops = append(ops, clientv3.OpPut(pointerKey, encode(next)))
				}
				return ops
			}
			heard := standsUnder(first, lease)
			if time.Now().Before(late) {
				heard = nil
			}
			doubtful := r
			doubtful.Version.Stored.Invalid = true
			then := []clientv3.Op{
				c.unlessPurged(r.Version.Key, obeyed, heard, record(r), record(doubtful)),
				b.list(lease),
				deleteOurs(first, lease),
			}
			for _, i := range spans {
				then = append(then, b.claim(swarmcache.SpanRecord{Span: i}, lease))
			}
			then = append(then, clientv3.OpGet(c.keys.fill(b.id), clientv3.WithPrefix()))
			t, err := client.Txn(ctx).
				If(
					clientv3.Compare(clientv3.CreateRevision(recordKey), "=", 0),
					clientv3.Compare(clientv3.ModRevision(pointerKey), "=", at.rev),
				).
				Then(then...).
				Else(clientv3.OpGet(recordKey), clientv3.OpGet(pointerKey)).Commit()
			if err != nil {
				return err
			}
			if t.Succeeded {
				if !done(t, 0) {
					r = doubtful
				}
				b.opened(snapshot{rev: t.Header.Revision, kvs: t.Responses[len(then)-1].GetResponseRange().Kvs}, lease, spans)
				mine = b
				return nil
			}
			if kv := only(t, 0); kv != nil {
				asked := r
				r = swarmcache.FillRecord{}
				if err := decode("fill", kv.Value, &r); err != nil || !again || !sameOpening(&r, &asked) {
					return err
				}
				g, err := client.Get(ctx, c.keys.fill(b.id), clientv3.WithPrefix())
				if err == nil && b.opened(snapshot{rev: g.Header.Revision, kvs: g.Kvs}, lease, spans) {
					mine = b
				}
				return err
			}
			if at, err = readEntry(t, 1); err != nil {
				return err
			}
		}
	})
	return r, mine, err
}

// sameOpening reports whether the record that stands is the one that was to be created,
// by an attempt whose answer was not heard, and the fill goes on.
func sameOpening(stands, asked *swarmcache.FillRecord) bool {
	a, b := &stands.Version, &asked.Version
	return stands.Opener == asked.Opener && stands.Plan() == asked.Plan() && stands.Ended == "" &&
		a.Scale == b.Scale && a.Stored.ResponseTime.Equal(b.Stored.ResponseTime)
}

// opened makes the board that of its opener, whose place and claims stand there. It
// reports false where they do not.
func (b *board) opened(begin snapshot, lease clientv3.LeaseID, spans []int) bool {
	listed := false
	for _, kv := range begin.kvs {
		if clientv3.LeaseID(kv.Lease) != lease {
			continue
		}
		part := strings.TrimPrefix(string(kv.Key), b.c.keys.fill(b.id))
		if num, span := strings.CutPrefix(part, partSpans); span {
			if i, err := strconv.Atoi(num); err == nil && slices.Contains(spans, i) {
				b.set(i, hold{rev: kv.ModRevision, lease: lease})
			}
		}
		listed = listed || part == partNodes+string(b.c.cfg.Self.ID)
	}
	if !listed {
		return false
	}
	b.begin.rev, b.begin.kvs = begin.rev, begin.kvs
	b.takeSeat(lease)
	close(b.asked)
	return true
}

// JoinFill takes part in a fill; ErrNotFound when its record is gone. It reads
// what stands there, for Watch, and has this node listed behind its caller's back:
// a client waits for its first byte.
func (c *Cluster) JoinFill(ctx context.Context, r swarmcache.FillRecord) (swarmcache.Board, error) {
	b := c.newBoard(r)
	b.begin.lost = c.health.lost()
	members := 0
	err := c.do(ctx, opRead, func(ctx context.Context, client *clientv3.Client) error {
		g, err := client.Get(ctx, c.keys.fill(b.id), clientv3.WithPrefix())
		if err != nil {
			return err
		}
		b.begin.rev, b.begin.kvs = g.Header.Revision, g.Kvs
		stands := false
		for _, kv := range g.Kvs {
			stands = stands || string(kv.Key) == c.keys.fillRecord(b.id)
			if strings.HasPrefix(string(kv.Key), c.keys.members(b.id)) {
				members++
			}
		}
		if !stands {
			return swarmcache.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.partake(b)
	go func() {
		defer close(b.asked)
		if members < swarmcache.MaxListed {
			c.do(ctx, opJoin, b.sit) // if it fails, rejoin does it; if the board is gone, Watch tells
		} else {
			b.foundFull()
		}
		b.standUp()
	}()
	return b, nil
}

func (c *Cluster) newBoard(r swarmcache.FillRecord) *board {
	return &board{
		c: c, id: r.Version.ID, key: r.Version.Key, mine: map[int]hold{},
		seated: make(chan struct{}), asked: make(chan struct{}),
	}
}

// partake puts a board among those that this node takes part in.
func (c *Cluster) partake(b *board) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boards[b] = struct{}{}
}

// begins notes that this node is about to take part in a fill, until it does or gives up.
func (c *Cluster) begins(id swarmcache.ObjectID) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opening[id]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.opening[id]--; c.opening[id] == 0 {
			delete(c.opening, id)
		}
	}
}

func (c *Cluster) isOpening(id swarmcache.ObjectID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opening[id] > 0
}

func (c *Cluster) takesPart(id swarmcache.ObjectID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for b := range c.boards {
		if b.id == id {
			return true
		}
	}
	return false
}

// enlist lists the participant if there is room.
func (b *board) enlist(ctx context.Context, client *clientv3.Client) error {
	r, err := client.Txn(ctx).If(b.stands()).
		Then(clientv3.OpGet(b.c.keys.members(b.id), clientv3.WithPrefix(), clientv3.WithCountOnly())).Commit()
	switch {
	case err != nil:
		return err
	case !r.Succeeded:
		return swarmcache.ErrNotFound
	case r.Responses[0].GetResponseRange().Count >= swarmcache.MaxListed:
		b.foundFull()
		return nil
	}
	return b.sit(ctx, client)
}

// sit lists the participant, for whom there was room a moment ago.
func (b *board) sit(ctx context.Context, client *clientv3.Client) error {
	lease := b.c.leaseID()
	r, err := client.Txn(ctx).If(b.stands()).Then(
		b.list(lease),
		clientv3.OpGet(b.c.keys.members(b.id), clientv3.WithPrefix(), clientv3.WithCountOnly()),
	).Commit()
	switch {
	case err != nil:
		return err
	case !r.Succeeded:
		return swarmcache.ErrNotFound
	case r.Responses[1].GetResponseRange().Count > swarmcache.MaxListed:
		// Others came between the two: the last ones step back.
		b.foundFull()
		_, err := client.Txn(ctx).Then(deleteOurs(b.c.keys.member(b.id, b.c.cfg.Self.ID), lease)).Commit()
		return err
	}
	b.takeSeat(lease)
	return nil
}

// list is what puts this node among the participants.
func (b *board) list(lease clientv3.LeaseID) clientv3.Op {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	self := b.c.self
	return clientv3.OpPut(b.c.keys.member(b.id, self.ID), encode(self), clientv3.WithLease(lease))
}

// takeSeat notes that this node is listed, under that lease.
func (b *board) takeSeat(lease clientv3.LeaseID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listed == clientv3.NoLease {
		close(b.seated)
	}
	b.listed = lease
}

// rejoin takes up the claims that were lost with an older lease, and lists this
// node on the boards where it is not: because there was no room, or because its
// lease is a new one.
func (c *Cluster) rejoin(ctx context.Context) {
	c.mu.Lock()
	boards := slices.Collect(maps.Keys(c.boards))
	c.mu.Unlock()
	for _, b := range boards {
		if err := b.reclaim(ctx); err != nil {
			return
		}
		if b.isListed(c.leaseID()) || !b.seatsDue() {
			continue
		}
		err := c.do(ctx, opJoin, b.enlist)
		switch {
		case errors.Is(err, swarmcache.ErrNotFound):
			b.forget() // its watch tells the owner
		case err != nil:
			return
		}
		b.standUp()
	}
}

// standUp takes this node off the board if it was listed after it had left.
func (b *board) standUp() {
	if b.hasLeft() {
		b.c.debts.addUnlessIn(b.id, deleteOurs(b.c.keys.member(b.id, b.c.cfg.Self.ID), b.c.leaseID()))
	}
}

// deleteBoard deletes a fill that nobody takes part in, and takes it out of its
// key's pointer, both or none. It reports whether it did.
func (c *Cluster) deleteBoard(ctx context.Context, id swarmcache.ObjectID) (bool, error) {
	deleted := false
	err := c.do(ctx, opCollect, func(ctx context.Context, client *clientv3.Client) error {
		g, err := client.Get(ctx, c.keys.fillRecord(id))
		if err != nil {
			return err
		}
		var r swarmcache.FillRecord
		var rev int64 // none: only the leftovers of a fill
		if len(g.Kvs) > 0 {
			rev = g.Kvs[0].ModRevision
			if err := decode("fill", g.Kvs[0].Value, &r); err != nil {
				c.log.Warn("a fill's record is unreadable", "fill", id, "err", err)
			}
		}
		deleted, err = c.dropBoard(ctx, client, id, r.Version.Key, rev)
		return err
	})
	return deleted, err
}

// dropBoard deletes all of a board, if its record is as it was at rev and nobody
// takes part. The pointer of its key keeps only what it remembers of restarts.
func (c *Cluster) dropBoard(ctx context.Context, client *clientv3.Client, id swarmcache.ObjectID, key policy.Key, rev int64) (bool, error) {
	pointerKey := c.keys.filling(key)
	g, err := client.Txn(ctx).Then(clientv3.OpGet(pointerKey)).Commit()
	if err != nil {
		return false, err
	}
	at, err := readEntry(g, 0)
	if err != nil {
		return false, err
	}
	then := []clientv3.Op{clientv3.OpDelete(c.keys.fill(id), clientv3.WithPrefix())}
	if at.Record != nil && at.Record.Version.ID == id {
		at.Record = nil
		if at.recent(c.time()) {
			then = append(then, clientv3.OpPut(pointerKey, encode(at.pointer)))
		} else {
			then = append(then, clientv3.OpDelete(pointerKey))
		}
	}
	r, err := client.Txn(ctx).
		If(
			clientv3.Compare(clientv3.ModRevision(c.keys.fillRecord(id)), "=", rev),
			clientv3.Compare(clientv3.ModRevision(pointerKey), "=", at.rev),
			// Of a range every key must satisfy this, so it means: there is none.
			clientv3.Compare(clientv3.CreateRevision(c.keys.members(id)).WithPrefix(), "=", 0),
		).
		Then(then...).Commit()
	return err == nil && r.Succeeded, err
}

// forgetRestarts deletes pointers that lead nowhere and remember nothing of late.
func (c *Cluster) forgetRestarts(ctx context.Context) error {
	return c.do(ctx, opCollect, func(ctx context.Context, client *clientv3.Client) error {
		g, err := client.Get(ctx, c.keys.allFilling(), clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range g.Kvs {
			var p pointer
			if decode("pointer", kv.Value, &p) == nil && (p.Record != nil || p.recent(c.time())) {
				continue
			}
			_, err := client.Txn(ctx).
				If(clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)).
				Then(clientv3.OpDelete(string(kv.Key))).Commit()
			if err != nil {
				return err
			}
		}
		return nil
	})
}
