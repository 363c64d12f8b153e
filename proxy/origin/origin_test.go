package origin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"shatabdi/swarmcache/layout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// open returns a Client that may reach this machine, as the tests' origins do.
func open(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.AllowDestinations == nil {
		cfg.AllowDestinations = loopback
	}
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

func get(t *testing.T, c *Client, u string, h http.Header) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", u, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h != nil {
		req.Header = h
	}
	return c.RoundTrip(req)
}

// raw serves each connection with f and returns the address.
func raw(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// answer reads one request head and writes s.
func answer(s string) func(net.Conn) {
	return func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, s)
	}
}

// metric returns the value of a counter or gauge without labels.
func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestFailuresHaveAKind(t *testing.T) {
	unused := raw(t, func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := l.Addr().String()
	l.Close()
	silent := raw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	defer tlsServer.Close()
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)

	const soon = 100 * time.Millisecond
	for _, tt := range []struct {
		name string
		url  string
		want Kind
		soon time.Duration // limit of the waiting; 0: more than enough
	}{
		{"nobody listens", "http://" + refusing, KindRefused, 0},
		{"name does not exist", "http://no-such-name.invalid/", KindDNS, 0},
		{"connection closed before the header", "http://" + unused, KindTerminated, 0},
		{"header never comes", "http://" + silent, KindHeaderTimeout, soon},
		{"answer is not HTTP", "http://" + raw(t, answer("SSH-2.0-hello\r\n\r\n")), KindProtocol, 0},
		{"header too large", "http://" + raw(t, answer("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2<<20)+"\r\n\r\n")), KindHeaderSize, 0},
		{"certificate of nobody we know", tlsServer.URL, KindCertificate, 0},
		{"TLS handshake never answered", "https://" + silent, KindDialTimeout, soon},
		{"no TLS there", "https://" + raw(t, answer("HTTP/1.1 200 OK\r\n\r\n")), KindTLS, 0},
		{"scheme we cannot fetch", "ftp://127.0.0.1/", KindScheme, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, Config{ResponseHeaderTimeout: tt.soon, TLSHandshakeTimeout: tt.soon})
			res, err := get(t, c, tt.url, nil)
			if err == nil {
				res.Body.Close()
				t.Fatalf("got %s, want an error", res.Status)
			}
			var e *Error
			if !errors.As(err, &e) || e.Kind != tt.want {
				t.Errorf("%v: kind %q, want %q", err, KindOf(err), tt.want)
			}
		})
	}
}

func TestClientGoneIsCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := raw(t, func(c net.Conn) { cancel(); io.Copy(io.Discard, c) })
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+at, nil)
	_, err := open(t, Config{}).RoundTrip(req)
	if KindOf(err) != KindCanceled {
		t.Errorf("%v: kind %q, want %q", err, KindOf(err), KindCanceled)
	}
}

func TestGuard(t *testing.T) {
	own := func() []netip.AddrPort {
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:3180"), netip.MustParseAddrPort("[::]:3128")}
	}
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.7.0/24")}
	for _, tt := range []struct {
		to      string
		allow   []netip.Prefix
		refused bool
	}{
		{"192.0.2.1:80", nil, false},
		{"10.1.2.3:80", nil, false},
		{"[2001:db8::1]:80", nil, false},
		{"127.0.0.1:80", nil, true},
		{"127.9.9.9:80", nil, true},
		{"[::1]:80", nil, true},
		{"[::ffff:127.0.0.1]:80", nil, true},
		{"[64:ff9b::7f00:1]:80", nil, true},
		{"[64:ff9b::a9fe:a9fe]:80", nil, true},
		{"169.254.169.254:80", nil, true},
		{"[fe80::1]:80", nil, true},
		{"[fe80::1%eth0]:80", nil, true},
		{"[fd00:ec2::254]:80", nil, true},
		{"[fd00:ec2::253]:80", nil, false},
		{"100.100.100.200:80", nil, true},
		{"0.0.0.0:80", nil, true},
		{"0.1.2.3:80", nil, true},
		{"[::]:80", nil, true},
		{"224.0.0.1:80", nil, true},
		{"[ff02::1]:80", nil, true},
		{"255.255.255.255:80", nil, true},
		{"127.0.0.1:80", allow, false},
		{"[::1]:80", allow, true},
		{"169.254.7.7:80", allow, false},
		{"169.254.169.254:80", allow, true},
		{"127.0.0.1:3180", allow, true},  // our own, though its network is allowed
		{"127.0.0.1:3128", allow, true},  // answered by our wildcard listener
		{"192.0.2.1:3128", allow, false}, // somebody else's port 3128
		{"127.0.0.2:3180", allow, false}, // another listener of this machine
	} {
		g := guard{allow: tt.allow, own: own}
		if why := g.refuses(netip.MustParseAddrPort(tt.to)); (why != "") != tt.refused {
			t.Errorf("%s with %v: refused %q, want refused %v", tt.to, tt.allow, why, tt.refused)
		}
	}
}

