package swarmcache

import (
	"context"
	"errors"
	"io"

	"shatabdi/swarmcache/layout"
)

// The body that opened a fill ends where others read on. But an origin may say that it
// has ranges and have none: then that body is the only way to the rest, and until
// somebody was given a part it has to wait for that. What waits in its socket the origin
// has sent in vain. So the opener asks for one byte as soon as there are others.

// proof is of ranges at the origin.
type proof struct{ err error }

// prove asks the origin for a part, once, if the opener's body may have to wait for that:
// for the first byte that is another one's to read.
func (t *transfer) prove(ctx context.Context) {
	origin, s := t.latestOrigin(), t.endlessStream()
	if t.probed || t.rangesWork || t.rec.Single || origin == nil || s == nil || s.limitNow() >= len(t.spans) {
		return
	}
	t.probed = true
	v, next := t.rec.Version, t.plan.Bytes(t.plan.Span(s.limitNow())).From
	t.background.Go(func() {
		t.send(proof{t.c.askForAPart(ctx, origin, t.from, v, layout.Range{From: next, To: next + 1})})
	})
}

func (c *Cache) askForAPart(ctx context.Context, o Origin, from string, v Version, part layout.Range) error {
	ctx, cancel := context.WithTimeout(ctx, overdueAfter)
	defer cancel()
	release, err := c.budget.take(ctx, from)
	if err != nil {
		return err
	}
	defer release()
	resp, err := o.Get(ctx, part, v.Validator)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := checkResponse(resp, part, v); err != nil {
		return err
	}
	io.ReadFull(resp.Body, make([]byte, 1)) // the header is proof enough, but then the next one can have the connection
	return nil
}

func (t *transfer) onProof(ctx context.Context, p proof) {
	switch {
	case p.err == nil:
		t.rangesWork = true
	case errors.Is(p.err, errNoRanges) && !t.rangesWork: // else somebody was given one meanwhile
		t.onlyOne(ctx, p.err)
	default: // this says nothing of ranges, nor does another version: the body that runs is of ours to its end
		t.log.Debug("ask for a part of the body", "error", p.err)
		t.cool(p.err, t.c.now())
	}
}

// onlyOne has one stream bring all from now on, whoever's it is.
func (t *transfer) onlyOne(ctx context.Context, reason error) {
	t.log.Info("one stream from now on", "reason", reason)
	t.rec.Single = true
	if board, rec := t.board, *t.rec; board != nil {
		t.background.Go(func() {
			if err := board.Update(ctx, rec); err != nil {
				t.log.Debug("tell the others that there is one stream", "error", err) // each finds out as we did
			}
		})
	}
}
