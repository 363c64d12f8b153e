package swarmcache_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"shatabdi/swarmcache"
)

// A body becomes pieces however it comes; one that breaks off leaves those that
// are whole, and what follows must begin as what readers may have seen.
func TestPiecesOfABody(t *testing.T) {
	m := newMemory("a", 3<<20+777)
	v := identified(m)
	var sums []byte
	for b := range slices.Chunk(m.data, int(v.PieceLen)) {
		sum := sha1.Sum(b)
		sums = append(sums, sum[:]...)
	}
	openFile := func(t *testing.T) *swarmcache.File {
		f, err := swarmcache.OpenFile(filepath.Join(t.TempDir(), "body"), v, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Release() })
		return f
	}
	wantWhole := func(t *testing.T, f *swarmcache.File) {
		t.Helper()
		b := make([]byte, v.PieceLen)
		for i := range f.Layout().Pieces() {
			p := f.Layout().Piece(i)
			if n, err := f.ReadPieceAt(i, b[:p.Len()], 0); err != nil || !f.Has(i) || !bytes.Equal(b[:n], m.data[p.From:p.To]) {
				t.Errorf("piece %d: has %v, %v", i, f.Has(i), err)
			}
		}
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"as it is":                   func(r io.Reader) io.Reader { return r },
		"halves":                     iotest.HalfReader,
		"the end with the last byte": iotest.DataErrReader,
		"small": func(r io.Reader) io.Reader {
			return readerFunc(func(b []byte) (int, error) { return r.Read(b[:min(len(b), 1001)]) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := openFile(t)
			got, err := swarmcache.ReadPieces(f, wrap(bytes.NewReader(m.data)))
			if err != nil || !bytes.Equal(got, sums) || !bytes.Equal(f.Hashes(), sums) {
				t.Errorf("%d hashes, %v", len(got)/20, err)
			}
			wantWhole(t, f)
		})
	}

	const cut = 2<<20 + 12345
	whole := cut / v.PieceLen
	broken := func(t *testing.T) *swarmcache.File {
		f := openFile(t)
		got, err := swarmcache.ReadPieces(f, bytes.NewReader(m.data[:cut]))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, sums[:whole*20]) {
			t.Fatalf("%d hashes of a body that broke off, %v", len(got)/20, err)
		}
		for i := range f.Layout().Pieces() {
			if f.Has(i) != (int64(i) < whole) {
				t.Errorf("has piece %d: %v", i, f.Has(i))
			}
		}
		return f
	}
	t.Run("again after a break", func(t *testing.T) {
		f := broken(t)
		if got, err := swarmcache.ReadPieces(f, bytes.NewReader(m.data)); err != nil || !bytes.Equal(got, sums) {
			t.Errorf("%d hashes, %v", len(got)/20, err)
		}
		wantWhole(t, f)
	})
	t.Run("other bytes after a break", func(t *testing.T) {
		f := broken(t)
		other := bytes.Clone(m.data)
		other[cut-1]++
		if _, err := swarmcache.ReadPieces(f, bytes.NewReader(other)); !errors.Is(err, swarmcache.ErrPoisoned) {
			t.Errorf("%v, want ErrPoisoned", err)
		}
	})
	// Before this node begins with the piece, and while it reads it.
	for name, at := range map[string]int{"another hash is known": 1, "another hash becomes known": 2} {
		t.Run(name, func(t *testing.T) {
			f, calls := openFile(t), 0
			body := readerFunc(func(b []byte) (int, error) {
				if calls++; calls == at {
					f.Learn(1, make([]byte, 20))
				}
				return copy(b, m.data), nil
			})
			got, err := swarmcache.ReadPieces(f, body)
			if !errors.Is(err, swarmcache.ErrPoisoned) || !bytes.Equal(got, sums[:20]) || f.Has(1) {
				t.Errorf("%d hashes, %v", len(got)/20, err)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
