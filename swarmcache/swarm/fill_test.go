package swarm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/layout"
	"shatabdi/swarmcache/swarm"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The engine's own, started once for the process.
		goleak.IgnoreTopFunction("github.com/anacrolix/torrent.(*Torrent).initDeferUpdateComplete"),
	)
}

// site is an origin with one object. It counts the body bytes it sends.
type site struct {
	*httptest.Server
	data  []byte
	etag  atomic.Pointer[string]
	sent  atomic.Int64
	gets  atomic.Int64
	limit *rate.Limiter // bytes a second, all responses together; nil: none
	// serve replaces the usual answer.
	serve func(w http.ResponseWriter, r *http.Request)
}

func newSite(t *testing.T, size int) *site {
	s := &site{data: make([]byte, size)}
	rand.NewChaCha8([32]byte{1}).Read(s.data)
	etag := `"v1"`
	s.etag.Store(&etag)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.gets.Add(1)
		w = counted{w, s}
		if s.serve != nil {
			s.serve(w, r)
			return
		}
		w.Header().Set("Etag", *s.etag.Load())
		http.ServeContent(w, r, "obj.bin", time.Time{}, bytes.NewReader(s.data))
	}))
	t.Cleanup(s.Close)
	return s
}

// counted counts, and keeps to the site's rate: what a faster origin has in
// flight when a stream is closed would count as sent.
type counted struct {
	http.ResponseWriter
	s *site
}

func (c counted) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		k := min(len(b), 16<<10)
		if c.s.limit != nil {
			c.s.limit.WaitN(context.Background(), k)
		}
		k, err = c.ResponseWriter.Write(b[:k])
		c.s.sent.Add(int64(k))
		n, b = n+k, b[k:]
	}
	return n, err
}

// Get implements swarmcache.Origin.
func (s *site) Get(ctx context.Context, r layout.Range, validator string) (*http.Response, error) {
	rq, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/obj.bin", nil)
	if err != nil {
		return nil, err
	}
	if !r.Empty() {
		rq.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.From, r.To-1))
		rq.Header.Set("If-Range", validator)
	}
	return s.Client().Do(rq)
}

// version is what a proxy makes of a response.
func (s *site) version(h http.Header, length int64) swarmcache.Version {
	return swarmcache.Version{
		Key: policy.Key(s.URL + "/obj.bin"), URL: s.URL + "/obj.bin", Length: length, Validator: h.Get("Etag"),
		Stored: policy.Stored{Status: 200, Header: h, ResponseTime: time.Now()},
	}
}

// lab is a cluster in one process: real engines, real files, real HTTP.
type lab struct {
	dir   *cachetest.Directories
	nodes []*labNode
}

type labNode struct {
	*swarmcache.Cache
	swarm *swarm.Swarm
	index *cachetest.Index
	stop  func()
}

func newLab(t *testing.T, n int) *lab {
	l := &lab{dir: cachetest.NewDirectory()}
	for i := range n {
		l.nodes = append(l.nodes, l.start(t, i, cachetest.NewIndex(), t.TempDir()))
	}
	return l
}

func (l *lab) start(t *testing.T, i int, index *cachetest.Index, dir string) *labNode {
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", i)
	secret := make([]byte, 32)
	id := swarmcache.NodeID(fmt.Sprintf("node-%02d", i))
	s, err := swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: id, Logger: log,
		Secret: func() []byte { return secret }, Tracker: func() string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	self := swarmcache.Node{ID: id, Peers: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.Port()))}}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: dir, Index: index, Directory: l.dir.Node(self), Swarm: s, Node: self, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &labNode{Cache: c, swarm: s, index: index}
	n.stop = sync.OnceFunc(func() { c.Close(); s.Close() })
	t.Cleanup(n.stop)
	return n
}

// get downloads the object through a node as a proxy would.
func (n *labNode) get(ctx context.Context, s *site) (*swarmcache.Object, error) {
	key := policy.Key(s.URL + "/obj.bin")
	for {
		obj, err := n.Lookup(ctx, key, s)
		if err == nil {
			return obj, nil
		}
		release, err := n.ClaimFirst(ctx, key)
		var other *swarmcache.ClaimedError
		if errors.As(err, &other) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer release()
		resp, err := s.Get(context.WithoutCancel(ctx), layout.Range{}, "")
		if err != nil {
			return nil, err
		}
		return n.Fill(ctx, s.version(resp.Header, resp.ContentLength), resp.Header.Get("Accept-Ranges") == "bytes", resp.Body, s)
	}
}

func (n *labNode) download(ctx context.Context, s *site) ([]byte, error) {
	obj, err := n.get(ctx, s)
	if err != nil {
		return nil, err
	}
	defer obj.Close()
	r := obj.NewReader(ctx, 0, obj.Version().Length)
	defer r.Close()
	return io.ReadAll(r)
}

// all downloads on every node at once and verifies.
func (l *lab) all(t *testing.T, s *site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	want := sha256.Sum256(s.data)
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		wg.Go(func() {
			b, err := n.download(ctx, s)
			if err != nil {
				t.Errorf("node %d: %v", i, err)
			} else if sha256.Sum256(b) != want {
				t.Errorf("node %d: wrong bytes (%d of %d)", i, len(b), len(s.data))
			}
		})
	}
	wg.Wait()
}

