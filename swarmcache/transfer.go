package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"shatabdi/swarmcache/events"
)

// Timing of a transfer.
const (
	tickEvery     = 100 * time.Millisecond
	flushEvery    = time.Second      // completion is recorded at most this late
	offerEvery    = 5 * time.Second  // participants are offered to the engine again
	lingerFill    = 10 * time.Second // a complete node stays on the board that long
	lingerLanding = 15 * time.Second // and longer, for landings that are under way
	patienceSeed  = 3 * time.Second  // without progress from seeders, the origin is asked
	// patienceSeedless is the same where the tracker knows of none.
	patienceSeedless = 300 * time.Millisecond
	patienceJoin     = 10 * time.Second // without any progress, a fill is joined or given up
	patienceFirst    = 5 * time.Second  // for the first reader of an opened fill
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
	host string // of the origin, as rates know it, and its
	from string // budget
	born time.Time

	cancel context.CancelCauseFunc
	kick   chan struct{}
	events chan any   // of the goroutines that run started
	gossip *landQueue // hashes that other nodes told

	mu     sync.Mutex
	wants  map[*want]bool
	fresh  []*want // not yet known to run
	origin Origin  // of the last one who wanted bytes; outlives its client

	// Owned by run.
	rec        *FillRecord // nil: no fill, from seeders only
	body       *firstBody  // the response that opened the fill
	begun      Board       // that this node opened already, and will take; nil: none
	meets      *met        // the others' fill, with other spans, to which this node goes over; nil: none
	alone      bool        // the board is this node's own
	wasAlone   bool        // for a time, of which the directory knows nothing
	board      Board       // nil: not joined yet
	lander     *lander
	fill       Torrent           // nil without a fill
	sealed     Torrent           // nil until needed
	nodes      map[NodeID]Member // other participants
	departed   map[NodeID]bool   // who was one, and left
	crowded    bool              // the board was full: not all who take part were listed
	rank       []NodeID          // all participants in order; stale when nil
	self       int               // this node's place in rank
	asked      bool              // somebody wanted bytes at some time
	caught     bool              // all that stood on the board is known
	listed     bool              // this node is listed on the board, and told who comes and goes
	forsaken   bool              // while this node drained, others did not fetch what it needs
	probed     bool              // the origin was asked for a part, to see whether it gives any
	resuming   bool              // what an earlier run left is, or was, being hashed
	background sync.WaitGroup
	spanBook
	talk
	debt      debt
	lazy      map[NodeID]time.Time // who let a turn pass, and until when nobody waits for them
	streams   map[*stream]bool     // origin streams of this node
	claiming  bool                 // a claim, or the opening of a fill, is under way
	seating   bool                 // room in the origin budget is waited for,
	needed    time.Time            // and was last needed then;
	unseat    context.CancelFunc   // this ends the wait
	seat      func()               // room for one stream, to be given back; nil: none
	flushing  bool                 // what is complete is being recorded
	downSince time.Time            // since when the board cannot be asked
	broken    [][]int              // the spans of streams that broke, still claimed
	tries     int                  // origin errors in a row

	complained time.Time // when the log was last told that nothing comes
	started    time.Time
	progress   time.Time // when a piece last became complete
	alive      time.Time // when one last did, here or at a neighbour's
	peers      life      // what neighbours had when last looked at
	news       time.Time // when the board last told of a span
	left       int       // pieces missing at that time
	flushed    time.Time
	offered    time.Time
	completed  time.Time
	boardAt    time.Time // not before, the board is asked again
	retryAt    time.Time // not before, the origin is asked again
	seedsFrom  time.Time // since when seeders should have everything; zero: no reason to think so
}

func newTransfer(o *object, b *beginning, body *firstBody) *transfer {
	v := o.file.Version()
	t := &transfer{
		c: o.c, o: o, file: o.file, log: o.c.log.With("object", v.ID), host: hostOf(v.URL), from: originOf(v.URL), born: o.c.now(),
		kick: make(chan struct{}, 1), events: make(chan any, 4096), gossip: newLandQueue(),
		wants: map[*want]bool{}, nodes: map[NodeID]Member{}, departed: map[NodeID]bool{}, lazy: map[NodeID]time.Time{}, streams: map[*stream]bool{},
		body: body,
	}
	if b != nil {
		t.rec, t.alone, t.begun = &b.rec, b.alone, b.board
	}
	return t
}

