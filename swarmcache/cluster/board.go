package cluster

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// maxNested is how many spans go into one transaction: etcd takes 128
// operations, counted over all levels.
const maxNested = 50

// board is this node's hand on a fill's board.
type board struct {
	c   *Cluster
	id  swarmcache.ObjectID
	key policy.Key

	begin snapshot      // as the board stood when we came; Watch takes it
	asked chan struct{} // closed when it is decided, for now, whether we are listed

	mu     sync.Mutex // guards the fields below; taken after c.mu
	mine   map[int]hold
	listed clientv3.LeaseID // under which we stand among the participants
	seated chan struct{}    // closed when we stood there for the first time
	left   bool
	full   time.Time // when there was no room for us, lately
}

// hold is a claim of this node.
type hold struct {
	rev    int64 // of the claim's entry
	lease  clientv3.LeaseID
	again  bool   // the span had landed before
	hashes []byte // published so far
}

func (b *board) span(i int) string  { return b.c.keys.span(b.id, i) }
func (b *board) again(i int) string { return b.c.keys.again(b.id, i) }

func (b *board) stands() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(b.c.keys.fillRecord(b.id)), ">", 0)
}

func (b *board) get(i int) (hold, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.mine[i]
	return h, ok
}

func (b *board) set(i int, h hold) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mine[i] = h
}

func (b *board) drop(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mine, i)
}

func (b *board) isListed(lease clientv3.LeaseID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.listed == lease
}

// foundFull notes that there is no room for us among the participants.
func (b *board) foundFull() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = time.Now()
}

// seatsDue reports whether to look for room now. Those for whom there was none do so the
// more rarely, the more they may be: all of them together a few times a second.
func (b *board) seatsDue() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.full) > b.c.seldom(b.c.relist)
}

func (b *board) hasLeft() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// forget takes the board off the list of those that this node takes part in.
func (b *board) forget() {
	b.c.mu.Lock()
	delete(b.c.boards, b)
	b.c.mu.Unlock()
}

// Claim claims spans, each in a transaction of its own within one request.
func (b *board) Claim(ctx context.Context, spans []swarmcache.SpanRecord) ([]bool, error) {
	won := make([]bool, 0, len(spans))
	for some := range slices.Chunk(spans, maxNested) {
		lease := b.c.leaseID()
		err := b.c.do(ctx, opClaim, func(ctx context.Context, client *clientv3.Client) error {
			ops := make([]clientv3.Op, len(some))
			for i, s := range some {
				ops[i] = b.claim(s, lease)
			}
			r, err := client.Txn(ctx).If(b.stands()).Then(ops...).Commit()
			if err != nil {
				return err
			}
			if !r.Succeeded {
				return swarmcache.ErrNotFound
			}
			for i, s := range some {
				ok := r.Responses[i].GetResponseTxn().Succeeded
				if ok {
					b.set(s.Span, hold{r.Header.Revision, lease, s.Landed, s.Hashes})
				}
				won = append(won, ok)
			}
			return nil
		})
		if err != nil {
			if !errors.Is(err, swarmcache.ErrNotFound) {
				b.disown(spans, lease)
			}
			return nil, err
		}
	}
	return won, nil
}

// claim claims one span if its entries are as they were at s.Rev.
func (b *board) claim(s swarmcache.SpanRecord, lease clientv3.LeaseID) clientv3.Op {
	span, again := b.span(s.Span), b.again(s.Span)
	if s.Landed {
		claim := swarmcache.SpanRecord{Landed: true, Owner: b.c.cfg.Self.ID} // the hashes stand beside it
		return clientv3.OpTxn([]clientv3.Cmp{
			clientv3.Compare(clientv3.CreateRevision(span), ">", 0),
			clientv3.Compare(clientv3.ModRevision(span), "<", s.Rev+1),
			clientv3.Compare(clientv3.ModRevision(again), "<", s.Rev+1),
		}, []clientv3.Op{clientv3.OpPut(again, encodeSpan(claim), clientv3.WithLease(lease))}, nil)
	}
	claim := swarmcache.SpanRecord{Owner: b.c.cfg.Self.ID, Hashes: s.Hashes}
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(span), "=", s.Rev)}
	if s.Rev != 0 {
		// Whatever the caller says, what stands without a lease has landed.
		cmps = append(cmps, clientv3.Compare(clientv3.LeaseValue(span), ">", 0))
	}
	return clientv3.OpTxn(cmps, []clientv3.Op{clientv3.OpPut(span, encodeSpan(claim), clientv3.WithLease(lease))}, nil)
}

