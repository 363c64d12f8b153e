package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shatabdi/swarmcache/layout"
)

// Timing of a transfer.
const (
	tickEvery     = 100 * time.Millisecond
	flushEvery    = time.Second      // completion is recorded at most this late
	offerEvery    = 5 * time.Second  // participants are offered to the engine again
	lingerFill    = 10 * time.Second // a complete node stays on the board that long
	lingerLanding = 15 * time.Second // and longer, for landings that are under way
	patienceBoard = 1500 * time.Millisecond
	patienceSeed  = 3 * time.Second // without progress from seeders, the origin is asked
	patienceFirst = 5 * time.Second // for the first reader of an opened fill
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
	host string // of the origin

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
	board      Board       // nil: not joined yet
	lander     *lander
	fill       Torrent         // nil without a fill
	sealed     Torrent         // nil until needed
	nodes      map[NodeID]Node // other participants
	rank       []NodeID        // all participants in order; stale when nil
	self       int             // this node's place in rank
	asked      bool            // somebody wanted bytes at some time
	caught     bool            // all that stood on the board is known
	resuming   bool            // what an earlier run left is, or was, being hashed
	background sync.WaitGroup
	spanBook
	streams   map[*stream]bool // origin streams of this node
	claiming  bool             // a claim, or the opening of a fill, is under way
	flushing  bool             // what is complete is being recorded
	downSince time.Time        // since when the board cannot be asked
	tries     int              // origin errors in a row

	started   time.Time
	progress  time.Time // when a piece last became complete
	news      time.Time // when the board last told of a span
	left      int       // pieces missing at that time
	flushed   time.Time
	offered   time.Time
	completed time.Time
	boardAt   time.Time // not before, the board is asked again
	retryAt   time.Time // not before, the origin is asked again
	seedsFrom time.Time // since when seeders should have everything; zero: no reason to think so
}

// want is one reader's interest: the pieces of a byte range, and where it is.
type want struct {
	pieces layout.Range
	pos    atomic.Int64
	ended  atomic.Bool

	// Owned by the run of the transfer that has the want.
	windows map[Torrent]Window
	told    int64 // the position that the windows have
	here    int64 // the pieces below it are here
}

func newWant(pieces layout.Range, pos int64) *want {
	w := &want{pieces: pieces, windows: map[Torrent]Window{}, here: pieces.From}
	w.pos.Store(pos)
	return w
}

func newTransfer(o *object, rec *FillRecord, body *firstBody, alone bool) *transfer {
	v := o.file.Version()
	return &transfer{
		c: o.c, o: o, file: o.file, log: o.c.log.With("object", v.ID), host: hostOf(v.URL),
		kick: make(chan struct{}, 1), events: make(chan any, 4096),
		wants: map[*want]bool{}, nodes: map[NodeID]Node{}, streams: map[*stream]bool{},
		rec: rec, body: body, alone: alone,
	}
}

// Events that run receives from the goroutines it started.
type (
	boarded struct {
		board Board
		err   error
	}
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
	poisoned  struct{}
	landed    struct{ landing }
	rehashed  struct{}
	damaged   struct{ err error }
	recorded  struct{ err error }
	seen      struct{ infoHash InfoHash }
	published struct{}
)

// send hands an event to run, which always drains until background is done. run
// itself must not send.
func (t *transfer) send(e any) { t.events <- e }

