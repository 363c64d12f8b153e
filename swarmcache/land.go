package swarmcache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// lander publishes hashes behind the streams' backs, so that a slow directory
// does not slow an origin stream. Hash first, HAVE after: run tells the engine
// once it hears of a landing.
type lander struct {
	t       *transfer
	queues  [landers]landQueue
	waiting atomic.Int64 // landings that are not published yet

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
	l := &lander{t: t, there: make(chan struct{})}
	for i := range l.queues {
		l.queues[i].wake = make(chan struct{}, 1)
	}
	return l
}

// start publishes until ctx is done, once there is a board.
func (l *lander) start(ctx context.Context) {
	for i := range l.queues {
		l.t.background.Go(func() {
			select {
			case <-l.there:
				l.run(ctx, &l.queues[i])
			case <-ctx.Done():
			}
		})
	}
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

func (l *lander) run(ctx context.Context, q *landQueue) {
	for {
		x, ok := q.pop()
		if !ok {
			select {
			case <-q.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		l.publish(ctx, x)
		if x.final {
			l.waiting.Add(-1)
		}
	}
}

// publish tries for as long as the transfer lives; the directory may be away.
func (l *lander) publish(ctx context.Context, x landing) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		var err error
		if board := l.current(); x.final {
			err = board.Land(ctx, x.span, x.hashes)
		} else {
			err = board.Progress(ctx, x.span, x.hashes)
		}
		switch {
		case err == nil:
			l.t.send(landed{x})
			return
		case errors.Is(err, ErrPoisoned):
			l.t.send(poisoned{})
			return
		case errors.Is(err, ErrNotFound):
			// The fill is over for the others. Our bytes are right.
			l.t.send(landed{x})
			return
		case !x.final:
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
