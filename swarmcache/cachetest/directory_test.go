package cachetest

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shatabdi/swarmcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDirectoryInMemory(t *testing.T) {
	TestDirectory(t, func(*testing.T) DirectoryLab { return NewDirectory() })
}

func TestUnavailableDirectorySaysSo(t *testing.T) {
	dir := NewDirectory()
	d := dir.Node(labNode(1))
	release, _, err := d.ClaimFirst(t.Context(), "k")
	noErr(t, err)
	waited := make(chan error, 1)
	go func() {
		_, _, err := dir.Node(labNode(2)).ClaimFirst(t.Context(), "k")
		waited <- err
	}()
	eventually(t, "the second asks", func() bool { return dir.Counts().FirstClaims == 2 })
	dir.SetAvailable(false)
	wantErr(t, <-waited, swarmcache.ErrUnavailable)
	release()
	_, _, err = d.Lookup(t.Context(), "k")
	wantErr(t, err, swarmcache.ErrUnavailable)
	dir.SetAvailable(true)
	_, _, err = d.Lookup(t.Context(), "k")
	wantErr(t, err, swarmcache.ErrNotFound)
}

func TestDelayHoldsChangesBack(t *testing.T) {
	dir := NewDirectory()
	l := lab{dir, t.Context()}
	b := l.join(t, dir.Node(labNode(1)), version("k", `"1"`, noon))
	w := l.watch(t, b)
	w.until(t, "caught up", func(w *view) bool { return w.caught })
	const delay = 80 * time.Millisecond
	dir.SetDelay(delay)
	start := time.Now()
	noErr(t, b.Land(t.Context(), 0, hashes("x", 1)))
	w.until(t, "landed", func(w *view) bool { return w.spans[0].Landed })
	if d := time.Since(start); d < delay {
		t.Fatalf("told after %v", d)
	}
}

func TestCancelledWatchEnds(t *testing.T) {
	dir := NewDirectory()
	b := lab{dir, t.Context()}.join(t, dir.Node(labNode(1)), version("k", `"1"`, noon))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Watch(ctx, func(swarmcache.BoardEvent) {}); err != nil {
		t.Fatal(err)
	}
}
