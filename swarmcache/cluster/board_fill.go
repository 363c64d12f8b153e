package cluster

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

// Update changes the fill's record. Single and Ended are never taken back, and
// the first reason to end stays.
func (b *board) Update(ctx context.Context, r swarmcache.FillRecord) error {
	recordKey, pointerKey := b.c.keys.fillRecord(b.id), b.c.keys.filling(b.key)
	r.Version = b.c.versionThere(r.Version)
	return b.c.do(ctx, opUpdate, func(ctx context.Context, client *clientv3.Client) error {
		for {
			g, err := client.Txn(ctx).Then(clientv3.OpGet(recordKey), clientv3.OpGet(pointerKey)).Commit()
			if err != nil {
				return err
			}
			kv := only(g, 0)
			if kv == nil {
				return swarmcache.ErrNotFound
			}
			var old swarmcache.FillRecord
			if err := decode("fill", kv.Value, &old); err != nil {
				return err
			}
			at, err := readEntry(g, 1)
			if err != nil {
				return err
			}
			next := update(old, r)
			if encode(next) == encode(old) {
				return nil
			}
			then := []clientv3.Op{clientv3.OpPut(recordKey, encode(next))}
			if at.Record != nil && at.Record.Version.ID == b.id {
				if next.Ended != old.Ended {
					at.ended(next.Ended, b.c.time())
				}
				at.Record = &next
				then = append(then, clientv3.OpPut(pointerKey, encode(at.pointer)))
			}
			t, err := client.Txn(ctx).
				If(
					clientv3.Compare(clientv3.ModRevision(recordKey), "=", kv.ModRevision),
					clientv3.Compare(clientv3.ModRevision(pointerKey), "=", at.rev),
				).
				Then(then...).Commit()
			if err != nil || t.Succeeded {
				return err
			}
		}
	})
}

func update(old, r swarmcache.FillRecord) swarmcache.FillRecord {
	next := old
	next.Version = merge(old.Version, r.Version)
	next.Single = old.Single || r.Single
	if old.Ended == "" {
		next.Ended = r.Ended
	}
	return next
}

// Leave gives the claims back and takes this node off the board; the last one
// to leave a fill that is sealed or ended deletes it. When etcd cannot be asked,
// the claims and the participation end as soon as it can, and the board is left
// to whoever collects orphans.
func (b *board) Leave(ctx context.Context) error {
	b.forget()
	select {
	case <-b.asked:
	case <-ctx.Done():
	}
	b.mu.Lock()
	b.left = true
	held := slices.Collect(maps.Keys(b.mine))
	b.mu.Unlock()
	me := b.c.keys.member(b.id, b.c.cfg.Self.ID)
	err := b.Release(ctx, held...)
	if err == nil {
		err = b.c.do(ctx, opLeave, func(ctx context.Context, client *clientv3.Client) error { return b.leave(ctx, client, me) })
	}
	switch {
	case errors.Is(err, swarmcache.ErrNotFound):
		return nil
	case err != nil:
		b.c.debts.addUnlessIn(b.id, deleteOurs(me, b.c.leaseID()))
	}
	return err
}

func (b *board) leave(ctx context.Context, client *clientv3.Client, me string) error {
	r, err := client.Txn(ctx).Then(
		deleteOurs(me, b.c.leaseID()),
		clientv3.OpGet(b.c.keys.fillRecord(b.id)),
		clientv3.OpGet(b.c.keys.members(b.id), clientv3.WithPrefix(), clientv3.WithCountOnly()),
		clientv3.OpGet(b.c.keys.object(b.key)),
	).Commit()
	if err != nil {
		return err
	}
	kv := only(r, 1)
	if kv == nil {
		return swarmcache.ErrNotFound
	}
	if r.Responses[2].GetResponseRange().Count > 0 || !finished(kv, only(r, 3)) {
		return nil
	}
	_, err = b.c.dropBoard(ctx, client, b.id, b.key, kv.ModRevision)
	return err
}

// finished reports whether nobody needs the board any more once all have left.
func finished(record, object *mvccpb.KeyValue) bool {
	var r swarmcache.FillRecord
	if decode("fill", record.Value, &r) != nil || r.Ended != "" || !r.Version.InfoHash.IsZero() {
		return true
	}
	var v swarmcache.Version
	return object != nil && decode("version", object.Value, &v) == nil &&
		v.ID == r.Version.ID && !v.InfoHash.IsZero()
}

// Watch tells f what stands on the board and what changes, and keeps at it
// through interruptions: then it reads afresh and tells the differences.
func (b *board) Watch(ctx context.Context, f func(swarmcache.BoardEvent)) error {
	w := &boardWatch{
		b: b, tell: f, prefix: b.c.keys.fill(b.id),
		entries: map[string]item{}, told: map[int]swarmcache.SpanRecord{},
	}
	begin := b.begin
	b.begin = snapshot{}
	return b.c.follow(ctx, follower{prefix: w.prefix, begin: begin, state: w.state, changed: w.changed, part: w.part})
}

// part is what to watch of a board: all of it for those who are listed, and all
// but the participants for others, until they are.
func (w *boardWatch) part(ctx context.Context) (from string, until <-chan struct{}) {
	b := w.b
	select {
	case <-b.asked:
	case <-ctx.Done():
	}
	select {
	case <-b.seated:
		if !w.listed {
			w.listed = true
			w.tell(swarmcache.BoardEvent{Listed: true})
		}
		return b.c.keys.fill(b.id), nil
	default:
		return b.c.keys.fillRecord(b.id), b.seated
	}
}

