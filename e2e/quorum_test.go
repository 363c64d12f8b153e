//go:build e2e

package e2e

import (
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin (12 MiB/s) --- switch --- 3 nodes, etcd of 3. Two members of etcd die while
// the nodes fill, and come back later: all get the right bytes, a small object is
// not held up meanwhile, and in the end a node leads and one download serves all.
func TestEtcdLosesItsQuorum(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 12*lab.MiBps).NginxOrigin()
	etcd := lab.EtcdCluster(l.Machines(3, "etcd", 0)...)
	endpoints := etcd[0].URL + "," + etcd[1].URL + "," + etcd[2].URL
	nodes := lab.Cluster(l.Machines(3, "node", 0), endpoints)
	object := content.Object{Seed: 37, Size: 24 * mib}
	get := func(seed uint64) *lab.Client {
		small := content.Object{Seed: seed, Size: 10_000}
		c := nodes[0].Curl(origin.Object(small))
		lab.Together(c)
		l.Check(small, c)
		return c
	}
	idle := get(38).Time
	cs := clients(nodes, origin.Object(object))
	before := origin.Machine.Sent()
	for _, c := range cs {
		c.Start()
	}
	untilProgress(l, cs[0], object.Size*20/100)
	etcd[0].Kill()
	etcd[1].Kill()
	lost := time.Now()
	for _, c := range cs {
		c.Wait()
	}
	l.Check(object, cs...)
	if egress := float64(origin.Machine.Sent()-before) / float64(object.Size); egress > 1.5 {
		t.Errorf("the origin sent %.3f x", egress)
	}
	if took := get(39).Time; took > 3*time.Second+20*idle { // asking etcd once costs a bounded wait
		t.Errorf("a small object took %v, and %v before", took, idle)
	}

	l.Until("nobody is sure to lead", 30*time.Second, func() bool { return lab.Sum(nodes, "shatabdi_etcd_leader") == 0 })
	for time.Since(lost) < inFull(0, 30*time.Second) {
		time.Sleep(time.Second) // the fault lasts
	}
	etcd[0].Restart()
	etcd[1].Restart()
	back := time.Now()
	leaderOf(l, nodes, nil)
	t.Logf("without a quorum for %v; another leads %v after it is back", back.Sub(lost).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	untilSwarming(l, origin, nodes, 300)
}
