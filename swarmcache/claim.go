package swarmcache

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"shatabdi/swarmcache/layout"
)

// Timing of claims.
const (
	// grace is how long a span waits for the node whose turn it is. Without turns
	// hundreds of claims are lost to each other.
	grace = 300 * time.Millisecond
	// lostAfter is how long a landed piece may be without a holder before its
	// span is fetched again; lostSoon is the same when all who had everything have
	// lost it, as far as the tracker knows.
	lostAfter = 5 * time.Second
	lostSoon  = time.Second
	// overdueAfter is how long a claim may stand without any sign of progress.
	overdueAfter = 15 * time.Second
	// singleAfter is how long the only stream of a fill without ranges may give
	// no sign before another node begins one.
	singleAfter = 2 * time.Second
	// aheadFor is how far, in time at its rate, a stream's claims run ahead of it.
	aheadFor = 500 * time.Millisecond
	// checkEvery is how often orphans are looked for.
	checkEvery = time.Second
	// standDownAfter is how long a node waits for room in a budget that it has no
	// use for at the moment.
	standDownAfter = time.Second
	// maxRun bounds the spans of one claim of a node that is alone; sharedRun
	// where others want spans too.
	maxRun    = 16
	sharedRun = 2
)

// claim starts claims for what this node should fetch next, if anything.
func (t *transfer) claim(ctx context.Context, now time.Time) {
	if t.meets != nil {
		t.goOver(ctx)
		return
	}
	if t.claiming || t.board == nil || t.rec.Ended != "" || now.Before(t.boardAt) {
		return
	}
	if s := t.endlessStream(); s != nil {
		t.extend(ctx, s, now)
		return
	}
	if len(t.broken) > 0 && !now.Before(t.retryAt) && t.latestOrigin() != nil {
		run := t.broken[0]
		switch {
		case t.seat != nil:
			t.broken = t.broken[1:]
			t.startStream(ctx, run)
		case t.c.budget.busy(t.from): // others may be able to go on with it
			t.broken = t.broken[1:]
			t.giveBack(ctx, run...)
		default:
			t.needed = now
			t.takeSeat(ctx)
		}
		return
	}
	if t.leavesToOthers(now) {
		t.freeSeat()
		return
	}
	if !t.caught || now.Before(t.retryAt) || t.latestOrigin() == nil || len(t.streams) >= t.ownStreams() || t.seedersGive(now) {
		t.freeSeat()
		t.standDown(now)
		return
	}
	switch spans := t.next(now); {
	case len(spans) == 0:
		t.freeSeat()
		t.standDown(now)
	case t.seat == nil:
		t.needed = now
		t.takeSeat(ctx)
	default:
		t.ask(ctx, spans)
	}
}

// takeSeat waits for room in the origin's budget without holding up run. Nothing
// is claimed meanwhile: others may have room for it, and peers may bring it.
func (t *transfer) takeSeat(ctx context.Context) {
	if t.seating {
		return
	}
	t.seating = true
	ctx, t.unseat = context.WithCancel(ctx)
	t.background.Go(func() {
		release, err := t.c.budget.take(ctx, t.from)
		t.send(seated{release, err})
	})
}

// standDown ends the wait for room when there has been nothing to fetch for a
// while: in a large cluster all would stand in line for what is long here.
func (t *transfer) standDown(now time.Time) {
	if t.seating && now.Sub(t.needed) > standDownAfter {
		t.unseat()
	}
}

// freeSeat gives room back that no stream needs.
func (t *transfer) freeSeat() {
	if t.seat != nil {
		t.seat()
		t.seat = nil
	}
}

// endlessStream is the stream that can be extended, if there is one.
func (t *transfer) endlessStream() *stream {
	for s := range t.streams {
		if s.endless && !s.stopped() {
			return s
		}
	}
	return nil
}

// ownStreams is how many origin streams this node may have: its share of the
// object's.
func (t *transfer) ownStreams() int {
	if t.rec.Single {
		return 1
	}
	n := len(t.participants())
	return max(1, (t.c.cfg.Streams+n-1)/n)
}

// ask claims spans without holding up run.
func (t *transfer) ask(ctx context.Context, spans []SpanRecord) {
	t.claiming = true
	board := t.board
	t.background.Go(func() {
		won, err := board.Claim(ctx, spans)
		t.send(claimed{spans, won, err})
	})
}

