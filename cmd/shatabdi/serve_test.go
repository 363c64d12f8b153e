package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// testConfig is a daemon that disturbs nobody.
func testConfig(t *testing.T) Config {
	c := DefaultConfig()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.DrainTimeout = 5 * time.Second
	c.Cache.Size, c.Cache.MinFree = Share{Bytes: 1 << 30}, Share{Bytes: 1 << 20} // whatever share of the disk is free
	for _, addr := range []*string{&c.Proxy.Listen, &c.Admin.Listen, &c.Tracker.Listen, &c.Peer.Listen} {
		*addr = "127.0.0.1:0"
	}
	c.Etcd.ListenClient = []string{"http://" + freeAddr(t)}
	c.Etcd.ListenPeer = []string{"http://" + freeAddr(t)}
	return c
}

// freeAddr is for who cannot be given port 0. Another process may take it first.
func freeAddr(t *testing.T) string {
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// freePort is an address that is free, is given to nobody else here, and from which the
// system lets no connection come, as it would from one that it chose itself.
func freePort() (addr string, err error) {
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		if _, again := givenPorts.LoadOrStore(port, true); again {
			continue
		}
		var ln net.Listener
		if ln, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", err
}

var givenPorts sync.Map

func TestListenErrorsHelp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	_, err = (&listeners{}).listen(t.Context(), "proxy", addr)
	wants(t, err, exitFailure, "proxy listener: "+addr+" is taken by another program", "ss -ltnp", "--proxy-listen")
	_, err = (&listeners{}).listen(t.Context(), "admin", "192.0.2.1:1")
	wants(t, err, exitFailure, "192.0.2.1:1 is no address of this machine", "--admin-listen")
	wants(t, explainListen(os.NewSyscallError("bind", syscall.EACCES), "proxy", "proxy-listen", "127.0.0.1:80"), exitFailure, "no permission to listen on 127.0.0.1:80", "cap_net_bind_service")
}

func TestInheritedListenersComeFirst(t *testing.T) {
	inherited, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	spare, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listeners{inherited: map[string][]net.Listener{"proxy": {inherited}, "prxy": {spare}}}
	got, err := l.listen(t.Context(), "proxy", "192.0.2.1:1")
	if err != nil || got != inherited {
		t.Fatalf("%v, %v", got, err)
	}
	defer got.Close()
	if unused := l.close(); len(unused) != 1 || unused[0] != "prxy" {
		t.Errorf("unused: %q", unused)
	}
	if _, err := spare.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the unused socket is open: %v", err)
	}
}

// A socket unit does not get around what the addresses have to obey.
func TestInheritedListenersMustBeSafe(t *testing.T) {
	for name, allowed := range map[string]bool{"admin": false, "proxy": false, "tracker": true} {
		wide, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		d := newDaemon(testConfig(t), quiet)
		d.sockets = &listeners{inherited: map[string][]net.Listener{name: {wide}}}
		_, err = d.listen(t.Context(), name, "127.0.0.1:0")
		if allowed && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !allowed {
			wants(t, err, exitUsage, name+" listener", "reachable from other machines")
		}
		if err := d.stack.close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := wide.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the socket is open: %v", name, err)
		}
	}
}

func TestDaemonStopsWhenAPartFails(t *testing.T) {
	d := newDaemon(testConfig(t), quiet)
	d.run("swarm", func(context.Context) error { return io.ErrUnexpectedEOF })
	if err := d.wait(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "swarm") {
		t.Errorf("%v", err)
	}
	d.stop()
}

// Running requests may finish; then, when the time is up, they are cut.
func TestDrain(t *testing.T) {
	for name, finishes := range map[string]bool{"finishes": true, "is cut": false} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			if !finishes {
				cfg.DrainTimeout = 50 * time.Millisecond
			}
			d := newDaemon(cfg, quiet)
			d.sockets = &listeners{}
			ln, err := d.listen(t.Context(), "proxy", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			running, finish := make(chan struct{}), make(chan struct{})
			d.serveHTTP("proxy", ln, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(running)
				select {
				case <-finish:
					io.WriteString(w, "all of it")
				case <-r.Context().Done():
				}
			})})
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			result := make(chan error, 1)
			go func() {
				resp, err := client.Get("http://" + ln.Addr().String())
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				result <- err
			}()
			<-running
			stopped := make(chan struct{})
			go func() { d.stop(); close(stopped) }()
			if finishes {
				close(finish)
			}
			if err := <-result; (err == nil) != finishes {
				t.Errorf("the client got %v", err)
			}
			<-stopped
		})
	}
}

// The daemon as a whole: it comes up, tells systemd, answers, and stops.
func TestServe(t *testing.T) {
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notices.Close()
	t.Setenv("NOTIFY_SOCKET", notices.LocalAddr().String())
	notice := func() string {
		b := make([]byte, 100)
		notices.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, err := notices.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}

	log := &logBuffer{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, testConfig(t), slog.New(slog.NewJSONHandler(log, nil))) }()
	if got := notice(); got != "READY=1" {
		t.Errorf("first notice %q", got)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + log.addr("admin") + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 || !strings.Contains(string(body), "listeners") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	cancel()
	if got := notice(); got != "STOPPING=1" {
		t.Errorf("second notice %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("%v", err)
	}
}

// logBuffer keeps JSON log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// addr finds where the named listener listens.
func (l *logBuffer) addr(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var rec struct{ Listener, Addr string }
		if json.Unmarshal([]byte(line), &rec) == nil && rec.Listener == name {
			return rec.Addr
		}
	}
	return ""
}
