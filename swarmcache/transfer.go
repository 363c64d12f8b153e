package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"shatabdi/swarmcache/layout"
)

// Timing of a transfer.
const (
	tickEvery     = 100 * time.Millisecond
	flushEvery    = time.Second      // completion is recorded at most this late
	lingerFill    = 10 * time.Second // a complete node stays on the board that long
	patienceBoard = 1500 * time.Millisecond
	patienceSeed  = 3 * time.Second // without progress from seeders, the origin is asked
)

// transfer brings the wanted pieces of one object to this node: from peers of
// the fill torrent or of the sealed one, and from the origin in spans that it
// claims on the fill's board. run owns the state; the fields under mu are how
// others talk to it.
type transfer struct {
	c    *Cache
	o    *object
	file *File
	log  *slog.Logger

	cancel context.CancelCauseFunc
	kick   chan struct{}
	events chan any // of the goroutines that run started

	mu     sync.Mutex
	wants  map[*want]bool
	fresh  []*want // not yet known to run
	origin Origin  // of the last one who wanted bytes; outlives its client

	// Owned by run.
	rec        *FillRecord // nil: no fill, from seeders only
	body       *firstBody  // the response that opened the fill
	alone      bool        // the board is this node's own
	board      Board
	lander     *lander
	plan       layout.Plan
	spans      []spanState
	open       int              // below it every span has landed and is here
	nodes      map[NodeID]Node  // other participants
	rank       []NodeID         // all participants in order; stale when nil
	streams    map[*stream]bool // origin streams of this node
	claiming   bool             // a claim is under way
	downSince  time.Time        // since when the board cannot be asked
	fill       Torrent          // nil without a fill
	sealed     Torrent          // nil until needed
	started    time.Time
	progress   time.Time // when a piece last became complete
	news       time.Time // when the board last told of a span
	left       int       // pieces missing at that time
	flushed    time.Time
	tries      int // origin errors in a row
	retryAt    time.Time
	background sync.WaitGroup
}

// want is one reader's interest: the pieces of a byte range, and where it is.
type want struct {
	pieces  layout.Range
	pos     int64 // guarded by transfer.mu
	windows []Window
	moved   int64
	ended   bool
}

// spanState is what run knows of a span.
type spanState struct {
	SpanRecord
	since  time.Time // of this record, as seen here
	lostAt time.Time // when a claim was lost that the watch has not told of yet
	mine   bool      // one of this node's streams has it
	isHere bool
}

func newTransfer(o *object, rec *FillRecord, body *firstBody, alone bool) *transfer {
	t := &transfer{
		c: o.c, o: o, file: o.file, log: o.c.log.With("object", o.file.Version().ID),
		kick: make(chan struct{}, 1), events: make(chan any, 4096),
		wants: map[*want]bool{}, nodes: map[NodeID]Node{}, streams: map[*stream]bool{},
		rec: rec, body: body, alone: alone,
	}
	return t
}

// Events that run receives from the goroutines it started.
type (
	claimed struct {
		spans []SpanRecord
		won   []bool
		err   error
	}
	streamEnded struct {
		s   *stream
		err error
	}
	watchEnded struct{ err error }
	opened     struct {
		rec   FillRecord
		alone bool
		err   error
	}
	poisoned struct{}
	landed   struct{ landing }
)

// send hands an event to run, which always drains until background is done.
func (t *transfer) send(e any) { t.events <- e }

// run moves pieces until the object is complete and nobody needs this node any
// more, or until nobody here wants it, or until it cannot go on.
func (t *transfer) run(ctx context.Context) {
	ctx, t.cancel = context.WithCancelCause(ctx)
	defer t.cleanup()
	now := t.c.now()
	t.started, t.progress, t.flushed, t.left = now, now, now, t.file.Left()
	if err := t.begin(ctx); err != nil {
		t.file.fail(err)
		return
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	completed := t.file.Completed()
	var leaveAt <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-t.events:
			if err := t.handle(ctx, e); err != nil {
				t.fail(err)
				return
			}
			if b, ok := e.(BoardEvent); ok && b.Freed == nil && (b.Span == nil || !b.Span.Landed) {
				continue // nothing that makes a claim possible
			}
		case <-t.kick:
		case <-completed:
			completed = nil
			t.complete(ctx)
			leaveAt = time.After(t.linger())
		case <-leaveAt:
			return
		case <-tick.C:
		}
		if completed == nil {
			continue
		}
		if t.unwanted() {
			return
		}
		if err := t.step(ctx, t.c.now()); err != nil {
			t.fail(err)
			return
		}
	}
}

