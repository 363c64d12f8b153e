package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// A hit of a small object costs less than what net/http does around it: it reads
// beside the handler to see the client go, and its buffer makes two packets of the
// answer. So plain requests for what is in memory are answered where net/http reads
// its connection, by one write, and it never sees them. With the first thing that is
// anything else, however odd, it has the connection for good: it alone judges what is
// strange, and all that is not a fresh hit takes its usual way.

// quickMost is the largest body that is answered in that way: a client's socket takes
// it at once.
const quickMost = 64 << 10

// Quick returns l with connections on which srv, which serves this proxy, has less to
// do.
func (p *Proxy) Quick(l net.Listener, srv *http.Server) net.Listener {
	if p.small == nil {
		return l
	}
	return &quickListener{Listener: l, p: p, srv: srv}
}

type quickListener struct {
	net.Listener
	p     *Proxy
	srv   *http.Server
	conns sync.Map // *quickConn, those that net/http has not been given
	done  atomic.Bool
}

// tcp is what a TCP connection can do, also one that counts against a limit.
type tcp interface {
	net.Conn
	io.ReaderFrom
	io.WriterTo
	CloseRead() error
	CloseWrite() error
	SetLinger(sec int) error
	SyscallConn() (syscall.RawConn, error)
}

func (l *quickListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if crowd, ok := c.(interface{ Crowded() bool }); ok && crowd.Crowded() {
		return c, nil
	}
	conn, ok := c.(tcp)
	if !ok {
		return c, nil
	}
	q := &quickConn{tcp: conn, l: l, from: c.RemoteAddr().String()}
	l.conns.Store(q, nil)
	if l.done.Load() {
		q.tcp.SetReadDeadline(past)
	}
	return q, nil
}

// Close also ends the connections that wait for a request: net/http, which calls it
// when it shuts down, would wait for a first request on them.
func (l *quickListener) Close() error {
	l.done.Store(true)
	l.conns.Range(func(q, _ any) bool {
		q.(*quickConn).tcp.SetReadDeadline(past)
		return true
	})
	return l.Listener.Close()
}

var past = time.Unix(1, 0)

// renewEvery is how often the deadline of a busy connection is set.
const renewEvery = 10 * time.Second

// quickConn is a connection as net/http sees it. Only one goroutine reads it before
// net/http has its first request, and not two at a time afterwards.
type quickConn struct {
	tcp
	l       *quickListener
	from    string
	passed  bool // net/http has it
	renewed time.Time

	answering sync.Mutex // held while an answer is written; who closes waits for that
}

// Close waits for an answer that is being written, but not for long.
func (q *quickConn) Close() error {
	q.l.conns.Delete(q)
	if !q.answering.TryLock() {
		q.SetWriteDeadline(time.Now().Add(time.Second))
		q.answering.Lock()
	}
	defer q.answering.Unlock()
	return q.tcp.Close()
}

// Read answers requests for what is in memory, and returns what is none.
func (q *quickConn) Read(b []byte) (int, error) {
	if q.passed {
		return q.tcp.Read(b)
	}
	for {
		n, err := q.tcp.Read(b)
		if err != nil {
			return n, err
		}
		r := parsePlain(b[:n])
		if r == nil {
			return n, q.pass()
		}
		r.RemoteAddr = q.from
		hit, err := q.answer(r)
		if !hit {
			return n, q.pass()
		}
		if err != nil {
			return 0, err
		}
		q.wait(time.Now())
	}
}

func (q *quickConn) answer(r *http.Request) (hit bool, err error) {
	w := &quickResponse{header: http.Header{}}
	if !q.l.p.quickHit(w, r) {
		return false, nil
	}
	q.answering.Lock()
	defer q.answering.Unlock()
	return true, w.send(q.tcp)
}

// wait gives the client time for the next request.
func (q *quickConn) wait(now time.Time) {
	if now.Sub(q.renewed) >= renewEvery {
		q.renewed = now
		q.SetReadDeadline(after(now, q.l.srv.IdleTimeout))
	}
}

// SetReadDeadline keeps a connection from waiting when the listener is closed.
func (q *quickConn) SetReadDeadline(t time.Time) error {
	err := q.tcp.SetReadDeadline(t)
	if !q.passed && q.l.done.Load() {
		return q.tcp.SetReadDeadline(past)
	}
	return err
}

// pass gives net/http the connection, and the time for the rest of a request's head
// that it grants itself.
func (q *quickConn) pass() error {
	q.passed = true
	q.l.conns.Delete(q)
	if q.renewed.IsZero() && !q.l.done.Load() {
		return nil
	}
	return q.tcp.SetReadDeadline(after(time.Now(), q.l.srv.ReadHeaderTimeout))
}

