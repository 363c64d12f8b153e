package swarm_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
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
	flag.Parse()
	flag.Set("test.parallel", "6") // they wait for slow origins most of the time
	goleak.VerifyTestMain(m,
		// The engine's own, started once for the process.
		goleak.IgnoreTopFunction("github.com/anacrolix/torrent.(*Torrent).initDeferUpdateComplete"),
	)
}

// site is an origin with one object. It counts the body bytes it sends.
type site struct {
	*httptest.Server
	data    []byte
	etag    atomic.Pointer[string]
	sent    atomic.Int64
	gets    atomic.Int64
	busy    atomic.Int64  // requests being answered
	peak    atomic.Int64  // the most of them at a time
	latency time.Duration // that is known of it
	limit   *rate.Limiter // bytes a second, all responses together; nil: none
	taken   chan struct{} // closed when a body that breaks was read to there; may be nil
	// serve replaces the usual answer.
	serve func(w http.ResponseWriter, r *http.Request)
}

func newSite(t *testing.T, size int) *site {
	s := &site{data: siteData(size)}
	etag := `"v1"`
	s.etag.Store(&etag)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.gets.Add(1)
		for now, peak := s.busy.Add(1), s.peak.Load(); now > peak && !s.peak.CompareAndSwap(peak, now); peak = s.peak.Load() {
		}
		defer s.busy.Add(-1)
		w = counted{w, s}
		if s.serve != nil {
			s.serve(w, r)
			return
		}
		w.Header().Set("Etag", *s.etag.Load())
		http.ServeContent(w, r, "obj.bin", time.Time{}, bytes.NewReader(s.data))
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // aborted bodies are part of the play
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func siteData(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
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

func (c counted) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

// Latency implements swarmcache.Origin.
func (s *site) Latency() time.Duration { return s.latency }

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
	dir     *cachetest.Directories
	nodes   []*labNode
	started int
	tracker atomic.Pointer[string]          // announce URL; nil: none
	size    int64                           // of each node's cache; 0: no bound
	budget  int                             // streams from an origin, of all nodes; 0: the default
	upload  int64                           // bytes a second that each node gives; 0: no limit
	scrub   int64                           // bytes a second that each node reads back
	zone    func(i int) (zone, rack string) // of node i; nil: none
	haste   float64                         // how many times faster the clock of nodes started from now on runs; 0: as it is

	mu    sync.Mutex
	addrs map[swarmcache.NodeID]netip.AddrPort // what the tracker knows
}

type labNode struct {
	*swarmcache.Cache
	id    swarmcache.NodeID
	swarm *swarm.Swarm
	index *cachetest.Index
	files string
	wire  *mortal
	stop  func()
}

func newLab(t *testing.T, n int) *lab {
	l := &lab{}
	l.add(t, n)
	return l
}

// add starts n more nodes.
func (l *lab) add(t *testing.T, n int) {
	if l.dir == nil {
		l.dir, l.addrs = cachetest.NewDirectory(), map[swarmcache.NodeID]netip.AddrPort{}
	}
	for range n {
		l.started++
		l.nodes = append(l.nodes, l.start(t, l.started-1, cachetest.NewIndex(), t.TempDir()))
	}
}

// forgetAll wipes the directory, for nodes that start from now on.
func (l *lab) forgetAll(t *testing.T) {
	l.dir = nil
	l.add(t, 0)
}

// restart stops node i and starts it again over what is on its disk.
func (l *lab) restart(t *testing.T, i int) {
	n := l.nodes[i]
	n.stop()
	l.nodes[i] = l.start(t, i, n.index.Reopen(), n.files)
}

func (l *lab) start(t *testing.T, i int, index *cachetest.Index, dir string) *labNode {
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", i)
	id := swarmcache.NodeID(fmt.Sprintf("node-%02d", i))
	zone, rack := "", ""
	if l.zone != nil {
		zone, rack = l.zone(i)
	}
	s, err := swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: id, Zone: zone, Rack: rack, Logger: logger,
		Secret: secret, Tracker: l.trackerURL, UploadLimit: l.upload,
	})
	if err != nil {
		t.Fatal(err)
	}
	self := swarmcache.Node{ID: id, Zone: zone, Rack: rack, Peers: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.Port()))}}
	l.mu.Lock()
	l.addrs[id] = self.Peers[0]
	l.mu.Unlock()
	wire := &mortal{Directory: l.dir.Node(self)}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: dir, Index: index, Directory: wire, Swarm: s, Node: self, Logger: logger, Size: l.size, ClusterHostStreams: l.budget, Now: hasty(l.haste),
		ScrubRate: l.scrub, ScrubEvery: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &labNode{Cache: c, id: id, swarm: s, index: index, files: dir, wire: wire}
	n.stop = sync.OnceFunc(func() { c.Close(); s.Close() })
	t.Cleanup(n.stop)
	return n
}

