package small

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/index"
)

// shelves is a cache with a real disk behind it, which can be started again.
type shelves struct {
	*Cache
	t     *testing.T
	dir   string
	size  int64 // of its memory
	deaf  bool  // nothing was heard of purges
	store *index.Bodies
	stop  func()
}

func newShelves(t *testing.T) *shelves {
	s := &shelves{t: t, dir: filepath.Join(t.TempDir(), "small"), size: 1 << 20}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *shelves) start() {
	s.t.Helper()
	store, err := index.OpenBodies(index.BodiesOptions{Dir: s.dir, Size: 64 << 20, Token: "1"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.store = store
	s.Cache = New(Config{Size: s.size, Store: store, Heard: func() bool { return !s.deaf }})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := store.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *shelves) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// crash starts again from what kill -9 would leave.
func (s *shelves) crash() {
	s.t.Helper()
	to := filepath.Join(s.t.TempDir(), "small")
	if err := os.CopyFS(to, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	s.stop()
	s.dir = to
	s.start()
}

// settled waits until everything is written.
func (s *shelves) settled() {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if s.disk.queued.Load() == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("never written")
		}
	}
}

func (s *shelves) want(key policy.Key, language, want string) {
	s.t.Helper()
	if got := found(s.Cache, key, asking(language)); got != want {
		s.t.Errorf("%s in %q: %.30q, want %.30q", key, language, got, want)
	}
}

func TestDiskOutlivesARestart(t *testing.T) {
	s := newShelves(t)
	put(t, s.Cache, "k", "de", "de")
	put(t, s.Cache, "k", "fr", "fr")
	put(t, s.Cache, "k", "de again", "de")
	put(t, s.Cache, "empty", "", "")
	o, err := s.Open(version("slow", 4, ""), epochs.Mark("slow"))
	if err != nil || o.Fill(strings.NewReader("body")) != nil {
		t.Fatal(err)
	}
	short, err := s.Open(version("short", 4, ""), epochs.Mark("short"))
	if err != nil || short.Fill(strings.NewReader("bo")) == nil {
		t.Fatal(err)
	}
	fresh := o.Version().Stored
	fresh.Header = fresh.Header.Clone()
	fresh.Header.Set("Age", "5")
	o.Refresh(t.Context(), fresh)
	s.settled()
	for range 2 {
		s.crash()
		s.want("k", "de", "de again")
		s.want("k", "fr", "fr")
		s.want("k", "en", "other")
		s.want("empty", "", "")
		s.want("slow", "", "body")
		s.want("short", "", "-")
		if o, _ := s.Find("slow", nil, &rules); o.Version().Stored.Header.Get("Age") != "5" || o.Version().Stored.Invalid {
			t.Errorf("what was refreshed: %v", o.Version().Stored)
		}
		s.restart()
	}
	de, _ := s.Find("k", asking("de"), &rules)
	de.Withdraw(t.Context())
	s.want("k", "de", "other")
	s.want("k", "fr", "fr")
	if had := s.Forget("k"); had != 1 {
		t.Errorf("%d were forgotten", had)
	}
	s.want("k", "fr", "-")
	s.crash()
	s.want("k", "fr", "-")
	s.want("slow", "", "body")
	s.ForgetAll()
	s.want("slow", "", "-")
	s.crash()
	s.want("slow", "", "-")
}

// What has not been confirmed since purges may have been missed has to be.
func TestDiskBeforePurgesAreHeard(t *testing.T) {
	s := newShelves(t)
	put(t, s.Cache, "k", "body", "")
	s.settled()
	s.deaf = true
	s.restart()
	put(t, s.Cache, "of this run", "body", "")
	for key, want := range map[policy.Key]bool{"k": true, "of this run": false} {
		if o, ok := s.Find(key, nil, &rules); !ok || o.Version().Stored.Invalid != want {
			t.Errorf("%s: %v, to be revalidated: %v", key, ok, !want)
		}
	}
}

// Much more than memory holds comes back from the disk; a smaller one loses the oldest.
func TestDiskBehindTheMemory(t *testing.T) {
	s := newShelves(t)
	body := func(i int) string { return strings.Repeat(fmt.Sprintf("%04d", i), 25_000) }
	for i := range 50 { // 5 MB
		put(t, s.Cache, policy.Key(fmt.Sprint("k", i)), body(i), "")
		s.settled()
	}
	s.entries.CleanUp()
	if got := s.entries.WeightedSize(); got > 1<<20 {
		t.Errorf("%d bytes are in memory", got)
	}
	for i := range 50 {
		s.want(policy.Key(fmt.Sprint("k", i)), "", body(i))
	}
}

// What is damaged is not served.
func TestDiskDamaged(t *testing.T) {
	s := newShelves(t)
	put(t, s.Cache, "k", strings.Repeat("x", 5000), "")
	put(t, s.Cache, "l", strings.Repeat("y", 5000), "")
	s.settled()
	vs := s.disk.shelf("k")
	if _, err := s.store.Put(map[string][]byte{
		string(bodyKey(vs[0].Body)): []byte(strings.Repeat("x", 4999) + "z"),
		string(shelfKey("l")):       []byte("no list"),
	}); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.want("k", "", "-")
	s.want("l", "", "-")
	put(t, s.Cache, "l", "again", "")
	s.settled()
	s.restart()
	s.want("l", "", "again")
}

// failing is a disk that writes nothing.
type failing struct{ *index.Bodies }

func (failing) Put(map[string][]byte) (bool, error) { return false, swarmcache.ErrNoSpace }

func TestDiskFull(t *testing.T) {
	s := newShelves(t)
	put(t, s.Cache, "k", "old", "")
	s.settled()
	s.disk.Store = failing{s.store}
	put(t, s.Cache, "k", "new", "")
	put(t, s.Cache, "l", "body", "")
	s.settled()
	s.want("k", "", "new")
	s.want("l", "", "body")
	s.restart()
	s.want("k", "", "-") // and not the old one
	s.want("l", "", "-")
}

// Whatever is forgotten, replaced, evicted and brought back at once: nobody finds what
// was forgotten before he asked, nor one version after a later one.
func TestDiskConcurrently(t *testing.T) {
	s := newShelves(t)
	s.stop()
	s.size = 64 << 10
	s.start()
	var wg sync.WaitGroup
	for k := range 4 {
		key := policy.Key(fmt.Sprint("k", k))
		wg.Go(func() { // the only writer of this key, so it knows what must be found
			last := ""
			for i := range 400 {
				switch i % 5 {
				case 0:
					last = strings.Repeat(fmt.Sprintf("%s-%04d ", key, i), 1000)
					if err := s.Put(version(key, 0, ""), []byte(last), epochs.Mark(key)); err != nil && !errors.Is(err, ErrForgotten) {
						t.Error(err)
					}
				case 1:
					s.entries.InvalidateAll() // as if all were evicted
				case 3:
					if i%3 == 0 {
						epochs.Mark(key).Advance()
						s.Forget(key)
						last = ""
					}
				default:
					if got := found(s.Cache, key, nil); got != "-" && got != last {
						t.Errorf("%s: found %.20q, want %.20q or none", key, got, last)
					}
				}
			}
		})
	}
	wg.Wait()
	s.settled()
}
