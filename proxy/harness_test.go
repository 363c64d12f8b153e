package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"shatabdi/proxy/origin"
)

func TestMain(m *testing.M) {
	// net/http lingers for half a second after an answer to a bad request.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// node is a proxy on a real listener.
type node struct {
	*Proxy
	t    *testing.T
	addr string
	reg  *prometheus.Registry
	log  *syncBuffer // the access log
}

// start runs a proxy that may reach this machine, where the tests' origins are.
func start(t *testing.T, cfg Config, ocfg origin.Config) *node {
	t.Helper()
	n := &node{t: t, reg: prometheus.NewRegistry(), log: &syncBuffer{}}
	if ocfg.AllowDestinations == nil {
		ocfg.AllowDestinations = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	if ocfg.Node == "" {
		ocfg.Node = "n1"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().String()
	ocfg.Own = func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(n.addr)} }
	ocfg.Registerer = n.reg
	cfg.Registerer = n.reg
	cfg.Origin = origin.New(ocfg)
	cfg.AccessLog = slog.New(slog.NewTextHandler(n.log, nil))
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Proxy = p
	s := p.Server()
	s.ReadHeaderTimeout = 5 * time.Second
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(p.Quick(l, s)) }()
	t.Cleanup(func() {
		s.Close()
		p.Close()
		<-done
		cfg.Origin.Close()
	})
	return n
}

// client returns an http.Client that uses n as its proxy.
func (n *node) client() *http.Client {
	u, _ := url.Parse("http://" + n.addr)
	tr := &http.Transport{Proxy: http.ProxyURL(u), DisableCompression: true}
	n.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do sends a request through n and reads the whole answer.
func (n *node) do(req *http.Request) (*http.Response, string) {
	n.t.Helper()
	res, err := n.client().Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return res, string(b)
}

func (n *node) get(url string, fields ...string) (*http.Response, string) {
	n.t.Helper()
	return n.do(request(n.t, "GET", url, fields...))
}

// request makes a request with "Name: value" fields.
func request(t *testing.T, method, url string, fields ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// dial opens a bare connection to n.
func (n *node) dial() *wire {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	n.t.Cleanup(func() { conn.Close() })
	return &wire{n.t, conn, bufio.NewReader(conn)}
}

// wire is a connection seen byte by byte.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w.Conn, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

// line reads one line without its end.
func (w *wire) line() string {
	w.t.Helper()
	s, err := w.r.ReadString('\n')
	if err != nil {
		w.t.Fatalf("read a line: %v (have %q)", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

// head reads up to and with the empty line.
func (w *wire) head() string {
	w.t.Helper()
	var b strings.Builder
	for {
		s := w.line()
		if s == "" {
			return b.String()
		}
		b.WriteString(s + "\n")
	}
}

// rest reads to the end of the connection.
func (w *wire) rest() (string, error) {
	b, err := io.ReadAll(w.r)
	return string(b), err
}

// raw serves each connection with f and returns host:port.
func raw(t *testing.T, f func(w *wire)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				f(&wire{t, conn, bufio.NewReader(conn)})
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// answer serves one request with s as it stands.
func answer(s string) func(*wire) {
	return func(w *wire) {
		if _, err := http.ReadRequest(w.r); err == nil {
			io.WriteString(w.Conn, s)
		}
	}
}

func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func hostOf(u string) string { return strings.TrimPrefix(u, "http://") }

// eventually waits until ok, for at most half a minute.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// metric sums the samples of a metric whose labels hold all of want, "name=value".
func (n *node) metric(name string, want ...string) (sum float64) {
	n.t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	samples:
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			for _, w := range want {
				if !strings.Contains(" "+strings.Join(labels, " ")+" ", " "+w+" ") {
					continue samples
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
