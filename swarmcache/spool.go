package swarmcache

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"sync"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
	"shatabdi/swarmcache/layout"
)

// Spool is an object in the making whose length is not known. The bytes go to a
// file of their own; Commit gives them a name.
type Spool struct {
	c    *Cache
	v    Version
	f    Body // nil before the first bytes
	w    *bufio.Writer
	n    int64
	room int64 // reserved for them
	void bool  // its key was forgotten since; guarded by spools.mu
}

// spools are those that are open. What is forgotten must not come back out of one
// that was begun before.
type spools struct {
	mu   sync.Mutex // held also while a spooled object is selected; taken before Cache.mu
	open map[*Spool]struct{}
}

// forget makes the spools of key void.
func (ss *spools) forget(key policy.Key) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for s := range ss.open {
		s.void = s.void || s.v.Key == key
	}
}

// variantsOf returns the keys of variants of base that are being spooled.
func (ss *spools) variantsOf(base policy.Key) (keys []policy.Key) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for s := range ss.open {
		if k := s.v.Key; k != base && k.Base() == base {
			keys = append(keys, k)
		}
	}
	return keys
}

// Spool receives a storable body whose length is not known. Commit makes it an
// object when at least atLeast bytes came, and its key was not forgotten
// meanwhile; Abort, or a Commit of less, leaves no trace. One of both must come.
func (c *Cache) Spool(v Version) *Spool {
	s := &Spool{c: c, v: v}
	c.spools.mu.Lock()
	defer c.spools.mu.Unlock()
	c.spools.open[s] = struct{}{}
	return s
}

// spoolStep is how much is reserved at a time.
const spoolStep = 1 << 20

// Write takes the next bytes of the body; ErrNoSpace when they grow beyond what
// the cache may hold.
func (s *Spool) Write(b []byte) (int, error) {
	if err := s.c.fits(s.n + int64(len(b))); err != nil {
		return 0, err
	}
	if more := s.n + int64(len(b)) - s.room; more > 0 {
		more = max(more, spoolStep)
		if s.c.fits(s.room+more) != nil {
			more = s.n + int64(len(b)) - s.room
		}
		if err := s.c.reserveMore(more); err != nil {
			return 0, err
		}
		s.room += more
	}
	if s.f == nil {
		f, err := s.c.cfg.Files.Create(filepath.Join(s.c.cfg.Dir, "spool-"+rand.Text()))
		if err != nil {
			return 0, err
		}
		s.f, s.w = f, bufio.NewWriterSize(io.NewOffsetWriter(f, 0), 256<<10)
	}
	n, err := s.w.Write(b)
	s.n += int64(n)
	return n, err
}

// Abort forgets the bytes.
func (s *Spool) Abort() {
	s.c.spools.mu.Lock()
	delete(s.c.spools.open, s)
	s.c.spools.mu.Unlock()
	if s.f != nil {
		s.f.Close()
		s.c.cfg.Files.Remove(s.f.Name())
		s.f = nil
	}
	s.c.free(s.room)
	s.room = 0
}

// Commit is called after the last byte of a body that ended as it should.
func (s *Spool) Commit(ctx context.Context, atLeast int64) error {
	defer s.Abort()
	if s.n < max(1, atLeast) {
		return nil
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	v := s.v
	v.Length, v.PieceLen = s.n, layout.PieceLenFor(s.n)
	if v.Validator == "" {
		v.Nonce = nonce()
	}
	v.Identify()
	hashes, err := pieceHashes(s.f, v)
	if err != nil {
		return err
	}
	if err := s.f.Sync(); err != nil {
		return err
	}
	return s.adopt(ctx, v, hashes)
}

// pieceHashes reads the pieces' hashes off a finished body.
func pieceHashes(f io.ReaderAt, v Version) ([]byte, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, v.Length), 256<<10)
	var all []byte
	var h hash.Hash = sha1.New()
	l := v.Layout()
	for i := range l.Pieces() {
		h.Reset()
		if _, err := io.CopyN(h, r, l.Piece(i).Len()); err != nil {
			return nil, fmt.Errorf("read piece %d back: %w", i, err)
		}
		all = h.Sum(all)
	}
	return all, nil
}

// adopt makes the finished file the object v, unless it is void.
func (s *Spool) adopt(ctx context.Context, v Version, hashes []byte) error {
	c := s.c
	o, err := c.place(v, s, hashes)
	switch {
	case err != nil:
		return err
	case o == nil:
		return c.renew(ctx, v)
	}
	defer o.file.Release()
	if err := o.seal(); err != nil {
		o.condemn()
		return err
	}
	c.spools.mu.Lock()
	defer c.spools.mu.Unlock()
	if s.void {
		o.condemn()
		return nil
	}
	c.select_(o)
	c.metrics.completed.Inc()
	c.cfg.Events.Tell(c.event(events.Completed, v))
	c.publishLater(0, v.ID)
	return nil
}

// renew takes over what the origin said with the bytes of v, which are here already.
func (c *Cache) renew(ctx context.Context, v Version) error {
	obj, err := c.Local(v.Key, nil)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer obj.Close()
	if have := obj.Version(); have.ID != v.ID || !v.date().After(have.date()) {
		return nil
	}
	return c.Refresh(ctx, obj, v.Stored)
}

// place gives a finished file its name and opens it; nil when the object is here
// already.
func (c *Cache) place(v Version, s *Spool, hashes []byte) (*object, error) {
	c.files.Lock()
	defer c.files.Unlock()
	c.untilGone(v.ID)
	if c.has(v.ID) {
		return nil, nil
	}
	if err := c.reserve(v, s.room); err != nil {
		return nil, err
	}
	s.room = 0 // it is the object's now
	path := c.path(v.ID)
	err := c.cfg.Files.MkdirAll(filepath.Dir(path))
	if err == nil {
		err = c.cfg.Files.Rename(s.f.Name(), path)
	}
	var o *object
	if err == nil {
		o, err = c.openLocked(v, &Record{Version: v, Complete: true, Hashes: hashes, Added: c.now().Unix()}, false)
	}
	if err != nil {
		c.forget(v.ID)
		return nil, err
	}
	return o, nil
}
