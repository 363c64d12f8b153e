//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

const mib = 1 << 20

// origin (nginx) --- switch --- 3 machines (32 MiB/s) or 8 (12 MiB/s), each a
// node and its client; the origin's uplink is like theirs; etcd on a machine of its own, or in the first node.
//
// All clients ask for the same object in the same instant. Each gets the right
// bytes, the origin sends them once. Asked again, no byte leaves the origin.
func TestOneDownloadServesAll(t *testing.T) {
	for _, c := range []struct {
		nodes    int
		embedded bool
		uplink   lab.Rate
	}{{3, false, 32 * lab.MiBps}, {3, true, 32 * lab.MiBps}, {8, false, 12 * lab.MiBps}} {
		t.Run(fmt.Sprintf("%d nodes, embedded etcd %t", c.nodes, c.embedded), func(t *testing.T) {
			l := lab.New(t)
			origin := l.Machine("origin", c.uplink).NginxOrigin()
			var etcd string
			if !c.embedded {
				etcd = l.Machine("etcd", 0).Etcd().URL
			}
			nodes := lab.Cluster(l.Machines(c.nodes, "node", c.uplink), etcd, "--uplink", fmt.Sprintf("%dB/s", c.uplink.Line()))
			object := content.Object{Seed: 11, Size: 96 * mib}
			url := origin.Object(object)

			cold := clients(nodes, url)
			before := origin.Machine.Sent()
			last := lab.Together(cold...)
			sent := origin.Machine.Sent() - before
			l.Check(object, cold...)
			t.Logf("cold: last client %v, origin sent %.3f x, peers %s", last.Round(time.Millisecond),
				float64(sent)/float64(object.Size), lab.MiB(lab.Sum(nodes, "shatabdi_peer_bytes_total", `direction="received"`)))
			if sent > object.Size*105/100 {
				t.Errorf("the origin sent %s of %s", lab.MiB(sent), lab.MiB(object.Size))
			}

			untilComplete(l, nodes...)
			hits := clients(nodes, url)
			before = origin.Machine.Sent()
			last = lab.Together(hits...)
			sent = origin.Machine.Sent() - before
			l.Check(object, hits...)
			t.Logf("hits: last client %v, origin sent %d bytes", last.Round(time.Millisecond), sent)
			if sent > 2000 { // ARP and what is left of closing connections
				t.Errorf("the origin sent %d bytes for hits", sent)
			}
		})
	}
}

// origin --- switch --- one node, two clients in the same instant, then one
func TestLoneNodeWithEmbeddedEtcd(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 64*lab.MiBps).NginxOrigin()
	node := l.Machine("node", 0).Shatabdi()
	object := content.Object{Seed: 12, Size: 64 * mib}
	url := origin.Object(object)

	a, b := node.Wget(url), node.Curl(url)
	lab.Together(a, b)
	l.Check(object, a, b)
	if sent := origin.Machine.Sent(); sent > object.Size*105/100 {
		t.Errorf("the origin sent %s for two clients of %s", lab.MiB(sent), lab.MiB(object.Size))
	}
	before := origin.Machine.Sent()
	hit := node.Curl(url)
	lab.Together(hit)
	l.Check(object, hit)
	if sent := origin.Machine.Sent() - before; sent > 2000 {
		t.Errorf("the origin sent %d bytes for a hit", sent)
	}
}

// origin --- switch --- two nodes that have the object, a third that comes late
// and gets it from them.
func TestLateNodeReadsFromPeers(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	early := lab.Cluster(l.Machines(2, "node", 0), etcd.URL)
	object := content.Object{Seed: 13, Size: 48 * mib}
	url := origin.Object(object)
	first := clients(early, url)
	lab.Together(first...)
	l.Check(object, first...)

	late := l.Machine("late", 0).Shatabdi("--etcd-endpoints", etcd.URL)
	before := origin.Machine.Sent()
	c := late.Wget(url)
	lab.Together(c)
	l.Check(object, c)
	if sent := origin.Machine.Sent() - before; sent > mib {
		t.Errorf("the origin sent %s to a node whose peers have everything", lab.MiB(sent))
	}
}

// clients prepares a download on every node, wget and curl in turn.
func clients(nodes []*lab.Node, url string) (cs []*lab.Client) {
	for i, n := range nodes {
		if i%2 == 0 {
			cs = append(cs, n.Wget(url))
		} else {
			cs = append(cs, n.Curl(url))
		}
	}
	return cs
}

// untilComplete waits until an object is complete on every node: the last client
// may end a moment before the last piece is on record.
func untilComplete(l *lab.Lab, nodes ...*lab.Node) {
	l.Helper()
	for _, n := range nodes {
		l.Until("the object is complete on "+n.Machine.Name, 10*time.Second, func() bool {
			return n.Metric("shatabdi_objects_completed_total") > 0
		})
	}
}