var labStart = time.Now()

// hasty is a clock that runs so many times faster.
func hasty(times float64) func() time.Time {
	if times == 0 {
		times = 1
	}
	return func() time.Time {
		return labStart.Add(time.Duration(float64(time.Since(labStart)) * times))
	}
}

// patient is the haste of nodes that must not lose patience, and ask the origin,
// only because this machine is slow.
const patient = 0.05

func secret() []byte { return make([]byte, 32) }

// die stops a node as kill -9 does: it gives nothing back and says no goodbye.
func (n *labNode) die() {
	n.wire.dead.Store(true)
	n.stop()
}

// mortal is a node's way to the directory, until it dies. So many times it does
// not answer who comes to a board.
type mortal struct {
	swarmcache.Directory
	dead    atomic.Bool
	lag     atomic.Int64 // how late the answers to landings come, in nanoseconds
	refuses atomic.Int32
	cut     atomic.Bool // it does not answer who looks up, claims or opens
	claims  atomic.Int64
}

func (m *mortal) Lookup(ctx context.Context, key policy.Key) (*swarmcache.Version, *swarmcache.FillRecord, error) {
	if m.cut.Load() {
		return nil, nil, swarmcache.ErrUnavailable
	}
	return m.Directory.Lookup(ctx, key)
}

func (m *mortal) ClaimFirst(ctx context.Context, key policy.Key) (release func(), fresh bool, err error) {
	if m.cut.Load() {
		return nil, false, swarmcache.ErrUnavailable
	}
	return m.Directory.ClaimFirst(ctx, key)
}

func (m *mortal) OpenFill(ctx context.Context, r swarmcache.FillRecord, spans ...int) (swarmcache.FillRecord, swarmcache.Board, error) {
	if m.cut.Load() {
		return swarmcache.FillRecord{}, nil, swarmcache.ErrUnavailable
	}
	r, b, err := m.Directory.OpenFill(ctx, r, spans...)
	if b == nil {
		return r, nil, err
	}
	return r, mortalBoard{b, m}, err
}

func (m *mortal) JoinFill(ctx context.Context, r swarmcache.FillRecord) (swarmcache.Board, error) {
	if m.refuses.Add(-1) >= 0 {
		return nil, swarmcache.ErrUnavailable
	}
	b, err := m.Directory.JoinFill(ctx, r)
	return mortalBoard{b, m}, err
}

type mortalBoard struct {
	swarmcache.Board
	m *mortal
}

func (b mortalBoard) Claim(ctx context.Context, spans []swarmcache.SpanRecord) ([]bool, error) {
	b.m.claims.Add(int64(len(spans)))
	return b.Board.Claim(ctx, spans)
}

func (b mortalBoard) Land(ctx context.Context, span int, hashes []byte) error {
	if b.m.dead.Load() {
		return swarmcache.ErrUnavailable
	}
	err := b.Board.Land(ctx, span, hashes)
	select {
	case <-time.After(time.Duration(b.m.lag.Load())):
		return err
	case <-ctx.Done():
		return swarmcache.ErrUnavailable
	}
}