// run moves pieces until the object is complete and nobody needs this node any
// more, or until nobody here wants it, or until it cannot go on.
func (t *transfer) run(ctx context.Context) {
	ctx, t.cancel = context.WithCancelCause(ctx)
	defer t.cleanup()
	now := t.c.now()
	t.started, t.progress, t.flushed, t.offered, t.left = now, now, now, now, t.file.Left()
	if err := t.begin(ctx); err != nil {
		t.fail(err)
		return
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	completed, sealable := t.file.Completed(), (<-chan struct{})(nil)
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
			// The hashes of what an earlier run left may still be on their way.
			completed, sealable = nil, t.file.Sealable()
		case <-sealable:
			sealable = nil
			t.complete(ctx)
		case <-tick.C:
		}
		if completed == nil {
			if t.mayLeave(t.c.now()) {
				return
			}
			continue
		}
		if t.file.Left() == 0 {
			continue // complete: the case above has the word
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

// begin joins what there is to join.
func (t *transfer) begin(ctx context.Context) error {
	if t.rec == nil {
		t.joinSealed()
		t.resume(ctx)
		return nil
	}
	return t.joinFill(ctx)
}

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
	t.spanBook = newSpanBook(t.c.cfg.Node.ID, t.rec.Plan())
	if t.c.cfg.Swarm != nil {
		f, err := t.c.cfg.Swarm.Fill(t.file)
		if err != nil {
			return fmt.Errorf("join fill torrent: %w", err)
		}
		t.fill = f
		t.introduceAll()
	}
	if !t.file.Version().InfoHash.IsZero() {
		t.joinSealed() // somebody is through already
	}
	t.lander = newLander(t)
	t.lander.start(ctx)
	if t.body != nil {
		t.startFirst(ctx)
	}
	t.c.metrics.fills.WithLabelValues(fillRole(t.rec, t.c.cfg.Node.ID, t.alone)).Inc()
	t.resume(ctx)
	if t.alone {
		t.useBoard(ctx, aloneBoard{})
		return nil
	}
	rec := *t.rec
	t.background.Go(func() {
		board, err := t.c.cfg.Directory.JoinFill(ctx, rec)
		t.send(boarded{board, err})
	})
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

// onBoarded takes the board that JoinFill gave, or goes on without one.
func (t *transfer) onBoarded(ctx context.Context, e boarded) {
	switch {
	case errors.Is(e.err, ErrNotFound):
		t.boardGone(ctx)
	case e.err != nil:
		t.log.Warn("filling for this node alone", "error", e.err)
		t.alone = true
		t.useBoard(ctx, aloneBoard{})
	default:
		t.useBoard(ctx, e.board)
		t.background.Go(func() {
			err := e.board.Watch(ctx, func(e BoardEvent) { t.send(e) })
			if ctx.Err() == nil {
				t.send(watchEnded{err})
			}
		})
	}
}

func (t *transfer) useBoard(ctx context.Context, b Board) {
	t.board = b
	t.lander.use(b)
	if s := t.endlessStream(); s != nil && !t.claiming {
		t.ask(ctx, t.runFrom(s.first)) // what it reads already, and some more
	}
	if t.alone {
		t.caught = true
		t.landStored()
	}
}

// boardGone: everybody else is done. What is missing comes from seeders, and if
// there are none from the origin, for this node alone.
func (t *transfer) boardGone(ctx context.Context) {
	t.log.Debug("the board is gone")
	t.alone = true
	t.disown(t.c.now())
	t.useBoard(ctx, aloneBoard{})
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

func (t *transfer) poke() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// latestOrigin is how the origin is asked now; nil: nobody ever wanted bytes.
func (t *transfer) latestOrigin() Origin {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.origin
}

// takeWants makes new interest known to the torrents.
func (t *transfer) takeWants() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.fresh {
		t.introduce(w)
		t.asked, t.interest = true, nil
	}
	t.fresh = nil
}

// introduceAll tells a torrent that was just joined what readers want.
func (t *transfer) introduceAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		t.introduce(w)
	}
}

// introduce tells the torrents that do not know it yet of w. It needs mu.
func (t *transfer) introduce(w *want) {
	for _, tor := range t.torrents() {
		if w.windows[tor] == nil && !w.ended.Load() {
			tor.Want(w.pieces)
			w.windows[tor] = tor.Window(t.ahead())
			w.told = -1
		}
	}
}

// torrents are those that this transfer takes part in.
func (t *transfer) torrents() (l []Torrent) {
	if t.fill != nil {
		l = append(l, t.fill)
	}
	if t.sealed != nil {
		l = append(l, t.sealed)
	}
	return l
}

// followReaders moves the windows to where readers are, and forgets the readers
// that are gone. What a gone reader wanted is still fetched when most of the
// object is here: finishing costs less than what was spent.
func (t *transfer) followReaders() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		if w.ended.Load() {
			w.close()
			if !t.mostIsHere() || t.covers(w) {
				delete(t.wants, w)
				t.interest = nil
			}
			continue
		}
		if pos := w.pos.Load(); w.told != pos {
			w.told = pos
			for _, win := range w.windows {
				win.MoveTo(pos)
			}
		}
	}
}

// close takes the reader's windows away.
func (w *want) close() {
	for tor, win := range w.windows {
		win.Close()
		delete(w.windows, tor)
	}
}