// disown gives back what an interrupted Claim has won or may have won: our lease
// would keep it, and nobody would fetch it.
func (b *board) disown(spans []swarmcache.SpanRecord, lease clientv3.LeaseID) {
	for _, s := range spans {
		b.drop(s.Span)
		k := b.span(s.Span)
		if s.Landed {
			k = b.again(s.Span)
		}
		b.c.debts.add(clientv3.OpTxn([]clientv3.Cmp{
			clientv3.Compare(clientv3.LeaseValue(k), "=", lease),
			clientv3.Compare(clientv3.ModRevision(k), ">", s.Rev),
		}, []clientv3.Op{clientv3.OpDelete(k)}, nil))
	}
}

// reclaim takes up the claims that stood under an older lease, unless somebody
// was faster: their bytes are on the way, and what was published of them holds.
func (b *board) reclaim(ctx context.Context) error {
	lease := b.c.leaseID()
	b.mu.Lock()
	var lost []swarmcache.SpanRecord
	for i, h := range b.mine {
		switch {
		case h.lease == lease:
		case h.again: // its hashes stand, unless it changed since
			lost = append(lost, swarmcache.SpanRecord{Span: i, Rev: h.rev, Landed: true})
		default: // nothing may stand there
			lost = append(lost, swarmcache.SpanRecord{Span: i, Hashes: h.hashes})
		}
	}
	b.mu.Unlock()
	for some := range slices.Chunk(lost, maxNested) {
		err := b.c.do(ctx, opClaim, func(ctx context.Context, client *clientv3.Client) error {
			ops := make([]clientv3.Op, len(some))
			for i, s := range some {
				ops[i] = b.claim(s, lease)
			}
			r, err := client.Txn(ctx).If(b.stands()).Then(ops...).Commit()
			if err != nil {
				return err
			}
			for i, s := range some {
				won := r.Succeeded && r.Responses[i].GetResponseTxn().Succeeded
				b.reclaimed(s, won, hold{r.Header.Revision, lease, s.Landed, s.Hashes})
			}
			return nil
		})
		if err != nil {
			b.disown(some, lease) // for all we know
			return err
		}
	}
	return nil
}

// reclaimed notes what became of a claim that was lost. If it was landed or
// released meanwhile, nobody needs it.
func (b *board) reclaimed(s swarmcache.SpanRecord, won bool, h hold) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, ours := b.mine[s.Span]
	switch {
	case won && ours && old.lease != h.lease:
		h.hashes = old.hashes
		b.mine[s.Span] = h
	case won:
		b.c.debts.add(b.give(s.Span, h))
	case ours && old.lease != h.lease:
		delete(b.mine, s.Span)
	}
}

