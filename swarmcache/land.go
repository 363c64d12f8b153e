package swarmcache

import (
	"context"
	"errors"
	"sync"
	"time"
)

// lander publishes hashes behind the streams' backs, so that a slow directory
// does not slow an origin stream. Hash first, HAVE after: run tells the engine
// once it hears of a landing.
type lander struct {
	t      *transfer
	queues [landers]landQueue
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
	l := &lander{t: t}
	for i := range l.queues {
		l.queues[i].wake = make(chan struct{}, 1)
	}
	return l
}

// start publishes to board until ctx is done.
func (l *lander) start(ctx context.Context, board Board) {
	for i := range l.queues {
		l.t.background.Go(func() { l.run(ctx, board, &l.queues[i]) })
	}
}

// land publishes all hashes of a span.
func (l *lander) land(span int, hashes []byte) {
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

// pop returns the oldest landing, without those that a later one of the same
// span makes needless.
func (q *landQueue) pop() (x landing, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.l) > 0 {
		x, q.l = q.l[0], q.l[1:]
		if len(q.l) == 0 || q.l[0].span != x.span {
			return x, true
		}
	}
	return x, false
}

func (l *lander) run(ctx context.Context, board Board, q *landQueue) {
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
		l.publish(ctx, board, x)
	}
}

// publish tries for as long as the transfer lives; the directory may be away.
func (l *lander) publish(ctx context.Context, board Board, x landing) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		var err error
		if x.final {
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
			return // the fill is over for the others; our bytes are right
		case !x.final:
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
