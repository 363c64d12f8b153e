package swarmcache_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/layout"
)

// slowIndex is a catalogue whose writes wait while the disk is busy.
type slowIndex struct {
	*cachetest.Index
	disk sync.RWMutex // locked: busy
}

func (x *slowIndex) Put(r swarmcache.Record) error {
	x.disk.RLock()
	defer x.disk.RUnlock()
	return x.Index.Put(r)
}

func (x *slowIndex) SetCurrent(key policy.Key, id swarmcache.ObjectID) error {
	x.disk.RLock()
	defer x.disk.RUnlock()
	return x.Index.SetCurrent(key, id)
}

func (x *slowIndex) Delete(id swarmcache.ObjectID) error {
	x.disk.RLock()
	defer x.disk.RUnlock()
	return x.Index.Delete(id)
}

// slowDirectory is a directory that takes its time to open fills.
type slowDirectory struct {
	swarmcache.Directory
	opening sync.RWMutex // locked: none is opened
	opened  atomic.Bool  // one was
}

func (d *slowDirectory) OpenFill(ctx context.Context, r swarmcache.FillRecord, spans ...int) (swarmcache.FillRecord, swarmcache.Board, error) {
	d.opening.RLock()
	defer d.opening.RUnlock()
	defer d.opened.Store(true)
	return d.Directory.OpenFill(ctx, r, spans...)
}

// hold locks mu until the function returned is called, or the test ends.
func hold(t *testing.T, mu *sync.RWMutex) (free func()) {
	mu.Lock()
	free = sync.OnceFunc(mu.Unlock)
	t.Cleanup(free)
	return free
}

func openWith(t *testing.T, id swarmcache.NodeID, x swarmcache.Index, d swarmcache.Directory, size int64) *swarmcache.Cache {
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: x, Directory: d, Node: swarmcache.Node{ID: id}, Size: size,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// begin opens the fill of m with its body.
func begin(t *testing.T, c *swarmcache.Cache, m memory) *swarmcache.Object {
	t.Helper()
	obj, err := c.Fill(t.Context(), m.version(), true, io.NopCloser(bytes.NewReader(m.data)), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(obj.Close)
	return obj
}

func wantBytes(t *testing.T, obj *swarmcache.Object, m memory) {
	t.Helper()
	if b, err := read(t, obj); err != nil || !bytes.Equal(b, m.data) {
		t.Fatalf("%s: %d bytes, %v", m.name, len(b), err)
	}
}

// A client is held up by no write to the catalogue: not that of its object, and not
// for long by those that forget what must go for it.
func TestReadersDoNotWaitForTheCatalogue(t *testing.T) {
	x := &slowIndex{Index: cachetest.NewIndex()}
	c := openWith(t, "me", x, cachetest.NewDirectory().Node(swarmcache.Node{ID: "me"}), 12<<20)
	a, b := newMemory("a", 8<<20), newMemory("bb", 8<<20)
	fill(t, c, a).Close()
	var obj *swarmcache.Object
	var err error
	var free func()
	eventually(t, func() bool { // once a's transfer has let go
		free = hold(t, &x.disk)
		if obj, err = c.Fill(t.Context(), b.version(), true, io.NopCloser(bytes.NewReader(b.data)), b); err != nil {
			free()
		}
		return err == nil
	})
	defer obj.Close()
	wantBytes(t, obj, b)
	if here(c, a) || !here(c, b) {
		t.Errorf("a is here: %v; b: %v", here(c, a), here(c, b))
	}
	if _, err := x.Get(obj.Version().ID); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("the catalogue was written: %v", err)
	}
	free()
	eventually(t, func() bool {
		r, err := x.Get(obj.Version().ID)
		id, _ := x.Current(policy.Key(b.name))
		return err == nil && r.Complete && id == obj.Version().ID
	})
	if _, err := x.Current(policy.Key(a.name)); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("what was evicted is still in the catalogue: %v", err)
	}
}

// What comes again while it is still being forgotten gets a file and a record of
// its own.
func TestFilledAgainWhileForgotten(t *testing.T) {
	x := &slowIndex{Index: cachetest.NewIndex()}
	c := openWith(t, "me", x, cachetest.NewDirectory().Node(swarmcache.Node{ID: "me"}), 0)
	m := newMemory("a", 8<<20)
	old := fill(t, c, m)
	old.Close()
	free := hold(t, &x.disk)
	forgotten := make(chan error, 1)
	go func() { forgotten <- c.Forget(old.Version().ID) }()
	eventually(t, func() bool { return !here(c, m) })
	again := make(chan *swarmcache.Object, 1)
	go func() {
		obj, err := c.Fill(t.Context(), m.version(), true, io.NopCloser(bytes.NewReader(m.data)), m)
		if err != nil {
			t.Error(err)
		}
		again <- obj
	}()
	free()
	if err := <-forgotten; err != nil {
		t.Error(err)
	}
	obj := <-again
	if obj == nil {
		t.FailNow()
	}
	defer obj.Close()
	wantFirst(t, obj, m)
	eventually(t, func() bool {
		r, err := c.Record(obj.Version().ID)
		id, _ := x.Current(policy.Key(m.name))
		return err == nil && !r.Complete && id == obj.Version().ID
	})
	if _, err := os.Stat(swarmcache.PathOf(obj)); err != nil {
		t.Error(err)
	}
}