// next picks the spans to claim: one that was left lying, or the lowest free one
// whose turn is ours, and the free ones behind it as far as this node's rate
// carries in half a second.
func (t *transfer) next(now time.Time) []SpanRecord {
	if run := t.nextOrphan(now); run != nil {
		return run
	}
	idle := singleAfter
	if len(t.nodes) == 0 {
		idle = 0
	}
	if t.rec.Single && (t.fetchers() > 0 || now.Sub(t.news) < idle) {
		return nil // somebody has a stream, or had one until a moment ago
	}
	slots, found := t.c.cfg.Streams-t.fetchers(), -1
	if slots <= 0 {
		t.full = now
	}
	t.eachWanted(t.free, func(i int) bool {
		switch {
		case t.here(i):
			return true
		case t.rec.Single:
			if now.Sub(t.freeSince(i, now)) >= idle {
				found = i
			}
			return false
		case slots <= 0:
			return false
		case now.Sub(t.spans[i].lostAt) < grace: // taken, and the watch will say by whom
		case t.turn(i, now):
			found = i
			return false
		}
		slots--
		return true
	})
	if found < 0 {
		return nil
	}
	return t.runFrom(found)
}

// nextOrphan picks a span whose claimer or holder seems to be dead: one whose
// turn is ours, or else the lowest.
func (t *transfer) nextOrphan(now time.Time) []SpanRecord {
	l := t.participants()
	if now.Sub(t.checked) >= checkEvery {
		t.checked = now
		if t.self >= 0 || rand.IntN(unlistedRarely) == 0 {
			t.findOrphans(now)
		}
	}
	found := -1
	t.eachWanted(t.orphans, func(i int) bool {
		if found < 0 {
			found = i
		}
		if i%len(l) == t.self {
			found = i
			return false
		}
		return true
	})
	if found < 0 {
		return nil
	}
	if s := &t.spans[found]; s.mine || t.here(found) || now.Sub(s.lostAt) < grace {
		t.orphans.clear(found)
		return nil
	}
	if t.seat != nil { // else it stays until there is room for it
		t.orphans.clear(found)
	}
	return t.runFrom(found)
}

