//go:build e2e

package e2e

import (
	"syscall"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin (16 MiB/s) --- switch --- 4 nodes (32 MiB/s); one is killed -9 at 40 %,
// together with the claims it holds. The others finish with the right bytes, and
// the origin sends little twice.
func TestKilledClaimerCostsLittle(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 16*lab.MiBps).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(4, "node", 32*lab.MiBps), etcd.URL, "--uplink", "32MiB/s")
	object := content.Object{Seed: 21, Size: 128 * mib}
	cs := clients(nodes, origin.Object(object))
	before := origin.Machine.Sent()
	for _, c := range cs {
		c.Start()
	}
	untilProgress(l, cs[1], object.Size*40/100)
	nodes[1].Kill()
	for _, c := range cs {
		c.Wait()
	}
	l.Check(object, cs[0], cs[2], cs[3])
	if cs[1].Err == nil && cs[1].Bytes != object.Size {
		t.Errorf("%s took %d bytes of a killed node for the whole object", cs[1].Name, cs[1].Bytes)
	}
	sent := origin.Machine.Sent() - before
	t.Logf("last client %v, origin sent %.3f x", max(cs[0].Time, cs[2].Time, cs[3].Time).Round(time.Millisecond), float64(sent)/float64(object.Size))
	if sent > object.Size*130/100 {
		t.Errorf("the origin sent %s of %s", lab.MiB(sent), lab.MiB(object.Size))
	}
}

// origin (16 MiB/s) --- switch --- one node, killed -9 and started again: once
// with a complete object, which is a hit, and once half-way, which goes on where
// it was.
func TestRestartedNodeKeepsWhatItHad(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 16*lab.MiBps).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	node := l.Machine("node", 0).Shatabdi("--etcd-endpoints", etcd.URL)

	whole := content.Object{Seed: 22, Size: 48 * mib}
	first := node.Wget(origin.Object(whole))
	lab.Together(first)
	l.Check(whole, first)
	untilComplete(l, node)
	node.Kill()
	node.Restart()
	before := origin.Machine.Sent()
	hit := node.Wget(origin.Object(whole))
	lab.Together(hit)
	l.Check(whole, hit)
	if sent := origin.Machine.Sent() - before; sent > 2000 {
		t.Errorf("after the restart the origin sent %s of a complete object", lab.MiB(sent))
	}

	half := content.Object{Seed: 23, Size: 96 * mib}
	before = origin.Machine.Sent()
	broken := node.Curl(origin.Object(half)).Start()
	untilProgress(l, broken, half.Size*6/10)
	node.Kill()
	if broken.Wait().Err == nil {
		t.Error("curl took what a killed node had sent for the whole")
	}
	node.Restart()
	again := node.Curl(origin.Object(half))
	lab.Together(again)
	l.Check(half, again)
	sent := origin.Machine.Sent() - before
	t.Logf("an interrupted fill cost %.3f x", float64(sent)/float64(half.Size))
	// At most about a second or 64 MiB is not on record yet when a node is killed.
	if sent > half.Size*140/100 {
		t.Errorf("the origin sent %s in all for %s", lab.MiB(sent), lab.MiB(half.Size))
	}
}

func untilProgress(l *lab.Lab, c *lab.Client, bytes int64) {
	l.Helper()
	l.Until(c.Name+" is half-way", time.Minute, func() bool { return c.Progress() >= bytes })
}

// origin (16 MiB/s) --- switch --- 3 nodes; one stands still half-way without
// closing a connection (SIGSTOP), with claims and requests of others in its
// hands. The others do not wait for it for long.
func TestSilentNodeHoldsNobodyUp(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 16*lab.MiBps).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(3, "node", 0), etcd.URL)
	object := content.Object{Seed: 24, Size: 96 * mib}
	cs := clients(nodes, origin.Object(object))
	before := origin.Machine.Sent()
	for _, c := range cs {
		c.Start()
	}
	untilProgress(l, cs[2], object.Size/2)
	nodes[2].Signal(syscall.SIGSTOP)
	for _, c := range cs[:2] {
		c.Wait()
	}
	sent := origin.Machine.Sent() - before
	l.Check(object, cs[:2]...)
	t.Logf("last client %v, origin sent %.3f x", max(cs[0].Time, cs[1].Time).Round(time.Millisecond), float64(sent)/float64(object.Size))
	if sent > object.Size*130/100 {
		t.Errorf("the origin sent %s of %s", lab.MiB(sent), lab.MiB(object.Size))
	}
	nodes[2].Signal(syscall.SIGCONT)
	l.Check(object, cs[2].Wait())
}
