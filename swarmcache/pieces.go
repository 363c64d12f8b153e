package swarmcache

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
)

// readSize is how much is read, written and hashed at a time, at most;
// readBuffers is how far hashing may be behind.
const (
	readSize    = 256 << 10
	readBuffers = 4
)

// pieceReader turns a body into pieces of the file. Hashing is half of that work:
// it is done on a goroutine of its own, which ends the pieces. Close the reader.
type pieceReader struct {
	f        *File
	body     io.Reader
	progress func(n int)
	tail     originTail

	buf     []byte
	whole   []byte // a piece that readers must not see before it is checked
	free    chan []byte
	work    chan hashing
	sums    chan summed
	pending int // pieces that were read and not taken
}

// hashing is the next part of a piece; with the last part, what ends it.
type hashing struct {
	b   []byte
	end func(sum [sha1.Size]byte) summed
}

// summed is a piece that was hashed, and what came of it.
type summed struct {
	sum [sha1.Size]byte
	err error
}

func newPieceReader(f *File, body io.Reader, progress func(n int)) *pieceReader {
	r := &pieceReader{
		f: f, body: body, progress: progress, buf: make([]byte, readSize),
		free: make(chan []byte, readBuffers), work: make(chan hashing, readBuffers), sums: make(chan summed, 4*readBuffers),
	}
	for range readBuffers - 1 {
		r.free <- make([]byte, readSize)
	}
	go r.hash()
	return r
}

func (r *pieceReader) hash() {
	defer close(r.sums)
	h := sha1.New()
	for w := range r.work {
		if w.end == nil {
			h.Write(w.b)
			r.free <- w.b[:readSize]
			continue
		}
		r.sums <- w.end([sha1.Size]byte(h.Sum(nil)))
		h.Reset()
	}
}

// close waits until what was read is hashed, and hides what is not a piece.
func (r *pieceReader) close() {
	close(r.work)
	for range r.sums {
	}
	r.f.endTail(&r.tail)
}

// read reads piece i; false: it is the last one, and take will tell why. Where no
// peer can interfere the bytes are written, and shown to readers, as they come.
func (r *pieceReader) read(i int) bool {
	n := r.f.layout.Piece(i).Len()
	r.pending++
	if !r.f.startPiece(i, &r.tail) {
		s := r.readWhole(i, n)
		r.work <- hashing{end: func([sha1.Size]byte) summed { return s }}
		return s.err == nil
	}
	err := r.copy(n, func(b []byte) error {
		if err := r.f.extend(&r.tail, b); err != nil {
			return fmt.Errorf("%w: %w", errDisk, err)
		}
		r.work <- hashing{b: b}
		r.buf = <-r.free
		return nil
	})
	r.work <- hashing{end: func(sum [sha1.Size]byte) summed {
		if err != nil {
			r.f.cutPiece(i, &r.tail, sum)
			return summed{sum, err}
		}
		return summed{sum, r.f.finishPiece(i, &r.tail, sum)}
	}}
	return err == nil
}

// readWhole reads a piece that a peer may be writing.
func (r *pieceReader) readWhole(i int, n int64) (s summed) {
	r.whole = r.whole[:0]
	if s.err = r.copy(n, func(b []byte) error { r.whole = append(r.whole, b...); return nil }); s.err != nil {
		return s
	}
	s.sum = sha1.Sum(r.whole)
	if s.err = r.f.putPiece(i, r.whole, s.sum); s.err != nil && !errors.Is(s.err, ErrPoisoned) {
		s.err = fmt.Errorf("%w: %w", errDisk, s.err)
	}
	return s
}

// take returns the hashes of the pieces that were read since it was last called,
// as far as they are known, or all of them.
func (r *pieceReader) take(all bool) (hashes []byte, err error) {
	for r.pending > 0 {
		var s summed
		if all {
			s = <-r.sums
		} else {
			select {
			case s = <-r.sums:
			default:
				return hashes, nil
			}
		}
		r.pending--
		if s.err != nil {
			return hashes, s.err
		}
		hashes = append(hashes, s.sum[:]...)
	}
	return hashes, nil
}

// copy passes n bytes of the body to f, as they come.
func (r *pieceReader) copy(n int64, f func([]byte) error) error {
	for n > 0 {
		k, err := r.body.Read(r.buf[:min(n, int64(len(r.buf)))])
		if k > 0 {
			n -= int64(k)
			r.progress(k)
			if err := f(r.buf[:k]); err != nil {
				return err
			}
		}
		if err != nil && n > 0 {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read from the origin: %w", err)
		}
	}
	return nil
}
