package swarmcache

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/layout"
)

// first is this node's claim on the first GET for a key.
type first struct {
	over  chan struct{} // closed when the claim is
	fresh bool          // nobody can have opened a fill; guarded by Cache.mu, as are the next two
	// opens is the fill that was begun under the claim before the directory knows
	// it, as the client's first byte must not wait for that; opened is closed when
	// its record stands.
	opens  ObjectID
	opened chan struct{}
	ended  bool // with the opening of that fill, for all nodes
}

// patienceOpen bounds how long a claim outlives its request because the record
// of its fill is being created: twice what a directory that is slow may take, so
// that the claim outlives the last attempt.
const patienceOpen = 22 * time.Second

// ClaimFirst claims the cluster-wide right to send the first GET for a key that
// policy expects to be large and of which nothing is known; or returns what is
// there and wanted. A *ClaimedError, which may come after a wait: look up.
// ErrBusy: not now. When the directory is away the claim is for this node only.
// release does not wait.
func (c *Cache) ClaimFirst(ctx context.Context, key policy.Key, o Origin, wanted func(policy.Stored) bool) (release func(), there *Object, err error) {
	if err := c.begins(); err != nil {
		return nil, nil, err
	}
	if c.draining.Load() {
		return func() {}, nil, nil
	}
	c.mu.Lock()
	if other := c.firsts[key]; other != nil {
		c.mu.Unlock()
		select {
		case <-other.over:
			return nil, nil, &ClaimedError{Holder: c.cfg.Node.ID}
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
	f := &first{over: make(chan struct{})}
	c.firsts[key] = f
	c.mu.Unlock()
	unlock := sync.OnceFunc(func() {
		c.mu.Lock()
		delete(c.firsts, key)
		c.mu.Unlock()
		close(f.over)
	})
	since := c.Mark(key.Base())
	end, fresh, err := c.cfg.Directory.ClaimFirst(ctx, key)
	_, here := c.selected(key) // since the caller looked
	switch {
	case err == nil:
		c.mu.Lock()
		f.fresh = fresh
		c.mu.Unlock()
		return func() {
			c.releaseFirst(f, func() {
				if !c.endedFirst(f) {
					end()
				}
				unlock()
			})
		}, nil, nil
	case errors.Is(err, ErrUnavailable) && !here:
		return unlock, nil, nil
	case errors.Is(err, ErrUnavailable):
		err = &ClaimedError{Holder: c.cfg.Node.ID}
	}
	unlock()
	var taken *ClaimedError
	if errors.As(err, &taken) && taken.There != nil {
		c.soften(taken.There.Version, taken.There.Fill)
		there, err = c.find(ctx, key, o, wanted, since, func() (*Version, *FillRecord, error) { return taken.There.Version, taken.There.Fill, nil })
		if err == errForgotten {
			err = &ClaimedError{} // look again
		}
	}
	return nil, there, err
}

// endedFirst reports whether a claim ended with the opening of its fill.
func (c *Cache) endedFirst(f *first) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.ended
}

// releaseFirst releases a claim once what was begun under it is known to all,
// behind the caller's back.
func (c *Cache) releaseFirst(f *first, release func()) {
	c.mu.Lock()
	f.fresh = false
	opened := f.opened
	c.mu.Unlock()
	wait := func() {
		defer release()
		if opened == nil {
			return
		}
		select {
		case <-opened:
		case <-time.After(patienceOpen):
		case <-c.ctx.Done():
		}
	}
	if !c.goWork(wait) {
		release()
	}
}

// Fill opens the fill of v, or joins it if somebody else opened it first. v.ID
// and v.PieceLen are set by Fill. ranges tells that the origin takes Range
// requests. body is the origin's response body from byte 0 on, or nil (after
// the answer to a Range request); Fill owns it: the opener reads its first
// spans from it, a loser closes it unread. On an error, such as ErrNoSpace or
// ErrBusy, body is untouched and still the caller's.
//
// A node that has the claim on the first GET need not wait for the directory's
// verdict on who opens.
func (c *Cache) Fill(ctx context.Context, v Version, ranges bool, body io.ReadCloser, o Origin) (*Object, error) {
	if c.draining.Load() {
		return nil, errDraining
	}
	v.PieceLen = layout.PieceLenFor(v.Length)
	if v.Validator == "" {
		v.Nonce = nonce()
	}
	if err := errors.Join(c.fits(v.Length), c.begins()); err != nil {
		return nil, c.noRoom(err)
	}
	single := !ranges || v.Validator == ""
	v.Identify()
	b := beginning{rec: newFill(c.cfg.Node.ID, v, single, o), opener: true}
	if !c.openUnder(b.rec.Version) {
		var err error
		if b, err = c.openFill(ctx, v, single, o, body != nil); err != nil {
			return nil, err
		}
	}
	obj, err := c.admit(b.rec.Version)
	if err != nil {
		c.unbegun(b)
		return nil, c.noRoom(err)
	}
	h := obj.handle(o)
	started, took := obj.fill(b, body, o)
	if !started {
		c.unbegun(b)
	}
	if !took && body != nil {
		body.Close()
	}
	return h, nil
}

// beginning is how a fill begins on this node.
type beginning struct {
	rec    FillRecord
	opener bool  // this node's, from the origin's first response
	alone  bool  // for this node only
	board  Board // that was opened already; nil: it is still to come
}

// firstRun is how many spans the opener has from the start, for its body begins
// there: the small ones, which are read before others have come.
const firstRun = 4

func (r *FillRecord) firstSpans() []int {
	if r.Flat {
		return []int{0}
	}
	l := make([]int, min(firstRun, r.Plan().Spans()))
	for i := range l {
		l[i] = i
	}
	return l
}

// unbegun takes back what a fill began with that this node does not go on with.
func (c *Cache) unbegun(b beginning) {
	c.opened(b.rec.Version, false)
	if b.board != nil {
		c.goWork(func() {
			ctx, cancel := context.WithTimeout(c.ctx, goodbyeWait)
			defer cancel()
			b.board.Leave(ctx) // else its lease ends it
		})
	}
}

func newFill(opener NodeID, v Version, single bool, o Origin) FillRecord {
	var latency time.Duration
	if o != nil {
		latency = o.Latency()
	}
	plan := layout.PlanFor(v.Layout(), latency)
	return FillRecord{Version: v, MaxSpan: plan.MaxSpan, Flat: plan.Flat, Opener: opener, Single: single}
}

// openUnder reports whether the fill of v may begin before its record stands,
// because this node has a fresh claim on the first GET.
func (c *Cache) openUnder(v Version) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.firsts[v.Key]
	if f == nil || !f.fresh {
		return false
	}
	f.fresh, f.opens, f.opened = false, v.ID, make(chan struct{})
	return true
}