// linger is how long a complete node stays on the board: others may be at it.
func (t *transfer) linger() time.Duration {
	if len(t.nodes) == 0 {
		return 0
	}
	return lingerFill
}

// begin joins what there is to join.
func (t *transfer) begin(ctx context.Context) error {
	t.takeWants()
	if t.rec != nil {
		return t.joinFill(ctx)
	}
	return t.joinSealed()
}

// joinSealed takes part in the swarm of the standard torrent.
func (t *transfer) joinSealed() error {
	if t.c.cfg.Swarm == nil || t.sealed != nil {
		return nil
	}
	s, err := t.c.cfg.Swarm.Sealed(t.file)
	if err != nil {
		return nil // nothing to join yet: a fill will be opened
	}
	t.sealed = s
	t.wantAll(s)
	return nil
}

// joinFill takes part in the fill t.rec: its board, its torrent, its body.
func (t *transfer) joinFill(ctx context.Context) error {
	t.plan = t.rec.Plan()
	t.spans = make([]spanState, t.plan.Spans())
	t.open = 0
	if t.alone {
		t.board = newAloneBoard()
	} else {
		board, err := t.c.cfg.Directory.JoinFill(ctx, *t.rec)
		if err != nil {
			t.log.Warn("filling for this node alone", "error", err)
			t.alone, board = true, newAloneBoard()
		}
		t.board = board
	}
	board := t.board
	t.lander = newLander(t)
	t.lander.start(ctx, board)
	t.background.Go(func() {
		err := board.Watch(ctx, func(e BoardEvent) { t.send(e) })
		if ctx.Err() == nil {
			t.send(watchEnded{err})
		}
	})
	if t.c.cfg.Swarm != nil {
		f, err := t.c.cfg.Swarm.Fill(t.file)
		if err != nil {
			return fmt.Errorf("join fill torrent: %w", err)
		}
		t.fill = f
		t.wantAll(f)
	}
	t.c.metrics.fills.WithLabelValues(fillRole(t.rec, t.c.cfg.Node.ID, t.alone)).Inc()
	if t.body != nil {
		t.startFirst(ctx)
	}
	return nil
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

// wantAll tells a torrent that was just joined what readers want.
func (t *transfer) wantAll(tor Torrent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		tor.Want(w.pieces)
		win := tor.Window(t.ahead())
		win.MoveTo(w.pos)
		w.windows = append(w.windows, win)
	}
}

// ahead is how far in front of a reader pieces are preferred.
func (t *transfer) ahead() int64 { return max(t.file.layout.Length/8, 4*t.file.layout.PieceLen) }

// add registers a reader's interest. It may be called before run.
func (t *transfer) add(w *want, origin Origin) {
	t.mu.Lock()
	t.wants[w] = true
	t.fresh = append(t.fresh, w)
	if origin != nil {
		t.origin = origin
	}
	t.mu.Unlock()
	t.poke()
}

// move tells where a reader is.
func (t *transfer) move(w *want, pos int64) {
	t.mu.Lock()
	before := t.file.layout.PieceAt(w.pos)
	w.pos = pos
	t.mu.Unlock()
	if t.file.layout.PieceAt(pos) != before {
		t.poke()
	}
}

// remove ends a reader's interest.
func (t *transfer) remove(w *want) {
	t.mu.Lock()
	w.ended = true
	t.mu.Unlock()
	t.poke()
}

func (t *transfer) poke() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// takeWants makes new interest known to the torrents.
func (t *transfer) takeWants() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.fresh {
		for _, tor := range []Torrent{t.fill, t.sealed} {
			if tor != nil {
				tor.Want(w.pieces)
				w.windows = append(w.windows, tor.Window(t.ahead()))
			}
		}
		if w.pieces.From < int64(t.plan.Pieces()) && t.plan.MaxSpan > 0 {
			t.open = min(t.open, t.plan.SpanOf(int(w.pieces.From)))
		}
		w.moved = -1
	}
	t.fresh = nil
}

