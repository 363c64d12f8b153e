package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster/embedded"
)

// Clocks that are seconds or minutes apart change nothing: the same requests, each to
// another node, get the same answers as from one node whose clock is right, and the
// origin is asked as often. The clock of the first, which leads at first, is 5 s ahead
// of the origin's.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	var one, three []string
	t.Run("play", func(t *testing.T) {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			one = playOnClocks(t, 0)
		})
		t.Run("three", func(t *testing.T) {
			t.Parallel()
			three = playOnClocks(t, 5*time.Second, -5*time.Minute, 5*time.Minute)
		})
	})
	if len(one) != len(three) {
		t.Fatalf("%d and %d steps", len(one), len(three))
	}
	for n, want := range one {
		if three[n] != want {
			t.Errorf("clocks apart: %s\n     one node: %s", three[n], want)
		}
	}
}

// clockLab are daemons that take their time from one clock, each with its own error.
type clockLab struct {
	t     *testing.T
	ahead atomic.Int64 // what has passed that nobody waited for
	nodes []*clockNode

	mu      sync.Mutex // guards the fields below
	version int        // of what the origin has now
	down    bool
	asked   string // of the origin, since the last step: w for the whole, c with a condition
}

type clockNode struct {
	*daemon
	stop func()
}

func (l *clockLab) now() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) }

// ServeHTTP is the origin, whose clock is right. The query is the Cache-Control.
func (l *clockLab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, tag := w.Header(), fmt.Sprintf(`"%d"`, l.version)
	h.Set("Etag", tag)
	h.Set("Cache-Control", r.URL.Query().Get("cc"))
	h["Date"] = []string{httpheader.FormatDate(l.now())}
	if strings.HasPrefix(r.URL.Path, "/undated") {
		h["Date"] = nil
	}
	switch {
	case l.down:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.Header.Get("If-None-Match") == tag:
		l.asked += "c"
		w.WriteHeader(http.StatusNotModified)
		return
	}
	l.asked += "w"
	h.Set("Content-Length", strconv.Itoa(len(clockBody(l.version))))
	w.Write(clockBody(l.version))
}

func clockBody(version int) []byte { return bytes.Repeat([]byte{byte('0' + version)}, 64<<10) }

// playOnClocks plays the story on as many nodes as there are clocks, and returns what
// happened.
func playOnClocks(t *testing.T, clocks ...time.Duration) (story []string) {
	l := &clockLab{t: t, version: 1}
	origin := httptest.NewServer(l)
	defer origin.Close()
	etcd, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Stop()
	<-etcd.Ready()
	for _, set := range clocks {
		l.start(etcd.Endpoints(), set)
		l.agree() // before the next comes, so that the first leads
	}
	defer func() {
		for _, n := range l.nodes {
			n.stop()
		}
	}()
	node := func(i int) *clockNode { return l.nodes[i%len(l.nodes)] }
	// get has a node answer, and tells what the client and the origin saw.
	get := func(i int, path, cc string) {
		t.Helper()
		status, age, body := l.get(node(i), origin.URL+path+"?cc="+url.QueryEscape(cc))
		l.mu.Lock()
		defer l.mu.Unlock()
		story = append(story, fmt.Sprintf("%2d %s: %d %s, %s old, origin %q", len(story), path, status, body, age, l.asked))
		l.asked = ""
	}
	pass := func(d time.Duration) { l.ahead.Add(int64(d)) }
	change := func(version int) { l.mu.Lock(); l.version = version; l.mu.Unlock() }
	fail := func(down bool) { l.mu.Lock(); l.down = down; l.mu.Unlock() }
	behind := func(what string) { // what the origin is asked behind a client's back
		t.Helper()
		l.eventually("the origin is asked "+what, func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()

			return l.asked == what
		})
		l.mu.Lock()
		l.asked = ""
		l.mu.Unlock()
	}

	// Fresh, expired, revalidated once for all.
	for i, path := range []string{"/dated", "/undated"} {
		const cc = "max-age=60"
		get(i, path, cc)
		get(i+1, path, cc)
		pass(30 * time.Second)
		get(i+2, path, cc)
		pass(40 * time.Second)
		get(i+1, path, cc)
		get(i+2, path, cc)
		get(i, path, cc)
	}
	// Stale while it is revalidated, and no more.
	const swr = "max-age=10, stale-while-revalidate=30"
	get(1, "/swr", swr)
	pass(20 * time.Second)
	get(2, "/swr", swr)
	if !strings.HasSuffix(story[len(story)-1], `"c"`) {
		behind("c")
	}
	story[len(story)-1], _, _ = strings.Cut(story[len(story)-1], ", origin")
	l.eventually("all are told", func() bool { return l.fresh(node(2), origin.URL+"/swr?cc="+url.QueryEscape(swr)) })
	get(0, "/swr", swr)
	pass(60 * time.Second)
	get(2, "/swr", swr)
	// Stale if there is an error, and no more.
	const sie = "max-age=10, stale-if-error=60"
	get(2, "/sie", sie)
	pass(20 * time.Second)
	fail(true)
	get(0, "/sie", sie)
	get(1, "/sie", sie)
	pass(90 * time.Second)
	get(0, "/sie", sie)
	get(1, "/sie", sie)
	fail(false)
	// A new version, told by clocks that are ahead, and then by clocks that are behind.
	for i, path := range []string{"/changed", "/undated-changed", "/changed-again", "/undated-changed-again"} {
		const cc = "max-age=60"
		change(1)
		get(i, path, cc)
		get(i+1, path, cc)
		pass(61 * time.Second)
		change(2)
		get(i+2, path, cc)
		get(i+1, path, cc)
		get(i, path, cc)
	}
	// A purge.
	for i, path := range []string{"/purged", "/purged-again", "/undated-purged"} {
		const cc = "max-age=3600"
		change(1)
		get(i, path, cc)
		get(i+1, path, cc)
		get(i+2, path, cc)
		change(2)
		l.purge(node(i+1), origin.URL+path+"?cc="+url.QueryEscape(cc))
		get(i+2, path, cc)
		get(i+1, path, cc)
		get(i, path, cc)
	}
	// Another leads, whose clock is another. Nothing becomes older or younger.
	const cc = "max-age=60"
	get(0, "/led", cc)
	l.leaderStepsDown()
	pass(30 * time.Second)
	get(1, "/led", cc)
	get(2, "/led", cc)
	pass(31 * time.Second)
	get(2, "/led", cc)
	get(1, "/led", cc)
	// The first leader dies while others fetch.
	if len(l.nodes) > 1 {
		l.nodes[0].stop()
		l.nodes = l.nodes[1:]
		l.agree()
	}
	get(1, "/led", cc)
	get(0, "/last", cc)
	get(1, "/last", cc)
	return story
}