// wantFirst reads the first bytes.
func wantFirst(t *testing.T, obj *swarmcache.Object, m memory) {
	t.Helper()
	r := obj.NewReader(t.Context(), 0, obj.Version().Length)
	defer r.Close()
	b := make([]byte, 1000)
	if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, m.data[:len(b)]) {
		t.Fatalf("the first bytes of %s: %v", m.name, err)
	}
}

// A catalogue that takes no record is no reason to keep bytes from a client.
func TestServedWhenTheCatalogueIsFull(t *testing.T) {
	x := cachetest.NewIndex()
	c := openWith(t, "me", x, cachetest.NewDirectory().Node(swarmcache.Node{ID: "me"}), 0)
	m := newMemory("a", 8<<20)
	x.Fail(swarmcache.ErrNoSpace)
	obj := begin(t, c, m)
	wantBytes(t, obj, m)
	eventually(t, func() bool { return !here(c, m) })
}

// Nor is one that takes no more of them while a body comes; but what it cannot know of
// is forgotten, and not left on a full disk.
func TestForgottenWhenTheCatalogueGetsFull(t *testing.T) {
	x := &filling{Index: cachetest.NewIndex()}
	c := openWith(t, "me", x, cachetest.NewDirectory().Node(swarmcache.Node{ID: "me"}), 0)
	m := newMemory("a", 8<<20)
	body, origin := io.Pipe()
	defer origin.Close()
	obj, err := c.Fill(t.Context(), m.version(), false, body, m)
	must(t, err)
	defer obj.Close()
	got := make(chan error)
	go func() {
		_, err := read(t, obj)
		got <- err
	}()
	_, err = origin.Write(m.data[:5<<20])
	must(t, err)
	eventually(t, func() bool { return x.Writes() > 1 }) // of what it is, and what is here
	x.full.Store(true)
	go origin.Write(m.data[5<<20 : 7<<20])
	if err := <-got; !errors.Is(err, swarmcache.ErrFillEnded) {
		t.Errorf("%v", err)
	}
	obj.Close()
	eventually(t, func() bool { return c.Stats().Objects == 0 })
}

// filling takes no more records once it is full, and forgets all the same.
type filling struct {
	*cachetest.Index
	full atomic.Bool
}

func (x *filling) Put(r swarmcache.Record) error {
	if x.full.Load() {
		return swarmcache.ErrNoSpace
	}
	return x.Index.Put(r)
}