// opened ends what openUnder began: the record stands, or will not come. ended
// tells that the claim is over with that.
func (c *Cache) opened(v Version, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.firsts[v.Key]; f != nil && f.opens == v.ID {
		f.opens, f.ended = "", ended
		close(f.opened)
	}
}

// board takes part in the fill of r, whose record it creates if it began under a
// claim: then this node has its first spans on it, and begun is true. Should
// another fill of that version stand all the same, as after a purge, with other
// spans than this node has begun with, that is errOtherSpans.
func (c *Cache) board(ctx context.Context, r FillRecord, spans []int) (b Board, begun bool, err error) {
	c.mu.Lock()
	f := c.firsts[r.Version.Key]
	opens := f != nil && f.opens == r.Version.ID
	c.mu.Unlock()
	if opens {
		stands, board, err := c.record(ctx, r, spans)
		c.opened(r.Version, board != nil)
		switch {
		case err != nil:
		case stands.Ended != "":
			err = endError(stands.Ended)
		case stands.Plan() != r.Plan():
			err = errOtherSpans
		}
		switch {
		case err != nil && board != nil:
			c.unbegun(beginning{rec: r, board: board})
			return nil, false, err
		case err != nil || board != nil:
			return board, err == nil, err
		}
	}
	b, err = c.cfg.Directory.JoinFill(ctx, r)
	return b, false, err
}

var errOtherSpans = errors.New("another fill of this version stands, with other spans")