// after is a deadline, of a timeout as an http.Server has it: 0 is none.
func after(now time.Time, d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// quickHit answers r if that needs nothing but a fresh small object, as ServeHTTP
// would; else nothing has happened.
func (p *Proxy) quickHit(w http.ResponseWriter, r *http.Request) bool {
	if p.cache == nil || p.passing() || p.admit(r) != nil || p.checkForm(r) != nil || strings.EqualFold(r.URL.Hostname(), swarmcache.PutHost) {
		return false
	}
	req := policy.Request{Method: r.Method, URL: r.URL, Header: r.Header}
	route := p.rules().Route(req)
	if route.Kind != policy.Swarm {
		return false
	}
	o, selected := p.small.Find(route.Key, r.Header, &route.Cache)
	if !selected || !o.Complete() {
		return false
	}
	ver := o.Version()
	route = p.rules().AtResponse(route, ver.Stored.Status, ver.Stored.Header, ver.Length)
	switch {
	case route.Kind != policy.Swarm, ver.Length > quickMost:
		return false
	case route.Store.Probe, ver.Stored.Guarded: // the origin may have to be asked about this client
		return false
	case hasPreconditions(r.Header) && policy.Respond(req, &ver.Stored, ver.Length).Status == 0:
		return false
	}
	d := route.Cache.Decide(req, &ver.Stored, p.cfg.Now())
	if d.Action != policy.Serve {
		return false
	}
	x := p.begin(w, r.WithContext(p.ctx))
	defer p.end(x)
	x.url = route.FetchURL
	v := &visit{exchange: x, req: req, route: route, key: route.Key, seen: p.seen.use(route.Key), claim: func() {}}
	p.serveStored(v, o, d)
	return true
}

// quickResponse is the http.ResponseWriter of a quick hit.
type quickResponse struct {
	header http.Header
	status int
	body   []byte
}

func (w *quickResponse) Header() http.Header { return w.header }

func (w *quickResponse) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *quickResponse) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body == nil {
		w.body = b[:len(b):len(b)] // an object's, which does not change
	} else {
		w.body = append(w.body, b...)
	}
	return len(b), nil
}

var quickBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// send writes the response, all at once.
func (w *quickResponse) send(c net.Conn) error {
	w.WriteHeader(http.StatusOK)
	if len(w.header["Date"]) == 0 {
		w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	b := quickBuffers.Get().(*bytes.Buffer)
	defer quickBuffers.Put(b)
	b.Reset()
	b.WriteString("HTTP/1.1 ")
	b.WriteString(strconv.Itoa(w.status))
	b.WriteByte(' ')
	b.WriteString(http.StatusText(w.status))
	b.WriteString("\r\n")
	w.header.Write(b) // a Buffer fails at nothing
	b.WriteString("\r\n")
	b.Write(w.body)
	_, err := c.Write(b.Bytes())
	return err
}

const (
	crlf  = "\r\n"
	blank = "\r\n\r\n"
)

// parsePlain returns the request if b is one GET for a proxy and nothing else, in no
// other form than clients send it.
func parsePlain(b []byte) *http.Request {
	if !bytes.HasPrefix(b, []byte("GET http://")) || !bytes.HasSuffix(b, []byte(blank)) || len(b) < len(blank) {
		return nil
	}
	line, rest, _ := strings.Cut(string(b), crlf)
	target, is := strings.CutSuffix(line[len("GET "):], " HTTP/1.1")
	if !is || !isPlain(target) {
		return nil
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Host == "" || u.User != nil {
		return nil
	}
	h, hosts := make(http.Header, 8), 0
	for rest != crlf {
		field, more, found := strings.Cut(rest, crlf)
		name, value, colon := strings.Cut(field, ":")
		if !found || !colon {
			return nil
		}
		rest = more
		value = strings.Trim(value, " \t")
		if !isText(value) {
			return nil
		}
		switch name = plainField(name); name {
		case "":
			return nil
		case "Host":
			if hosts++; !isHost(value) {
				return nil
			}
		case "Connection", "Proxy-Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return nil
			}
			h[name] = append(h[name], value)
		default:
			h[name] = append(h[name], value)
		}
	}
	if hosts != 1 {
		return nil
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, RequestURI: target, Header: h, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// plainField returns the canonical name of a field that a plain request may have; "":
// it is net/http's to judge.
func plainField(name string) string {
	for _, known := range [...]string{
		"Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Connection", "Proxy-Connection",
		"Cache-Control", "Pragma", "Referer", "If-None-Match", "If-Modified-Since",
	} {
		if len(name) == len(known) && strings.EqualFold(name, known) {
			return known
		}
	}
	return ""
}

// isPlain reports whether s may be a target: net/http would take it as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// isHost reports whether s may be a host, with a port or without, in the letters that
// most have: net/http judges others.
func isHost(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_-[]") == ""
}

// isText reports whether s is printable ASCII.
func isText(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c >= 0x7f) && c != '\t' {
			return false
		}
	}
	return true
}
