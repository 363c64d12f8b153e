package swarmcache

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// When hundreds of nodes begin in the same moment the directory may answer some
// of them too late. Those begin alone, each with a body of the whole, and if they
// stayed alone they would keep the origin from all others. So they look for the
// others once the directory answers.

// seekEvery is how often a node looks that is alone for want of a directory.
const seekEvery = time.Second

// met is the board of the others' fill, or why this node stays alone.
type met struct {
	board Board
	err   error
}

// seek looks until the directory answers.
func (t *transfer) seek(ctx context.Context) {
	rec := *t.rec
	t.background.Go(func() {
		for {
			select {
			case <-time.After(seekEvery/2 + rand.N(seekEvery)):
			case <-ctx.Done():
				return
			}
			if t.file.Condemned() {
				return // it was forgotten, and must not come back
			}
			board, err := t.c.meet(ctx, rec)
			if err == nil && t.file.Condemned() {
				t.unlist(rec.Version)
			}
			if !errors.Is(err, ErrUnavailable) {
				t.send(met{board, err})
				return
			}
		}
	})
}

// meet takes part in the fill of r: in one that stands, if it has the same spans,
// or else this node's.
func (c *Cache) meet(ctx context.Context, r FillRecord) (Board, error) {
	stands, b, err := c.cfg.Directory.OpenFill(ctx, r)
	switch {
	case err != nil || b != nil:
		return b, err
	case stands.Ended != "" || stands.Plan() != r.Plan():
		return nil, errors.New("another fill of this version stands")
	}
	return c.cfg.Directory.JoinFill(ctx, r)
}

// onMet goes on with the others. What this node granted itself stands nowhere: it
// claims what it reads, and lands what it has.
func (t *transfer) onMet(ctx context.Context, e met) {
	if e.err != nil {
		t.log.Debug("stays alone", "error", e.err)
		return
	}
	t.log.Info("goes on with the others")
	now := t.c.now()
	for i := range t.spans {
		t.put(SpanRecord{Span: i}, now)
		if t.here(i) {
			t.setMine(i, false) // a stream has passed it
		}
	}
	t.alone, t.caught, t.resuming = false, false, true
	t.onBoarded(ctx, boarded{board: e.board, begun: true})
	s := t.endlessStream()
	if s == nil || t.claiming {
		return
	}
	var run []SpanRecord
	for i := s.first; i < s.limitNow(); i++ {
		if !t.here(i) {
			run = append(run, t.spans[i].SpanRecord)
		}
	}
	if len(run) > 0 {
		t.ask(ctx, run)
	}
}
