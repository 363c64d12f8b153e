package swarmcache

import (
	"crypto/sha1"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"shatabdi/swarmcache/layout"
)

// Disks forget. Behind everybody's back every complete object is read once in a
// while, slowly, and compared with its hashes.

const (
	// scrubIdle is how often is looked whether an object's time has come.
	scrubIdle = time.Second
	// scrubBusy is how many times slower it goes while bytes are coming in.
	scrubBusy = 4
)

func (c *Cache) scrub() {
	pace := rate.NewLimiter(rate.Limit(c.cfg.ScrubRate), int(min(c.cfg.ScrubRate, 1<<30)))
	for c.ctx.Err() == nil {
		id, due := c.nextToScrub()
		if !due {
			select {
			case <-time.After(scrubIdle):
			case <-c.ctx.Done():
			}
			continue
		}
		if err := c.scrubObject(id, pace); err != nil && c.ctx.Err() == nil {
			c.log.Warn("verify an object", "object", id, "error", err)
		}
	}
}

// nextToScrub is the object that was verified longest ago, and whether it is due.
func (c *Cache) nextToScrub() (id ObjectID, due bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest := c.now().Add(-c.cfg.ScrubEvery).Unix()
	for other, e := range c.entries {
		if e.verified > 0 && e.verified <= oldest {
			id, due, oldest = other, true, e.verified
		}
	}
	return id, due
}

// scrubObject verifies one object. An error is tried again when its time comes.
func (c *Cache) scrubObject(id ObjectID, pace *rate.Limiter) error {
	c.setVerified(id, c.now().Unix())
	rec, err := c.cfg.Index.Get(id)
	if err != nil {
		return err
	}
	l := rec.Version.Layout()
	if !rec.Complete || len(rec.Hashes) != l.Pieces()*sha1.Size {
		return nil // it is about to be
	}
	path, err := c.bodyOf(&rec)
	if err != nil {
		return nil // it went meanwhile
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		c.vanished(id, err)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range l.Pieces() {
		if !c.has(id) {
			return nil // it went meanwhile
		}
		p := l.Piece(i)
		if err := c.await(pace, p.Len()); err != nil {
			return err
		}
		c.metrics.scrubbed.Add(float64(p.Len()))
		if !c.onDisk(f, p, rec.Hashes[i*sha1.Size:(i+1)*sha1.Size]) {
			c.suspect(id, i)
			return nil
		}
	}
	return c.recordVerified(id)
}

// await waits until n more bytes may be read.
func (c *Cache) await(pace *rate.Limiter, n int64) error {
	if c.transfers.Load() > 0 {
		n *= scrubBusy
	}
	for n > 0 {
		k := min(n, int64(pace.Burst()))
		if err := pace.WaitN(c.ctx, int(k)); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// onDisk reads a piece from the disk, and not from memory, where it stays only if
// somebody may soon want it.
func (c *Cache) onDisk(f *os.File, p layout.Range, hash []byte) bool {
	forget := func() { unix.Fadvise(int(f.Fd()), p.From, p.Len(), unix.FADV_DONTNEED) }
	forget()
	right := pieceIs(f, p.From, p.Len(), hash)
	if c.transfers.Load() == 0 {
		forget()
	}
	return right
}

// setVerified notes in memory when an object was last looked at.
func (c *Cache) setVerified(id ObjectID, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		e.verified = at
	}
}

// recordVerified puts into the catalogue that an object was verified just now.
func (c *Cache) recordVerified(id ObjectID) error {
	o, err := c.look(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer o.file.Release()
	o.recording.Lock()
	o.verified = c.now().Unix()
	o.recording.Unlock()
	return o.rewrite()
}
