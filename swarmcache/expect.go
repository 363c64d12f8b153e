package swarmcache

import (
	"context"
	"errors"
	"sync"
	"time"

	"shatabdi/policy"
)

// What the directory does not know of nobody tells this node to forget when it is
// changed at its origin (RFC 9111 §4.4). A fill is known from its first byte on. A body
// of unknown length is nothing before its last one, so the directory is told that it
// comes; and what it could not be told in time is for the origin to confirm.

const (
	// expectAfter is how long a body may take without a word to the directory: most are
	// short, and to tell of each would cost it more than they do.
	expectAfter = 500 * time.Millisecond
	// unheardFor is how old a response may be when the directory hears of it.
	unheardFor = time.Second
)

// expectation is that of a body.
type expectation struct {
	begun time.Time
	timer *time.Timer
	mu    sync.Mutex          // guards the fields below; held while the directory is told
	over  bool                // the body is, and published
	late  bool                // the directory was told too late, or could not be
	end   func() (known bool) // nil: the directory has not been told
}

// expect tells the directory of a response of key that takes long.
func (c *Cache) expect(key policy.Key) *expectation {
	e := &expectation{begun: time.Now()}
	e.timer = time.AfterFunc(expectAfter, func() {
		c.goWork(func() { e.tell(c.ctx, c.cfg.Directory, key) })
	})
	return e
}

func (e *expectation) tell(ctx context.Context, d Directory, key policy.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	end, err := d.Expect(ctx, key)
	e.end, e.late = end, err != nil || time.Since(e.begun) > unheardFor
}

// isLate reports whether somebody may have changed what was expected before the
// directory knew of it. It waits while that is told.
func (e *expectation) isLate() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.late
}

// known ends the expectation, once what was expected is published. It reports whether
// who changed it at its origin has been told of it, but for a moment.
func (e *expectation) known() bool {
	if e.timer.Stop() {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	return e.end != nil && e.end() && !e.late
}

// publishExpected publishes what was expected: if that is for the origin to confirm, it
// is so from the first moment, but where what was known of it is lost meanwhile.
func (c *Cache) publishExpected(id ObjectID, e *expectation) {
	select {
	case <-c.heard:
	case <-c.ctx.Done():
	}
	how := soon
	if e.isLate() {
		how = late
	}
	err := c.publishStored(id, how)
	switch known := e.known(); {
	case how == soon && !known:
		c.doubtPublished(id)
	case err != nil:
		c.publishLater(time.Second, late, id)
	}
}

// doubtPublished has the origin confirm what was published as if nothing had changed. The
// directory is told until it knows, and be it after a restart.
func (c *Cache) doubtPublished(id ObjectID) {
	o, err := c.look(id)
	if err != nil {
		return // it has gone
	}
	defer o.file.Release()
	if err := errors.Join(o.unconfirmed(o.file.Version()), o.setUntold(true)); err != nil {
		c.log.Warn("record that an object is to be confirmed", "object", id, "error", err)
	}
	c.publishLater(0, unmarked, id)
}
