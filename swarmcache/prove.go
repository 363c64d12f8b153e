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

// prove asks the origin for a part, once, if the opener's body may have to wait for that.
func (t *transfer) prove(ctx context.Context) {
	origin := t.latestOrigin()
	if t.proven || t.rangesWork || t.rec.Single || origin == nil || t.endlessStream() == nil {
		return
	}
	t.proven = true
	v := t.rec.Version
	t.background.Go(func() { t.send(proof{t.c.askForAPart(ctx, origin, t.from, v)}) })
}

func (c *Cache) askForAPart(ctx context.Context, o Origin, from string, v Version) error {
	ctx, cancel := context.WithTimeout(ctx, overdueAfter)
	defer cancel()
	release, err := c.budget.take(ctx, from)
	if err != nil {
		return err
	}
	defer release()
	last := layout.Range{From: v.Length - 1, To: v.Length}
	resp, err := o.Get(ctx, last, v.Validator)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := checkResponse(resp, last, v); err != nil {
		return err
	}
	_, err = io.ReadFull(resp.Body, make([]byte, 1)) // the connection is of use to the next one
	return err
}

// onProof: what goes wrong in another way says nothing of ranges.
func (t *transfer) onProof(ctx context.Context, p proof) {
	switch {
	case p.err == nil:
		t.rangesWork = true
	case errors.Is(p.err, errNoRanges):
		t.onlyOne(ctx, p.err)
	default:
		t.log.Debug("ask for a part of the body", "error", p.err)
	}
}

// onlyOne has one stream bring all from now on, whoever's it is.
func (t *transfer) onlyOne(ctx context.Context, reason error) {
	t.log.Info("one stream from now on", "reason", reason)
	t.rec.Single = true
	if board, rec := t.board, *t.rec; board != nil {
		t.background.Go(func() { board.Update(ctx, rec) })
	}
}
