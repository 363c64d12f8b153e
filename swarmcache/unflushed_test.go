package swarmcache_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"shatabdi/swarmcache"
)

// When the disk fails a flush, what was written since the last one that succeeded is
// taken away, for the kernel forgets it and would give something else in its place.
// What was flushed before, or stored by an earlier run, stays; and whatever comes
// later, nothing of this file is recorded any more.
func TestFailedFlushTakesAwayWhatWasNotFlushed(t *testing.T) {
	const pieceLen = 128 << 10
	v := swarmcache.Version{URL: "http://origin/a", Length: 4 * pieceLen, PieceLen: pieceLen, Validator: `"1"`}
	v.Identify()
	const stored, flushed, unflushed = 0, 1, 2
	body := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, pieceLen) }

	disk := &faulty{osFiles: swarmcache.OSFiles, fault: fault{"sync", 1, syscall.EIO, lost, false}}
	path := filepath.Join(t.TempDir(), "file")
	f, err := swarmcache.OpenFileOn(disk, path, v, nil)
	must(t, err)
	_, err = f.WriteChunk(stored, body(stored), 0)
	must(t, err)
	must(t, swarmcache.Flush(f))
	must(t, f.Release())

	f, err = swarmcache.OpenFileOn(disk, path, v, &swarmcache.Record{Version: v, Pieces: []byte{1 << stored}})
	must(t, err)
	defer func() { f.Release() }()
	bring := func(i int) {
		sum := sha1.Sum(body(i))
		_, err := f.Learn(i, sum[:])
		must(t, err)
		_, err = f.WriteChunk(i, body(i), 0)
		must(t, err)
		ok, err := f.Verify(i)
		must(t, err)
		if !ok {
			t.Fatalf("piece %d is not right", i)
		}
	}
	bring(flushed)
	must(t, swarmcache.Flush(f))
	bring(unflushed)
	disk.armed = true
	if err := swarmcache.Flush(f); !errors.Is(err, syscall.EIO) {
		t.Fatal("the flush did not fail:", err)
	}
	for i, want := range []bool{stored: true, flushed: true, unflushed: false, 3: false} {
		if f.Has(i) != want {
			t.Errorf("piece %d is here: %v", i, f.Has(i))
		}
	}
	if f.Left() != 2 {
		t.Errorf("%d pieces are missing", f.Left())
	}
	b := make([]byte, 1)
	if _, err := f.ReadPieceAt(unflushed, b, 0); err == nil {
		t.Error("what was lost is read")
	}
	bring(unflushed)
	if err := swarmcache.Flush(f); err == nil {
		t.Error("a later flush is believed")
	}
}
