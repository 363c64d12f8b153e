package swarmcache

import (
	"cmp"
	"math/bits"
	"slices"
	"sort"
	"time"

	"shatabdi/swarmcache/layout"
)

// spanBook is what run knows of a fill's spans. An object of 100 GiB has some
// 13,000 of them, and run is woken by each event of each: what is asked often
// is kept up to date instead of counted again.
type spanBook struct {
	me, opener NodeID
	plan       layout.Plan
	spans      []spanState
	free       bitset               // neither landed, nor claimed, nor here
	orphans    bitset               // landed or claimed, but it seems that nobody has them any more
	checked    time.Time            // when orphans were last looked for
	owners     map[NodeID]int       // spans claimed, by node
	heard      map[NodeID]time.Time // when a node last claimed, published or landed
	rangesWork bool                 // the origin gave a part to somebody
	full       time.Time            // when the object last had all the streams that it may have
	interest   []layout.Range       // spans that readers here want, in order, disjoint; nil: not known now
}

// spanState is what run knows of a span.
type spanState struct {
	SpanRecord
	since   time.Time // of this record, as seen here
	lostAt  time.Time // when a claim was lost that the watch has not told of yet
	mine    bool      // one of this node's streams has it
	landing bool      // it was stored by an earlier run, and is being landed
	isHere  bool
}

func newSpanBook(me NodeID, r *FillRecord) spanBook {
	p := r.Plan()
	b := spanBook{me: me, opener: r.Opener, plan: p, spans: make([]spanState, p.Spans()), owners: map[NodeID]int{}, heard: map[NodeID]time.Time{}}
	b.free, b.orphans = newBitset(p.Spans()), newBitset(p.Spans())
	for i := range b.spans {
		b.spans[i].Span = i
		b.free.set(i)
	}
	return b
}

// put takes in a span's record.
func (b *spanBook) put(r SpanRecord, now time.Time) {
	s := &b.spans[r.Span]
	if s.Owner != "" {
		if b.owners[s.Owner]--; b.owners[s.Owner] == 0 {
			delete(b.owners, s.Owner)
		}
	}
	if r.Owner != "" {
		b.owners[r.Owner]++
	}
	if who := cmp.Or(r.Owner, r.By); who != "" {
		b.heard[who] = now
		b.rangesWork = b.rangesWork || who != b.opener && len(r.Hashes) > 0
	}
	s.SpanRecord, s.since, s.lostAt = r, now, time.Time{}
	b.orphans.clear(r.Span)
	b.mark(r.Span)
}

// setMine notes whether a stream of this node has span i.
func (b *spanBook) setMine(i int, yes bool) {
	b.spans[i].mine = yes
	b.mark(i)
}

// mark brings free up to date. A claim of this node for which it has no stream
// could not be given back: it may take it up again.
func (b *spanBook) mark(i int) {
	if s := &b.spans[i]; s.Landed || s.Owner != "" && s.Owner != b.me || s.mine || s.isHere {
		b.free.clear(i)
	} else {
		b.free.set(i)
	}
}

// disown ends all claims: their board is gone.
func (b *spanBook) disown(now time.Time) {
	for i := range b.spans {
		if r := b.spans[i].SpanRecord; r.Owner != "" {
			r.Owner = ""
			b.put(r, now)
		}
	}
}

// freeSince is since when span i could be claimed, as seen from here.
func (b *spanBook) freeSince(i int, now time.Time) time.Time {
	if s := &b.spans[i]; s.since.IsZero() {
		s.since = now
	}
	return b.spans[i].since
}

// here reports whether every piece of span i is on this node.
func (t *transfer) here(i int) bool {
	s := &t.spans[i]
	if s.isHere {
		return true
	}
	pieces := t.plan.Span(i)
	for p := pieces.From; p < pieces.To; p++ {
		if !t.file.Has(int(p)) {
			return false
		}
	}
	s.isHere = true
	t.mark(i)
	return true
}

// wantedSpans returns the runs of spans that readers here want.
func (t *transfer) wantedSpans() []layout.Range {
	if t.interest != nil {
		return t.interest
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := make([]layout.Range, 0, len(t.wants))
	for w := range t.wants {
		if !w.pieces.Empty() {
			l = append(l, layout.Range{From: int64(t.plan.SpanOf(int(w.pieces.From))), To: int64(t.plan.SpanOf(int(w.pieces.To-1))) + 1})
		}
	}
	t.interest = merge(l)
	return t.interest
}

// merge sorts ranges and joins those that touch.
func merge(l []layout.Range) []layout.Range {
	slices.SortFunc(l, func(a, b layout.Range) int { return int(a.From - b.From) })
	out := l[:0]
	for _, r := range l {
		if n := len(out); n > 0 && r.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, r.To)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// wanted reports whether a reader here wants a piece of span i.
func (t *transfer) wanted(i int) bool {
	l := t.wantedSpans()
	k := sort.Search(len(l), func(k int) bool { return int64(i) < l[k].To })
	return k < len(l) && int64(i) >= l[k].From
}

// eachWanted calls f for the wanted members of set in order until it returns
// false.
func (t *transfer) eachWanted(set bitset, f func(i int) bool) {
	for _, r := range t.wantedSpans() {
		for i := set.next(int(r.From)); i < int(r.To); i = set.next(i + 1) {
			if !f(i) {
				return
			}
		}
	}
}

// bitset is a set of small numbers.
type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) clear(i int)    { b[i/64] &^= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// next returns the smallest member from i on, or a number beyond all.
func (b bitset) next(i int) int {
	for k := i / 64; k < len(b); k++ {
		w := b[k]
		if k == i/64 {
			w &= ^uint64(0) << (i % 64)
		}
		if w != 0 {
			return k*64 + bits.TrailingZeros64(w)
		}
	}
	return len(b) * 64
}