func (b mortalBoard) Release(ctx context.Context, spans ...int) error {
	if b.m.dead.Load() {
		return swarmcache.ErrUnavailable
	}
	return b.Board.Release(ctx, spans...)
}

func (b mortalBoard) Leave(ctx context.Context) error {
	if b.m.dead.Load() {
		return swarmcache.ErrUnavailable
	}
	return b.Board.Leave(ctx)
}

func (s *site) key() policy.Key { return policy.Key(s.URL + "/obj.bin") }

// times is how often the origin sent the object, in bytes.
func (s *site) times() float64 { return float64(s.sent.Load()) / float64(len(s.data)) }

// get downloads the object through a node as a proxy would.
func (n *labNode) get(ctx context.Context, s *site) (*swarmcache.Object, error) {
	key := s.key()
	for {
		obj, err := n.Lookup(ctx, key, s)
		if err == nil {
			return obj, nil
		}
		release, there, err := n.ClaimFirst(ctx, key, s, func(policy.Stored) bool { return true })
		var other *swarmcache.ClaimedError
		if errors.As(err, &other) {
			continue
		}
		if there != nil {
			return there, nil
		}
		if err != nil {
			return nil, err
		}
		defer release()
		// What was a miss may have been filled before the claim was ours.
		if obj, err := n.Lookup(ctx, key, s); err == nil {
			return obj, nil
		}
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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

// allFor is all, for which the origin sends the object that many times at most.
func (l *lab) allFor(t *testing.T, s *site, most float64) {
	t.Helper()
	l.all(t, s)
	t.Logf("origin %.3f x", s.times())
	if s.times() > most {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// fill waits for the fill of s to be on the directory.
func (l *lab) fill(t *testing.T, s *site) (r swarmcache.FillRecord) {
	t.Helper()
	waitFor(t, func() bool {
		_, f, err := l.dir.Node(swarmcache.Node{ID: "onlooker"}).Lookup(t.Context(), s.key())
		if err == nil && f != nil {
			r = *f
		}
		return err == nil && f != nil
	})
	return r
}

// open opens the fill of s without wanting anything of it.
func (l *lab) open(t *testing.T, s *site) swarmcache.FillRecord {
	t.Helper()
	v := s.version(http.Header{"Etag": {*s.etag.Load()}}, int64(len(s.data)))
	obj, err := l.nodes[0].Fill(t.Context(), v, true, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	obj.Close()
	return l.fill(t, s)
}

// infoHash is what the directory says of s, or "".
func (l *lab) infoHash(s *site) string {
	v, _, err := l.dir.Node(swarmcache.Node{ID: "onlooker"}).Lookup(context.Background(), s.key())
	if err != nil || v == nil || v.InfoHash.IsZero() {
		return ""
	}
	return v.InfoHash.String()
}

// ghost takes part in a fill by the directory alone: it has no bytes.
func (l *lab) ghost(t *testing.T, r swarmcache.FillRecord) swarmcache.Board {
	t.Helper()
	b, err := l.dir.Node(swarmcache.Node{ID: "ghost"}).JoinFill(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hashes are the true hashes of a span.
func (s *site) hashes(r swarmcache.FillRecord, span int) (l []byte) {
	plan := r.Plan()
	for p := plan.Span(span).From; p < plan.Span(span).To; p++ {
		b := plan.Piece(int(p))
		sum := sha1.Sum(s.data[b.From:b.To])
		l = append(l, sum[:]...)
	}
	return l
}

// breaks makes the whole body end after n bytes, so that the rest is fetched in
// ranges, which h answers, or the usual way when it returns false.
func (s *site) breaks(n int, h func(w http.ResponseWriter, r *http.Request) bool) {
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		switch {
		case r.Header.Get("Range") == "":
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
			w.Write(s.data[:n])
			if s.taken != nil { // a reset would discard what is not read yet
				w.(counted).Flush()
				<-s.taken
			}
			panic(http.ErrAbortHandler)
		case !h(w, r):
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
		}
	}
}

// patience is for a slow machine, on which everything comes to pass in the end.
const patience = 3 * time.Minute

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}
