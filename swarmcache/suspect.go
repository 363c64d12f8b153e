package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"shatabdi/swarmcache/events"
	"shatabdi/swarmcache/layout"
)

// Where one piece is no longer what was stored, others may not be either. The
// object then counts as incomplete, with its other pieces in doubt: each is
// verified before anybody gets it, by the reader who comes to it or by the
// transfer that brings what is lost.

// errLost: what was stored is not there any more. Readers go on elsewhere.
var errLost = fmt.Errorf("%w: stored bytes are damaged", ErrFillEnded)

// repairPatience is how long peers may give nothing of what was lost. Then it
// comes when somebody asks for it, who knows how to ask the origin.
const repairPatience = 30 * time.Second

// doubtPatience is how long the verifying of a large object may keep a reader from
// what is lost of it.
const doubtPatience = 5 * time.Second

// doubt keeps a piece that is on disk from readers, peers and the engine until it
// is settled. Without its hash it is lost. It is called before the file is shared.
func (f *File) doubt(i int) {
	if !f.known[i].Load() {
		return
	}
	if f.doubted == nil {
		f.doubted = make([]atomic.Bool, len(f.state))
	}
	f.doubted[i].Store(true)
	f.ours[i].Store(true)
	f.doubts.Add(1)
}

// settle verifies piece i if it is in doubt, and reports whether it was. One that
// is not right is missing from then on.
func (f *File) settle(i int) bool {
	if f.doubts.Load() == 0 || !f.doubted[i].Load() {
		return false
	}
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	defer l.Unlock()
	if !f.doubted[i].Load() {
		return true // it was, a moment ago
	}
	want, _ := f.hash(i)
	if sum, err := f.sum(i, f.layout.Piece(i).Len()); err == nil && sum == want {
		f.markLocked(i, FromStore)
	}
	f.mu.Lock()
	f.dirty = true // also when nothing became complete: less is in doubt
	f.mu.Unlock()
	f.ours[i].Store(false)
	f.doubted[i].Store(false)
	f.doubts.Add(-1)
	return true
}

// lose takes away a piece that was complete. Nobody may write it: the object's
// next file, over the same bytes, does.
func (f *File) lose(i int) {
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	f.mu.Lock()
	f.ours[i].Store(true)
	if f.state[i].Swap(uint32(Missing)) != uint32(Missing) {
		f.left++
	}
	f.mu.Unlock()
	l.Unlock()
	f.fail(errLost)
}

// settle verifies the pieces that are in doubt, beside everything else.
func (t *transfer) settle(ctx context.Context) {
	if t.file.doubts.Load() == 0 {
		return
	}
	t.background.Go(func() {
		for i := range t.file.doubted {
			if ctx.Err() != nil {
				return
			}
			t.file.settle(i)
			t.send(settled{i}) // who read it may have settled it
		}
	})
}

// doubts reports whether to wait for what is being verified before the origin is
// asked.
func (t *transfer) doubts(now time.Time) bool {
	return t.file.doubts.Load() > 0 && now.Sub(t.started) < doubtPatience
}

// suspect drops a piece that is not what was stored, and has the object verified
// and completed from peers.
func (c *Cache) suspect(id ObjectID, piece int) {
	if c.damaged(id, piece) {
		c.repair(id)
	}
}

// damaged drops a piece that is not what was stored, and reports whether the object
// can be repaired.
func (c *Cache) damaged(id ObjectID, piece int) bool {
	o, err := c.look(id)
	if err != nil {
		return false // it went meanwhile
	}
	defer o.file.Release()
	c.metrics.damaged.Inc()
	e := c.event(events.Damaged, o.file.Version())
	e.Reason = fmt.Sprintf("piece %d", piece)
	c.cfg.Events.Tell(e)
	c.log.Error("a stored piece is damaged", "object", id, "piece", piece, "url", o.file.version.URL)
	o.file.lose(piece)
	if err := o.retire(piece); err != nil {
		c.log.Error("an object with a damaged piece will not be kept", "object", id, "error", err)
		o.condemn()
		return false
	}
	return true
}

// retire has the object's next opener begin with a new file that lacks the piece
// and is in doubt of the others.
func (o *object) retire(piece int) error {
	c, id := o.c, o.file.version.ID
	o.recording.Lock()
	o.writing.Lock()
	rec, err := c.cfg.Index.Summary(id)
	if err == nil && rec.Volume != o.volume {
		err = ErrNotFound
	}
	if err == nil {
		rec = rec.demoted([]int{piece})
		rec.Suspect, rec.LastUsed = true, c.lastUsed(id)
		err = c.cfg.Index.Put(rec)
	}
	if err == nil {
		o.file.condemned.Store(true) // nothing that is recorded of it counts from here on
	}
	o.writing.Unlock()
	o.recording.Unlock()
	if err != nil {
		return err
	}
	c.files.Lock() // who has read the old record has found the old object by now
	defer c.files.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.objects[id] != o {
		return nil // it has gone
	}
	delete(c.objects, id)
	if e := c.entries[id]; e != nil {
		e.verified = 0
		if c.sealed[e.infoHash] == id {
			delete(c.sealed, e.infoHash)
		}
	}
	if s, h := c.cfg.Swarm, rec.Version.InfoHash; s != nil && !h.IsZero() {
		s.Withdraw(h)
	}
	return nil
}

// repair waits until peers have brought what is lost of an object, or give nothing.
func (c *Cache) repair(id ObjectID) {
	o, err := c.look(id)
	if err != nil {
		return
	}
	h := o.handle(nil)
	defer h.Close()
	w := newWant(layout.Range{To: int64(len(o.file.state))}, 0)
	if !o.want(w, nil) {
		return
	}
	defer func() { w.ended.Store(true); o.poke() }()
	for left, since := -1, time.Now(); time.Since(since) < repairPatience; {
		select {
		case <-o.file.Completed():
			c.log.Info("an object is whole again", "object", id)
			return
		case <-c.ctx.Done():
			return
		case <-time.After(tickEvery):
		}
		now := o.file.Left()
		if c.cfg.Swarm == nil && o.file.doubts.Load() == 0 || errors.Is(o.file.failure(), ErrFillEnded) {
			break
		}
		if now != left {
			left, since = now, time.Now()
		}
	}
	c.log.Warn("peers do not have what is lost of an object; the next request asks its origin", "object", id, "pieces", o.file.Left())
}
