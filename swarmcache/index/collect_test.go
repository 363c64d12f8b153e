package index

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"shatabdi/swarmcache/cachetest"
)

func TestRunGivesSpaceBack(t *testing.T) {
	x := open(t, t.TempDir())
	const objects = 150 // of 320 KiB of hashes: three files of the value log
	for n := range objects {
		must(t, x.Put(cachetest.NewRecord(n, 16<<10)))
	}
	for n := range objects {
		if n%15 != 0 {
			must(t, x.Delete(cachetest.NewRecord(n, 16<<10).Version.ID))
		}
	}
	// Badger learns what is dead when it compacts, which it does when there are
	// five young tables. Each restart leaves one.
	for n := range 5 {
		must(t, x.Close())
		x = open(t, x.dir)
		must(t, x.SetSetting("restart", []byte{byte(n)}))
	}
	before := vlogFiles(t, x)

	x.collectEvery = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- x.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); vlogFiles(t, x) > before-3; {
		if time.Now().After(deadline) {
			t.Errorf("%d files of the value log, there were %d", vlogFiles(t, x), before)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	must(t, <-done)
	for n := 0; n < objects; n += 15 {
		r := cachetest.NewRecord(n, 16<<10)
		if got, err := x.Get(r.Version.ID); err != nil || string(got.Hashes) != string(r.Hashes) {
			t.Errorf("object %d after the collection: %d bytes of hashes, %v", n, len(got.Hashes), err)
		}
	}
}

func TestRunEndsWithTheIndex(t *testing.T) {
	x := open(t, t.TempDir())
	x.collectEvery = time.Millisecond
	must(t, x.Close())
	must(t, x.Run(t.Context()))
}

func vlogFiles(t *testing.T, x *Index) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(x.dir, "*.vlog"))
	must(t, err)
	return len(files)
}
