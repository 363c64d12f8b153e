package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/cluster/embedded"
)

func TestOpenChecksTheConfiguration(t *testing.T) {
	ok := cluster.Config{Endpoints: []string{"http://127.0.0.1:1"}, Self: node(1)}
	for name, spoil := range map[string]func(*cluster.Config){
		"no endpoints":     func(c *cluster.Config) { c.Endpoints = nil },
		"no node id":       func(c *cluster.Config) { c.Self.ID = "" },
		"no password file": func(c *cluster.Config) { c.PasswordFile = filepath.Join(t.TempDir(), "none") },
		"no CA file":       func(c *cluster.Config) { c.CA = filepath.Join(t.TempDir(), "none") },
		"short secret":     func(c *cluster.Config) { c.Known.Secret = []byte("short") },
	} {
		cfg := ok
		spoil(&cfg)
		if _, err := cluster.Open(cfg); err == nil {
			t.Error(name + " was accepted")
		}
	}
}

func TestMembersComeAndGo(t *testing.T) {
	p := prefix()
	a := join(t, config(p, 1))
	b := join(t, config(p, 2))
	ids := func() string {
		nodes, err := a.Nodes(t.Context())
		noErr(t, err)
		var s []string
		for _, n := range nodes {
			s = append(s, fmt.Sprint(n.ID, n.Draining))
		}
		return strings.Join(s, " ")
	}
	if got := ids(); got != "node-1false node-2false" {
		t.Fatal(got)
	}
	n := node(2)
	n.Draining = true
	noErr(t, b.Announce(t.Context(), n))
	if got := ids(); got != "node-1false node-2true" {
		t.Fatal(got)
	}
	b.stop() // and does not wait for the lease to run out
	if got := ids(); got != "node-1false" {
		t.Fatal(got)
	}
	if _, err := b.Nodes(t.Context()); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Fatal(err)
	}
}

func TestOtherSchemeStaysOut(t *testing.T) {
	p := prefix()
	c := raw(t, etcd)
	_, err := c.Put(t.Context(), p+"cluster", `{"id":"x","secret":{"of":"another form"},"scheme":2}`)
	noErr(t, err)
	reg := prometheus.NewPedanticRegistry()
	cfg := config(p, 1)
	cfg.Registerer = reg
	m := run(t, cfg)
	var scheme *cluster.SchemeError
	eventually(t, "it says so", func() bool { return errors.As(m.State(), &scheme) })
	if scheme.Found != 2 || scheme.Want != cluster.Scheme {
		t.Fatal(scheme)
	}
	answersUnavailable(t, m, 500*time.Millisecond)
	if n := gauge(t, reg, "shatabdi_etcd_scheme_mismatch"); n != 1 {
		t.Fatal("metric:", n)
	}
	g, err := c.Get(t.Context(), p+"nodes/node-1")
	noErr(t, err)
	if len(g.Kvs) != 0 {
		t.Fatal("it registered all the same")
	}
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	noErr(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric " + name)
	return 0
}

func TestMetricsAreWellFormed(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	cfg := config(prefix(), 1)
	cfg.Registerer = reg
	m := join(t, cfg)
	noErr(t, m.Publish(t.Context(), version("k", `"1"`)))
	families, err := reg.Gather()
	noErr(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	noErr(t, err)
	for _, p := range problems {
		t.Error(p.Metric, p.Text)
	}
	if n := gauge(t, reg, "shatabdi_etcd_healthy"); n != 1 {
		t.Fatal(n)
	}
	m.stop()
	if left, _ := reg.Gather(); len(left) != 0 {
		t.Fatalf("%d metrics stay registered", len(left))
	}
}

func TestModeReachesEveryNode(t *testing.T) {
	p := prefix()
	a, b := join(t, config(p, 1)), join(t, config(p, 2))
	if a.Mode() != "" {
		t.Fatal(a.Mode())
	}
	for _, mode := range []string{"pass", ""} {
		noErr(t, a.SetMode(t.Context(), mode))
		eventually(t, "the mode is "+mode, func() bool { return a.Mode() == mode && b.Mode() == mode })
	}
}

// heard collects what OnLeader was told.
type heard struct {
	mu   sync.Mutex
	said []string
}

func (h *heard) tell(url string, self bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, fmt.Sprint(url, " ", self))
}

func (h *heard) last() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.said) == 0 {
		return ""
	}
	return h.said[len(h.said)-1]
}

func leads(m *member) bool { _, _, self := m.Leader(); return self }

