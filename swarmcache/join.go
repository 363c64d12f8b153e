package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// joinSealed takes part in the swarm of the standard torrent, if it is known.
func (t *transfer) joinSealed() {
	if t.c.cfg.Swarm == nil || t.sealed != nil {
		return
	}
	s, err := t.c.cfg.Swarm.Sealed(t.file)
	if err != nil {
		return // not known yet
	}
	t.sealed = s
	t.seedsFrom = t.c.now()
	t.introduceAll()
}

// joinFill takes part in the fill t.rec: its board, its torrent, its body. It
// does not wait for the directory.
func (t *transfer) joinFill(ctx context.Context) error {
	t.spanBook = newSpanBook(t.c.cfg.Node.ID, t.rec)
	t.lander = newLander(t)
	t.lander.start(ctx)
	var first []int
	if t.body != nil {
		first = t.rec.firstSpans()
		t.startFirst(ctx, first) // before all else: a client waits for its first byte
	}
	if !t.alone && t.begun == nil {
		t.joinBoard(ctx, first, 0) // then the board, for which the other nodes' clients wait
	}
	if t.c.cfg.Swarm != nil {
		f, err := t.c.cfg.Swarm.Fill(t.file)
		if err != nil {
			return fmt.Errorf("join fill torrent: %w", err)
		}
		t.fill = f
		f.Hear(t.hearing())
		t.introduceAll()
	}
	if !t.file.Version().InfoHash.IsZero() {
		t.joinSealed() // somebody is through already
	}
	role := fillRole(t.rec, t.c.cfg.Node.ID, t.alone)
	t.c.metrics.fills.WithLabelValues(role).Inc()
	t.tellFill(role)
	t.resume(ctx)
	switch {
	case t.alone:
		t.goUnguided(ctx)
	case t.begun != nil:
		b := t.begun
		t.begun = nil
		t.onBoarded(ctx, boarded{board: b, begun: true})
	}
	return nil
}

// joinBoard takes part in the fill's board after a while, with a claim on these
// spans if it is this node that opens it.
func (t *transfer) joinBoard(ctx context.Context, first []int, wait time.Duration) {
	rec := *t.rec
	t.background.Go(func() {
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		board, begun, err := t.c.board(ctx, rec, first)
		if begun && t.file.Condemned() {
			t.unlist(rec.Version)
		}
		t.send(boarded{board, begun, err})
	})
}

// unlist withdraws the record of a fill that was forgotten before the record
// stood: whoever withdrew its key found none.
func (t *transfer) unlist(v Version) {
	ctx, cancel := context.WithTimeout(t.c.ctx, goodbyeWait)
	defer cancel()
	if err := t.c.cfg.Directory.WithdrawVersion(ctx, v.Key, v.ID); err != nil {
		t.log.Warn("withdraw the fill of what was forgotten", "error", err)
	}
}

func fillRole(r *FillRecord, self NodeID, alone bool) string {
	switch {
	case alone:
		return "alone"
	case r.Opener == self:
		return "opened"
	}
	return "joined"
}

// onBoarded takes the board that JoinFill gave, or goes on without one.
func (t *transfer) onBoarded(ctx context.Context, e boarded) {
	switch {
	case errors.Is(e.err, ErrNotFound):
		t.boardGone(ctx)
	case errors.Is(e.err, ErrUnavailable) && t.rec.Opener != t.c.cfg.Node.ID && t.c.now().Sub(t.alive) < max(patienceJoin, t.roundTime()):
		// Others are at it, and tell each other what the directory does not.
		t.joinBoard(ctx, nil, 200*time.Millisecond+rand.N(800*time.Millisecond))
	case e.err != nil:
		t.log.Warn("filling for this node alone", "error", e.err)
		t.alone = true
		if errors.Is(e.err, ErrUnavailable) || errors.Is(e.err, errOtherSpans) {
			t.goUnguided(ctx)
		} else {
			t.useBoard(ctx, aloneBoard{}, false)
		}
	default:
		t.useBoard(ctx, e.board, e.begun)
		t.background.Go(func() {
			err := e.board.Watch(ctx, func(e BoardEvent) { t.send(e) })
			if ctx.Err() == nil {
				t.send(watchEnded{err})
			}
		})
	}
}

