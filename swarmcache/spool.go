package swarmcache

import (
	"bufio"
	"context"
	"crypto/sha1"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"shatabdi/swarmcache/layout"
)

// Spool is an object in the making whose length is not known. The bytes go to a
// file of their own; Commit gives them a name.
type Spool struct {
	c *Cache
	v Version
	f *os.File
	w *bufio.Writer
	n int64
}

// Spool receives a storable body whose length is not known. Commit makes it an
// object when at least atLeast bytes came; Abort, or a Commit of less, leaves
// no trace.
func (c *Cache) Spool(v Version) (*Spool, error) {
	f, err := os.CreateTemp(c.cfg.Dir, "spool-*")
	if err != nil {
		return nil, err
	}
	return &Spool{c: c, v: v, f: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

// Write takes the next bytes of the body; ErrNoSpace when they grow beyond what
// the cache may hold.
func (s *Spool) Write(b []byte) (int, error) {
	if err := s.c.fits(s.n + int64(len(b))); err != nil {
		return 0, err
	}
	n, err := s.w.Write(b)
	s.n += int64(n)
	return n, err
}

// Abort forgets the bytes.
func (s *Spool) Abort() {
	if s.f != nil {
		s.f.Close()
		os.Remove(s.f.Name())
		s.f = nil
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
	return s.c.adopt(v, s.f.Name(), hashes)
}

// pieceHashes reads the pieces' hashes off a finished body.
func pieceHashes(f *os.File, v Version) ([]byte, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(f, 256<<10)
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

// adopt makes a finished file the object v.
func (c *Cache) adopt(v Version, file string, hashes []byte) error {
	o, err := c.place(v, file, hashes)
	if o == nil || err != nil {
		return err
	}
	defer o.file.Release()
	if err := o.seal(); err != nil {
		o.condemn()
		return err
	}
	c.select_(o)
	c.metrics.completed.Inc()
	c.publishLater(0, v.ID)
	return nil
}

// place gives a finished file its name and opens it; nil when the object is here
// already.
func (c *Cache) place(v Version, file string, hashes []byte) (*object, error) {
	c.files.Lock()
	defer c.files.Unlock()
	c.untilGone(v.ID)
	if c.has(v.ID) {
		return nil, nil
	}
	if err := c.reserve(v); err != nil {
		return nil, err
	}
	path := c.path(v.ID)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.Rename(file, path)
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
