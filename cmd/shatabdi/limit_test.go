package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The third client is told that it is one too many, the fourth has to wait, and both
// are served when the first two have gone.
func TestConnectionsAreLimited(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := limit(tcp, 2)
	kinds := make(chan bool, 8)
	srv := &http.Server{
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateNew {
				_, fast := c.(io.ReaderFrom)
				_, half := c.(interface{ CloseWrite() error })
				kinds <- fast && half
			}
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, limited{}, c.(interface{ Crowded() bool }).Crowded())
		},
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(limited{}) == true {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	ask := func() (net.Conn, func() string) {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		r := bufio.NewReader(c)
		return c, func() string {
			line, err := r.ReadString('\n')
			if err != nil {
				return err.Error()
			}
			return strings.Fields(line)[1]
		}
	}
	one, a := ask()
	two, b := ask()
	if x, y := a(), b(); x != "200" || y != "200" {
		t.Fatal(x, y)
	}
	three, c := ask()
	if got := c(); got != "503" {
		t.Errorf("the third: %s", got)
	}
	four, d := ask()
	four.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if got := d(); got == "200" || got == "503" {
		t.Errorf("the fourth: %s", got)
	}
	for _, gone := range []net.Conn{one, two, three} {
		gone.Close()
	}
	four.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got := d(); got != "200" && got != "503" { // the first place that is free may be one too many
		t.Errorf("the fourth, after the others had gone: %s", got)
	}
	four.Close()
	for { // until all have been seen to go
		last, e := ask()
		got := e()
		last.Close()
		if got == "200" {
			break
		}
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
