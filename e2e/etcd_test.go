//go:build e2e

package e2e

import (
	"syscall"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin --- switch --- one node whose etcd does not exist. It starts, passes
// small things through at once, and caches large ones for itself.
func TestEtcdGoneAtStart(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	nobody := l.Machine("etcd", 0)
	node := l.Machine("node", 0).Shatabdi("--etcd-endpoints", "http://"+nobody.IP+":2379")

	small := content.Object{Seed: 31, Size: 10_000}
	c := node.Curl(origin.Object(small))
	lab.Together(c)
	l.Check(small, c)
	if c.Time > time.Second {
		t.Errorf("a small object took %v", c.Time)
	}
	large := content.Object{Seed: 32, Size: 64 * mib}
	c = node.Wget(origin.Object(large))
	lab.Together(c)
	l.Check(large, c)
	t.Logf("64 MiB alone: first byte %v, %v", c.FirstByte, c.Time)
	untilComplete(l, node)
	before := origin.Machine.Sent()
	c = node.Wget(origin.Object(large))
	lab.Together(c)
	l.Check(large, c)
	if sent := origin.Machine.Sent() - before; sent > 2000 {
		t.Errorf("the origin sent %d bytes for a hit", sent)
	}
}

// origin (16 MiB/s) --- switch --- 3 nodes, etcd. etcd is killed while they
// fill: all finish with the right bytes. It comes back: one download serves all
// again.
func TestEtcdGoneMidFillAndBack(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 16*lab.MiBps).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(3, "node", 0), etcd.URL)
	object := content.Object{Seed: 33, Size: 96 * mib}
	cs := clients(nodes, origin.Object(object))
	before := origin.Machine.Sent()
	for _, c := range cs {
		c.Start()
	}
	untilProgress(l, cs[0], object.Size*30/100)
	etcd.Kill()
	for _, c := range cs {
		c.Wait()
	}
	l.Check(object, cs...)
	t.Logf("without etcd from 30 %% on: last client %v, origin sent %.3f x", max(cs[0].Time, cs[1].Time, cs[2].Time), float64(origin.Machine.Sent()-before)/float64(object.Size))

	etcd.Restart()
	untilSwarming(l, origin, nodes, 100)
}

// origin --- switch --- two nodes and etcd; one node is cut off the network for
// a while and back. Its clients fail or get the right bytes, never others.
func TestNodeCutOffAndBack(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 16*lab.MiBps).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL)
	object := content.Object{Seed: 34, Size: 96 * mib}
	cs := clients(nodes, origin.Object(object))
	for _, c := range cs {
		c.Start()
	}
	untilProgress(l, cs[1], object.Size*30/100)
	nodes[1].Machine.Cut(true)
	l.Check(object, cs[0].Wait())
	nodes[1].Machine.Cut(false)
	if c := cs[1].Wait(); c.Err == nil {
		l.Check(object, c)
	}
	again := nodes[1].Curl(origin.Object(object))
	lab.Together(again)
	l.Check(object, again)
}

// origin --- switch --- 2 nodes, etcd. etcd stands still without closing a
// connection (SIGSTOP). A small object, which by its name may be large, waits until etcd
// is known not to be slow only; a large one is right; and when etcd goes on, so does the
// swarm.
func TestEtcdStandsStill(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL)
	etcd.Signal(syscall.SIGSTOP)

	small := content.Object{Seed: 35, Size: 10_000}
	cs := clients(nodes, origin.Object(small))
	lab.Together(cs...)
	l.Check(small, cs...)
	for _, c := range cs {
		if c.Time > 2500*time.Millisecond {
			t.Errorf("%s: a small object took %v", c.Name, c.Time)
		}
	}
	large := content.Object{Seed: 36, Size: 48 * mib}
	cs = clients(nodes, origin.Object(large))
	last := lab.Together(cs...)
	l.Check(large, cs...)
	t.Logf("48 MiB while etcd stands still: first bytes %v and %v, last client %v", cs[0].FirstByte, cs[1].FirstByte, last)
	if last > 20*time.Second {
		t.Errorf("a large object took %v", last)
	}

	etcd.Signal(syscall.SIGCONT)
	untilSwarming(l, origin, nodes, 200)
}

// untilSwarming waits until one download serves all nodes again.
func untilSwarming(l *lab.Lab, origin *lab.Nginx, nodes []*lab.Node, seed uint64) {
	l.Helper()
	l.Until("one download serves all again", 90*time.Second, func() bool {
		seed++
		next := content.Object{Seed: seed, Size: 16 * mib}
		cs := clients(nodes, origin.Object(next))
		before := origin.Machine.Sent()
		lab.Together(cs...)
		l.Check(next, cs...)
		return origin.Machine.Sent()-before <= next.Size*105/100
	})
}
