package tracker

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// An announce costs 4 µs, and what net/http does around it four times as much. So
// plain announces are answered where net/http reads its connection, and it never
// sees them. With the first thing that is anything else, however odd, it has the
// connection for good: it alone judges what is strange.

// Quick returns l with connections on which srv, whose handler is this tracker,
// has less to do.
func (t *Tracker) Quick(l net.Listener, srv *http.Server) net.Listener {
	return &quickListener{Listener: l, t: t, srv: srv}
}

type quickListener struct {
	net.Listener
	t     *Tracker
	srv   *http.Server
	conns sync.Map // *quickConn, those that net/http has not been given
	done  atomic.Bool
}

func (l *quickListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	q := &quickConn{Conn: c, l: l, request: http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/announce"}, Header: http.Header{}, RemoteAddr: c.RemoteAddr().String(),
	}}
	q.response.header = http.Header{}
	l.conns.Store(q, nil)
	return q, nil
}

// Close also ends the connections that wait for an announce: net/http, which
// calls it when it shuts down, would wait for a first request on them.
func (l *quickListener) Close() error {
	l.done.Store(true)
	l.conns.Range(func(q, _ any) bool {
		q.(*quickConn).Conn.SetReadDeadline(past)
		return true
	})
	return l.Listener.Close()
}

var past = time.Unix(1, 0)

// renewEvery is how often the deadline of a busy connection is set: setting it
// costs as much as parsing a query.
const renewEvery = 10 * time.Second

// quickConn is a connection as net/http sees it. Only one goroutine reads it
// before net/http has its first request, and not two at a time afterwards.
type quickConn struct {
	net.Conn
	l        *quickListener
	passed   bool // net/http has it
	renewed  time.Time
	request  http.Request
	response response
}

func (q *quickConn) Close() error {
	q.l.conns.Delete(q)
	return q.Conn.Close()
}

// Read answers announces, and returns what is none.
func (q *quickConn) Read(b []byte) (int, error) {
	if q.passed {
		return q.Conn.Read(b)
	}
	for {
		n, err := q.Conn.Read(b)
		if err != nil {
			return n, err
		}
		query, plain := parseAnnounce(b[:n])
		if !plain {
			return n, q.pass()
		}
		q.request.URL.RawQuery = query
		q.l.t.ServeHTTP(&q.response, &q.request)
		if err := q.response.send(q.Conn); err != nil {
			return 0, err
		}
		q.wait(time.Now())
	}
}

// wait gives the client time for the next announce, and to take this answer.
func (q *quickConn) wait(now time.Time) {
	if now.Sub(q.renewed) >= renewEvery {
		q.renewed = now
		q.SetWriteDeadline(after(now, q.l.srv.IdleTimeout))
		q.SetReadDeadline(after(now, q.l.srv.IdleTimeout))
	}
}

// SetReadDeadline keeps a connection from waiting when the listener is closed.
func (q *quickConn) SetReadDeadline(t time.Time) error {
	err := q.Conn.SetReadDeadline(t)
	if !q.passed && q.l.done.Load() {
		return q.Conn.SetReadDeadline(past)
	}
	return err
}

// pass gives net/http the connection, and the time for the rest of a request's
// head that it grants itself.
func (q *quickConn) pass() error {
	q.passed = true
	q.l.conns.Delete(q)
	if q.renewed.IsZero() {
		return nil
	}
	q.SetWriteDeadline(time.Time{})
	return q.SetReadDeadline(after(time.Now(), q.l.srv.ReadHeaderTimeout))
}

// after is a deadline, of a timeout as an http.Server has it: 0 is none.
func after(now time.Time, d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return now.Add(d)
}

var (
	announceLine = []byte("GET /announce?")
	httpOneOne   = []byte(" HTTP/1.1")
	crlf         = []byte("\r\n")
)

// parseAnnounce returns the query if b is one announce and nothing else, in no
// other form than clients send it.
func parseAnnounce(b []byte) (query string, plain bool) {
	line, rest, _ := bytes.Cut(b, crlf)
	line, is := bytes.CutPrefix(line, announceLine)
	line, one := bytes.CutSuffix(line, httpOneOne)
	if !is || !one || !bytes.HasSuffix(rest, []byte("\r\n\r\n")) {
		return "", false
	}
	for _, c := range line {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return "", false
		}
	}
	hosts := 0
	for len(rest) > len(crlf) {
		var field []byte
		field, rest, _ = bytes.Cut(rest, crlf)
		name, value, found := bytes.Cut(field, []byte(":"))
		switch value = bytes.Trim(value, " \t"); {
		case !found || !isText(value):
			return "", false
		case bytes.EqualFold(name, []byte("Host")):
			hosts++
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("keep-alive")):
		case !harmless(name):
			return "", false
		}
	}
	return string(line), hosts == 1
}

// harmless reports whether a field changes nothing. Those that may, and those
// that nobody sends with an announce, are net/http's to judge.
func harmless(name []byte) bool {
	for _, known := range []string{"User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma"} {
		if len(name) == len(known) && bytes.EqualFold(name, []byte(known)) {
			return true
		}
	}
	return false
}

// isText reports whether b is printable ASCII.
func isText(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c >= 0x7f) && c != '\t' {
			return false
		}
	}
	return true
}

// response is the http.ResponseWriter of announces.
type response struct {
	header http.Header
	status int
	body   []byte
	out    []byte
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *response) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, b...)
	return len(b), nil
}

// send writes the response, and makes room for the next.
func (r *response) send(c net.Conn) error {
	r.WriteHeader(http.StatusOK)
	r.out = append(r.out[:0], "HTTP/1.1 "...)
	r.out = strconv.AppendInt(r.out, int64(r.status), 10)
	r.out = append(append(append(r.out, ' '), http.StatusText(r.status)...), "\r\nDate: "...)
	r.out = time.Now().UTC().AppendFormat(r.out, http.TimeFormat)
	for name, values := range r.header {
		if name != "Content-Length" {
			r.out = append(append(append(append(r.out, crlf...), name...), ": "...), values[0]...)
		}
	}
	r.out = strconv.AppendInt(append(r.out, "\r\nContent-Length: "...), int64(len(r.body)), 10)
	r.out = append(append(r.out, "\r\n\r\n"...), r.body...)
	clear(r.header)
	r.status, r.body = 0, r.body[:0]
	_, err := c.Write(r.out)
	return err
}
