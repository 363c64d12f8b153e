package quick

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A goroutine that waits for each request of its connection costs the scheduler 4 µs,
// a third of what the kernel takes for request and answer. So connections that are
// kept for many are answered by a loop, which asks the kernel which of them have one.

// loops is a few: more are woken more often, for fewer requests each.
type loops struct {
	all  []loop
	next atomic.Uint32
}

func newLoops(srv *http.Server, atOnce Answer) *loops {
	ls := &loops{all: make([]loop, max(1, runtime.GOMAXPROCS(0)/4))}
	for i := range ls.all {
		ls.all[i].srv, ls.all[i].atOnce, ls.all[i].conns = srv, atOnce, map[int32]*kept{}
	}
	return ls
}

// loop answers on some connections. It runs while it has any.
type loop struct {
	srv    *http.Server
	atOnce Answer
	out    []byte // the last answer

	mu    sync.Mutex // guards the fields below
	epoll int
	conns map[int32]*kept // by descriptor
}

// kept is a connection that only a loop reads and writes, until it closes done.
type kept struct {
	from string
	fd   int
	buf  []byte    // net/http's
	seen time.Time // when its last request came

	done     chan struct{}
	n        int    // bytes of buf that are not answered
	rest     []byte // of an answer for which the socket has no room
	idle     bool   // for too long
	panicked any
}

// attend has a loop answer on the connection until something else comes, of which it
// returns the first bytes; none: read on. The socket it comes back with has no
// deadlines.
func (q *conn) attend(b []byte) (int, error) {
	k := q.leave(b)
	if k == nil {
		return 0, nil
	}
	<-k.done
	if err := q.enter(); err != nil {
		return 0, err
	}
	q.renewed = time.Time{}
	switch {
	case k.panicked != nil:
		panic(k.panicked) // as in net/http's handlers, which ends the connection
	case k.idle:
		return 0, os.ErrDeadlineExceeded
	case len(k.rest) > 0:
		q.SetWriteDeadline(after(time.Now(), q.l.srv.IdleTimeout))
		return 0, q.write(k.rest)
	}
	return k.n, nil
}

// leave gives the connection to a loop, and takes its socket out of Go's poller: it
// would be woken as well. nil: the connection stays, as one does that is more than
// TCP: who counts it sees its end by its Close.
func (q *conn) leave(b []byte) *kept {
	q.moving.Lock()
	defer q.moving.Unlock()
	t, bare := q.tcp.(*net.TCPConn)
	if !bare || q.closed || q.l.done.Load() {
		return nil
	}
	fd, err := detach(t)
	if err != nil {
		return nil
	}
	q.kept = &kept{from: q.from, fd: fd, buf: b, seen: time.Now(), done: make(chan struct{})}
	ls := q.l.loops
	if err := ls.all[int(ls.next.Add(1))%len(ls.all)].add(q.kept); err != nil {
		close(q.kept.done)
	}
	return q.kept
}

// enter takes the connection back. Go's poller has it by another descriptor: where the
// process has none left it ends, as one does that is not accepted then.
func (q *conn) enter() error {
	q.moving.Lock()
	defer q.moving.Unlock()
	f := os.NewFile(uintptr(q.kept.fd), "")
	defer f.Close()
	q.kept = nil
	if q.closed {
		return net.ErrClosed
	}
	c, err := net.FileConn(f)
	if err != nil {
		q.closed = true
		return err
	}
	q.tcp = c.(tcp)
	return nil
}

// detach returns the socket of c, which is no more.
func detach(c *net.TCPConn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlled := raw.Control(func(f uintptr) { fd, err = unix.FcntlInt(f, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(controlled, err); err != nil {
		return 0, err
	}
	c.Close() // the socket has another descriptor
	return fd, nil
}

// end lets nothing more come, and the loop see that.
func (k *kept) end() { unix.Shutdown(k.fd, unix.SHUT_RD) }

func (l *loop) add(k *kept) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := len(l.conns) == 0
	if first {
		if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			return err
		}
	}
	err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, k.fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(k.fd),
	})
	switch {
	case err == nil:
		l.conns[int32(k.fd)] = k
		if first {
			go l.run(l.epoll)
		}
	case first:
		unix.Close(l.epoll)
	}
	return err
}

// drop gives a connection back, and reports whether it was the last.
func (l *loop) drop(k *kept) (last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, k.fd, nil)
	delete(l.conns, int32(k.fd))
	if last = len(l.conns) == 0; last {
		unix.Close(l.epoll)
	}
	close(k.done)
	return last
}

func (l *loop) run(epoll int) {
	idle := l.srv.IdleTimeout
	wait, swept := -1, time.Now()
	if idle > 0 {
		wait = int(max(idle/8/time.Millisecond, 1))
	}
	events := make([]unix.EpollEvent, 64)
	for {
		n, _ := unix.EpollWait(epoll, events, wait) // interrupted: none
		now := time.Now()
		for _, e := range events[:max(n, 0)] {
			k := l.conn(e.Fd)
			k.seen = now
			if more := l.serve(k); (!more || e.Events&unix.EPOLLRDHUP != 0) && l.drop(k) {
				return
			}
		}
		if idle > 0 && now.Sub(swept) >= idle/8 {
			swept = now
			for _, k := range l.silent(now.Add(-idle)) {
				if k.idle = true; l.drop(k) {
					return
				}
			}
		}
	}
}

// serve answers what has come, and reports whether the loop goes on with k. It is
// told once of what comes: who reads less than the buffer has room for has read all.
func (l *loop) serve(k *kept) (more bool) {
	defer func() {
		if k.panicked = recover(); k.panicked != nil {
			more = false
		}
	}()
	n, err := unix.Read(k.fd, k.buf)
	if err != nil || n == 0 {
		return err == unix.EAGAIN
	}
	l.out = l.out[:0]
	if n < len(k.buf) {
		l.out = l.atOnce(l.out, k.from, k.buf[:n])
	}
	if len(l.out) == 0 {
		k.n = n
		return false
	}
	sent, _ := unix.Write(k.fd, l.out)
	k.rest = bytes.Clone(l.out[max(sent, 0):])
	return len(k.rest) == 0
}

func (l *loop) conn(fd int32) *kept {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[fd]
}

// silent are the connections without a request since.
func (l *loop) silent(since time.Time) (all []*kept) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.conns {
		if k.seen.Before(since) {
			all = append(all, k)
		}
	}
	return all
}
