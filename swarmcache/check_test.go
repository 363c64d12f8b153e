package swarmcache_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// shelf is a store that outlives its cache.
type shelf struct {
	dir   string
	index *cachetest.Index
	scrub int64            // bytes a second
	now   func() time.Time // nil: time.Now
}

func newShelf(t *testing.T) shelf { return shelf{dir: t.TempDir(), index: cachetest.NewIndex()} }

func (s shelf) open(t *testing.T) *swarmcache.Cache {
	self := swarmcache.Node{ID: "me"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: s.dir, Index: s.index, Directory: cachetest.NewDirectory().Node(self), Node: self,
		ScrubRate: s.scrub, ScrubEvery: time.Minute, Now: s.now,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s shelf) check(t *testing.T, deep, repair bool) swarmcache.Checked {
	t.Helper()
	found, err := swarmcache.Check(swarmcache.CheckConfig{Dir: s.dir, Index: s.index, Deep: deep, Repair: repair})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func whats(c swarmcache.Checked) (l []string) {
	for _, f := range c.Findings {
		l = append(l, f.What)
	}
	return l
}

// fillHalf leaves an object with the first half of its pieces on record.
func fillHalf(t *testing.T, c *swarmcache.Cache, m memory) swarmcache.ObjectID {
	t.Helper()
	obj, err := c.Fill(t.Context(), m.version(), true, nil, m)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	r := obj.NewReader(t.Context(), 0, int64(len(m.data)/2))
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	return obj.Version().ID
}

// flip turns over a byte of a file.
func flip(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func (s shelf) path(id swarmcache.ObjectID) string {
	return filepath.Join(s.dir, string(id[:2]), string(id))
}

// Each kind of damage is found, the deep ones by a deep check only; a repair says
// what it did, leaves nothing to find, and the object's right bytes come again.
func TestCheckFindsAndRepairs(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(*testing.T, shelf, swarmcache.ObjectID)
		want   string
		deep   bool
		half   bool // of an incomplete object
	}{
		{name: "nothing"},
		{name: "nothing", half: true},
		{name: "file gone", want: swarmcache.FoundMissing, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			must(t, os.Remove(s.path(id)))
		}},
		{name: "file cut short", want: swarmcache.FoundLength, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			must(t, os.Truncate(s.path(id), 1<<20))
		}},
		{name: "file of nobody", want: swarmcache.FoundStray, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			must(t, os.WriteFile(filepath.Join(s.dir, "spool-1"), nil, 0o600))
		}},
		{name: "flipped bit", want: swarmcache.FoundPieces, deep: true, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			flip(t, s.path(id), 3<<20)
		}},
		{name: "hole", want: swarmcache.FoundPieces, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			must(t, os.Truncate(s.path(id), 1<<20))
			must(t, os.Truncate(s.path(id), 8<<20))
		}},
		{name: "hole", half: true, want: swarmcache.FoundPieces, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			must(t, os.Truncate(s.path(id), 1<<20))
			must(t, os.Truncate(s.path(id), 8<<20))
		}},
		{name: "all lost", want: swarmcache.FoundPieces, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			must(t, os.Truncate(s.path(id), 0))
			must(t, os.Truncate(s.path(id), 8<<20))
		}},
		{name: "no hashes", want: swarmcache.FoundRecord, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			r, err := s.index.Get(id)
			must(t, err)
			must(t, s.index.Delete(id))
			r.Hashes = nil
			must(t, s.index.Put(r))
			must(t, s.index.SetCurrent(r.Version.Key, id))
		}},
		{name: "no length", want: swarmcache.FoundRecord, damage: func(t *testing.T, s shelf, id swarmcache.ObjectID) {
			r, err := s.index.Get(id)
			must(t, err)
			r.Version.PieceLen = 0
			must(t, s.index.Put(r))
		}},
	} {
		name := c.name
		if c.half {
			name += " of a half"
		}
		t.Run(name, func(t *testing.T) {
			s, m := newShelf(t), newMemory("a", 8<<20)
			first := s.open(t)
			var id swarmcache.ObjectID
			if c.half {
				id = fillHalf(t, first, m)
			} else {
				obj := fill(t, first, m)
				id = obj.Version().ID
				obj.Close()
			}
			must(t, first.Close())
			if c.damage != nil {
				c.damage(t, s, id)
			}
			if c.deep && len(s.check(t, false, false).Findings) > 0 {
				t.Error("found without reading")
			}
			found := s.check(t, c.deep, false)
			t.Logf("%+v", found)
			if got := whats(found); len(got) == 0 != (c.want == "") || c.want != "" && got[0] != c.want {
				t.Fatalf("found %q, want %q", got, c.want)
			}
			if again := s.check(t, c.deep, false); !slices.Equal(whats(again), whats(found)) {
				t.Errorf("a check that should change nothing: %q, then %q", whats(found), whats(again))
			}
			for _, f := range s.check(t, c.deep, true).Findings {
				if f.Repaired == "" {
					t.Errorf("%+v was not repaired", f)
				}
			}
			if left := s.check(t, true, false); len(left.Findings) > 0 {
				t.Errorf("left after the repair: %+v", left.Findings)
			}
			again, err := s.open(t).Fill(t.Context(), m.version(), true, io.NopCloser(bytes.NewReader(m.data)), m)
			must(t, err)
			defer again.Close()
			if b, err := read(t, again); err != nil || !bytes.Equal(b, m.data) {
				t.Errorf("%d bytes after the repair, %v", len(b), err)
			}
		})
	}
}

// What incomplete objects hold is less than they are long.
func TestCheckCountsWhatIsAllocated(t *testing.T) {
	s, m := newShelf(t), newMemory("a", 8<<20)
	c := s.open(t)
	fillHalf(t, c, m)
	must(t, c.Close())
	found := s.check(t, true, false)
	if found.Objects != 1 || found.Complete != 0 || found.Bytes != 8<<20 || found.Allocated < 3<<20 || found.Allocated > 7<<20 || found.Hashed != 0 {
		t.Errorf("%+v", found)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
