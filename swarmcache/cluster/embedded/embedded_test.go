package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"shatabdi/swarmcache/cluster/embedded"
)

// TestMain finds leaks as goleak.VerifyTestMain does, but gives the connections
// between members, which etcd leaves to their read timeout of 5 s, time to go.
func TestMain(m *testing.M) {
	code := m.Run()
	err := goleak.Find()
	for end := time.Now().Add(15 * time.Second); err != nil && time.Now().Before(end); {
		err = goleak.Find()
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func client(t *testing.T, s *embedded.Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: s.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func put(t *testing.T, c *clientv3.Client, k, v string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.Put(ctx, k, v); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *clientv3.Client, k string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := c.Get(ctx, k)
	if err != nil || len(r.Kvs) != 1 {
		t.Fatal(r, err)
	}
	return string(r.Kvs[0].Value)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

func TestDataSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Config{Dir: dir})
	<-s.Ready()
	put(t, client(t, s), "k", "v")
	s.Stop()
	s = start(t, embedded.Config{Dir: dir})
	if v := get(t, client(t, s), "k"); v != "v" {
		t.Fatal(v)
	}
}

// A client's open watch must not hold a stop up for etcd's request timeout.
func TestStopIsQuickWithWatchers(t *testing.T) {
	s := start(t, embedded.Config{Dir: t.TempDir()})
	c := client(t, s)
	put(t, c, "k", "v")
	w := c.Watch(t.Context(), "k", clientv3.WithRev(1))
	<-w
	begin := time.Now()
	s.Stop()
	if d := time.Since(begin); d > 4*time.Second {
		t.Fatalf("took %v", d)
	}
}

func TestErrorsComeWithAHint(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used := t.TempDir()
	start(t, embedded.Config{Dir: used})

	for _, c := range []struct {
		name, says string
		cfg        embedded.Config
	}{
		{"port taken", "address already in use", embedded.Config{Dir: t.TempDir(), ListenClient: "http://" + taken.Addr().String()}},
		{"peer port taken", "address already in use", embedded.Config{Dir: t.TempDir(), ListenPeer: "http://" + taken.Addr().String()}},
		{"directory in use", "in use by another process", embedded.Config{Dir: used}},
		{"not a directory", "not a directory", embedded.Config{Dir: filepath.Join(file, "etcd")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := embedded.Start(c.cfg)
			if err == nil {
				s.Stop()
				t.Fatal("started")
			}
			var e *embedded.Error
			if !errors.As(err, &e) || e.Hint() == "" || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v", err)
			}
		})
	}
}

func TestThreeMembersSurviveTheLossOfOne(t *testing.T) {
	names := []string{"a", "b", "c"}
	peers := map[string]string{}
	var held []net.Listener
	for _, n := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		peers[n] = "http://" + l.Addr().String()
	}
	for _, l := range held {
		l.Close()
	}
	var members []*embedded.Server
	for _, n := range names {
		members = append(members, start(t, embedded.Config{
			Dir: t.TempDir(), Name: n, ListenPeer: peers[n], InitialCluster: peers,
		}))
	}
	for _, s := range members {
		select {
		case <-s.Ready():
		case <-time.After(20 * time.Second):
			t.Fatal("no majority")
		}
	}
	put(t, client(t, members[0]), "k", "v")
	members[0].Stop()
	put(t, client(t, members[1]), "k", "w")
	if v := get(t, client(t, members[2]), "k"); v != "w" {
		t.Fatal(v)
	}
}

func TestFullDatabaseRecovers(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s := start(t, embedded.Config{
		Dir: t.TempDir(), Quota: 2 << 20, Upkeep: 100 * time.Millisecond, Registerer: reg,
	})
	c := client(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	big := strings.Repeat("x", 100<<10)
	full := false
	for i := range 200 { // one key, so nearly all of it is history
		if _, err := c.Put(ctx, "k", fmt.Sprint(i, big)); err != nil {
			full = true
			break
		}
	}
	if !full {
		t.Fatal("the quota was never used up")
	}
	eventually(t, "it takes writes again", func() bool {
		_, err := c.Put(ctx, "k", "v")
		return err == nil
	})
	eventually(t, "the recovery is counted", func() bool { return recovered(t, reg) > 0 })
}

func recovered(t *testing.T, reg *prometheus.Registry) (n float64) {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "shatabdi_embedded_etcd_recoveries_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "recovered" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestWarningWhenOpenBeyondLoopback(t *testing.T) {
	s := start(t, embedded.Config{Dir: t.TempDir()})
	if w := s.Warning(); w != "" {
		t.Fatal(w)
	}
	open := start(t, embedded.Config{
		Dir: t.TempDir(), ListenClient: "http://0.0.0.0:0", AdvertiseClient: "http://127.0.0.1:0",
	})
	if w := open.Warning(); !strings.Contains(w, "clients on 0.0.0.0") || strings.Contains(w, "peers") {
		t.Fatal(w)
	}
	put(t, client(t, open), "k", "v")
}

func TestParseInitialCluster(t *testing.T) {
	m, err := embedded.ParseInitialCluster("a=http://10.0.0.1:2380, b=https://[fd00::1]:2380")
	if err != nil || m["a"] != "http://10.0.0.1:2380" || m["b"] != "https://[fd00::1]:2380" {
		t.Fatal(m, err)
	}
	for _, bad := range []string{"", "a", "a=", "a=10.0.0.1:2380", "a=http://10.0.0.1", "a=http://h:1,a=http://h:2"} {
		if _, err := embedded.ParseInitialCluster(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
