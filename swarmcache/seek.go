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

// met is the others' fill, or why this node stays alone.
type met struct {
	rec   FillRecord
	board Board
	err   error
}

// seek looks until the directory answers.
func (t *transfer) seek(ctx context.Context) {
	rec := *t.rec
	if rec.Opener == t.c.cfg.Node.ID && rec.Version.Validator == "" {
		return // nobody else can have begun it, and it is ofNoUse
	}
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
			m := t.c.meet(ctx, rec)
			if m.err == nil && t.file.Condemned() {
				t.unlist(rec.Version)
			}
			if !errors.Is(m.err, ErrUnavailable) {
				t.send(m)
				return
			}
		}
	})
}

// meet takes part in the fill of r: in one that stands, or else in this node's, of
// which nobody was told until now.
func (c *Cache) meet(ctx context.Context, r FillRecord) met {
	r.Version.Stored.Invalid = true
	stands, b, err := c.cfg.Directory.OpenFill(ctx, r)
	switch {
	case err != nil || b != nil:
		return met{r, b, err}
	case stands.Ended != "":
		return met{err: endError(stands.Ended)}
	}
	b, err = c.cfg.Directory.JoinFill(ctx, stands)
	return met{stands, b, err}
}

// onMet goes on with the others: at once, or when no stream of this node reads
// spans of its own cut any more.
func (t *transfer) onMet(ctx context.Context, e met) {
	if e.err != nil {
		t.log.Debug("stays alone", "error", e.err)
		return
	}
	if e.rec.Version.Stored.Invalid {
		t.doubt()
	}
	if e.rec.Plan() == t.rec.Plan() {
		t.goOn(ctx, e)
		return
	}
	t.meets = &e
	for s := range t.streams {
		s.stop()
	}
}

// doubt has the origin confirm what this node has before its next use. It does not wait
// for the disk.
func (t *transfer) doubt() {
	if !t.o.doubt(t.file.Version()) {
		return
	}
	t.background.Go(func() {
		if err := t.o.rewrite(); err != nil {
			t.log.Warn("record that an object is to be confirmed", "error", err)
		}
	})
}

// goOver takes up the spans of the others' fill.
func (t *transfer) goOver(ctx context.Context) {
	if t.claiming || len(t.streams) > 0 || !t.lander.idle() {
		return // tick comes again
	}
	e, lander := *t.meets, t.lander
	t.meets, t.rec, t.broken, t.debt = nil, &e.rec, nil, debt{}
	t.freeSeat()
	t.background.Go(lander.finish)
	t.spanBook = newSpanBook(t.c.cfg.Node.ID, t.rec)
	t.lander = newLander(t)
	t.lander.start(ctx)
	t.goOn(ctx, e)
}

// goOn takes the others' board. What this node granted itself stands nowhere: it
// claims what it reads, and lands what it has.
func (t *transfer) goOn(ctx context.Context, e met) {
	t.log.Info("goes on with the others")
	now := t.c.now()
	for i := range t.spans {
		t.put(SpanRecord{Span: i}, now)
		if t.here(i) {
			t.setMine(i, false) // a stream has passed it
		}
	}
	t.wasAlone = true
	t.alone, t.unguided, t.caught, t.listed, t.resuming = false, false, false, false, true
	clear(t.departed)
	t.rank, t.crowded = nil, false
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