func TestOneNodeFillsAndHits(t *testing.T) {
	s := newSite(t, 20<<20+12345)
	l := newLab(t, 1)
	l.all(t, s)
	if n := s.sent.Load(); n != int64(len(s.data)) {
		t.Errorf("the origin sent %d bytes of %d", n, len(s.data))
	}
	gets := s.gets.Load()
	l.all(t, s)
	if s.gets.Load() != gets {
		t.Error("the second download asked the origin")
	}
}

func TestEightNodesReadTheOriginOnce(t *testing.T) {
	s := newSite(t, 32<<20)
	s.limit = rate.NewLimiter(16<<20, 64<<10)
	l := newLab(t, 8)
	l.all(t, s)
	if x := float64(s.sent.Load()) / float64(len(s.data)); x > 1.05 {
		t.Errorf("the origin sent %.3f x the object", x)
	}
	t.Logf("%+v, origin %.3f x in %d GETs", l.dir.Counts(), float64(s.sent.Load())/float64(len(s.data)), s.gets.Load())
}

func TestOriginWithoutRanges(t *testing.T) {
	s := newSite(t, 8<<20)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"x"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		w.Write(s.data)
	}
	l := newLab(t, 3)
	l.all(t, s)
	if x := float64(s.sent.Load()) / float64(len(s.data)); x > 1.05 {
		t.Errorf("the origin sent %.3f x the object", x)
	}
}

func TestOriginLiesAboutRanges(t *testing.T) {
	s := newSite(t, 8<<20)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Etag", `"x"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		io.Copy(w, bytes.NewReader(s.data))
	}
	newLab(t, 3).all(t, s)
}

func TestOriginWithoutValidator(t *testing.T) {
	s := newSite(t, 8<<20)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		io.Copy(w, bytes.NewReader(s.data))
	}
	l := newLab(t, 3)
	l.all(t, s)
	if x := float64(s.sent.Load()) / float64(len(s.data)); x > 1.05 {
		t.Errorf("the origin sent %.3f x the object", x)
	}
}

func TestLateJoinerFromSeeders(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 2)
	l.all(t, s)
	// The directory learns of the sealed object soon.
	waitFor(t, func() bool {
		v, _, err := l.dir.Node(swarmcache.Node{ID: "x"}).Lookup(t.Context(), policy.Key(s.URL+"/obj.bin"))
		return err == nil && v != nil && !v.InfoHash.IsZero()
	})
}

func TestRestartResumesAndHits(t *testing.T) {
	s := newSite(t, 8<<20)
	l := &lab{dir: cachetest.NewDirectory()}
	index, dir := cachetest.NewIndex(), t.TempDir()
	n := l.start(t, 0, index, dir)
	l.nodes = []*labNode{n}
	l.all(t, s)
	n.stop()
	sent := s.sent.Load()
	l.dir = cachetest.NewDirectory() // nothing is remembered but what is on disk
	l.nodes[0] = l.start(t, 0, index.Reopen(), dir)
	l.all(t, s)
	if s.sent.Load() != sent {
		t.Error("a complete object was fetched again after a restart")
	}
}

func TestDirectoryAway(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 2)
	l.dir.SetAvailable(false)
	l.all(t, s)
}

func TestChangedDuringFill(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 1)
	// The first body breaks half-way; by then there is another version.
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		tag := `"old"`
		if r.Header.Get("Range") != "" {
			tag = `"new"`
		}
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Etag", tag)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		w.Write(s.data[:len(s.data)/2])
		panic(http.ErrAbortHandler)
	}
	s.Config.ErrorLog = nil
	b, err := l.nodes[0].download(t.Context(), s)
	if !errors.Is(err, swarmcache.ErrFillEnded) {
		t.Fatalf("%d bytes, %v; want ErrFillEnded", len(b), err)
	}
	if !bytes.Equal(b, s.data[:len(b)]) {
		t.Error("wrong bytes before the end")
	}
	if !strings.Contains(err.Error(), swarmcache.EndChanged) {
		t.Errorf("error %q does not say why", err)
	}
}

func TestBrokenBodyIsResumed(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 1)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v"`)
		if r.Header.Get("Range") == "" {
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
			w.Write(s.data[:3<<20])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
	}
	l.all(t, s)
}

func TestRangeFillsItsOwnSpans(t *testing.T) {
	s := newSite(t, 64<<20)
	l := newLab(t, 1)
	h := http.Header{"Etag": {`"v1"`}}
	obj, err := l.nodes[0].Fill(t.Context(), s.version(h, int64(len(s.data))), true, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	from, to := int64(40<<20+7), int64(41<<20)
	r := obj.NewReader(t.Context(), from, to)
	b, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(b, s.data[from:to]) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	r.Close()
	if n := s.sent.Load(); n > 8<<20 {
		t.Errorf("the origin sent %d bytes for a range of 1 MiB", n)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}