// A name may resolve to anything: what counts is where the kernel would connect.
func TestGuardLooksAtResolvedAddress(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := New(Config{Hosts: map[string]netip.Addr{"harmless.test": netip.MustParseAddr("127.0.0.1")}})
	defer c.Close()
	for _, host := range []string{"localhost", "127.0.0.1", "harmless.test", "[::ffff:127.0.0.1]"} {
		if _, err := get(t, c, "http://"+host+":"+port, nil); KindOf(err) != KindDenied {
			t.Errorf("%s: %v: kind %q, want %q", host, err, KindOf(err), KindDenied)
		}
	}
	if _, err := c.DialContext(t.Context(), "tcp", "localhost:"+port); KindOf(err) != KindDenied {
		t.Errorf("dial for a tunnel: %v, want %q", err, KindDenied)
	}
}

func TestHostsMapNames(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := open(t, Config{Hosts: map[string]netip.Addr{"Origin.Test": netip.MustParseAddr("127.0.0.1")}})
	res, err := get(t, c, "http://origin.test.:"+port, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "origin.test.:"+port {
		t.Errorf("Host is %q: the name must stay what the client said", b)
	}
}

func TestProxyEnvironmentIgnored(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "http://192.0.2.1:9")
	}
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	// A name, because net/http itself exempts loopback addresses from proxies.
	c := open(t, Config{Hosts: map[string]netip.Addr{"origin.test": netip.MustParseAddr("127.0.0.1")}, DialTimeout: time.Second})
	res, err := get(t, c, "http://origin.test:"+port, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

func TestRequestAsGiven(t *testing.T) {
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "not really gzip")
	}))
	defer s.Close()
	c := open(t, Config{Node: "n1"})
	given := http.Header{"X-One": {"1"}, "Via": {"1.0 fred"}}
	res, err := get(t, c, s.URL, given)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "not really gzip" || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("body %q with coding %q: not as the origin sent it", b, res.Header.Get("Content-Encoding"))
	}
	if v := got.Get("Via"); v != "1.0 fred, 1.1 n1" {
		t.Errorf("Via %q", v)
	}
	for _, name := range []string{"Accept-Encoding", "User-Agent"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s: %q was added", name, v)
		}
	}
	if given.Get("Via") != "1.0 fred" {
		t.Error("the caller's header was changed")
	}
}

func TestLoopRefused(t *testing.T) {
	c := open(t, Config{Node: "n1"})
	_, err := get(t, c, "http://127.0.0.1:1/", http.Header{"Via": {"1.1 fred, HTTP/1.1 N1 (x)"}})
	if KindOf(err) != KindLoop {
		t.Errorf("%v: want %q", err, KindLoop)
	}
}

func TestRemoveHopByHop(t *testing.T) {
	h := http.Header{
		"Connection":          {"close, X-Private", "x-also"},
		"X-Private":           {"1"},
		"X-Also":              {"1"},
		"Keep-Alive":          {"timeout=5"},
		"Proxy-Connection":    {"keep-alive"},
		"Proxy-Authorization": {"Basic xxx"},
		"Te":                  {"trailers"},
		"Transfer-Encoding":   {"chunked"},
		"Upgrade":             {"h2c"},
		"Trailer":             {"X-Sum"},
		"Authorization":       {"Bearer kept"},
		"Accept-Encoding":     {"br"},
	}
	RemoveHopByHop(h)
	if len(h) != 2 || h.Get("Authorization") == "" || h.Get("Accept-Encoding") == "" {
		t.Errorf("left: %v", h)
	}
}

