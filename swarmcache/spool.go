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
	at   *volume
	room int64 // reserved there for them
	void bool  // its key was forgotten since; guarded by spools.mu
	// coming is what the directory is told of it; nil: nothing, or what it becomes
	// ends that.
	coming *expectation
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
	if v.Key != "" {
		s.coming = c.expect(v.Key)
	}
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
	if err := s.fits(s.n + int64(len(b))); err != nil {
		return 0, s.c.noRoom(err)
	}
	if more := s.n + int64(len(b)) - s.room; more > 0 {
		more = max(more, spoolStep)
		if s.fits(s.room+more) != nil {
			more = s.n + int64(len(b)) - s.room
		}
		if s.at == nil {
			s.c.lookAtDisks(more)
		}
		at, err := s.c.reserveMore(more, s.at)
		if err != nil {
			return 0, s.c.noRoom(err)
		}
		s.at, s.room = at, s.room+more
	}
	if s.f == nil {
		if err := s.open(); err != nil {
			return 0, s.c.noRoom(err)
		}
	}
	n, err := s.w.Write(b)
	s.n += int64(n)
	return n, s.c.noRoom(err)
}

// fits reports ErrNoSpace where a body of n bytes can never be kept.
func (s *Spool) fits(n int64) error {
	if s.at == nil {
		return s.c.fits(n)
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.at.holdsLocked(n) {
		return ErrNoSpace
	}
	return nil
}

// open makes the file, on another volume where the first one's disk is not well.
func (s *Spool) open() error {
	for others := len(s.c.volumes) - 1; ; others-- {
		f, err := s.create()
		if err == nil {
			s.f, s.w = f, bufio.NewWriterSize(io.NewOffsetWriter(f, 0), 256<<10)
			return nil
		}
		if others == 0 {
			return err
		}
		room := s.room
		s.c.free(room, s.at)
		s.at, s.room = nil, 0
		at, none := s.c.reserveMore(room, nil)
		if none != nil {
			return err
		}
		s.at, s.room = at, room
	}
}

func (s *Spool) create() (Body, error) {
	if err := s.at.files.MkdirAll(s.at.Objects); err != nil {
		return nil, err
	}
	return s.at.files.Create(filepath.Join(s.at.Objects, "spool-"+rand.Text()))
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
	s.c.free(s.room, s.at)
	s.room = 0
	if coming := s.coming; coming != nil {
		s.coming = nil
		s.c.goWork(func() { coming.known() }) // else its lease ends it
	}
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
	if s.coming == nil {
		c.publishLater(0, soon, v.ID)
		return nil
	}
	coming := s.coming
	if c.goWork(func() { c.publishExpected(v.ID, coming) }) {
		s.coming = nil
	}
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
	if have := obj.Version(); have.ID != v.ID || !have.older(&v) {
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
	if err := c.reserve(v, s.at, s.room); err != nil {
		return nil, err
	}
	s.room = 0 // it is the object's now
	path := pathOf(s.at.Objects, v.ID)
	err := s.at.files.MkdirAll(filepath.Dir(path))
	if err == nil {
		err = s.at.files.Rename(s.f.Name(), path)
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
