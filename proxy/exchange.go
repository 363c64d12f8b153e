package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"shatabdi/proxy/origin"
)

// How a request ended; also the metric's label and a word of the access log.
const (
	outcomeHit         = "hit"
	outcomeMiss        = "miss"
	outcomeRevalidated = "revalidated"
	outcomeStale       = "stale"
	outcomeBypass      = "bypass"
	outcomeCollapsed   = "collapsed"
)

// Where most of the body came from.
const (
	sourceNone   = "none" // we made it up: an error
	sourceLocal  = "local"
	sourceSwarm  = "swarm"
	sourceOrigin = "origin"
	sourceTunnel = "tunnel"
)

// exchange is one request on its way through the proxy. One goroutine at a
// time owns it.
type exchange struct {
	id      string
	w       *recorder
	r       *http.Request // as received
	url     *url.URL      // to fetch from
	start   time.Time
	outcome string
	bytes   sourceBytes // of the response's body
	failure string      // the error type of the answer we made up, or why the body ended early
	err     error

	// respond sees the origin's response before anything of it is passed on. An
	// instead error takes the exchange over; any other one fails it.
	respond func(*http.Response) error
	// prepare changes the request that goes out.
	prepare func(*http.Request)
	// failed may answer when the origin does not, and reports whether it did.
	failed func(error) bool

	sent     sending // what its answer is of
	detached bool    // the end is somebody else's to call
	inside   *inside // who asks, if that is this daemon itself
}

// sourceBytes are bytes of bodies by where they came from.
type sourceBytes struct{ local, swarm, origin, tunnel int64 }