// Under a claim on the first GET bytes flow before the directory has the fill;
// who waits for the claim waits until it does, and then finds the fill.
func TestClaimIsTheVerdict(t *testing.T) {
	dirs := cachetest.NewDirectory()
	slow := &slowDirectory{Directory: dirs.Node(swarmcache.Node{ID: "a"})}
	a := openWith(t, "a", cachetest.NewIndex(), slow, 0)
	b := openWith(t, "b", cachetest.NewIndex(), dirs.Node(swarmcache.Node{ID: "b"}), 0)
	m := newMemory("a", 8<<20)
	key := policy.Key(m.name)
	open := hold(t, &slow.opening)
	release, _, err := a.ClaimFirst(t.Context(), key, m, whatever)
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		_, _, err := b.ClaimFirst(t.Context(), key, m, whatever)
		waited <- err
	}()
	obj := begin(t, a, m)
	release()
	wantFirst(t, obj, m)
	select {
	case err := <-waited:
		t.Fatalf("did not wait for the fill's record: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	open()
	wantBytes(t, obj, m)
	var taken *swarmcache.ClaimedError
	if err := <-waited; !errors.As(err, &taken) {
		t.Fatal(err)
	}
	other, err := b.Lookup(t.Context(), key, m)
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
}

// Without a claim no byte is read before the directory's word on who opens.
func TestNoByteBeforeTheVerdict(t *testing.T) {
	slow := &slowDirectory{Directory: cachetest.NewDirectory().Node(swarmcache.Node{ID: "a"})}
	a := openWith(t, "a", cachetest.NewIndex(), slow, 0)
	m := newMemory("a", 8<<20)
	open := hold(t, &slow.opening)
	body := bytes.NewReader(m.data)
	filled := make(chan *swarmcache.Object, 1)
	go func() {
		obj, err := a.Fill(t.Context(), m.version(), true, io.NopCloser(body), m)
		if err != nil {
			t.Error(err)
		}
		filled <- obj
	}()
	select {
	case <-filled:
		t.Error("did not wait for the verdict")
	case <-time.After(20 * time.Millisecond):
	}
	if body.Len() != len(m.data) {
		t.Error("read before the verdict")
	}
	open()
	if obj := <-filled; obj != nil {
		defer obj.Close()
		wantBytes(t, obj, m)
	}
}

// After a fill that ended a claim does not tell what the next one is called.
func TestClaimAfterAFillThatEnded(t *testing.T) {
	dir := cachetest.NewDirectory().Node(swarmcache.Node{ID: "a"})
	a := openWith(t, "a", cachetest.NewIndex(), dir, 0)
	m := newMemory("a", 8<<20)
	v := identified(m)
	r, board, err := dir.OpenFill(t.Context(), swarmcache.FillRecord{Version: v, MaxSpan: 4, Opener: "b"})
	if err != nil {
		t.Fatal(err)
	}
	r.Ended = swarmcache.EndPoisoned
	if err := board.Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	release, _, err := a.ClaimFirst(t.Context(), v.Key, m, whatever)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	obj := begin(t, a, m)
	wantBytes(t, obj, m)
	if got := obj.Version().Attempt; got != 1 {
		t.Errorf("attempt %d, want the second", got)
	}
}

// halting is an origin whose ranges halt after some bytes, until the test ends.
type halting struct {
	memory
	after int64
	done  <-chan struct{}
}

func (h halting) Get(ctx context.Context, r layout.Range, validator string) (*http.Response, error) {
	res, err := h.memory.Get(ctx, r, validator)
	rest := res.Body
	res.Body = io.NopCloser(io.MultiReader(io.LimitReader(rest, h.after), until(h.done), rest))
	return res, err
}

// until is a reader that has nothing, and ends when a channel is closed.
type until <-chan struct{}

func (u until) Read([]byte) (int, error) { <-u; return 0, io.EOF }

// The opener's body waits until somebody has read a range. The first piece of the
// first one is told at once, so that it does not wait for long.
func TestFirstRangeIsToldAtOnce(t *testing.T) {
	dirs := cachetest.NewDirectory()
	m := newMemory("a", 32<<20)
	v := identified(m)
	rec, opener, err := dirs.Node(swarmcache.Node{ID: "a"}).OpenFill(t.Context(), swarmcache.FillRecord{Version: v, MaxSpan: 4, Opener: "a"}, 0, 1, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	b := openWith(t, "b", cachetest.NewIndex(), dirs.Node(swarmcache.Node{ID: "b"}), 0)
	done := make(chan struct{})
	defer close(done) // before b is closed
	obj, err := b.Lookup(t.Context(), v.Key, halting{m, v.PieceLen + 1000, done})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	r := obj.NewReader(t.Context(), 0, v.Length)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var told []byte
	opener.Watch(ctx, func(e swarmcache.BoardEvent) {
		if e.Span != nil && e.Span.Owner == "b" && len(e.Span.Hashes) > 0 {
			told = e.Span.Hashes
			plan := rec.Plan()
			if at := plan.Piece(int(plan.Span(e.Span.Span).From)); !bytes.Equal(told, sha1Of(m.data[at.From:at.To])) {
				t.Errorf("span %d: another hash than that of its first piece", e.Span.Span)
			}
			cancel()
		}
	})
	if told == nil {
		t.Error("nothing was told before the range was over")
	}
}

func sha1Of(b []byte) []byte { sum := sha1.Sum(b); return sum[:] }

// A fill that is forgotten before its record stands is not found afterwards.
func TestForgottenBeforeItsRecordStands(t *testing.T) {
	directories := cachetest.NewDirectory()
	d := &slowDirectory{Directory: directories.Node(swarmcache.Node{ID: "a"})}
	a := openWith(t, "a", cachetest.NewIndex(), d, 0)
	m := newMemory("m", 4<<20)
	key := policy.Key(m.name)
	release, _, err := a.ClaimFirst(t.Context(), key, m, whatever)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	stand := hold(t, &d.opening)
	body, more := io.Pipe() // it goes on until the end of the test
	defer more.Close()
	obj, err := a.Fill(t.Context(), m.version(), true, body, m)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if err := a.Withdraw(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	stand()
	eventually(t, func() bool {
		_, fill, err := d.Lookup(t.Context(), key)
		return d.opened.Load() && (errors.Is(err, swarmcache.ErrNotFound) || err == nil && fill == nil)
	})
}

// whatever stands is wanted.
func whatever(policy.Stored) bool { return true }
