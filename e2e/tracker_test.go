//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin, etcd --- switch --- 2 nodes, and a machine that floods their trackers
//
// It may take part, but knows nothing: it makes swarms up, says that it is a node,
// and sends what no client does. Each gets a reason or an error of HTTP, memory
// stays as it is, and the nodes share an object as if nobody were there.
func TestTrackerIsFlooded(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	flood := l.Machine("flood", 0)
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL, "--outside-clients", flood.IP+"/32")
	leader := leaderOf(l, nodes, nil)

	at := leader.Machine.IP + ":6969"
	flood.Announce(at, "-strangers", "-n", 4000) // the pools and buffers are there
	before, _ := leader.RSS()
	n := inFull(20_000, 400_000)
	a := flood.Announce(at, "-strangers", "-n", n)
	after, _ := leader.RSS()
	t.Logf("%+v; the leader's memory %s, then %s", a, lab.MiB(before), lab.MiB(after))
	if a.Broken > 0 || a.Announces != n {
		t.Errorf("%d announces were answered, %d were not", a.Announces, a.Broken)
	}
	errors := 0
	for status, n := range a.Status {
		if strings.HasPrefix(status, "4") {
			errors += n
		} else if status != "200 OK" {
			t.Errorf("%d x %s", n, status)
		}
	}
	if a.Refused+errors != a.Announces {
		t.Errorf("of %d announces %d were refused, and %d were HTTP errors", a.Announces, a.Refused, errors)
	}
	if swarms := leader.Metric("shatabdi_tracker_swarms"); swarms > 0 {
		t.Errorf("%.0f swarms were opened by nobody", swarms)
	}
	if leader.Metric("shatabdi_tracker_announces_total", `outcome="unauthorized"`) == 0 {
		t.Error("who says to be a node was not asked for a proof")
	}
	if after-before > 24*mib {
		t.Errorf("the flood left %s", lab.MiB(after-before))
	}

	object := content.Object{Seed: 121, Size: 8 * mib}
	url := origin.Object(object)
	first := nodes[0].Curl(url)
	lab.Together(first)
	l.Check(object, first)
	sent := origin.Machine.Sent()
	late := nodes[1].Curl(url)
	lab.Together(late)
	l.Check(object, late)
	if more := origin.Machine.Sent() - sent; more > mib {
		t.Errorf("the origin sent %s of what a peer has", lab.MiB(more))
	}
}
