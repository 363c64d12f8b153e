package quick

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

const (
	ping = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
	pong = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong"
)

func pongs(dst []byte, _ string, request []byte) []byte {
	if string(request) != ping {
		return dst
	}
	return append(dst, pong...)
}

// pipe returns both ends of a connection that came to a listener of net's.
func pipe(t *testing.T) (l net.Listener, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); l.Close() })
	return l, client
}

// late accepts the connection that has come only when it is closed.
type late struct {
	net.Listener
	accepting, closed chan struct{}
}

func (l late) Accept() (net.Conn, error) {
	close(l.accepting)
	<-l.closed
	return l.Listener.Accept()
}

func (l late) Close() error {
	close(l.closed)
	return nil
}

// A connection that comes while the listener is closed waits for no request.
func TestAcceptedWhileClosing(t *testing.T) {
	inner, _ := pipe(t)
	slow := late{inner, make(chan struct{}), make(chan struct{})}
	l := Listen(slow, new(http.Server), pongs, pongs)
	got := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.SetReadDeadline(time.Now().Add(time.Hour)) // as net/http does
			_, err = c.Read(make([]byte, 100))
			c.Close()
		}
		got <- err
	}()
	<-slow.accepting
	l.Close()
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// deadlines is a connection that keeps what it is told.
type deadlines struct {
	tcp
	read, write time.Time
	set         int
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read, d.set = t, d.set+1; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.write = t; return nil }

// A busy connection is not idle, however short a time an idle one has.
func TestBusyIsNotIdle(t *testing.T) {
	for _, idle := range []time.Duration{time.Second, 15 * time.Second, time.Hour, 0} {
		d := &deadlines{}
		q := &conn{tcp: d, l: &listener{srv: &http.Server{IdleTimeout: idle}}}
		now := time.Unix(1e9, 0)
		for range 100 {
			q.wait(now)
			now = now.Add(time.Second / 3)
			if idle == 0 && d.read.IsZero() && d.write.IsZero() {
				continue
			}
			if d.read.Before(now) || d.write.Before(now) || d.read.After(now.Add(idle)) {
				t.Errorf("%v after an answer, the deadlines are %v and %v, with %v for who is idle", time.Second/3, d.read, d.write, idle)
			}
		}
	}
}

// A connection that is more than TCP is in no loop, and its deadlines are not set more
// often because it might have been.
func TestOthersAreNotKept(t *testing.T) {
	inner, client := pipe(t)
	c, err := inner.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := &deadlines{tcp: c.(tcp)}
	q := &conn{tcp: d, l: Listen(inner, &http.Server{IdleTimeout: time.Hour}, pongs, pongs).(*listener)}
	done := make(chan error, 1)
	go func() {
		_, err := q.Read(make([]byte, 4096))
		done <- err
	}()
	for range 10 {
		fmt.Fprint(client, ping)
		if _, err := io.ReadFull(client, make([]byte, len(pong))); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	if err := <-done; err != io.EOF || d.set < 1 || d.set > 2 { // 2: this took ten seconds
		t.Errorf("%v after %d deadlines", err, d.set)
	}
}

// What is not answered, net/http answers; a client that went on reading has all.
func TestOthersArePassedOn(t *testing.T) {
	inner, client := pipe(t)
	srv := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(Listen(inner, srv, pongs, pongs)) }()
	in := bufio.NewReader(client)
	for range 2 {
		fmt.Fprint(client, ping)
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		} else if b, err := io.ReadAll(resp.Body); string(b) != "pong" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	fmt.Fprint(client, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 404 {
		t.Fatalf("%v, %v", resp, err)
	}
	srv.Close()
	<-done
}
