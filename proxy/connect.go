package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elazarl/goproxy"
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/proxy/origin"
)

// newTunnel returns the door to goproxy, with its traps shut: its transport
// skips TLS verification and obeys the environment, its dialer is read from the
// environment too, and it talks to stderr. It only ever sees CONNECT, so its
// certificate authority, whose key is public, is never used.
func (p *Proxy) newTunnel() *goproxy.ProxyHttpServer {
	g := goproxy.NewProxyHttpServer()
	g.Logger = slog.NewLogLogger(p.log.Handler(), slog.LevelDebug)
	g.Tr = &http.Transport{DialContext: p.origin.DialContext}
	g.ConnectDial = nil
	g.ConnectDialWithReq = func(r *http.Request, _, _ string) (net.Conn, error) {
		return r.Context().Value(tunnelKey{}).(*tunnel).far, nil
	}
	return g
}

// connect opens a tunnel. The connection is made before goproxy hears of the
// request, so that a failure is answered like any other.
func (p *Proxy) connect(x *exchange) {
	r := x.r
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		p.fail(x, refused(http.StatusBadRequest, "http_request_error", "CONNECT wants host:port"))
		return
	}
	if n, err := strconv.Atoi(port); err != nil || !slices.Contains(p.cfg.ConnectPorts, n) {
		p.fail(x, refused(http.StatusForbidden, "http_request_denied",
			fmt.Sprintf("tunnels lead to ports %v only, not to %s", p.cfg.ConnectPorts, port)))
		return
	}
	if origin.ViaHas(r.Header, p.origin.Node()) {
		p.fail(x, &origin.Error{Kind: origin.KindLoop, Host: r.Host, Err: fmt.Errorf("CONNECT has passed here before")})
		return
	}
	far, err := p.origin.DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		p.fail(x, err)
		return
	}
	near, rw, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		far.Close()
		p.fail(x, err)
		return
	}
	x.detached, x.w.status = true, http.StatusOK
	t := p.openTunnel(x, near, rw.Reader, far)
	p.tunnel.ServeHTTP(tunnelWriter{x.w, t}, r.WithContext(context.WithValue(r.Context(), tunnelKey{}, t)))
}

type tunnelKey struct{}

// tunnelWriter gives goproxy the client's connection when it hijacks it.
type tunnelWriter struct {
	http.ResponseWriter
	t *tunnel
}

func (w tunnelWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.t.near, nil, nil }

// tunnel is one accepted CONNECT. goproxy moves the bytes, one direction after
// the other may end (half-close); the tunnel counts, and cuts both sides when
// nothing moves any more or the proxy closes.
type tunnel struct {
	p         *Proxy
	x         *exchange
	near, far *tunnelEnd   // to the client, to the destination
	last      atomic.Int64 // Unix nanoseconds of the last byte
	open      atomic.Int32 // ends not yet closed
	idle      *time.Timer
	unbind    func() bool
}

func (p *Proxy) openTunnel(x *exchange, near net.Conn, early *bufio.Reader, far net.Conn) *tunnel {
	p.tunnels.Add(1)
	p.metrics.tunnels.Inc()
	p.metrics.tunnelsOpen.Inc()
	t := &tunnel{p: p, x: x}
	// A client need not wait for our 200 before it speaks.
	sent := io.MultiReader(io.LimitReader(early, int64(early.Buffered())), near)
	t.near = &tunnelEnd{Conn: near, r: sent, t: t, total: p.metrics.tunnelBytes.WithLabelValues("from_client")}
	t.far = &tunnelEnd{Conn: far, r: far, t: t, total: p.metrics.tunnelBytes.WithLabelValues("to_client")}
	t.open.Store(2)
	t.last.Store(time.Now().UnixNano())
	t.idle = time.AfterFunc(p.cfg.TunnelIdle, t.checkIdle)
	t.unbind = context.AfterFunc(p.ctx, t.cut)
	return t
}

// checkIdle runs when the tunnel may have been quiet for long enough.
func (t *tunnel) checkIdle() {
	quiet := time.Since(time.Unix(0, t.last.Load()))
	if left := t.p.cfg.TunnelIdle - quiet; left > 0 {
		t.idle.Reset(left)
		return
	}
	t.cut()
}

func (t *tunnel) cut() {
	t.near.Close()
	t.far.Close()
}

// ended is called once for each end.
func (t *tunnel) ended() {
	if t.open.Add(-1) > 0 {
		return
	}
	t.idle.Stop()
	t.unbind()
	t.x.w.bytes = t.far.bytes.Load()
	t.x.bytes.tunnel = t.far.bytes.Load()
	t.p.metrics.tunnelsOpen.Dec()
	t.p.finish(t.x)
	t.p.tunnels.Done()
}

// tunnelEnd is one side's connection.
type tunnelEnd struct {
	net.Conn
	r      io.Reader // Conn, after what came before its time
	t      *tunnel
	bytes  atomic.Int64 // read from this side
	total  prometheus.Counter
	closed sync.Once
}

func (e *tunnelEnd) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	e.bytes.Add(int64(n))
	e.total.Add(float64(n))
	e.t.last.Store(time.Now().UnixNano())
	return n, err
}

func (e *tunnelEnd) Close() error {
	err := e.Conn.Close()
	e.closed.Do(e.t.ended)
	return err
}

func (e *tunnelEnd) CloseWrite() error {
	if c, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return e.Close()
}

func (e *tunnelEnd) CloseRead() error {
	if c, ok := e.Conn.(interface{ CloseRead() error }); ok {
		return c.CloseRead()
	}
	return nil // its Read has seen the end
}