// Progress publishes hashes under the claim, which stays.
func (b *board) Progress(ctx context.Context, span int, hashes []byte) error {
	h, ours := b.get(span)
	if !agree(h.hashes, hashes) {
		return swarmcache.ErrPoisoned
	}
	if ours && len(hashes) <= len(h.hashes) {
		return nil
	}
	key := b.span(span)
	rev := int64(-1) // of no entry: read what stands
	if ours && !h.again {
		rev = h.rev
	}
	return b.c.do(ctx, opProgress, func(ctx context.Context, client *clientv3.Client) error {
		lease := b.c.leaseID()
		for {
			entry := swarmcache.SpanRecord{Owner: b.c.cfg.Self.ID, Hashes: hashes}
			r, err := client.Txn(ctx).
				If(b.stands(), clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
				Then(clientv3.OpPut(key, encodeSpan(entry), clientv3.WithLease(lease))).
				Else(clientv3.OpGet(key), clientv3.OpGet(b.c.keys.fillRecord(b.id), clientv3.WithKeysOnly())).Commit()
			if err != nil {
				return err
			}
			if r.Succeeded {
				b.set(span, hold{r.Header.Revision, lease, false, bytes.Clone(hashes)})
				return nil
			}
			now, err := b.standing(r, span)
			switch {
			case err != nil:
				return err
			case !agree(now.Hashes, hashes):
				return swarmcache.ErrPoisoned
			case now.Landed || now.Owner == b.c.cfg.Self.ID && len(now.Hashes) >= len(hashes):
				return nil
			case now.Owner != b.c.cfg.Self.ID:
				b.drop(span)
				return &swarmcache.ClaimedError{Holder: now.Owner}
			}
			rev = now.Rev // ours after all: the answer to the last write got lost
		}
	})
}

// Land publishes all hashes of a span, without a lease, and ends the claim.
func (b *board) Land(ctx context.Context, span int, hashes []byte) error {
	h, ours := b.get(span)
	if !agree(h.hashes, hashes) {
		return swarmcache.ErrPoisoned
	}
	key := b.span(span)
	rev := int64(0) // nothing stands there, unless we know better
	switch {
	case h.again:
		rev = -1
	case ours:
		rev = h.rev
	}
	err := b.c.do(ctx, opLand, func(ctx context.Context, client *clientv3.Client) error {
		for {
			entry := swarmcache.SpanRecord{Landed: true, By: b.c.cfg.Self.ID, Hashes: hashes}
			r, err := client.Txn(ctx).
				If(b.stands(), clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
				Then(clientv3.OpPut(key, encodeSpan(entry))).
				Else(
					clientv3.OpGet(key), clientv3.OpGet(b.c.keys.fillRecord(b.id), clientv3.WithKeysOnly()),
					deleteOurs(b.again(span), b.c.leaseID()),
				).Commit()
			if err != nil || r.Succeeded {
				return err
			}
			now, err := b.standing(r, span)
			switch {
			case err != nil:
				return err
			case !agree(now.Hashes, hashes) || now.Landed && len(now.Hashes) != len(hashes):
				return swarmcache.ErrPoisoned
			case now.Landed:
				return nil
			}
			rev = now.Rev
		}
	})
	if err == nil {
		b.drop(span)
	}
	return err
}

// standing reads, from the other branch of a transaction, what stands for a
// span; ErrNotFound when the board is gone.
func (b *board) standing(r *clientv3.TxnResponse, span int) (swarmcache.SpanRecord, error) {
	if only(r, 1) == nil {
		return swarmcache.SpanRecord{}, swarmcache.ErrNotFound
	}
	kv := only(r, 0)
	if kv == nil {
		return swarmcache.SpanRecord{Span: span}, nil
	}
	return decodeSpan(span, kv.ModRevision, kv.Value)
}

// agree reports whether two lists of hashes say the same where both say something.
func agree(a, b []byte) bool {
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n])
}

// Release gives claims back; those that are ours no more are left alone. When
// etcd cannot be asked they are given back as soon as it can.
func (b *board) Release(ctx context.Context, spans ...int) error {
	var ops []clientv3.Op
	for _, i := range spans {
		if h, ours := b.get(i); ours {
			ops = append(ops, b.give(i, h))
			b.drop(i)
		}
	}
	for some := range slices.Chunk(ops, maxNested) {
		err := b.c.do(ctx, opRelease, func(ctx context.Context, client *clientv3.Client) error {
			_, err := client.Txn(ctx).Then(some...).Commit()
			return err
		})
		if err != nil {
			b.c.debts.add(ops...) // to do one twice does no harm
			return err
		}
	}
	return nil
}

// give deletes a claim's entry if it is still as we made it.
func (b *board) give(i int, h hold) clientv3.Op {
	k := b.span(i)
	if h.again {
		k = b.again(i)
	}
	return clientv3.OpTxn(
		[]clientv3.Cmp{
			clientv3.Compare(clientv3.ModRevision(k), "=", h.rev),
			clientv3.Compare(clientv3.LeaseValue(k), "=", h.lease),
		},
		[]clientv3.Op{clientv3.OpDelete(k)}, nil)
}