// useBoard makes b the board. What this node reads already it has to claim, unless
// it has begun with that.
func (t *transfer) useBoard(ctx context.Context, b Board, begun bool) {
	t.board = b
	t.lander.use(b)
	if s := t.endlessStream(); s != nil && !t.claiming && !begun {
		var run []SpanRecord
		for i := s.first; i < s.limitNow(); i++ {
			run = append(run, t.spans[i].SpanRecord)
		}
		t.ask(ctx, run)
	}
	if t.alone {
		t.caught, t.listed = true, true
		clear(t.nodes)
		clear(t.departed)
		t.rank, t.crowded = nil, false
		t.landStored()
	}
}

// boardGone: everybody else is done. What is missing comes from seeders, and if
// there are none from the origin, for this node alone.
func (t *transfer) boardGone(ctx context.Context) {
	t.log.Debug("the board is gone")
	t.alone, t.unguided = true, false
	t.disown(t.c.now())
	t.useBoard(ctx, aloneBoard{}, false)
	t.seedsFrom = t.c.now()
	if t.joinSealed(); t.sealed != nil {
		return
	}
	key, id := t.rec.Version.Key, t.rec.Version.ID
	t.background.Go(func() {
		v, _, err := t.c.cfg.Directory.Lookup(ctx, key)
		if err != nil || v == nil || v.ID != id {
			v = &Version{}
		}
		t.send(seen{v.InfoHash})
	})
}

func (t *transfer) onBoard(ctx context.Context, e BoardEvent) error {
	now := t.c.now()
	t.boardAnswered() // by telling: one that is only slow is not away
	switch {
	case e.Span != nil:
		if e.Span.Span < 0 || e.Span.Span >= len(t.spans) {
			return nil // of another plan: not ours to judge
		}
		if e.Span.Rev < t.spans[e.Span.Span].Rev {
			return nil
		}
		t.news = now
		if e.Span.Owner != "" {
			t.noteTurn(e.Span, now)
		}
		t.put(*e.Span, now)
		return t.learn(ctx, e.Span)
	case e.Freed != nil:
		if i := *e.Freed; i >= 0 && i < len(t.spans) {
			t.put(SpanRecord{Span: i}, now)
		}
	case e.Joined != nil:
		m := *e.Joined
		if old, there := t.nodes[m.ID]; there {
			m.Rev = old.Rev // it never left: its lease is another one
		}
		t.nodes[m.ID] = m
		delete(t.departed, m.ID)
		t.crowded = t.crowded || len(t.nodes)+1 >= MaxListed
		t.rank = nil
		if t.fill != nil {
			t.fill.Meet(m.Node, t.caught && t.listed)
		}
		t.prove(ctx)
	case e.Caught:
		t.caught = true
		t.landStored()
	case e.Listed:
		t.listed = true
		t.rank = nil
	case e.Left != "":
		delete(t.nodes, e.Left)
		t.departed[e.Left] = true
		t.rank = nil
	case e.Fill != nil:
		if mine := t.file.Version(); e.Fill.Version.Stored.Invalid && !mine.Stored.Invalid && !e.Fill.Version.older(&mine) {
			t.doubt() // what it was told before it is not to be believed; no later answer of the origin is meant
		}
		t.rec.Single = t.rec.Single || e.Fill.Single
		if e.Fill.Ended != "" {
			t.rec.Ended = e.Fill.Ended
			return endError(e.Fill.Ended)
		}
	}
	return nil
}

// learn opens the gate for pieces whose hashes were published.
func (t *transfer) learn(ctx context.Context, s *SpanRecord) error {
	pieces := t.plan.Span(s.Span)
	return t.learnOf(ctx, pieces.From, s.Hashes[:min(int64(len(s.Hashes)), 20*pieces.Len())])
}

