package swarmcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/layout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is an origin that needs no network.
type memory struct {
	name string
	data []byte
}

func newMemory(name string, size int) memory {
	m := memory{name, make([]byte, size)}
	rand.NewChaCha8([32]byte{byte(len(name))}).Read(m.data)
	return m
}

func (memory) Latency() time.Duration { return 0 }

func (m memory) Get(_ context.Context, r layout.Range, _ string) (*http.Response, error) {
	return &http.Response{
		StatusCode: 206, Header: http.Header{"Etag": {`"1"`}, "Content-Range": {fmt.Sprintf("bytes %d-%d/%d", r.From, r.To-1, len(m.data))}},
		Body: io.NopCloser(bytes.NewReader(m.data[r.From:r.To])),
	}, nil
}

func (m memory) version() swarmcache.Version {
	return swarmcache.Version{
		Key: policy.Key(m.name), URL: "http://origin/" + m.name, Length: int64(len(m.data)), Validator: `"1"`,
		Stored: policy.Stored{Status: 200, Header: http.Header{"Etag": {`"1"`}}, ResponseTime: time.Now()},
	}
}

func open(t *testing.T, size int64) *swarmcache.Cache { return openAt(t, size, time.Now) }

func openAt(t *testing.T, size int64, now func() time.Time) *swarmcache.Cache {
	return openCounting(t, size, now, nil)
}

func openCounting(t *testing.T, size int64, now func() time.Time, reg prometheus.Registerer) *swarmcache.Cache {
	self := swarmcache.Node{ID: "me"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: cachetest.NewDirectory().Node(self), Node: self, Size: size, Now: now, Registerer: reg,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// fill brings the whole of m into c and returns an open handle.
func fill(t *testing.T, c *swarmcache.Cache, m memory) *swarmcache.Object {
	t.Helper()
	obj, err := c.Fill(t.Context(), m.version(), true, io.NopCloser(bytes.NewReader(m.data)), m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := read(t, obj)
	if err != nil || !bytes.Equal(b, m.data) {
		t.Fatalf("%s: %d bytes, %v", m.name, len(b), err)
	}
	// Its transfer has ended when the catalogue says so.
	eventually(t, func() bool { r, err := c.Record(obj.Version().ID); return err == nil && r.Complete })
	return obj
}

func read(t *testing.T, obj *swarmcache.Object) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := obj.NewReader(ctx, 0, obj.Version().Length)
	defer r.Close()
	return io.ReadAll(r)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}

func here(c *swarmcache.Cache, m memory) bool {
	obj, err := c.Local(policy.Key(m.name), m)
	if err != nil {
		return false
	}
	defer obj.Close()
	return obj.Complete()
}

// What nobody used again goes first; what is pinned or in use stays; what then does
// not fit is refused with its body unread.
func TestEviction(t *testing.T) {
	var later atomic.Int64
	reg := prometheus.NewRegistry()
	c := openCounting(t, 20<<20, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }, reg)
	a, b, d, e := newMemory("a", 8<<20), newMemory("bb", 8<<20), newMemory("ddd", 8<<20), newMemory("eeee", 8<<20)
	for _, m := range []memory{a, b} {
		obj := fill(t, c, m)
		obj.Close()
		eventually(t, func() bool { return swarmcache.Users(c, obj.Version().ID) == 0 }) // its transfer has let go
	}
	later.Store(int64(time.Minute))
	here(c, a) // used again
	held, err := c.Fill(t.Context(), d.version(), true, nil, d)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if got, err := read(t, held); err != nil || !bytes.Equal(got, d.data) {
		t.Fatal(err)
	}
	if here(c, b) || !here(c, a) {
		t.Fatalf("kept what nobody used again: a %v, b %v", here(c, a), here(c, b))
	}
	obj, err := c.Local(policy.Key(a.name), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetPinned(obj.Version().ID, true); err != nil {
		t.Fatal(err)
	}
	obj.Close()
	body := strings.NewReader("untouched")
	if _, err := c.Fill(t.Context(), e.version(), true, io.NopCloser(body), e); !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Fatalf("error %v with a pinned and a used object; want ErrNoSpace", err)
	}
	if n := counted(t, reg, "shatabdi_objects_without_room_total"); n == 0 {
		t.Error("no metric says so")
	}
	if body.Len() != len("untouched") {
		t.Error("the refused body was read")
	}
	eventually(t, held.Complete)
	if !here(c, a) || !here(c, d) {
		t.Error("something pinned or in use went")
	}
}

// Who holds an object keeps its bytes when it goes, also for sendfile.
func TestOpenAfterEviction(t *testing.T) {
	c := open(t, 0)
	m := newMemory("a", 8<<20)
	obj := fill(t, c, m)
	defer obj.Close()
	if err := c.Forget(obj.Version().ID); err != nil {
		t.Fatal(err)
	}
	next, err := c.Fill(t.Context(), m.version(), true, nil, m) // the same id and path, and nothing there
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	f, err := obj.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, m.data) {
		t.Errorf("%d bytes after the eviction, %v", len(b), err)
	}
}