func (l *clockLab) start(etcd []string, set time.Duration) {
	cfg := testConfig(l.t)
	cfg.Etcd.Endpoints = etcd
	cfg.Node.Advertise = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	cfg.Proxy.AllowDestination = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	cfg.Cache.SwarmThreshold = 0
	d := newDaemon(cfg, quiet)
	d.now = func() time.Time { return l.now().Add(set) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.serve(ctx) }()
	n := &clockNode{d, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
	})}
	l.nodes = append(l.nodes, n)
	l.eventually("the daemon is up", func() bool { return d.parts.Load() != nil && d.ready.report().Ready })
}

// agree waits until all know each other's clocks, by whoever leads now.
func (l *clockLab) agree() {
	l.t.Helper()
	l.eventually("the clocks are compared", func() bool {
		scale := ""
		for _, n := range l.nodes {
			p := n.parts.Load()
			url, _, _ := p.cluster.Leader()
			r := p.clock.Read()
			if url == "" || r.Scale == "" || scale != "" && r.Scale != scale {
				return false
			}
			scale = r.Scale
		}
		return true
	})
}

func (l *clockLab) leaderStepsDown() {
	l.t.Helper()
	if len(l.nodes) == 1 {
		return
	}
	leader := func() (string, *clockNode) {
		for _, n := range l.nodes {
			if url, _, self := n.parts.Load().cluster.Leader(); self {
				return url, n
			}
		}
		return "", nil
	}
	was, n := leader()
	if n == nil {
		l.t.Fatal("nobody leads")
	}
	if err := n.parts.Load().cluster.StepDown(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.eventually("another leads", func() bool {
		url, _ := leader()
		return url != "" && url != was
	})
	l.agree()
}

func (l *clockLab) client(n *clockNode) *http.Client {
	proxy := &url.URL{Scheme: "http", Host: n.proxyAddr}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
}

// get returns the status, the age in tens of seconds, and which version the body is.
func (l *clockLab) get(n *clockNode, target string) (status int, age, body string) {
	l.t.Helper()
	res, err := l.client(n).Get(target)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	body = "nothing"
	for version := 1; version <= 2; version++ {
		if bytes.Equal(all, clockBody(version)) {
			body = fmt.Sprint("version ", version)
		}
	}
	seconds, _ := time.ParseDuration("0" + res.Header.Get("Age") + "s")
	return res.StatusCode, (seconds + time.Second).Truncate(10 * time.Second).String(), body
}

// keyOf is under what a node looks target up.
func (n *clockNode) keyOf(target string) policy.Key {
	u, _ := url.Parse(target)
	return n.rules.Load().Route(policy.Request{Method: http.MethodGet, URL: u}).Key
}

// fresh reports whether the directory tells a node of a response that is not stale.
func (l *clockLab) fresh(n *clockNode, target string) bool {
	v, _, err := n.parts.Load().cluster.Lookup(l.t.Context(), n.keyOf(target))
	return err == nil && v != nil && policy.CurrentAge(v.Stored, n.now()) < 10*time.Second
}

// purge orders one, and waits until all have obeyed it.
func (l *clockLab) purge(n *clockNode, target string) {
	l.t.Helper()
	req, _ := http.NewRequest("PURGE", target, nil)
	res, err := l.client(n).Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	res.Body.Close()
	l.eventually("the purge is obeyed", func() bool {
		for _, n := range l.nodes {
			if obj, err := n.parts.Load().cache.Local(n.keyOf(target), nil); err == nil {
				obj.Close()
				return false
			}
		}
		_, _, err := n.parts.Load().cluster.Lookup(l.t.Context(), n.keyOf(target))
		return errors.Is(err, swarmcache.ErrNotFound)
	})
}

func (l *clockLab) eventually(what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatal("not within 30 s: " + what)
		}
	}
}