// findOrphans looks for spans that were landed or claimed and still do not come.
func (t *transfer) findOrphans(now time.Time) {
	var have func(int) bool
	patience := max(lostAfter, t.roundTime()) + rand.N(time.Second)
	if t.seedless() {
		patience = lostSoon
	}
	for _, r := range t.wantedSpans() {
		for i := int(r.From); i < int(r.To); i++ {
			s, reason := &t.spans[i], "lost"
			switch {
			case t.here(i) || s.mine || t.free.has(i) || t.orphans.has(i):
				continue
			case s.Owner != "":
				// A node that lands spans is alive: it will come to this one.
				if now.Sub(latest(s.since, t.heard[s.Owner])) < max(overdueAfter, 3*t.spanTime(i), 2*t.roundTime()) {
					continue
				}
				reason = "overdue"
			case now.Sub(s.since) < patience:
				continue
			case t.stuck(i, now) && t.fetchers() < t.c.cfg.Streams: // whatever peers say they have, they do not give it
				reason = "stuck"
			case t.unguided && t.isHelped(now):
				continue // who has it is not known here, but to those who told of it
			case !t.gone(s, now):
				continue // who has it lives, and pieces come: so will these
			default:
				if have == nil {
					have = t.peersHave()
				}
				if !t.lost(i, have) {
					continue
				}
			}
			t.orphans.set(i)
			t.c.metrics.orphans.WithLabelValues(reason).Inc()
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// gone reports whether the node that landed a span has left the fill since, as
// far as the board tells. When it came again it may have evicted what it landed.
func (t *transfer) gone(s *spanState, now time.Time) bool {
	switch {
	case s.By == t.c.cfg.Node.ID:
		return true // landed by us and not here: it went with a purge or a lost file
	case !t.listed:
		return false // it may have come after this node was told who is there
	case s.By == "": // told past the directory, and nobody knows by whom
		return now.Sub(s.since) >= max(overdueAfter, 2*t.roundTime())
	}
	if m, there := t.nodes[s.By]; there {
		return m.Rev > s.Rev
	}
	return !t.crowded || t.departed[s.By]
}

// runFrom returns span i and the free, wanted ones behind it that one stream
// should take.
func (t *transfer) runFrom(i int) []SpanRecord {
	run := []SpanRecord{t.spans[i].SpanRecord}
	want := int64(t.rate() * aheadFor.Seconds())
	bytes := t.plan.Bytes(t.plan.Span(i)).Len()
	most := maxRun
	if len(t.participants()) > 1 {
		most = sharedRun
	}
	for k := i + 1; k < len(t.spans) && len(run) < most && bytes < want; k++ {
		if !t.free.has(k) || t.here(k) || !t.wanted(k) {
			break
		}
		run = append(run, t.spans[k].SpanRecord)
		bytes += t.plan.Bytes(t.plan.Span(k)).Len()
	}
	return run
}

// fetchers counts the origin streams of the object: another node with claims
// has one.
func (t *transfer) fetchers() int {
	n := len(t.owners) + len(t.streams)
	if t.owners[t.c.cfg.Node.ID] > 0 {
		n--
	}
	return n
}

// turn reports whether this node may take the free span i now: it is its turn,
// or the node whose turn it is lets it lie; then the others try one by one.
func (t *transfer) turn(i int, now time.Time) bool {
	behind := t.behind(i, now)
	if t.away(now) {
		return t.awayTurn(behind, now)
	}
	if behind == 0 {
		return true
	}
	since := t.freeSince(i, now)
	if t.self < 0 {
		// What lies there while all streams are taken is let lie by nobody. The
		// listed nodes will see to it; were all others to wait for this moment, they
		// would come at once.
		since = latest(since, t.full)
	}
	return now.Sub(since) > grace+time.Duration(behind)*grace/4
}

// lost reports whether a landed span's bytes seem to have died with their
// holders: a piece is missing here and no connected peer has it.
func (t *transfer) lost(i int, have func(int) bool) bool {
	pieces := t.plan.Span(i)
	for p := pieces.From; p < pieces.To; p++ {
		if !t.file.Has(int(p)) && !have(int(p)) {
			return true
		}
	}
	return false
}

func (t *transfer) peersHave() func(int) bool {
	var fs []func(int) bool
	for _, tor := range t.torrents() {
		fs = append(fs, tor.PeersHave())
	}
	return func(i int) bool {
		return slices.ContainsFunc(fs, func(f func(int) bool) bool { return f(i) })
	}
}

// rate is how fast this node's streams were lately, in bytes a second.
func (t *transfer) rate() float64 { return t.c.rates.of(t.host) }

// spanTime is how long span i should take at that rate.
func (t *transfer) spanTime(i int) time.Duration {
	r := t.rate()
	if r <= 0 {
		return 0
	}
	return time.Duration(float64(t.plan.Bytes(t.plan.Span(i)).Len()) / r * float64(time.Second))
}

// onClaimed starts streams for what was won.
func (t *transfer) onClaimed(ctx context.Context, e claimed) {
	now := t.c.now()
	switch {
	case e.err == nil:
		t.boardAnswered()
	case errors.Is(e.err, ErrUnavailable):
		t.boardFailed(now)
		if !t.away(now) {
			t.boardAt = retryBoard(now)
			return
		}
		e.won = t.unasked(e.spans, now)
	default:
		t.boardAt = retryBoard(now)
		return
	}
	s := t.endlessStream()
	var run []int
	for k, won := range e.won {
		i := e.spans[k].Span
		lostBefore := !t.spans[i].lostAt.IsZero() && t.fetchers() < t.c.cfg.Streams
		if !won && e.err == nil && s == nil && len(t.streams) == 0 && lostBefore && t.stuck(i, now.Add(-overdueAfter/2)) {
			// What stands on the board is not what this node knows of it, and nothing
			// comes: a reader must not wait for ever.
			t.log.Warn("fetching a span that this node could not claim", "span", i)
			t.c.metrics.claims.WithLabelValues("unasked").Inc()
			won = true
		}
		if !won {
			t.spans[i].lostAt = now
			if e.err != nil {
				continue
			}
			t.c.metrics.claims.WithLabelValues("lost").Inc()
			continue
		}
		t.c.metrics.claims.WithLabelValues("won").Inc()
		t.setMine(i, true)
		switch {
		case s != nil && i < s.limitNow(): // the first span, which it had from the start
		case s != nil && i == s.limitNow():
			s.grant(i + 1)
		case s == nil && (len(run) == 0 || run[len(run)-1]+1 == i):
			run = append(run, i)
		default: // a hole before it: not worth a second stream
			t.giveBack(ctx, i)
		}
	}
	switch {
	case s == nil && len(run) > 0 && t.seat != nil:
		t.startStream(ctx, run)
	case s == nil && len(run) > 0:
		t.giveBack(ctx, run...)
	}
}

// giveBack releases claims of this node.
func (t *transfer) giveBack(ctx context.Context, spans ...int) {
	for _, i := range spans {
		t.setMine(i, false)
	}
	board := t.board
	if board == nil {
		return
	}
	t.background.Go(func() {
		if err := board.Release(ctx, spans...); err != nil {
			t.log.Debug("release claims", "error", err) // the lease ends them too
		}
	})
}

// extend lets an endless stream go on, or ends it where others have taken over.
// A stream of a fill without ranges goes on to the end.
func (t *transfer) extend(ctx context.Context, s *stream, now time.Time) {
	i := s.limitNow()
	if i >= len(t.spans) {
		return
	}
	left := t.plan.Span(i).From*t.plan.PieceLen - s.pos.Load()
	need := max(t.rate()*aheadFor.Seconds(), float64(t.plan.Bytes(t.plan.Span(i)).Len()))
	if float64(left) > need {
		return
	}
	sp := &t.spans[i]
	// Until another node has read a range, the origin may turn out to have none,
	// and this body to be the only way to the rest.
	spare := t.rangesWork || len(t.nodes) == 0
	switch {
	case !t.asked: // its reader is about to come
	case t.rec.Single && (sp.Landed || sp.Owner != "" || t.here(i)):
		s.grant(i + 1) // read over it: the body has no other way
	case t.rec.Single:
		t.ask(ctx, t.runFrom(i))
	case !t.wanted(i), spare && t.leavesToOthers(now):
		s.stop()
	case sp.Landed || t.here(i):
		s.stop()
	case sp.Owner != "" || now.Sub(sp.lostAt) < grace:
		if spare {
			s.stop()
		}
	case t.inDebt(now) && !t.turn(i, now):
		if left <= 0 && spare {
			s.stop()
		}
	default: // in turn or not: what is on its way would be lost if the body had to wait
		t.ask(ctx, t.runFrom(i))
	}
}

// startStream fetches a run of consecutive spans that this node has claimed, in
// the seat that it has.
func (t *transfer) startStream(ctx context.Context, run []int) {
	first, last := run[0], run[len(run)-1]
	origin := t.latestOrigin()
	s := newStream(t, first, last+1)
	s.beginAt(t.firstMissing(t.plan.Span(first)))
	s.proves = !t.rangesWork
	bytes := t.plan.Bytes(layout.Range{From: s.from, To: t.plan.Span(last).To})
	if t.rec.Single {
		// The only way to any byte is the whole body.
		s = newStream(t, 0, last+1)
		s.endless, bytes = true, layout.Range{}
	}
	t.streams[s] = true
	release := t.seat
	t.seat = nil
	t.background.Go(func() {
		defer release()
		t.send(streamEnded{s, s.fetch(ctx, origin, bytes)})
	})
}

// firstMissing is the first of some pieces that is not here, or whose hash is not
// known; the last one if there is none.
func (t *transfer) firstMissing(pieces layout.Range) int64 {
	for i := pieces.From; i < pieces.To-1; i++ {
		if _, known := t.file.hash(int(i)); !known || !t.file.Has(int(i)) {
			return i
		}
	}
	return pieces.To - 1
}

// startFirst reads the spans at the start from the response that opened the
// fill.
func (t *transfer) startFirst(ctx context.Context, spans []int) {
	s := newStream(t, 0, len(spans))
	s.endless = true
	t.streams[s] = true
	for _, i := range spans {
		t.setMine(i, true)
	}
	body := t.body
	t.body = nil
	t.background.Go(func() {
		defer t.c.budget.force(t.from)()
		t.send(streamEnded{s, s.read(ctx, body.ReadCloser)})
	})
}

// onStreamEnded takes back what a stream did not land.
func (t *transfer) onStreamEnded(ctx context.Context, e streamEnded) error {
	delete(t.streams, e.s)
	var unlanded []int
	for i := e.s.first; i < e.s.limitNow(); i++ {
		if t.spans[i].mine && i >= e.s.next {
			unlanded = append(unlanded, i)
		}
		t.setMine(i, false)
	}
	if t.mayRetry(e.err) && !t.rec.Single && len(unlanded) > 0 {
		// What is here of the first span need not be fetched again by us.
		for _, i := range unlanded {
			t.setMine(i, true)
		}
		t.broken = append(t.broken, unlanded)
	} else if len(unlanded) > 0 {
		t.giveBack(ctx, unlanded...)
	}
	if len(unlanded) > 0 {
		// The gate was shut for the piece in which the stream broke off.
		for pieces := t.plan.Span(e.s.next); !pieces.Empty(); pieces.From++ {
			t.pieceChanged(int(pieces.From))
		}
	}
	now := t.c.now()
	switch {
	case e.err == nil || ctx.Err() != nil:
		t.tries = 0
		return nil
	case errors.Is(e.err, ErrPoisoned):
		t.log.Error("the origin has two contents under one validator")
		return t.end(ctx, EndPoisoned)
	case errors.Is(e.err, errChanged):
		t.log.Info("the origin's object changed during the fill", "detail", e.err)
		return t.end(ctx, EndChanged)
	case errors.Is(e.err, errNoRanges), errors.Is(e.err, errOther) && !t.rec.Single && t.rec.Version.Validator != "":
		// Servers behind one name may differ in their tags, or in what they make of
		// a range. A stream that still runs is of our version to its end; and a
		// new one may meet a server that has it.
		t.onlyOne(ctx, e.err)
		return nil
	case errors.Is(e.err, errDisk):
		return e.err
	case t.rec.Single && t.rec.Version.Validator == "":
		// Nobody can tell whether another body would be the same.
		t.log.Warn("the only stream broke", "error", e.err)
		return t.end(ctx, EndLost)
	}
	t.c.metrics.streamErrors.Inc()
	if e.s.broughtNew() {
		t.tries = 0
	}
	t.tries++
	switch {
	case errors.Is(e.err, errOther) && t.tries > maxTriesSingle:
		t.log.Info("the origin's object changed during the fill", "detail", e.err)
		return t.end(ctx, EndChanged)
	case t.rec.Single && t.tries > maxTriesSingle:
		t.log.Warn("the only stream breaks again and again", "error", e.err)
		return t.end(ctx, EndLost)
	case t.tries > maxTries && now.Sub(t.progress) > patienceOrigin:
		return e.err
	}
	wait := min(time.Duration(1<<min(t.tries, 10))*100*time.Millisecond, 5*time.Second)
	wait = max(wait, t.cool(e.err, now))
	t.retryAt = now.Add(wait + rand.N(wait/2))
	t.log.Debug("span not fetched", "span", e.s.next, "error", e.err, "again_in", wait)
	return nil
}

// cool leaves an origin in peace that asks for it, and returns for how long.
func (t *transfer) cool(err error, now time.Time) (wait time.Duration) {
	var later *retryAfter
	if errors.As(err, &later) && later.wait > 0 {
		wait = min(later.wait, 30*time.Second)
		t.c.budget.cool(t.from, now.Add(wait))
	}
	return wait
}

// mayRetry reports whether a stream broke in a way that the next try may not.
func (t *transfer) mayRetry(err error) bool {
	for _, final := range []error{ErrPoisoned, errChanged, errOther, errNoRanges, errDisk, context.Canceled} {
		if errors.Is(err, final) {
			return false
		}
	}
	return err != nil && t.tries < maxKept
}

// maxTries is how many fruitless origin errors in a row a node bears before it
// gives up on a fill, unless pieces came from peers within patienceOrigin.
const (
	maxTries = 6
	// maxKept is how many a claim is kept for; then others may have more luck.
	maxKept = 2
	// maxTriesSingle is the same where each try reads the body from its start.
	maxTriesSingle = 2
	patienceOrigin = 10 * time.Second
)
