package quick

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// big is the answer that no socket takes at once.
const big = 16 << 20

// served is a server behind a listener of ours, and counts what its handler had.
type served struct {
	*http.Server
	addr   string
	inner  *listener
	passed atomic.Int32
	waited chan struct{} // closed when /wait is answered
	ended  chan error
}

// serve answers pings, /big as large as that is, panics at /panic, and answers /wait when
// s.waited is closed; its handler says 404.
func serve(t *testing.T, idle time.Duration) *served {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{addr: inner.Addr().String(), waited: make(chan struct{}), ended: make(chan error, 1)}
	s.Server = &http.Server{IdleTimeout: idle, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.passed.Add(1)
		http.NotFound(w, r)
	})}
	s.ErrorLog = log.New(io.Discard, "", 0)
	atOnce := func(dst []byte, from string, request []byte) []byte {
		switch {
		case strings.HasPrefix(string(request), "GET /panic "):
			panic("as told")
		case strings.HasPrefix(string(request), "GET /big "):
			return append(fmt.Appendf(dst, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", big), make([]byte, big)...)
		}
		return pongs(dst, from, request)
	}
	s.inner = Listen(inner, s.Server, func(dst []byte, from string, request []byte) []byte {
		if string(request) == wait {
			<-s.waited
			return append(dst, pong...)
		}
		return atOnce(dst, from, request)
	}, atOnce).(*listener)
	go func() { s.ended <- s.Serve(s.inner) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-s.ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

// client is one that keeps its connection.
type client struct {
	*testing.T
	net.Conn
	in *bufio.Reader
}

// keep returns a client that is with a loop.
func (s *served) keep(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	k := &client{t, c, bufio.NewReader(c)}
	for range 2 * keptAfter {
		k.asks(ping)
		k.has(200, len("pong"))
	}
	s.isKept(k)
	return k
}

// isKept waits until the client is with a loop.
func (s *served) isKept(c *client) {
	c.Helper()
	for begun := time.Now(); !s.holds(c.LocalAddr().String()); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			c.Fatal("it is not kept")
		}
	}
}

func (s *served) holds(from string) bool {
	all := s.inner.loops.all
	for i := range all {
		all[i].mu.Lock()
		defer all[i].mu.Unlock()
		for _, k := range all[i].conns {
			if k.from == from {
				return true
			}
		}
	}
	return false
}

func (c *client) asks(what string) {
	c.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		c.Fatal(err)
	}
}

func (c *client) has(status, length int) {
	c.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status || length >= 0 && int(n) != length {
		c.Fatalf("%s, %d bytes, %v", resp.Status, n, err)
	}
}

// isClosed waits for the end of the connection.
func (c *client) isClosed() {
	c.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if b, err := c.in.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.Fatalf("%q, %v", b, err)
	}
}

const wait = "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"

const other = "GET /other HTTP/1.1\r\nHost: x\r\n\r\n"

// A kept connection goes to net/http with the first thing that is not plain, whole or
// not, and nothing of it is lost.
func TestKeptArePassedOn(t *testing.T) {
	s := serve(t, time.Minute)
	for name, send := range map[string][]string{
		"another":       {other},
		"two at once":   {ping + other},
		"in two pieces": {other[:5], other[5:]},
		"long":          {"GET /other HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c, before := s.keep(t), s.passed.Load()
			for _, part := range send {
				c.asks(part)
			}
			for n := strings.Count(strings.Join(send, ""), "GET"); n > 0; n-- {
				c.has(404, -1)
			}
			c.asks(ping)
			c.has(404, -1)
			if s.passed.Load() == before {
				t.Error("net/http had nothing")
			}
		})
	}
}

// Many at once are answered, each its own, and those that leave are forgotten.
func TestManyAreKept(t *testing.T) {
	s := serve(t, time.Minute)
	var all []*client
	for range 100 {
		all = append(all, s.keep(t))
	}
	for i, c := range all {
		c.asks(ping)
		if i%2 == 0 {
			c.Conn.(*net.TCPConn).CloseWrite()
		}
	}
	for i, c := range all {
		c.has(200, len("pong"))
		if i%2 == 0 {
			c.isClosed()
		} else {
			c.Close()
		}
	}
	s.keep(t) // also when the loop has ended in between
	if n := s.passed.Load(); n > 0 {
		t.Errorf("net/http had %d requests", n)
	}
}

// A client that does not read its answer holds up nobody, and has all of it later.
func TestSlowReadersAreAlone(t *testing.T) {
	t.Parallel()
	s := serve(t, time.Minute)
	slow, quick := s.keep(t), s.keep(t)
	slow.asks("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	for range 10 {
		quick.asks(ping)
		quick.has(200, len("pong"))
	}
	slow.has(200, big)
	for range 2 * keptAfter {
		slow.asks(ping)
		slow.has(200, len("pong"))
	}
}

// What has to wait is answered beside the loop, and holds up nobody; its client comes
// back to it.
func TestWhoWaitsIsAlone(t *testing.T) {
	s := serve(t, time.Minute)
	waits, quick := s.keep(t), s.keep(t)
	waits.asks(wait)
	for range 10 {
		quick.asks(ping)
		quick.has(200, len("pong"))
	}
	s.isKept(quick)
	close(s.waited)
	waits.has(200, len("pong"))
	for range 2 * keptAfter {
		waits.asks(ping)
		waits.has(200, len("pong"))
	}
	s.isKept(waits)
	if n := s.passed.Load(); n > 0 {
		t.Errorf("net/http had %d requests", n)
	}
}

// Who is silent for longer than it may is closed, and who is not is kept.
func TestSilentAreClosed(t *testing.T) {
	t.Parallel()
	s := serve(t, 2*time.Second)
	silent, busy := s.keep(t), s.keep(t)
	over := make(chan struct{})
	go func() { defer close(over); silent.isClosed() }()
	for {
		busy.asks(ping)
		busy.has(200, len("pong"))
		select {
		case <-over:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A panic ends its connection alone.
func TestPanicEndsOne(t *testing.T) {
	s := serve(t, time.Minute)
	mad, c := s.keep(t), s.keep(t)
	mad.asks("GET /panic HTTP/1.1\r\nHost: x\r\n\r\n")
	mad.isClosed()
	c.asks(ping)
	c.has(200, len("pong"))
}

// Neither an end in peace nor one at once waits for who is kept.
func TestKeptEnd(t *testing.T) {
	for name, end := range map[string]func(*served) error{
		"shutdown": func(s *served) error { return s.Shutdown(t.Context()) },
		"close":    func(s *served) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, time.Hour)
			a, b := s.keep(t), s.keep(t)
			if err := end(s); err != nil {
				t.Error(err)
			}
			a.isClosed()
			b.isClosed()
		})
	}
}