func (b sourceBytes) main() string {
	name, most := sourceNone, int64(0)
	for _, s := range []struct {
		name string
		n    int64
	}{{sourceOrigin, b.origin}, {sourceSwarm, b.swarm}, {sourceLocal, b.local}, {sourceTunnel, b.tunnel}} {
		if s.n > most {
			name, most = s.name, s.n
		}
	}
	return name
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

func (p *Proxy) begin(w http.ResponseWriter, r *http.Request) *exchange {
	p.metrics.inFlight.Inc()
	x := &exchange{
		id:      newID(),
		w:       newRecorder(w, r),
		start:   p.cfg.Now(),
		outcome: outcomeBypass,
	}
	x.inside, _ = w.(*inside)
	x.r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	return x
}

// end is deferred by ServeHTTP. A panic with ErrAbortHandler comes through here
// on its way to net/http, which then breaks the framing of the response.
func (p *Proxy) end(x *exchange) {
	v := recover()
	switch {
	case x.failure != "":
	case x.w.gone, v == http.ErrAbortHandler: // and no reading has failed
		x.failure = string(origin.KindCanceled)
	case v != nil:
		x.failure = "proxy_internal_error"
	}
	if v == http.ErrAbortHandler && x.w.old {
		x.w.reset()
	}
	if !x.detached { // else it is another's by now
		x.sent.end(x.w.bytes, p.cfg.Now())
		p.finish(x)
	}
	if v != nil {
		panic(v)
	}
}

// finish counts and logs what x has become.
func (p *Proxy) finish(x *exchange) {
	defer p.metrics.inFlight.Dec()
	b, source := x.bytes, x.bytes.main()
	p.metrics.requests.WithLabelValues(x.outcome, source).Inc()
	p.metrics.clientBytes.WithLabelValues(sourceLocal).Add(float64(b.local))
	p.metrics.clientBytes.WithLabelValues(sourceSwarm).Add(float64(b.swarm))
	p.metrics.clientBytes.WithLabelValues(sourceOrigin).Add(float64(b.origin))
	if x.failure != "" {
		p.metrics.errors.WithLabelValues(x.failure).Inc()
	}
	if p.cfg.AccessLog == nil {
		return
	}
	attrs := []slog.Attr{
		slog.String("client", x.r.RemoteAddr),
		slog.String("method", x.r.Method),
		slog.String("host", x.r.Host),
		slog.String("path", x.r.URL.Path),
		slog.Int("status", x.w.status),
		slog.String("outcome", x.outcome),
		slog.String("source", source),
		slog.Int64("bytes", x.w.bytes),
		slog.Group("from", "local", b.local, "swarm", b.swarm, "origin", b.origin),
		slog.Duration("duration", p.cfg.Now().Sub(x.start)),
		slog.String("id", x.id),
	}
	if x.r.URL.RawQuery != "" {
		attrs = append(attrs, slog.String("query", "redacted")) // it may be a signature
	}
	if x.failure != "" {
		attrs = append(attrs, slog.String("error_type", x.failure))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	p.cfg.AccessLog.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// recorder notes what the client was sent. It can hold a head back until the
// first byte of the body is there, so that until then another answer is possible.
type recorder struct {
	http.ResponseWriter
	old     bool // the client speaks HTTP/1.0
	expects bool // 100 (Continue), which net/http sends when the body is read
	holding bool
	status  int
	bytes   int64 // of the body
	readErr error // why ReadFrom's source ended early
	gone    bool  // the client took no more
}

func newRecorder(w http.ResponseWriter, r *http.Request) *recorder {
	return &recorder{
		ResponseWriter: w, old: !r.ProtoAtLeast(1, 1),
		expects: r.ContentLength != 0 && strings.EqualFold(r.Header.Get("Expect"), "100-continue"),
	}
}

func (w *recorder) WriteHeader(status int) {
	switch {
	case status < 200 && w.old && status != http.StatusSwitchingProtocols:
		return // RFC 9110 §15.2: none to HTTP/1.0
	case status == http.StatusContinue && w.expects:
		return // the transport now reads the body: one is enough
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status == 0 {
		w.status = status
	}
	if w.old && status >= 200 {
		w.Header().Set("Connection", "close") // RFC 9112 §9.3
	}
	if !w.holding {
		w.ResponseWriter.WriteHeader(status)
	}
}

// hold keeps the next head back.
func (w *recorder) hold() { w.holding = true }

// release sends a head that was held back.
func (w *recorder) release() {
	if w.holding {
		w.holding = false
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// drop forgets a head that was held back for a body that never began, and
// reports whether there was one. Any other head is released.
func (w *recorder) drop() bool {
	if w.holding && w.readErr != nil {
		w.holding, w.status = false, 0
		clear(w.Header())
		return true
	}
	w.release()
	return false
}

func (w *recorder) Write(b []byte) (int, error) {
	w.release()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	w.gone = w.gone || err != nil
	return n, err
}

// ReadFrom copies src to the client: a file by sendfile, anything else as it
// comes. http.ServeContent does not tell how its copying ended; readErr does.
func (w *recorder) ReadFrom(src io.Reader) (n int64, err error) {
	if l, ok := src.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			want := l.N
			n, err = w.ResponseWriter.(io.ReaderFrom).ReadFrom(src)
			w.bytes += n
			w.gone = w.gone || err != nil
			if err == nil && n < want {
				w.readErr = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	buf, giveBack := bufferFor(src)
	defer giveBack()
	flush := http.NewResponseController(w.ResponseWriter).Flush
	for {
		m, rerr := src.Read(buf)
		if m > 0 {
			k, werr := w.Write(buf[:m])
			n += int64(k)
			if werr != nil {
				return n, werr
			}
			flush() // the next byte may be long in coming
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			w.readErr = rerr
			return n, rerr
		}
	}
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reset ends the connection with RST. An HTTP/1.0 client knows the end of a
// body without a length by the end of the connection, so that must not look
// like a clean one.
func (w *recorder) reset() {
	conn, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return
	}
	// A wrapped connection, as a limit on connections makes it, can do so too.
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// buffers are shared by everything that copies bodies; wide ones are for what may
// come at the speed of a disk. Of those there are few: a client that takes its time
// keeps its buffer all that while, and there may be thousands.
var (
	buffers = bufferPool{size: 32 << 10}
	wide    = bufferPool{size: 256 << 10}
	wideUse = make(chan struct{}, 64)
)

// bufferFor returns a buffer to copy src with, until it is given back.
func bufferFor(src io.Reader) (buf []byte, giveBack func()) {
	if l, ok := src.(*io.LimitedReader); ok {
		if _, ok := l.R.(*content); ok {
			select {
			case wideUse <- struct{}{}:
				buf = wide.Get()
				return buf, func() { wide.Put(buf); <-wideUse }
			default:
			}
		}
	}
	buf = buffers.Get()
	return buf, func() { buffers.Put(buf) }
}

type bufferPool struct {
	size int
	pool sync.Pool
}

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, p.size)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