func TestLeadershipIsHandedOver(t *testing.T) {
	p := prefix()
	heards, members := make([]heard, 3), make([]*member, 3)
	for i := range members {
		cfg := config(p, i)
		cfg.OnLeader = heards[i].tell
		members[i] = join(t, cfg)
	}
	leader := -1
	agreed := func(without int) func() bool {
		return func() bool {
			n := 0
			for i, m := range members {
				if i != without && leads(m) {
					n, leader = n+1, i
				}
			}
			if n != 1 {
				return false
			}
			for i, m := range members {
				url, id, _ := m.Leader()
				if i != without && (url != node(leader).Tracker || id != node(leader).ID ||
					heards[i].last() != fmt.Sprint(url, " ", i == leader)) {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "all agree on a leader", agreed(-1))
	was := leader
	begin := time.Now()
	members[was].stop()
	if leads(members[was]) || strings.HasSuffix(heards[was].last(), "true") {
		t.Fatal("it still thinks it leads")
	}
	eventually(t, "another leads", agreed(was))
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("handing over took %v", d)
	}
	n := node(leader)
	n.Draining = true
	was2 := leader
	noErr(t, members[was2].Announce(t.Context(), n))
	eventually(t, "a draining node gives up leading", func() bool { return agreed(was)() && leader != was2 })
}

func TestLeaderWithoutEtcdCeasesBeforeItsLeaseDoes(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), 3*time.Second
	var h heard
	cfg.OnLeader = h.tell
	a := join(t, cfg)
	eventually(t, "it leads", func() bool { return leads(a) })
	b := join(t, config(p, 2))
	k.Cut()
	eventually(t, "another leads", func() bool {
		if leads(a) && leads(b) {
			t.Fatal("two lead")
		}
		return leads(b)
	})
	if h.last() != " false" {
		t.Fatalf("last told: %q", h.last())
	}
	k.Mend()
	eventually(t, "it knows the new one", func() bool { _, id, _ := a.Leader(); return id == "node-2" && !leads(a) })
}

func TestOrphansAreCollected(t *testing.T) {
	p := prefix()
	cfg := config(p, 1)
	cfg.OrphanAge = 300 * time.Millisecond
	cfg.Self.Tracker = "" // does not lead: the test collects
	m := join(t, cfg)
	orphan, alive := version("orphan", `"1"`), version("alive", `"1"`)
	for _, v := range []swarmcache.Version{orphan, alive} {
		b := board(t, m, v)
		noErr(t, b.Land(t.Context(), 0, make([]byte, 20)))
		noErr(t, b.Leave(t.Context()))
	}
	if n, err := m.CollectOrphans(t.Context()); n != 0 || err != nil {
		t.Fatal("collected at first sight", n, err)
	}
	board(t, m, alive)
	time.Sleep(cfg.OrphanAge) // the age is what is tested
	if n, err := m.CollectOrphans(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, _, err := m.Lookup(t.Context(), orphan.Key); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Fatal("the key still leads to the orphan", err)
	}
	if _, f, err := m.Lookup(t.Context(), alive.Key); err != nil || f == nil {
		t.Fatal("a fill with a participant is gone", err)
	}
	g, err := raw(t, etcd).Get(t.Context(), p+"fills/"+string(orphan.ID)+"/", clientv3.WithPrefix())
	noErr(t, err)
	if len(g.Kvs) != 0 {
		t.Fatal("leftovers: ", g.Kvs)
	}
}

func TestLeaderCollectsOrphans(t *testing.T) {
	t.Parallel()
	p := prefix()
	cfg := config(p, 1)
	cfg.OrphanAge = 200 * time.Millisecond
	m := join(t, cfg)
	v := version("orphan", `"1"`)
	noErr(t, board(t, m, v).Leave(t.Context()))
	eventually(t, "it is gone", func() bool {
		_, _, err := m.Lookup(t.Context(), v.Key)
		return errors.Is(err, swarmcache.ErrNotFound)
	})
}

func TestUserAndPassword(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	noErr(t, err)
	t.Cleanup(s.Stop)
	c := raw(t, s)
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		noErr(t, step())
	}
	file := filepath.Join(t.TempDir(), "password")
	noErr(t, os.WriteFile(file, []byte("wrong\n"), 0o600))
	// To check a password is hard work (bcrypt), under the race detector for seconds.
	m := run(t, cluster.Config{
		Endpoints: s.Endpoints(), User: "root", PasswordFile: file, Self: node(1), CallTimeout: 10 * time.Second,
	})
	eventually(t, "it says why", func() bool { return strings.Contains(fmt.Sprint(m.State()), "password") })
	answersUnavailable(t, m, 500*time.Millisecond)
	noErr(t, os.WriteFile(file, []byte("secret\n"), 0o600))
	healthy(t, m)
	noErr(t, m.Publish(ctx, version("k", `"1"`)))
}

func TestRunEndsWithoutEtcd(t *testing.T) {
	c, err := cluster.Open(cluster.Config{Endpoints: []string{"http://" + freePort(t)}, Self: node(1)})
	noErr(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	time.AfterFunc(50*time.Millisecond, cancel)
	select {
	case err := <-done:
		noErr(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("Run does not end")
	}
}
