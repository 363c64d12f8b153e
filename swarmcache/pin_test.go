package swarmcache_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// A pin outlives a restart, and goes over to the version that takes the object's
// place.
func TestPin(t *testing.T) {
	self := swarmcache.Node{ID: "me"}
	dir, index := t.TempDir(), cachetest.NewIndex()
	start := func() *swarmcache.Cache {
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: dir, Index: index, Directory: cachetest.NewDirectory().Node(self), Node: self, Size: 1 << 20, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := start()
	kept, other := newMemory("kept", 600<<10), newMemory("other", 600<<10)
	obj := fill(t, c, kept)
	id := obj.Version().ID
	obj.Close()
	if err := c.SetPinned(id, true); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		if _, err := c.Fill(t.Context(), other.version(), true, nil, other); !errors.Is(err, swarmcache.ErrNoSpace) {
			t.Errorf("error %v beside a pinned object; want ErrNoSpace", err)
		}
	}
	refused()
	c.Close()
	index = index.Reopen()
	c = start()
	if r, err := c.Record(id); err != nil || !r.Pinned {
		t.Errorf("after a restart: %+v, %v", r, err)
	}
	refused()

	// Another version of it. It is small, as both are here for a moment.
	next := newMemory("kept", 300<<10)
	v := next.version()
	v.Validator, v.Stored.ResponseTime = `"2"`, time.Now()
	obj, err := c.Fill(t.Context(), v, true, nil, memory{"kept", next.data})
	if err != nil {
		t.Fatal(err)
	}
	id = obj.Version().ID
	obj.Close()
	eventually(t, func() bool { r, err := c.Record(id); return err == nil && r.Pinned })

	if err := c.SetPinned(id, false); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Record(id); err != nil || r.Pinned {
		t.Errorf("unpinned: %+v, %v", r, err)
	}
	if err := c.SetPinned("absent", true); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("%v for an object that is not here", err)
	}
}
