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
func (t *transfer) boardAnswered() { t.downSince, t.heardOf = time.Time{}, t.c.now() }

// away reports whether the fill goes on without its board.
func (t *transfer) away(now time.Time) bool {
	return t.unguided || !t.downSince.IsZero() && now.Sub(t.downSince) >= patienceBoard
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

// takeTold takes in what other nodes told, and passes on what was news: not
// everybody is connected with everybody.
func (t *transfer) takeTold(ctx context.Context) error {
	for {
		x, ok := t.gossip.pop()
		if !ok {
			return nil
		}
		from, n := int64(x.span), int64(len(x.hashes)/20)
		if t.rec == nil || n == 0 || from+n > int64(t.plan.Pieces()) {
			continue
		}
		i := t.plan.SpanOf(int(from))
		s, pieces := t.spans[i].SpanRecord, t.plan.Span(i)
		if from != pieces.From || n > pieces.Len() {
			// Who told has other spans, and so nothing to say of these.
			if err := t.learnOf(ctx, from, x.hashes); err != nil {
				return err
			}
			continue
		}
		whole := n == pieces.Len()
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
			t.fill.Tell(int(from), x.hashes)
		}
	}
}

// retryBoard is when a board that failed is asked again.
func retryBoard(now time.Time) time.Time {
	return now.Add(200*time.Millisecond + rand.N(50*time.Millisecond))
}
