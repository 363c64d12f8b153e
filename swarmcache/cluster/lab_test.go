package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/cluster/embedded"
)

// etcd is shared by the tests that do not stop it; each has a prefix of its own.
var etcd *embedded.Server

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "shatabdi-etcd-")
	if err == nil {
		etcd, err = embedded.Start(embedded.Config{Dir: dir})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-etcd.Ready()
	flag.Parse()
	flag.Set("test.parallel", "8") // they mostly wait for leases to run out
	code := m.Run()
	etcd.Stop()
	os.RemoveAll(dir)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var prefixes atomic.Int64

func prefix() string { return fmt.Sprintf("/test/%d/", prefixes.Add(1)) }

// raw is etcd without our door.
func raw(t testing.TB, s *embedded.Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: s.Endpoints(), Logger: zap.NewNop()})
	noErr(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// member is a cluster.Cluster that runs.
type member struct {
	*cluster.Cluster
	stop func() // and wait
}

// run opens and runs a member; the test waits for what it needs.
func run(t testing.TB, cfg cluster.Config, tune ...func(*cluster.Cluster)) *member {
	t.Helper()
	c, err := cluster.Open(cfg)
	noErr(t, err)
	c.Unhurried()
	for _, f := range tune {
		f(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	m := &member{c, func() { cancel(); <-done }}
	t.Cleanup(m.stop)
	return m
}

// join runs a member and waits until it is in.
func join(t testing.TB, cfg cluster.Config) *member {
	t.Helper()
	m := run(t, cfg)
	healthy(t, m)
	return m
}

func healthy(t testing.TB, m *member) {
	t.Helper()
	eventually(t, "healthy", m.Healthy)
}

func node(i int) swarmcache.Node {
	return swarmcache.Node{ID: swarmcache.NodeID(fmt.Sprintf("node-%d", i)), Tracker: fmt.Sprintf("http://10.0.0.%d/announce", i)}
}

// config of node i on the shared etcd.
func config(prefix string, i int) cluster.Config {
	return cluster.Config{Endpoints: etcd.Endpoints(), Prefix: prefix, Self: node(i)}
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 30 s: " + what)
		}
	}
}

// labOnEtcd makes the nodes of the conformance suite.
type labOnEtcd struct {
	t      *testing.T
	prefix string
	nodes  map[swarmcache.NodeID]*member
}

func (l *labOnEtcd) Node(n swarmcache.Node) swarmcache.Directory {
	if m := l.nodes[n.ID]; m != nil {
		return m
	}
	cfg := config(l.prefix, 0)
	cfg.Self = n
	l.nodes[n.ID] = join(l.t, cfg)
	return l.nodes[n.ID]
}

func (l *labOnEtcd) Expire(id swarmcache.NodeID) { l.nodes[id].stop() }

func TestDirectoryOnEtcd(t *testing.T) {
	cachetest.TestDirectory(t, func(t *testing.T) cachetest.DirectoryLab {
		return &labOnEtcd{t, prefix(), map[swarmcache.NodeID]*member{}}
	})
}

// link is a wire to an etcd that can be cut.
type link struct {
	to string
	l  net.Listener
	wg sync.WaitGroup

	silent sync.RWMutex // held for writing: nothing comes through
	delay  atomic.Int64 // time.Duration: of what comes through, either way

	mu    sync.Mutex
	cut   bool
	lost  bool
	conns map[net.Conn]bool // true: what is sent on it is lost
}

func newLink(t *testing.T, s *embedded.Server) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noErr(t, err)
	k := &link{to: strings.TrimPrefix(s.Endpoints()[0], "http://"), l: l, conns: map[net.Conn]bool{}}
	k.wg.Go(k.serve)
	t.Cleanup(func() {
		l.Close()
		k.Cut()
		k.wg.Wait()
	})
	return k
}

func (k *link) endpoints() []string { return []string{"http://" + k.l.Addr().String()} }

func (k *link) serve() {
	for {
		a, err := k.l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", k.to)
		if err != nil || !k.keep(a, b) {
			a.Close()
			if err == nil {
				b.Close()
			}
			continue
		}
		k.wg.Go(func() { k.copy(a, b) })
		k.wg.Go(func() { k.copy(b, a) })
	}
}

func (k *link) copy(a, b net.Conn) {
	io.Copy(through{k, a}, b)
	a.Close()
	b.Close()
}

type through struct {
	k  *link
	to net.Conn
}

func (t through) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(t.k.delay.Load()))
	t.k.silent.RLock()
	defer t.k.silent.RUnlock()
	t.k.mu.Lock()
	lost := t.k.conns[t.to]
	t.k.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return t.to.Write(b)
}

func (k *link) keep(conns ...net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range conns {
		k.conns[c] = k.lost
	}
	return !k.cut
}

// Cut ends all connections and lets none through until Mend.
func (k *link) Cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = true
	for c := range k.conns {
		c.Close()
	}
	clear(k.conns)
}

func (k *link) Mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = false
}

// Lose loses all that is sent on connections of now and until Find, for ever:
// as if the machine behind them were another one afterwards.
func (k *link) Lose() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = true
	for c := range k.conns {
		k.conns[c] = true
	}
}

func (k *link) Find() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = false
}
