package swarmcache

import (
	"context"
	"math/rand/v2"
	"time"
)

// While the board cannot be asked, a fill goes on without it: each node fetches
// the spans whose turn is its own, which needs no claim for all to agree, and
// the nodes tell each other the hashes over the swarm. Only what still does not
// come is fetched by each for itself, one node after the other.

const (
	// patienceBoard is how long a board is not to be asked before it is away.
	patienceBoard = time.Second
	// patiencePeers is how long a node and its neighbours go without a new piece
	// before it takes another's turn, awayStep how much longer for each of the first
	// awayFew nodes that are before it, and awayStride for each of the others.
	patiencePeers = 3 * time.Second
	awayStep      = 500 * time.Millisecond
	awayFew       = 20
	awayStride    = 100 * time.Millisecond
)

// boardFailed notes that the board could not be asked.
func (t *transfer) boardFailed(now time.Time) {
	if t.downSince.IsZero() {
		t.downSince = now
	}
}

// boardAnswered notes that it could.
func (t *transfer) boardAnswered() { t.downSince = time.Time{} }

// away reports whether the fill goes on without its board.
func (t *transfer) away(now time.Time) bool {
	return !t.downSince.IsZero() && now.Sub(t.downSince) >= patienceBoard
}

// awayTurn is turn while the board is away; behind is how many nodes come first.
func (t *transfer) awayTurn(behind int, now time.Time) bool {
	few := min(behind, awayFew)
	return behind == 0 || now.Sub(t.alive) > max(patiencePeers, t.roundTime())+time.Duration(few)*awayStep+time.Duration(behind-few)*awayStride
}

// unasked decides on claims that the board did not take.
func (t *transfer) unasked(spans []SpanRecord, now time.Time) []bool {
	won := make([]bool, len(spans))
	for k, s := range spans {
		if won[k] = t.turn(s.Span, now); won[k] {
			t.c.metrics.claims.WithLabelValues("unasked").Inc()
		}
	}
	return won
}

// hear is called by the swarm, under its lock.
func (t *transfer) hear(span int, hashes []byte) {
	t.gossip.push(landing{span: span, hashes: hashes})
}

// takeTold takes in what other nodes told, and passes on what was news: not
// everybody is connected with everybody.
func (t *transfer) takeTold(ctx context.Context) error {
	for {
		x, ok := t.gossip.pop()
		if !ok {
			return nil
		}
		if t.rec == nil || x.span < 0 || x.span >= len(t.spans) {
			continue
		}
		s := t.spans[x.span].SpanRecord
		whole := int64(len(x.hashes)) == 20*t.plan.Span(x.span).Len()
		if s.Landed || !whole && len(x.hashes) <= len(s.Hashes) {
			continue
		}
		s.Hashes = x.hashes
		if whole {
			s.Landed, s.Owner = true, ""
		}
		now := t.c.now()
		t.news = now
		t.put(s, now)
		if err := t.learn(ctx, &s); err != nil {
			return err
		}
		if t.fill != nil {
			t.fill.Tell(x.span, x.hashes)
		}
	}
}

// retryBoard is when a board that failed is asked again.
func retryBoard(now time.Time) time.Time {
	return now.Add(200*time.Millisecond + rand.N(50*time.Millisecond))
}
