package swarmcache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"shatabdi/swarmcache/layout"
)

// lander publishes hashes behind the streams' backs, so that a slow directory
// does not slow an origin stream. Hash first, HAVE after: run tells the engine
// once it hears of a landing.
type lander struct {
	t       *transfer
	plan    layout.Plan
	queues  [landers]*landQueue
	waiting atomic.Int64 // landings that are not published yet

	work   sync.WaitGroup
	cancel context.CancelFunc
	last   chan struct{} // closed when nothing more will be queued

	mu    sync.Mutex // guards the fields below
	board Board      // nil: not joined yet
	there chan struct{}
}

// landers is how many landings may be under way. Landings of one span keep
// their order.
const landers = 4

type landing struct {
	span   int
	hashes []byte
	final  bool
}

// landQueue is not bounded: hashes are a ten-thousandth of the bytes, and a
// directory that is away must not stop the stream.
type landQueue struct {
	mu   sync.Mutex
	l    []landing
	wake chan struct{}
}

func newLander(t *transfer) *lander {
	l := &lander{t: t, plan: t.plan, there: make(chan struct{}), last: make(chan struct{})}
	for i := range l.queues {
		l.queues[i] = newLandQueue()
	}
	return l
}

func newLandQueue() *landQueue { return &landQueue{wake: make(chan struct{}, 1)} }

// start publishes, once there is a board, until finish. It outlives ctx: what is
// being published may stand on the board already, and this node must know.
func (l *lander) start(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for i := range l.queues {
		l.work.Go(func() {
			select {
			case <-l.there:
				l.run(ctx, l.queues[i])
			case <-l.last:
			}
		})
	}
}

// finish publishes what is queued, for a moment at most.
func (l *lander) finish() {
	close(l.last)
	defer l.cancel()
	defer time.AfterFunc(goodbyeWait, l.cancel).Stop()
	l.work.Wait()
}

// use makes b the board to publish to.
func (l *lander) use(b Board) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.board == nil {
		close(l.there)
	}
	l.board = b
}

func (l *lander) current() Board {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.board
}

// idle reports whether everything is published.
func (l *lander) idle() bool { return l.waiting.Load() == 0 }

// land publishes all hashes of a span.
func (l *lander) land(span int, hashes []byte) {
	l.waiting.Add(1)
	l.queues[span%landers].push(landing{span, hashes, true})
}

// progress publishes the first hashes of a span that is not finished.
func (l *lander) progress(span int, hashes []byte) {
	l.queues[span%landers].push(landing{span, append([]byte(nil), hashes...), false})
}

func (q *landQueue) push(x landing) {
	q.mu.Lock()
	q.l = append(q.l, x)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// pop returns the oldest landing, without a progress that a later landing of
// the same span makes needless.
func (q *landQueue) pop() (x landing, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.l) > 0 {
		x, q.l = q.l[0], q.l[1:]
		if x.final || len(q.l) == 0 || q.l[0].span != x.span {
			return x, true
		}
	}
	return x, false
}

// run publishes what is queued. What the directory cannot take now is told to
// the peers, and published when it is back.
func (l *lander) run(ctx context.Context, q *landQueue) {
	var owed []landing
	var retry <-chan time.Time
	wait := landRetry
	for {
		x, ok := q.pop()
		if !ok {
			select {
			case <-q.wake:
			case <-ctx.Done():
				return
			case <-l.last:
				if len(q.wake) == 0 { // what the directory did not take, it will not take now
					return
				}
			case <-retry:
				n := len(owed)
				for len(owed) > 0 && l.publish(ctx, owed[0]) {
					owed = owed[1:]
				}
				if len(owed) < n {
					wait = landRetry
				}
				wait = min(2*wait, landRetryMax)
				if retry = nil; len(owed) > 0 {
					retry = time.After(wait)
				}
			}
			continue
		}
		if len(owed) > 0 || !l.publish(ctx, x) {
			l.tell(x)
			if x.final {
				owed = append(owed, x)
			}
			if retry == nil && len(owed) > 0 {
				wait = landRetry
				retry = time.After(wait)
			}
		}
	}
}

// How long an interrupted landing waits for the next try.
const (
	landRetry    = 100 * time.Millisecond
	landRetryMax = 800 * time.Millisecond
)

// publish reports whether the directory has the hashes, or needs them no more.
func (l *lander) publish(ctx context.Context, x landing) bool {
	var err error
	if board := l.current(); x.final {
		err = board.Land(ctx, x.span, x.hashes)
	} else {
		err = board.Progress(ctx, x.span, x.hashes)
	}
	switch {
	case errors.Is(err, ErrPoisoned):
		l.t.send(poisoned{})
	case err == nil, errors.Is(err, ErrNotFound):
		// Without the board the fill is over for the others, but our bytes are right.
		l.t.send(landed{l, x})
	case x.final, errors.Is(err, ErrUnavailable):
		return false
	}
	if x.final {
		l.waiting.Add(-1)
	}
	return true
}

// tell lets the peers know what the directory does not.
func (l *lander) tell(x landing) {
	if l.t.fill == nil {
		return
	}
	l.t.fill.Tell(int(l.plan.Span(x.span).From), x.hashes)
	l.t.send(told{l, landing{x.span, x.hashes, false}})
}
