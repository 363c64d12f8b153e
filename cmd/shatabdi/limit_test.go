package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// The third client is served when one of the first two has gone, and not before.
func TestConnectionsAreLimited(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := limit(tcp, 2)
	kinds := make(chan bool, 3)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }),
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateNew {
				_, fast := c.(io.ReaderFrom)
				_, half := c.(interface{ CloseWrite() error })
				kinds <- fast && half
			}
		},
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	ask := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		return c, bufio.NewReader(c)
	}
	answered := func(r *bufio.Reader) error { _, err := r.ReadString('\n'); return err }
	first, a := ask()
	_, b := ask()
	if err := errors.Join(answered(a), answered(b)); err != nil {
		t.Fatal(err)
	}
	third, c := ask()
	third.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if err := answered(c); err == nil {
		t.Error("a third connection was served")
	}
	first.Close()
	third.SetReadDeadline(time.Now().Add(10 * time.Second))
	if err := answered(c); err != nil {
		t.Errorf("the third connection was not served after the first had gone: %v", err)
	}
	for range 3 {
		if !<-kinds {
			t.Error("a connection lost what TCP can do")
		}
	}
	srv.Close() // wakes an Accept that waits for a slot
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("%v", err)
	}
}
