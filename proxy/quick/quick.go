// Package quick answers plain requests where net/http reads its connection, so that
// net/http never sees them: what it does around a request costs more than some
// answers do. With the first thing that is anything else, however odd, it has the
// connection for good: it alone judges what is strange.
package quick

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Answer appends the whole response to a request, all of which has come and nothing
// else, from a client at an address as net/http has it. If it is not for it, nothing
// has happened, and it appends nothing. Many goroutines call it.
type Answer func(dst []byte, from string, request []byte) []byte

// Listen returns l with connections on which srv has less to do. While answer waits
// or works nobody but its client does. Those who keep their connection for many
// requests share a goroutine, which asks atOnce: that holds up them all, so it looks
// into memory only, and leaves to answer what takes longer. nil: nobody shares one.
func Listen(l net.Listener, srv *http.Server, answer, atOnce Answer) net.Listener {
	q := &listener{Listener: l, answer: answer, srv: srv}
	if atOnce != nil {
		q.loops = newLoops(srv, atOnce)
	}
	return q
}

type listener struct {
	net.Listener
	answer Answer
	srv    *http.Server
	loops  *loops   // nil: none
	conns  sync.Map // *conn, those that net/http has not been given
	done   atomic.Bool
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

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if crowd, ok := c.(interface{ Crowded() bool }); ok && crowd.Crowded() {
		return c, nil
	}
	t, ok := c.(tcp)
	if !ok {
		return c, nil
	}
	q := &conn{tcp: t, l: l, from: c.RemoteAddr().String()}
	l.conns.Store(q, nil)
	if l.done.Load() {
		q.end()
	}
	return q, nil
}

// Close also ends the connections that wait for a request: net/http, which calls it
// when it shuts down, would wait for a first request on them.
func (l *listener) Close() error {
	l.done.Store(true)
	l.conns.Range(func(q, _ any) bool {
		q.(*conn).end()
		return true
	})
	return l.Listener.Close()
}

var past = time.Unix(1, 0)

// renewEvery is how often the deadlines of a busy connection are set: that costs as
// much as an answer may.
const renewEvery = 10 * time.Second

// keptAfter is how many answers a client has had on a connection when it seems to
// keep it for more.
const keptAfter = 2

// conn is a connection as net/http sees it. Only one goroutine reads it before
// net/http has its first request, and not two at a time afterwards.
type conn struct {
	tcp
	l       *listener
	from    string
	passed  bool // net/http has it
	renewed time.Time

	answering sync.Mutex // held while an answer is written; who closes waits for that

	moving sync.Mutex // guards the fields below, and tcp while others than its reader may use it
	kept   *kept      // not nil: it is with a loop, and tcp closed
	closed bool
}

// Close waits for an answer that is being written, but not for long.
func (q *conn) Close() error {
	q.l.conns.Delete(q)
	if !q.answering.TryLock() {
		q.moving.Lock()
		q.tcp.SetWriteDeadline(time.Now().Add(time.Second))
		q.moving.Unlock()
		q.answering.Lock()
	}
	defer q.answering.Unlock()
	q.moving.Lock()
	defer q.moving.Unlock()
	q.closed = true
	if q.kept != nil {
		q.kept.end() // and who reads it closes it
		return nil
	}
	return q.tcp.Close()
}

// end ends the wait for a request.
func (q *conn) end() {
	q.moving.Lock()
	defer q.moving.Unlock()
	if q.kept != nil {
		q.kept.end()
		return
	}
	q.tcp.SetReadDeadline(past)
}

// Read answers plain requests, and returns what is none.
func (q *conn) Read(b []byte) (int, error) {
	if q.passed {
		return q.tcp.Read(b)
	}
	n := 0 // bytes that a loop has left
	for answers := 1; ; answers++ {
		if n == 0 {
			var err error
			if n, err = q.tcp.Read(b); err != nil {
				return n, err
			}
		}
		answered, err := q.answer(b[:n])
		if !answered {
			return n, q.pass()
		}
		if err != nil {
			return 0, err
		}
		n = 0
		if answers%keptAfter == 0 && q.l.loops != nil {
			if n, err = q.attend(b); err != nil {
				return 0, err
			}
		}
		q.wait(time.Now())
	}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (q *conn) answer(request []byte) (answered bool, err error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	if *b = q.l.answer((*b)[:0], q.from, request); len(*b) == 0 {
		return false, nil
	}
	return true, q.write(*b)
}

func (q *conn) write(b []byte) error {
	q.answering.Lock()
	defer q.answering.Unlock()
	_, err := q.tcp.Write(b)
	return err
}

// wait gives the client time for the next request, and to take its answer.
func (q *conn) wait(now time.Time) {
	idle := q.l.srv.IdleTimeout
	if since := now.Sub(q.renewed); since >= renewEvery || idle > 0 && since >= idle/2 {
		q.renewed = now
		q.SetWriteDeadline(after(now, idle))
		q.SetReadDeadline(after(now, idle))
	}
}

// SetReadDeadline keeps a connection from waiting when the listener is closed.
func (q *conn) SetReadDeadline(t time.Time) error {
	err := q.tcp.SetReadDeadline(t)
	if !q.passed && q.l.done.Load() {
		return q.tcp.SetReadDeadline(past)
	}
	return err
}

// pass gives net/http the connection, and the time for the rest of a request's head
// that it grants itself.
func (q *conn) pass() error {
	q.passed = true
	q.l.conns.Delete(q)
	if q.renewed.IsZero() && !q.l.done.Load() {
		return nil
	}
	q.SetWriteDeadline(time.Time{})
	return q.tcp.SetReadDeadline(after(time.Now(), q.l.srv.ReadHeaderTimeout))
}

// after is a deadline, of a timeout as an http.Server has it: 0 is none.
func after(now time.Time, d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// IsTarget reports whether s may be a part of a request's target: net/http would take
// it as it is.
func IsTarget[T string | []byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// IsText reports whether s is printable ASCII, as a field's value may be.
func IsText[T string | []byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c >= 0x7f) && c != '\t' {
			return false
		}
	}
	return true
}