func (t *transfer) mostIsHere() bool { return t.file.Left()*2 <= len(t.file.state) }

// covers reports whether all that w wants is here.
func (t *transfer) covers(w *want) bool {
	for w.here < w.pieces.To && t.file.Has(int(w.here)) {
		w.here++
	}
	return w.here >= w.pieces.To
}

// unwanted reports whether nobody here wants what is missing, and nobody
// elsewhere depends on this node: as the only streamer of a fill without
// ranges, or as a holder of landed pieces while others are at it.
func (t *transfer) unwanted() bool {
	t.mu.Lock()
	n := len(t.wants)
	t.mu.Unlock()
	now := t.c.now()
	switch {
	case n > 0:
		return false
	case !t.asked: // whoever opened this is about to read
		return now.Sub(t.started) > patienceFirst
	case len(t.nodes) == 0:
		return true
	case t.rec != nil && t.rec.Single && len(t.streams) > 0:
		return false
	}
	return now.Sub(t.progress) > lingerFill
}

// handle takes in one event.
func (t *transfer) handle(ctx context.Context, e any) error {
	switch e := e.(type) {
	case BoardEvent:
		return t.onBoard(ctx, e)
	case boarded:
		t.onBoarded(ctx, e)
	case claimed:
		t.claiming = false
		t.onClaimed(ctx, e)
	case streamEnded:
		return t.onStreamEnded(ctx, e)
	case watchEnded:
		if !t.alone {
			t.boardGone(ctx)
		}
	case seen:
		t.o.learn(e.infoHash)
		if t.joinSealed(); t.sealed == nil {
			t.seedsFrom = time.Time{}
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
		t.onLanded(e)
	case rehashed:
		t.landStored()
	case damaged:
		return e.err
	case recorded:
		t.flushing = false
		return e.err
	case published:
		t.completed = t.c.now()
	}
	return nil
}

func (t *transfer) onBoard(ctx context.Context, e BoardEvent) error {
	now := t.c.now()
	switch {
	case e.Span != nil:
		if e.Span.Span < 0 || e.Span.Span >= len(t.spans) {
			return nil // of another plan: not ours to judge
		}
		if e.Span.Rev < t.spans[e.Span.Span].Rev {
			return nil
		}
		t.news = now
		t.put(*e.Span, now)
		return t.learn(ctx, e.Span)
	case e.Freed != nil:
		if i := *e.Freed; i >= 0 && i < len(t.spans) {
			t.put(SpanRecord{Span: i}, now)
		}
	case e.Joined != nil:
		t.nodes[e.Joined.ID] = *e.Joined
		t.rank = nil
		if t.fill != nil {
			t.fill.AddPeers(e.Joined.Peers)
		}
	case e.Caught:
		t.caught = true
		t.landStored()
	case e.Left != "":
		delete(t.nodes, e.Left)
		t.rank = nil
	case e.Fill != nil:
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
	for k := int64(0); k*20+20 <= int64(len(s.Hashes)) && k < pieces.Len(); k++ {
		i := int(pieces.From + k)
		news, err := t.file.Learn(i, s.Hashes[k*20:k*20+20])
		if err != nil {
			t.log.Error("two hashes for one piece", "piece", i, "span", s.Span)
			return t.end(ctx, EndPoisoned)
		}
		if news {
			t.pieceChanged(i)
		}
	}
	return nil
}

func (t *transfer) onLanded(e landed) {
	pieces := t.plan.Span(e.span)
	if e.final {
		t.c.metrics.landed.Inc()
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

// step is what run does on every event, move of a reader and tick: nothing in
// it may grow with the number of pieces.
func (t *transfer) step(ctx context.Context, now time.Time) error {
	if err := t.file.failure(); err != nil {
		if errors.Is(err, ErrPoisoned) && t.rec != nil {
			return t.end(ctx, EndPoisoned)
		}
		return err
	}
	t.takeWants()
	t.followReaders()
	if left := t.file.Left(); left != t.left {
		t.left, t.progress = left, now
	}
	if t.fill != nil && t.sealed != nil {
		for _, i := range t.file.takeNews() {
			t.pieceChanged(i) // the other torrent must not fetch it again
		}
	}
	t.flush(now)
	t.offer(now)
	if t.rec == nil {
		t.escalate(ctx, now)
	} else {
		t.claim(ctx, now)
	}
	return nil
}

// flush records what became complete, without holding up run: a disk may take
// seconds.
func (t *transfer) flush(now time.Time) {
	if t.flushing || now.Sub(t.flushed) < flushEvery {
		return
	}
	t.flushed, t.flushing = now, true
	t.background.Go(func() { t.send(recorded{t.o.record()}) })
}

// offer names the participants to the engine again, which forgets a peer after
// one failed or lost connection.
func (t *transfer) offer(now time.Time) {
	if t.fill == nil || now.Sub(t.offered) < offerEvery {
		return
	}
	t.offered = now
	for _, n := range t.nodes {
		t.fill.AddPeers(n.Peers)
	}
}

// seedersGive reports whether to wait a little longer for seeders, which should
// have everything, before the origin is asked. Once they failed it stays false.
func (t *transfer) seedersGive(now time.Time) bool {
	if t.seedsFrom.IsZero() {
		return false
	}
	if now.Sub(t.progress) < patienceSeed || now.Sub(t.seedsFrom) < patienceSeed {
		return true
	}
	t.log.Debug("no seeder gives anything")
	t.seedsFrom = time.Time{}
	return false
}

// escalate opens a fill when no seeder gives anything: the origin is the last
// source. Nodes in the same trouble meet on the fill's board.
func (t *transfer) escalate(ctx context.Context, now time.Time) {
	if t.claiming || !t.asked || t.latestOrigin() == nil || t.seedersGive(now) {
		return
	}
	t.claiming = true
	v := t.file.Version()
	t.background.Go(func() {
		rec, _, alone, err := t.c.openFill(ctx, v, v.Validator == "")
		if err == nil && rec.Version.ID != v.ID {
			err = errSuperseded
		}
		t.send(opened{rec, alone, err})
	})
}

// errSuperseded: fills of this very version have ended; a later attempt has
// another id.
var errSuperseded = fmt.Errorf("%w: the version was given up", ErrFillEnded)

// fail ends the transfer: readers get err, or a fill that ended. A body that
// cannot be trusted or finished is forgotten, so that the next request begins
// anew.
func (t *transfer) fail(err error) {
	if !errors.Is(err, ErrFillEnded) {
		err = fmt.Errorf("%w: %w", ErrFillEnded, err)
	}
	t.log.Warn("fill ended", "error", err)
	t.file.fail(err)
	over := t.rec != nil && t.rec.Ended != ""
	if over || errors.Is(err, errDisk) || errors.Is(err, errSuperseded) || errors.Is(err, ErrPoisoned) {
		t.o.condemn()
	}
}

func endError(reason string) error {
	if reason == EndPoisoned {
		return fmt.Errorf("%w: %w", ErrFillEnded, ErrPoisoned)
	}
	return fmt.Errorf("%w: %s", ErrFillEnded, reason)
}

// end ends the fill for every node.
func (t *transfer) end(ctx context.Context, reason string) error {
	t.c.metrics.ended.WithLabelValues(reason).Inc()
	t.rec.Ended = reason
	rec, board := *t.rec, t.board
	if board == nil {
		return endError(reason) // who joins later finds out as we did
	}
	t.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeWait)
		defer cancel()
		if err := board.Update(ctx, rec); err != nil {
			t.log.Warn("tell the others that the fill ended", "error", err)
		}
	})
	return endError(reason)
}

// goodbyeWait bounds what is told to the directory when a transfer ends.
const goodbyeWait = 1500 * time.Millisecond

// cleanup gives back everything run took, whatever made it stop.
func (t *transfer) cleanup() {
	t.cancel(errors.New("transfer stopped"))
	go func() {
		t.background.Wait()
		close(t.events)
	}()
	for e := range t.events { // senders must not block
		if b, ok := e.(boarded); ok && b.err == nil {
			t.board = b.board
		}
	}
	if t.body != nil {
		t.body.Close()
	}
	if t.board != nil {
		ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
		defer cancel()
		if err := t.board.Leave(ctx); err != nil {
			t.log.Debug("leave the fill", "error", err)
		}
	}
	t.mu.Lock()
	for w := range t.wants {
		w.close()
	}
	t.mu.Unlock()
	for _, tor := range t.torrents() {
		tor.Drop()
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
		t.self = slices.Index(t.rank, t.c.cfg.Node.ID)
	}
	return t.rank
}
