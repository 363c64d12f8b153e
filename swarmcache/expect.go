package swarmcache

import (
	"context"
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
	timer *time.Timer
	mu    sync.Mutex          // guards the fields below; held while the directory is told
	over  bool                // the body is
	end   func() (known bool) // nil: the directory has not been told
}

// expect tells the directory of a response of key that takes long.
func (c *Cache) expect(key policy.Key) *expectation {
	e := &expectation{}
	e.timer = time.AfterFunc(expectAfter, func() {
		c.goWork(func() { e.tell(c.ctx, c.cfg.Directory, key) })
	})
	return e
}

func (e *expectation) tell(ctx context.Context, d Directory, key policy.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.end, _ = d.Expect(ctx, key)
	}
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
	return e.end != nil && e.end()
}

// publishExpected publishes what was expected.
func (c *Cache) publishExpected(id ObjectID, e *expectation) {
	select {
	case <-c.heard:
	case <-c.ctx.Done():
	}
	err := c.publishStored(id, soon)
	known := e.known()
	switch {
	case err != nil:
		c.publishLater(time.Second, late, id)
	case !known:
		c.doubtPublished(id)
	}
}

// doubtPublished has the origin confirm what was published as if nothing had changed.
func (c *Cache) doubtPublished(id ObjectID) {
	o, err := c.look(id)
	if err != nil {
		return // it has gone
	}
	defer o.file.Release()
	err = o.unconfirmed(o.file.Version())
	if err == nil {
		err = c.cfg.Directory.Publish(c.ctx, o.file.Version())
	}
	if err != nil {
		c.log.Warn("tell that an object is to be confirmed", "object", id, "error", err)
	}
}