// boardWatch is one Watch: the entries below the board's prefix as they stand in
// etcd, and what its caller was told of them.
type boardWatch struct {
	b       *board
	tell    func(swarmcache.BoardEvent)
	prefix  string
	rev     int64
	caught  bool
	listed  bool
	entries map[string]item // by what follows the prefix
	told    map[int]swarmcache.SpanRecord
}

type item struct {
	rev   int64
	value []byte // nil: gone, at that revision
}

// state compares with what was told and tells the differences.
func (w *boardWatch) state(rev int64, kvs []*mvccpb.KeyValue) error {
	if rev < w.rev {
		// Another etcd, or one that was put back in time: its revisions mean
		// something else, so nothing that was told holds.
		for i := range w.told {
			w.tell(swarmcache.BoardEvent{Freed: &i})
		}
		clear(w.told)
		for part := range w.entries {
			if strings.HasPrefix(part, partSpans) || strings.HasPrefix(part, partAgain) {
				delete(w.entries, part)
			}
		}
	}
	w.rev = rev
	now := make(map[string]item, len(kvs))
	for _, kv := range kvs {
		now[string(kv.Key[len(w.prefix):])] = item{kv.ModRevision, kv.Value}
	}
	if _, ok := now[partRecord]; !ok {
		return swarmcache.ErrNotFound
	}
	var parts []string
	for part, it := range w.entries {
		if _, ok := now[part]; !ok && it.value != nil {
			w.entries[part] = item{rev: rev}
			parts = append(parts, part)
		}
	}
	for part, it := range now {
		if old, ok := w.entries[part]; !ok || old.rev != it.rev {
			w.entries[part] = it
			parts = append(parts, part)
		}
	}
	slices.Sort(parts) // the participants, the record, the spans
	nodes := parts[:sort.SearchStrings(parts, partRecord)]
	rand.Shuffle(len(nodes), func(i, k int) { // or all would dial the same ones first
		nodes[i], nodes[k] = nodes[k], nodes[i]
	})
	if err := w.report(parts); err != nil {
		return err
	}
	if !w.caught {
		w.caught = true
		w.tell(swarmcache.BoardEvent{Caught: true})
	}
	return nil
}

// changed takes a batch of changes in. Of a span that changed more than once in
// it the caller learns the last only.
func (w *boardWatch) changed(events changes) error {
	var parts []string
	for _, e := range events {
		part := string(e.Kv.Key[len(w.prefix):])
		it := item{e.Kv.ModRevision, e.Kv.Value}
		if e.Type == clientv3.EventTypeDelete {
			it.value = nil
		}
		w.entries[part] = it
		w.rev = max(w.rev, it.rev)
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return w.report(parts)
}

// report tells what became of these entries.
func (w *boardWatch) report(parts []string) error {
	for _, part := range parts {
		it := w.entries[part]
		switch {
		case part == partRecord:
			if it.value == nil {
				return swarmcache.ErrNotFound
			}
			r := new(swarmcache.FillRecord)
			if err := decode("fill", it.value, r); err != nil {
				w.b.c.log.Warn("a fill's record is unreadable", "fill", w.b.id, "err", err)
				return swarmcache.ErrNotFound
			}
			w.tell(swarmcache.BoardEvent{Fill: w.b.c.fillHere(r)})
		case strings.HasPrefix(part, partNodes):
			w.reportNode(swarmcache.NodeID(part[len(partNodes):]), it)
		default:
			_, digits, _ := strings.Cut(part, "/")
			if i, err := strconv.Atoi(digits); err == nil {
				w.reportSpan(i)
			}
		}
		if it.value == nil && !strings.HasPrefix(part, partAgain) {
			delete(w.entries, part)
		}
	}
	return nil
}

func (w *boardWatch) reportNode(id swarmcache.NodeID, it item) {
	if id == w.b.c.cfg.Self.ID {
		return
	}
	if it.value == nil {
		w.tell(swarmcache.BoardEvent{Left: id})
		return
	}
	m := &swarmcache.Member{Rev: it.rev}
	if err := decode("participant", it.value, &m.Node); err != nil {
		w.b.c.log.Warn("a participant's record is unreadable", "node", id, "err", err)
		return
	}
	w.tell(swarmcache.BoardEvent{Joined: m})
}

// reportSpan puts a span's two entries together and tells the result if it is new.
func (w *boardWatch) reportSpan(i int) {
	num := strconv.Itoa(i)
	it, again := w.entries[partSpans+num], w.entries[partAgain+num]
	was, known := w.told[i]
	if it.value == nil {
		if known {
			delete(w.told, i)
			w.tell(swarmcache.BoardEvent{Freed: &i})
		}
		return
	}
	r, err := decodeSpan(i, it.rev, it.value)
	if err != nil {
		w.b.c.log.Warn("a span's record is unreadable", "fill", w.b.id, "err", err)
		return
	}
	r.Rev = max(r.Rev, again.rev) // a claim that ended counts as a change too
	if r.Landed && again.value != nil {
		if claim, err := decodeSpan(i, again.rev, again.value); err == nil {
			r.Owner = claim.By
		}
	}
	if known && was.Rev == r.Rev {
		return
	}
	w.told[i] = r
	w.tell(swarmcache.BoardEvent{Span: &r})
}