func TestSourceOutlivesClientAndAsksForRanges(t *testing.T) {
	type seen struct{ rng, ifRange, auth, inm, private, via string }
	var got []seen
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		got = append(got, seen{h.Get("Range"), h.Get("If-Range"), h.Get("Authorization"), h.Get("If-None-Match"), h.Get("X-Private"), h.Get("Via")})
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL + "/a?b=c")
	h := http.Header{
		"Range": {"bytes=5-6"}, "If-None-Match": {`"x"`}, "Authorization": {"Bearer t"},
		"Connection": {"X-Private"}, "X-Private": {"1"},
	}
	c := open(t, Config{Node: "n1"})
	src := c.Source(u, h)
	h.Set("Authorization", "changed later")

	for _, ask := range []struct {
		r layout.Range
		v string
	}{{layout.Range{From: 10, To: 20}, `"v1"`}, {layout.Range{From: 0, To: 1}, ""}, {layout.Range{}, `"v1"`}} {
		res, err := src.Get(t.Context(), ask.r, ask.v)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	want := []seen{
		{"bytes=10-19", `"v1"`, "Bearer t", "", "", "1.1 n1"},
		{"bytes=0-0", "", "Bearer t", "", "", "1.1 n1"},
		{"", "", "Bearer t", "", "", "1.1 n1"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if src.URL() != s.URL+"/a?b=c" {
		t.Errorf("URL %s", src.URL())
	}
}

func TestStreamsPerHostAreBounded(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	u, _ := url.Parse(s.URL)
	reg := prometheus.NewRegistry()
	c := open(t, Config{MaxStreams: 2, Registerer: reg})
	src := c.Source(u, nil)
	var open []io.Closer
	for range 2 {
		res, err := src.Get(t.Context(), layout.Range{}, "")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, res.Body)
	}
	if n := metric(t, reg, "shatabdi_origin_streams"); n != 2 {
		t.Errorf("%v streams in the metric, want 2", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := src.Get(ctx, layout.Range{}, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("third stream: %v, want to wait for a free one", err)
	}
	open[0].Close()
	open[0].Close() // twice gives back one
	res, err := src.Get(t.Context(), layout.Range{}, "")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	open[1].Close()
	if len(c.streams.hosts) != 0 {
		t.Errorf("%d hosts remembered, want none", len(c.streams.hosts))
	}
}

func TestStalledStreamFails(t *testing.T) {
	at := raw(t, func(c net.Conn) {
		answer("HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\nhello")(c)
		io.Copy(io.Discard, c) // to the other side's end
	})
	u, _ := url.Parse("http://" + at)
	c := open(t, Config{StallTimeout: 50 * time.Millisecond, MaxStreams: 1})
	for range 2 { // the stream is given back
		res, err := c.Source(u, nil).Get(t.Context(), layout.Range{From: 0, To: 10}, "")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != "hello" || KindOf(err) != KindStalled {
			t.Errorf("got %q, %v", b, err)
		}
	}
}

// A body that stands still is given up once nobody waits for it.
func TestUnstalled(t *testing.T) {
	c := open(t, Config{StallTimeout: time.Millisecond})
	r, w := io.Pipe()
	var asked atomic.Int32
	awaited := func() bool { return asked.Add(1) < 5 }
	b := c.Unstalled(r, awaited, func() { w.CloseWithError(errStalled) })
	go io.WriteString(w, "hello")
	got, err := io.ReadAll(b)
	if string(got) != "hello" || KindOf(err) != KindStalled || asked.Load() < 5 {
		t.Errorf("got %q, %v, asked %d times", got, err, asked.Load())
	}
}

func TestFailedStreamsAreGivenBack(t *testing.T) {
	u, _ := url.Parse("http://127.0.0.1:1/")
	c := New(Config{MaxStreams: 1}) // loopback is refused
	defer c.Close()
	for range 3 {
		if _, err := c.Source(u, nil).Get(t.Context(), layout.Range{}, ""); KindOf(err) != KindDenied {
			t.Fatalf("%v: want %q", err, KindDenied)
		}
	}
}

func TestBytesCountedWhereTheyComeIn(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
	at := raw(t, answer(head+strings.Repeat("x", 1000)))
	reg := prometheus.NewRegistry()
	c := open(t, Config{Registerer: reg})
	res, err := get(t, c, "http://"+at, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if n := metric(t, reg, "shatabdi_origin_bytes_total"); n != float64(len(head)+1000) {
		t.Errorf("counted %v bytes, want %d", n, len(head)+1000)
	}
}