// learnOf takes in the hashes of piece from and those behind it.
func (t *transfer) learnOf(ctx context.Context, from int64, hashes []byte) error {
	for k := range int64(len(hashes) / 20) {
		i := int(from + k)
		news, err := t.file.Learn(i, hashes[k*20:k*20+20])
		if err != nil {
			t.log.Error("two hashes for one piece", "piece", i)
			return t.end(ctx, EndPoisoned)
		}
		if news {
			t.pieceChanged(i)
		}
	}
	return nil
}

// onLanded tells the engine of pieces whose hashes others know now.
func (t *transfer) onLanded(by *lander, e landing) {
	if by != t.lander {
		return // of spans that are no more; what is here of them is landed again
	}
	pieces := t.plan.Span(e.span)
	if e.final {
		t.c.metrics.landed.Inc()
		t.owe(e.span, t.c.now())
		if s := &t.spans[e.span]; !s.Landed {
			t.put(SpanRecord{Span: e.span, Rev: s.Rev, Landed: true, By: t.c.cfg.Node.ID, Hashes: e.hashes}, t.c.now())
		}
	}
	for k := range int64(len(e.hashes) / 20) {
		t.pieceChanged(int(pieces.From + k))
	}
}

func (t *transfer) pieceChanged(i int) {
	for _, tor := range t.torrents() {
		tor.PieceChanged(i)
	}
}

// offer names the participants to the engine again, which forgets a peer after
// one failed or lost connection.
func (t *transfer) offer(now time.Time) {
	if t.fill == nil || now.Sub(t.offered) < offerEvery {
		return
	}
	t.offered = now
	for _, n := range t.nodes {
		t.fill.Meet(n.Node, false)
	}
}

// seedersGive reports whether to wait a little longer for seeders, which should
// have everything, before the origin is asked. Once they failed it stays false.
func (t *transfer) seedersGive(now time.Time) bool {
	if t.seedsFrom.IsZero() {
		return false
	}
	switch waited := now.Sub(latest(t.alive, t.seedsFrom)); {
	case waited < patienceSeedless:
		return true
	case waited < max(patienceSeed, t.roundTime()) && !(t.seedless() && t.neighbours(now).copies == 0):
		return true // peers with a part may have enough
	}
	t.log.Debug("no seeder gives anything")
	t.seedsFrom = time.Time{}
	return false
}

// seedless reports whether the tracker knows nobody who has everything, although
// somebody had: the cluster evicts what was not used for long.
func (t *transfer) seedless() bool { return t.sealed != nil && t.sealed.Seedless() }

// escalate opens a fill when no seeder gives anything: the origin is the last
// source. Nodes in the same trouble meet on the fill's board.
func (t *transfer) escalate(ctx context.Context, now time.Time) {
	origin := t.latestOrigin()
	if t.claiming || !t.asked || origin == nil || t.seedersGive(now) {
		return
	}
	v := t.file.Version()
	v.Obeyed = t.c.cfg.Directory.Obeyed()
	if t.file.Condemned() { // later the directory sees it
		return
	}
	t.claiming = true
	t.background.Go(func() {
		b, err := t.c.openFill(ctx, v, v.Validator == "", origin, false)
		if err == nil && b.rec.Version.ID != v.ID {
			err = errSuperseded
		}
		t.send(opened{b, err})
	})
}

// errSuperseded: fills of this very version have ended; a later attempt has
// another id.
var errSuperseded = fmt.Errorf("%w: the version was given up", ErrFillEnded)

// participants returns those who take turns, in order: all who are listed, as far
// as this node was told. It has its place among them, t.self, unless they are so
// many that it is not listed; then that is negative.
func (t *transfer) participants() []NodeID {
	if t.rank == nil && t.unguided {
		t.rank, t.self = t.unguidedRank()
	}
	if t.rank == nil {
		if t.listed || len(t.nodes) == 0 {
			t.rank = append(t.rank, t.c.cfg.Node.ID)
		}
		for id := range t.nodes {
			t.rank = append(t.rank, id)
		}
		slices.Sort(t.rank)
		t.self = slices.Index(t.rank, t.c.cfg.Node.ID)
	}
	return t.rank
}