func (t *transfer) moveWindows() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		if w.ended {
			for _, win := range w.windows {
				win.Close()
			}
			w.windows = nil
			if !t.mostIsHere() {
				delete(t.wants, w)
			}
			continue
		}
		if w.moved != w.pos {
			w.moved = w.pos
			for _, win := range w.windows {
				win.MoveTo(w.pos)
			}
		}
	}
}

// mostIsHere: a client went away, but finishing costs less than what is spent.
func (t *transfer) mostIsHere() bool { return t.file.Left()*2 <= len(t.file.state) }

// unwanted reports whether nobody here wants what is missing, and nobody
// elsewhere depends on this node: as the only streamer of a fill without
// ranges, or as a holder of landed pieces while others are at it.
func (t *transfer) unwanted() bool {
	t.mu.Lock()
	n := len(t.wants)
	t.mu.Unlock()
	if n > 0 {
		return false
	}
	if len(t.nodes) == 0 {
		return true
	}
	if t.rec != nil && t.rec.Single && len(t.streams) > 0 {
		return false
	}
	return t.c.now().Sub(t.progress) > lingerFill
}

// handle takes in one event.
func (t *transfer) handle(ctx context.Context, e any) error {
	switch e := e.(type) {
	case BoardEvent:
		return t.onBoard(e)
	case claimed:
		t.claiming = false
		t.onClaimed(ctx, e)
	case streamEnded:
		return t.onStreamEnded(ctx, e)
	case watchEnded:
		if errors.Is(e.err, ErrNotFound) && !t.alone {
			// Everybody else is done. What is missing comes from seeders, or from a
			// fill of our own.
			t.log.Debug("the board is gone")
			t.board = newAloneBoard()
			t.alone = true
			return t.joinSealed()
		}
	case opened:
		t.claiming = false
		if e.err != nil {
			return e.err
		}
		t.rec, t.alone = &e.rec, e.alone
		return t.joinFill(ctx)
	case poisoned:
		return t.end(ctx, EndPoisoned)
	case landed:
		if e.final {
			t.c.metrics.landed.Inc()
		}
		pieces := t.plan.Span(e.span)
		for k := range int64(len(e.hashes) / 20) {
			t.pieceChanged(int(pieces.From + k))
		}
	}
	return nil
}

func (t *transfer) onBoard(e BoardEvent) error {
	now := t.c.now()
	switch {
	case e.Span != nil:
		if e.Span.Span < 0 || e.Span.Span >= len(t.spans) {
			return nil // of another plan: not ours to judge
		}
		s := &t.spans[e.Span.Span]
		if e.Span.Rev < s.Rev {
			return nil
		}
		s.SpanRecord, s.since, t.news = *e.Span, now, now
		s.lostAt = time.Time{}
		return t.learn(e.Span)
	case e.Freed != nil:
		if i := *e.Freed; i >= 0 && i < len(t.spans) {
			s := &t.spans[i]
			s.SpanRecord, s.since = SpanRecord{Span: i}, now
		}
	case e.Joined != nil:
		t.nodes[e.Joined.ID] = *e.Joined
		t.rank = nil
		if t.fill != nil {
			t.fill.AddPeers(e.Joined.Peers)
		}
	case e.Left != "":
		delete(t.nodes, e.Left)
		t.rank = nil
	case e.Fill != nil:
		t.rec.Single = e.Fill.Single
		if e.Fill.Ended != "" {
			t.rec.Ended = e.Fill.Ended
			return endError(e.Fill.Ended)
		}
	}
	return nil
}

// learn opens the gate for pieces whose hashes were published.
func (t *transfer) learn(s *SpanRecord) error {
	pieces := t.plan.Span(s.Span)
	for k := int64(0); k*20+20 <= int64(len(s.Hashes)) && k < pieces.Len(); k++ {
		i := int(pieces.From + k)
		news, err := t.file.Learn(i, s.Hashes[k*20:k*20+20])
		if err != nil {
			t.log.Error("two hashes for one piece", "piece", i, "span", s.Span)
			t.send(poisoned{})
			return nil
		}
		if news {
			t.pieceChanged(i)
		}
	}
	return nil
}

func (t *transfer) pieceChanged(i int) {
	if t.fill != nil {
		t.fill.PieceChanged(i)
	}
	if t.sealed != nil {
		t.sealed.PieceChanged(i)
	}
}

