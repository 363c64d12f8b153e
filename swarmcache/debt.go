package swarmcache

import (
	"hash/fnv"
	"math"
	"time"
)

// A node that reads spans from the origin faster than it can pass them on holds
// everybody back: what only it has comes at the rate of its uplink. So a node
// in debt lets others take its turns, and they learn not to wait for it.

const (
	// debtEvery is how often a node looks at what it has not passed on.
	debtEvery = 250 * time.Millisecond
	// debtAge is how old a landing must be to count, and debtTime how long its
	// uplink may need for all of those.
	debtAge  = 700 * time.Millisecond
	debtTime = 2 * time.Second
	// slowBehind is how many turns a node with a slow link leaves to others.
	slowBehind = 4
	// lazyFor is how long nobody waits for a node that let its turn pass.
	lazyFor = 3 * time.Second
)

// debt is what this node landed and nobody else has yet.
type debt struct {
	spans   []debtSpan
	checked time.Time
	written int64   // payload sent to peers, then
	uplink  float64 // bytes a second, smoothed over about a second
	deep    bool
	slow    bool // see wouldBeLast
}

type debtSpan struct {
	span   int
	landed time.Time
}

func (t *transfer) owe(span int, now time.Time) {
	t.debt.spans = append(t.debt.spans, debtSpan{span, now})
}

// inDebt reports whether others should take this node's turns.
func (t *transfer) inDebt(now time.Time) bool {
	d := &t.debt
	since := now.Sub(d.checked)
	if t.fill == nil || since < debtEvery {
		return d.deep
	}
	written := t.fill.Stats().BytesWritten
	if !d.checked.IsZero() {
		w := math.Exp(-since.Seconds())
		d.uplink = w*d.uplink + (1-w)*float64(written-d.written)/since.Seconds()
	}
	d.checked, d.written, d.deep, d.slow = now, written, false, false
	if len(t.nodes) == 0 {
		return false
	}
	var have func(int) bool
	if len(d.spans) > 0 {
		have = t.peersHave()
	}
	left := d.spans[:0]
	bytes, all := int64(0), int64(0)
	for _, s := range d.spans {
		lacking := t.lacking(s.span, have)
		if lacking == 0 {
			continue
		}
		left, all = append(left, s), all+lacking
		switch age := now.Sub(s.landed); {
		case age > debtTime:
			d.deep = true // what was written may only lie in a socket's buffer
		case age > debtAge:
			bytes += lacking
		}
	}
	d.spans = left
	d.deep = d.deep || float64(bytes) > d.uplink*debtTime.Seconds()
	d.slow = t.wouldBeLast(all, now)
	return d.deep
}

// wouldBeLast reports whether this node's link, which carries much less than it was told, would
// need longer for what it owes and one span more than half of what the origin's part of the
// fill still takes: all would wait for those bytes in the end.
func (t *transfer) wouldBeLast(owed int64, now time.Time) bool {
	link := t.c.cfg.Swarm.Uplink()
	if told, _ := t.c.cfg.Swarm.Limits(); link == 0 || told > 0 && link > told*3/4 {
		return false
	}
	landed, left := 0, 0
	owed += int64(t.plan.MaxSpan) * t.plan.PieceLen
	for i := range t.spans {
		switch s := &t.spans[i]; {
		case s.Landed:
			landed++
			continue
		case s.mine:
			owed += t.plan.Bytes(t.plan.Span(i)).Len()
		}
		left++
	}
	needs := time.Duration(float64(owed) / float64(link) * float64(time.Second))
	takes := now.Sub(t.started) * time.Duration(left) / time.Duration(max(landed, 1))
	return landed > left && needs > max(debtAge, takes/2)
}

// lacking is how many bytes of span i no connected peer has.
func (t *transfer) lacking(i int, have func(int) bool) (n int64) {
	pieces := t.plan.Span(i)
	for p := pieces.From; p < pieces.To; p++ {
		if !have(int(p)) {
			n += t.file.layout.Piece(int(p)).Len()
		}
	}
	return n
}

// noteTurn learns from a claim which node let its turn pass.
func (t *transfer) noteTurn(s *SpanRecord, now time.Time) {
	delete(t.lazy, s.Owner)
	l := t.participants()
	due := l[s.Span%len(l)]
	since := t.spans[s.Span].since
	if due != s.Owner && due != t.c.cfg.Node.ID && !since.IsZero() && now.Sub(since) > grace {
		t.lazy[due] = now.Add(lazyFor)
	}
}

// behind is how many nodes come before this one for span i.
func (t *transfer) behind(i int, now time.Time) (n int) {
	l := t.participants()
	switch {
	case t.helpsItself(now):
		return 0
	case t.self < 0:
		return len(l) + t.unlisted(i)
	case t.othersAreGuided(now):
		return len(l) // they know what to do
	}
	if t.inDebt(now) {
		return len(l)
	}
	if t.debt.slow {
		n = min(len(l), slowBehind) // if all are, they still come one by one
	}
	for k := i % len(l); k != t.self; k = (k + 1) % len(l) {
		if until, lazy := t.lazy[l[k]]; !lazy || now.After(until) {
			n++
		}
	}
	return n
}

// Nodes that are not listed come after all who are, spread over unlistedSpread
// places so that they do not all come at once, and look for orphans so much more
// rarely.
const (
	unlistedSpread = 128
	unlistedRarely = 16
)

// unlisted is this node's place for span i among those that are not listed.
func (t *transfer) unlisted(i int) int {
	h := fnv.New32a()
	h.Write([]byte(t.c.cfg.Node.ID))
	h.Write([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	return int(h.Sum32() % unlistedSpread)
}