// Events that run receives from the goroutines it started.
type (
	boarded struct {
		board Board
		begun bool // by this node, which has its first spans on it
		err   error
	}
	claimed struct {
		spans []SpanRecord
		won   []bool
		err   error
	}
	seated struct {
		release func()
		err     error
	}
	streamEnded struct {
		s   *stream
		err error
	}
	watchEnded struct{ err error }
	opened     struct {
		beginning
		err error
	}
	poisoned struct{}
	landed   struct {
		by *lander
		landing
	}
	told struct { // to peers, for the board is away
		by *lander
		landing
	}
	rehashed  struct{}
	settled   struct{ piece int }
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
	t.started, t.progress, t.alive, t.flushed, t.offered, t.left = now, now, now, now, now, t.file.Left()
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
		case <-t.gossip.wake:
			if err := t.takeTold(ctx); err != nil {
				t.fail(err)
				return
			}
		case <-t.kick:
		case <-completed:
			// The hashes of what an earlier run left may still be on their way.
			completed, sealable = nil, t.file.Sealable()
		case <-sealable:
			sealable = nil
			t.complete(ctx)
		case <-tick.C:
			t.converse(t.c.now())
		}
		if completed == nil {
			t.freeSeat() // others have use for it
			if t.seating {
				t.unseat()
			}
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
	defer t.settle(ctx)
	if t.rec == nil {
		t.joinSealed()
		t.tellFill(events.RolePeers)
		t.resume(ctx)
		return nil
	}
	return t.joinFill(ctx)
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

// handle takes in one event.
func (t *transfer) handle(ctx context.Context, e any) error {
	switch e := e.(type) {
	case BoardEvent:
		return t.onBoard(ctx, e)
	case boarded:
		t.onBoarded(ctx, e)
	case met:
		t.onMet(ctx, e)
	case seated:
		t.unseat()
		t.seating, t.seat = false, e.release
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
		if t.begun = e.board; e.err != nil {
			return e.err
		}
		t.rec, t.alone = &e.rec, e.alone
		return t.joinFill(ctx)
	case poisoned:
		return t.end(ctx, EndPoisoned)
	case landed:
		t.boardAnswered()
		t.onLanded(e.by, e.landing)
		if t.unguided && t.fill != nil && e.by == t.lander {
			t.fill.Tell(int(t.plan.Span(e.span).From), e.hashes)
		}
	case told:
		t.boardFailed(t.c.now())
		t.onLanded(e.by, e.landing)
	case proof:
		t.onProof(ctx, e)
	case rehashed:
		t.landStored()
	case settled:
		t.pieceChanged(e.piece)
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
		t.left, t.progress, t.alive = left, now, now
	}
	t.lookAround(now)
	if t.fill != nil && t.sealed != nil {
		for _, i := range t.file.takeNews() {
			t.pieceChanged(i) // the other torrent must not fetch it again
		}
	}
	t.flush(now)
	t.offer(now)
	t.complain(now)
	switch {
	case t.doubts(now): // most of what seems to be missing may be here
	case t.rec == nil:
		t.escalate(ctx, now)
	default:
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

// fail ends the transfer: readers get err, or a fill that ended. A body that
// cannot be trusted or finished is forgotten, so that the next request begins
// anew.
func (t *transfer) fail(err error) {
	if !errors.Is(err, ErrFillEnded) {
		err = fmt.Errorf("%w: %w", ErrFillEnded, err)
	}
	t.log.Warn("fill ended", "error", err)
	e := t.c.event(events.Ended, t.file.Version())
	e.Reason = err.Error()
	t.c.cfg.Events.Tell(e)
	t.file.fail(err)
	over := t.rec != nil && t.rec.Ended != ""
	if over || isAny(err, errDisk, ErrNoSpace, errSuperseded, ErrPoisoned) {
		if !t.file.Condemned() {
			t.c.noRoom(err)
		}
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
		if t.lander != nil {
			t.lander.finish()
		}
		close(t.events)
	}()
	for e := range t.events { // senders must not block
		switch e := e.(type) {
		case boarded:
			if e.err == nil {
				t.board = e.board
			}
		case opened:
			t.begun = e.board
		case met:
			if e.err == nil {
				t.begun = e.board
			}
		case seated:
			t.unseat()
			t.seat = e.release
		case landed:
			t.onLanded(e.by, e.landing) // the torrent stays for peers: it must know what it has
		}
	}
	t.freeSeat()
	if t.body != nil {
		t.body.Close()
	}
	if t.meets != nil {
		t.board = t.meets.board
	}
	if t.begun != nil {
		t.board = t.begun
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
	if t.fill != nil {
		t.fill.Hear(deaf) // it may stay for peers
	}
	for _, tor := range t.torrents() {
		tor.Drop()
	}
	if err := t.o.record(); err != nil {
		t.log.Error("record pieces", "error", err)
	}
	t.o.transferEnded(t)
}