// step is what run does on every tick.
func (t *transfer) step(ctx context.Context, now time.Time) error {
	t.takeWants()
	t.moveWindows()
	if left := t.file.Left(); left != t.left {
		t.left, t.progress = left, now
	}
	if now.Sub(t.flushed) >= flushEvery {
		t.flushed = now
		if err := t.o.record(); err != nil {
			return err
		}
	}
	if t.rec == nil {
		return t.escalate(ctx, now)
	}
	t.claim(ctx, now)
	return nil
}

// escalate opens a fill when no seeder gives anything: the origin is the last
// source. Nodes in the same trouble meet on the fill's board.
func (t *transfer) escalate(ctx context.Context, now time.Time) error {
	wait := patienceSeed
	if t.sealed == nil {
		wait = 0
	}
	if t.claiming || now.Sub(t.progress) < wait {
		return nil
	}
	t.mu.Lock()
	origin := t.origin
	t.mu.Unlock()
	if origin == nil {
		return nil
	}
	t.claiming = true
	v := t.file.Version()
	t.background.Go(func() {
		rec, opener, alone, err := t.c.openFill(ctx, v, v.Validator == "")
		if err == nil && !opener && rec.Version.ID != v.ID {
			err = fmt.Errorf("another version is being filled: %w", ErrFillEnded)
		}
		t.send(opened{rec, alone, err})
	})
	return nil
}

// complete is called once every piece is here.
func (t *transfer) complete(ctx context.Context) {
	t.c.metrics.completed.Inc()
	if err := t.o.seal(); err != nil {
		t.log.Error("record a complete object", "error", err)
		return
	}
	v := t.file.Version()
	t.log.Info("object complete", "bytes", v.Length, "infohash", v.InfoHash, "took", t.c.now().Sub(t.started).Round(time.Millisecond))
	if s := t.c.cfg.Swarm; s != nil && t.sealed == nil {
		// Join, so that the tracker hears of a new seeder at once; then let go.
		if tor, err := s.Sealed(t.file); err == nil {
			tor.Drop()
		}
	}
	// The opener publishes at once, the others only what is still missing then.
	wait := time.Duration(0)
	if t.rec == nil || t.rec.Opener != t.c.cfg.Node.ID {
		wait = time.Second + rand.N(2*time.Second)
	}
	t.c.publishLater(v, wait)
}

// fail ends the transfer: readers get err, or a fill that ended.
func (t *transfer) fail(err error) {
	if !errors.Is(err, ErrFillEnded) {
		err = fmt.Errorf("%w: %w", ErrFillEnded, err)
	}
	t.log.Warn("fill ended", "error", err)
	t.file.fail(err)
	if t.rec != nil && (t.rec.Ended == EndPoisoned || t.rec.Ended == EndChanged) {
		t.o.condemn()
	}
}

func endError(reason string) error { return fmt.Errorf("%w: %s", ErrFillEnded, reason) }

// end ends the fill for every node.
func (t *transfer) end(ctx context.Context, reason string) error {
	t.c.metrics.ended.WithLabelValues(reason).Inc()
	t.rec.Ended = reason
	rec := *t.rec
	board := t.board
	t.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := board.Update(ctx, rec); err != nil {
			t.log.Warn("tell the others that the fill ended", "error", err)
		}
	})
	return endError(reason)
}

// cleanup gives back everything run took, whatever made it stop.
func (t *transfer) cleanup() {
	t.cancel(errors.New("transfer stopped"))
	go func() {
		t.background.Wait()
		close(t.events)
	}()
	for range t.events { // senders must not block
	}
	if t.board != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := t.board.Leave(ctx); err != nil {
			t.log.Debug("leave the fill", "error", err)
		}
	}
	t.mu.Lock()
	for w := range t.wants {
		for _, win := range w.windows {
			win.Close()
		}
		w.windows = nil
	}
	t.mu.Unlock()
	for _, tor := range []Torrent{t.fill, t.sealed} {
		if tor != nil {
			tor.Drop()
		}
	}
	if err := t.o.record(); err != nil {
		t.log.Error("record pieces", "error", err)
	}
	t.o.transferEnded(t)
}

// participants returns all participants in order, this node among them.
func (t *transfer) participants() []NodeID {
	if t.rank == nil {
		t.rank = append(t.rank, t.c.cfg.Node.ID)
		for id := range t.nodes {
			t.rank = append(t.rank, id)
		}
		slices.Sort(t.rank)
	}
	return t.rank
}