// A full disk is an end, not a hang; the object does not stay.
func TestDiskFull(t *testing.T) {
	c := open(t, 0)
	m := newMemory("a", 8<<20)
	obj, err := c.Fill(t.Context(), m.version(), true, nil, m)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if err := swarmcache.FillDisk(obj); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, obj); !errors.Is(err, swarmcache.ErrFillEnded) {
		t.Errorf("error %v, want ErrFillEnded", err)
	}
	eventually(t, func() bool { _, err := c.Record(obj.Version().ID); return errors.Is(err, swarmcache.ErrNotFound) })
}

// The same for what peers send.
func TestDiskFullForPeers(t *testing.T) {
	c := open(t, 0)
	m := newMemory("a", 8<<20)
	obj, err := c.Fill(t.Context(), m.version(), true, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if err := swarmcache.FillDisk(obj); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { _, err := read(t, obj); ended <- err }()
	if _, err := swarmcache.FileOf(obj).WriteChunk(3, m.data[:1000], 0); err == nil {
		t.Error("written to a full disk")
	}
	if err := <-ended; !errors.Is(err, swarmcache.ErrFillEnded) {
		t.Errorf("error %v, want ErrFillEnded", err)
	}
}

// A flush that failed is not made good by a later one that succeeds.
func TestFailedFlushIsNeverBelieved(t *testing.T) {
	v := newMemory("a", 8<<20).version()
	v.PieceLen = layout.PieceLenFor(v.Length)
	v.Identify()
	f, err := swarmcache.OpenFile(filepath.Join(t.TempDir(), "f"), v, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	if first, second := swarmcache.BreakFlush(f); first == nil || second == nil {
		t.Errorf("flushes: %v, %v", first, second)
	}
}

func TestSpool(t *testing.T) {
	c := open(t, 20<<20)
	m := newMemory("a", 3<<20)
	write := func(name string, n int) *swarmcache.Spool {
		v := m.version()
		v.Key, v.Length, v.Validator = policy.Key(name), 0, ""
		s := c.Spool(v)
		if _, err := s.Write(m.data[:n]); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := write("kept", len(m.data)).Commit(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	write("aborted", len(m.data)).Abort()
	if err := write("small", 1000).Commit(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	purged := write("purged", len(m.data))
	if err := c.Withdraw(t.Context(), "purged"); err != nil {
		t.Fatal(err)
	}
	if err := purged.Commit(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	obj, err := c.Local("kept", m)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if b, err := read(t, obj); err != nil || !bytes.Equal(b, m.data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if here(c, memory{"aborted", nil}) || here(c, memory{"small", nil}) || here(c, memory{"purged", nil}) {
		t.Error("an aborted, small or purged body is an object")
	}
	s := write("large", len(m.data))
	if _, err := s.Write(make([]byte, 18<<20)); !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Errorf("a body larger than the cache: %v", err)
	}
	s.Abort()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(swarmcache.PathOf(obj))), "spool-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Ten times the pieces take ten times as long to schedule, not a hundred.
func TestSchedulingIsNotQuadratic(t *testing.T) {
	best := func(size int64) time.Duration { // the computer may be busy with other things
		fastest := time.Hour
		for range 5 {
			d, err := swarmcache.Schedule(size)
			if err != nil {
				t.Fatal(err)
			}
			fastest = min(fastest, d)
		}
		return fastest
	}
	small, large := best(25<<30), best(250<<30)
	t.Logf("25 GiB in %v, 250 GiB in %v", small, large)
	if large > 40*max(small, time.Millisecond) {
		t.Errorf("25 GiB in %v, 250 GiB in %v", small, large)
	}
}

// A sparse object of 100 GiB opens at once, and a range of it is a few spans.
func TestHugeObject(t *testing.T) {
	c := open(t, 0)
	m := zeros{100 << 30}
	began := time.Now()
	v := newMemory("huge", 0).version()
	v.Length = m.n
	obj, err := c.Fill(t.Context(), v, true, nil, m)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	r := obj.NewReader(t.Context(), 70<<30, 70<<30+1000)
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || len(b) != 1000 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("the first bytes took %v", d)
	}
}

// zeros is an origin of n zero bytes.
type zeros struct{ n int64 }

func (zeros) Latency() time.Duration { return 0 }

func (z zeros) Get(_ context.Context, r layout.Range, _ string) (*http.Response, error) {
	return &http.Response{
		StatusCode: 206, Header: http.Header{"Etag": {`"1"`}, "Content-Range": {fmt.Sprintf("bytes %d-%d/%d", r.From, r.To-1, z.n)}},
		Body: io.NopCloser(io.LimitReader(zero{}, r.Len())),
	}, nil
}

type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }
