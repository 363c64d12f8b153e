package small

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// unvalidated is a version with a weak entity tag, as most are that are coded on the fly.
func unvalidated(key policy.Key, language string) swarmcache.Version {
	v := version(key, 0, language)
	v.Validator = ""
	v.Stored.Header.Set("Etag", `W/"1"`)
	return v
}

// evicted is as if memory had no space for anything.
func (s *shelves) evicted() {
	s.settled()
	s.entries.InvalidateAll()
}

func (s *shelves) find(key policy.Key, language string) *Object {
	s.t.Helper()
	o, ok := s.Find(key, asking(language), &rules)
	if !ok {
		s.t.Fatalf("%s in %q is not there", key, language)
	}
	return o
}

// One response may be several objects: one from before it was evicted, that a request
// still holds, and one that came back. What the origin says holds for all of them.
func TestDiskOneResponseAsTwoObjects(t *testing.T) {
	for name, version := range map[string]func(policy.Key, string) swarmcache.Version{
		"strong": func(key policy.Key, language string) swarmcache.Version { return version(key, 0, language) },
		"weak":   unvalidated,
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelves(t)
			for _, language := range []string{"de", "fr"} {
				if err := s.Put(version("k", language), []byte(language), epochs.Mark("k")); err != nil {
					t.Fatal(err)
				}
			}
			was := s.find("k", "de")
			s.evicted()
			fresh := was.Version().Stored
			fresh.Header = fresh.Header.Clone()
			fresh.Header.Set("Age", "5")
			was.Refresh(t.Context(), fresh)
			for range 2 {
				if s.find("k", "de").Version().Stored.Header.Get("Age") != "5" {
					t.Error("what is known of it is lost")
				}
				s.evicted()
			}
			if s.find("k", "de") == was {
				t.Fatal("it was not evicted")
			}
			outdated := was.Version().Stored
			outdated.Invalid = true
			was.Refresh(t.Context(), outdated)
			if !s.find("k", "de").Version().Stored.Invalid {
				t.Error("one that came back before is served as it was")
			}
			s.evicted()
			if !s.find("k", "de").Version().Stored.Invalid {
				t.Error("one that comes back is served as it was")
			}
			s.evicted()
			s.find("k", "de")
			was.Withdraw(t.Context())
			s.want("k", "de", "other")
			s.want("k", "fr", "fr")
			s.crash()
			s.want("k", "de", "other")
			s.want("k", "fr", "fr")
		})
	}
}

// RFC 9111 §4.1: the most recent of those that answer, wherever they are.
func TestDiskVariantsCompete(t *testing.T) {
	s := newShelves(t)
	put(t, s.Cache, "k", "for all", "")
	put(t, s.Cache, "k", "de", "de")
	for range 2 {
		s.want("k", "en", "for all")
		s.want("k", "de", "de")
		s.evicted()
		s.want("k", "en", "for all")
		s.want("k", "de", "de")
		s.settled()
		s.restart()
		s.want("k", "en", "for all") // and this alone is in memory then
		put(t, s.Cache, "k", "fr", "fr")
		s.want("k", "de", "de")
	}
	s.evicted()
	s.want("k", "en", "for all")
	s.find("k", "de").Withdraw(t.Context())
	s.want("k", "de", "for all")
}

// slow is a disk that reads bodies when it may.
type slow struct {
	*index.Bodies
	reads atomic.Int32
	may   chan struct{}
}

func (s *slow) Get(key []byte) ([]byte, error) {
	if strings.HasPrefix(string(key), "b/") {
		s.reads.Add(1)
		<-s.may
	}
	return s.Bodies.Get(key)
}

// However many want what is on the disk, it is read once.
func TestDiskReadsOnce(t *testing.T) {
	const clients = 50
	s := newShelves(t)
	put(t, s.Cache, "k", "body", "")
	s.evicted()
	disk := &slow{Bodies: s.store, may: make(chan struct{})}
	s.disk.Store = disk
	var wg, about sync.WaitGroup
	about.Add(clients)
	for range clients {
		wg.Go(func() {
			about.Done()
			s.want("k", "", "body")
		})
	}
	about.Wait()
	for deadline := time.Now().Add(30 * time.Second); disk.reads.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := s.Coming(); got != 4 {
		t.Errorf("%d bytes are on their way", got)
	}
	close(disk.may)
	wg.Wait()
	if n := disk.reads.Load(); n != 1 || s.Coming() != 0 {
		t.Errorf("it was read %d times; %d bytes are on their way", n, s.Coming())
	}
}

// What is not to be used without asking is not so found again, even if the next moment
// is the node's last.
func TestDiskOutdatedBeforeItIsWritten(t *testing.T) {
	s := newShelves(t)
	put(t, s.Cache, "k", "body", "")
	s.settled()
	c := New(Config{Size: 1 << 20, Store: s.store}) // nothing is written: nobody runs it
	o, _ := c.Find("k", nil, &rules)
	outdated := o.Version().Stored
	outdated.Invalid = true
	o.Refresh(t.Context(), outdated)
	s.crash()
	s.want("k", "", "-")
}

// What was written when the clock was ahead has no age.
func TestDiskOfAnotherTime(t *testing.T) {
	s := newShelves(t)
	put(t, s.Cache, "k", "body", "")
	s.evicted()
	s.disk.now = func() time.Time { return time.Now().Add(-time.Hour) }
	if o := s.find("k", ""); !o.Version().Stored.Invalid {
		t.Error("it is taken for fresh")
	}
}

// A body that went from the disk while its object was in memory is written again.
func TestDiskBodyGoes(t *testing.T) {
	s := newShelves(t)
	for name, goes := range map[string]func(*Object){
		"dropped":      s.disk.dropVariant,
		"turned twice": func(*Object) { s.disk.turns.Add(2); s.store.Clear() },
	} {
		put(t, s.Cache, "k", "body", "")
		s.settled()
		o := s.find("k", "")
		goes(o)
		o.Refresh(t.Context(), o.Version().Stored)
		s.evicted()
		if got := found(s.Cache, "k", nil); got != "body" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// foundMeanwhile finds k each time before something is taken from the disk.
type foundMeanwhile struct {
	Store
	find   func()
	begins atomic.Bool
}

func (f *foundMeanwhile) Delete(flush bool, keys ...[]byte) error {
	if f.begins.Load() {
		f.find()
	}
	return f.Store.Delete(flush, keys...)
}

func (f *foundMeanwhile) Clear() error {
	if f.begins.Load() {
		f.find()
	}
	return f.Store.Clear()
}

// What comes back from the disk while it is being forgotten does not stay.
func TestNothingComesBackMeanwhile(t *testing.T) {
	s := newShelves(t)
	found := &foundMeanwhile{Store: s.disk.Store, find: func() { s.Find("k", nil, &rules) }}
	s.disk.Store = found // before anything is written
	for name, goes := range map[string]func(*Object){
		"purged":     func(*Object) { s.Forget("k") },
		"distrusted": func(*Object) { s.ForgetAll() },
		"withdrawn":  func(o *Object) { o.Withdraw(t.Context()) },
		"invalid": func(o *Object) {
			s := o.Version().Stored
			s.Invalid = true
			o.Refresh(t.Context(), s)
		},
	} {
		put(t, s.Cache, "k", "body", "")
		s.settled()
		o := s.find("k", "")
		s.evicted()
		found.begins.Store(true)
		goes(o)
		found.begins.Store(false)
		if now, _ := s.Find("k", nil, &rules); now != nil && !now.Version().Stored.Invalid {
			t.Errorf("%s: it is back", name)
		}
	}
}