// record creates the record of a fill that was begun under a claim. It asks again
// for as long as the claim stands: without a record the next one would be
// granted, to another node, and to another after that. An outage may have cost the
// lease, and the claim with it: what is told then, others may have changed before, and
// their purge not have found it. This node sees the mark on the board, as all do.
func (c *Cache) record(ctx context.Context, r FillRecord, spans []int) (stands FillRecord, b Board, err error) {
	for begun := time.Now(); ; {
		r.Version.Stored.Invalid = r.Version.Stored.Invalid || time.Since(begun) > unheardFor
		stands, b, err = c.cfg.Directory.OpenFill(ctx, r, spans...)
		if !errors.Is(err, ErrUnavailable) || time.Since(begun) > patienceOpen/2 {
			return stands, b, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return stands, b, err
		}
	}
}

// openFill creates the fill's record, with a claim on its first spans if there is
// a body, or finds the one that stands. A fill that ended is begun again, with one
// claimer.
func (c *Cache) openFill(ctx context.Context, v Version, single bool, o Origin, body bool) (b beginning, err error) {
	begun := time.Now()
	for last := v.Attempt + maxAttempts; v.Attempt < last; v.Attempt++ {
		v.Identify()
		mine := newFill(c.cfg.Node.ID, v, single || v.Attempt > 0, o)
		var spans []int
		if body {
			spans = mine.firstSpans()
		}
		b.rec, b.board, err = c.cfg.Directory.OpenFill(ctx, mine, spans...)
		switch b.opener = b.board != nil; {
		case errors.Is(err, ErrUnavailable):
			// With the spans that a fill has by default: where all begin at once an
			// origin seems slow to some, and who has other spans than the fill that
			// stands cannot go on with it.
			mine = newFill(c.cfg.Node.ID, v, mine.Single, nil)
			return beginning{rec: mine, opener: true, alone: true}, nil
		case err != nil:
			return b, err
		case b.rec.Ended == "":
			if b.opener && !b.rec.Version.Stored.Invalid && time.Since(begun) > unheardFor {
				c.openedLate(&b)
			}
			return b, nil
		}
	}
	return b, fmt.Errorf("%w: %d attempts: %s", ErrFillEnded, v.Attempt, b.rec.Ended)
}

// openedLate has the origin confirm the response of a fill that the directory heard of
// so late. Who has joined it meanwhile sees that on the board.
func (c *Cache) openedLate(b *beginning) {
	b.rec.Version.Stored.Invalid = true
	rec, board := b.rec, b.board
	c.goWork(func() {
		err := c.insist(func() error { return board.Update(c.ctx, rec) })
		if err == nil && ofNoUse(&rec.Version) {
			err = c.insist(func() error { return c.unlistUseless(rec.Version) })
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			c.log.Warn("tell that a fill is to be confirmed", "object", rec.Version.ID, "error", err)
		}
	})
}

// ofNoUse reports whether other nodes gain nothing by knowing of v: the origin is to
// confirm it, and cannot, so that each would fetch it whole. Where they know nothing, one
// of them does, with the claim on the first GET.
func ofNoUse(v *Version) bool { return v.Stored.Invalid && v.Validator == "" }

// unlistUseless has the key of a fill lead nowhere, if it leads there only. Who takes part
// in it goes on.
func (c *Cache) unlistUseless(v Version) error {
	other, fill, err := c.cfg.Directory.Lookup(c.ctx, v.Key)
	if err != nil || other != nil || fill == nil || fill.Version.ID != v.ID {
		return err
	}
	return c.cfg.Directory.WithdrawVersion(c.ctx, v.Key, v.ID)
}

// insist tells the directory something, again for as long as that is away.
func (c *Cache) insist(tell func() error) error {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, tellEvery) {
		err := tell()
		if !errors.Is(err, ErrUnavailable) {
			return err
		}
		select {
		case <-time.After(wait/2 + mrand.N(wait)):
		case <-c.ctx.Done():
			return err
		}
	}
}

// maxAttempts is how many fills of one version are begun in a row.
const maxAttempts = 4

func nonce() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
