package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shatabdi/swarmcache/api"
)

// settled is a configuration whose ports are chosen before the start, so that a
// test can take one of them away.
func settled(t *testing.T) Config {
	c := testConfig(t)
	for _, addr := range []*string{&c.Proxy.Listen, &c.Admin.Listen, &c.Tracker.Listen, &c.Peer.Listen} {
		*addr = freeAddr(t)
	}
	return c
}

func TestTakenPortsAreExplained(t *testing.T) {
	t.Parallel()
	c := settled(t)
	hostPort := func(url string) string { return strings.TrimPrefix(url, "http://") }
	ports := []struct{ name, flag, addr string }{
		{"proxy listener", "--proxy-listen", c.Proxy.Listen},
		{"admin listener", "--admin-listen", c.Admin.Listen},
		{"tracker listener", "--tracker-listen", c.Tracker.Listen},
		{"peer listener", "--peer-listen", c.Peer.Listen},
		{"embedded etcd's client listener", "--etcd-listen-client", hostPort(c.Etcd.ListenClient[0])},
		{"embedded etcd's peer listener", "--etcd-listen-peer", hostPort(c.Etcd.ListenPeer[0])},
	}
	for _, p := range ports {
		taken, err := net.Listen("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		err = serve(t.Context(), c, quiet)
		taken.Close()
		var said bytes.Buffer
		code := speak(&said, err)
		for _, want := range []string{"error: " + p.name + ": " + p.addr + " is taken by another program", "choose another address with " + p.flag} {
			if code != exitFailure || !strings.Contains(said.String(), want) {
				t.Errorf("%s: exit %d without %q:\n%s", p.flag, code, want, &said)
			}
		}
		// Nothing is left behind: every port is free, and so is the directory.
		for _, other := range ports {
			ln, err := net.Listen("tcp", other.addr)
			if err != nil {
				t.Errorf("%s taken: %s is still open: %v", p.flag, other.flag, err)
				continue
			}
			ln.Close()
		}
		if _, err := os.Stat(filepath.Join(c.DataDir, "admin.sock")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s taken: the admin socket is still there: %v", p.flag, err)
		}
	}
	// What the failed starts left in the directory does not hurt the next one.
	d := started(t, c, patience)
	if r := waitReady(t, d); r.State != stateOK {
		t.Errorf("%+v", r)
	}
}

// started starts a daemon and stops it with the test.
func started(t *testing.T, c Config, patience time.Duration) *daemon {
	t.Helper()
	d := newDaemon(c, quiet)
	d.patience = patience
	t.Cleanup(d.stop)
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func waitReady(t *testing.T, d *daemon) api.Readiness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := d.ready.wait(ctx); err != nil {
		t.Errorf("%v: %+v", err, d.ready.report())
	}
	return d.ready.report()
}

// The directory is an accelerator: without it the node starts, and serves.
func TestStartsWithoutItsEtcd(t *testing.T) {
	t.Parallel()
	c := settled(t)
	c.Etcd.Endpoints = []string{"http://" + freeAddr(t)}
	d := started(t, c, time.Second)
	began := time.Now()
	if d.ready.report().Ready {
		t.Error("ready before its patience was gone")
	}
	r := waitReady(t, d)
	if r.State != stateDegraded || time.Since(began) > d.patience+time.Second {
		t.Errorf("%+v after %s", r, time.Since(began))
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/readyz": 200, "/api/v1/status": 200, "/api/v1/nodes": 503} {
		resp, err := client.Get("http://" + c.Admin.Listen + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// The lead is given up before all else. What stands on others goes first: clients,
// transfers, swarm, tracker, directory, etcd, catalogue.
func TestOrderOfTeardown(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	d := newDaemon(settled(t), slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitReady(t, d)
	d.stop()
	const stopped = `"msg":"stopped","part":"`
	if at := strings.Index(log.String(), stopped); at < 0 || !strings.HasPrefix(log.String()[at+len(stopped):], "farewell") {
		t.Errorf("not the farewell comes first:\n%s", &log)
	}
	at := 0
	for _, part := range []string{
		"farewell", "proxy server", "tunnels", "transfers", "swarm", "tracker server", "tracker",
		"directory", "etcd", "catalogue", "admin socket server", "admin server", "data directory",
	} {
		i := strings.Index(log.String()[at:], stopped+part+`"`)
		if i < 0 {
			t.Fatalf("%s was not stopped in its turn:\n%s", part, &log)
		}
		at += i
	}
	if strings.Contains(log.String(), "not everything stopped cleanly") {
		t.Errorf("%s", &log)
	}
}

// Before the cache is open the API says so.
func TestAPIBeforeTheStart(t *testing.T) {
	h := newAdmin(newReadiness(), newRegistry(build{})).handler()
	if w := ask(h, "/api/v1/status", "localhost", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "the daemon is starting") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// An etcd for others listens on every address.
func TestTakenPortOnEveryAddressIsExplained(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := tcpAddr(taken).Port()
	for _, host := range []string{"0.0.0.0", "[::]"} {
		c := settled(t)
		c.Etcd.ListenPeer = []string{fmt.Sprintf("http://%s:%d", host, port)}
		wants(t, serve(t.Context(), c, quiet), exitFailure, "is taken by another program", "--etcd-listen-peer")
	}
	c := settled(t)
	c.Peer.Listen = fmt.Sprintf(":%d", port)
	wants(t, serve(t.Context(), c, quiet), exitFailure, "is taken by another program", "--peer-listen")
}
