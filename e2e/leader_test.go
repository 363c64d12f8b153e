//go:build e2e

package e2e

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// lease is how long a silent node counts as alive here, and failover bounds how
// long nobody may lead: a lease and a second. That the machine is busy with other
// things has its share.
const (
	lease    = 3 * time.Second
	failover = lease + time.Second + 4*time.Second
)

// inFull is long where there is time (SHATABDI_FULL=1, make e2e), and else short.
func inFull[T any](short, long T) T {
	if os.Getenv("SHATABDI_FULL") != "" {
		return long
	}
	return short
}

// leaderOf waits for a node to lead and returns it; not one that is not to. They
// are asked all at once: in turn, 16 of them take as long as an election.
func leaderOf(l *lab.Lab, nodes []*lab.Node, not *lab.Node) (leader *lab.Node) {
	l.Helper()
	l.Until("a node leads", 30*time.Second, func() bool {
		leads := make([]bool, len(nodes))
		var wg sync.WaitGroup
		for i, n := range nodes {
			if n != not {
				wg.Go(func() { leads[i] = n.Leads() })
			}
		}
		wg.Wait()
		if i := slices.Index(leads, true); i >= 0 {
			leader = nodes[i]
		}
		return leader != nil
	})
	return leader
}

func without(nodes []*lab.Node, not *lab.Node) (l []*lab.Node) {
	for _, n := range nodes {
		if n != not {
			l = append(l, n)
		}
	}
	return l
}

// origin (8 MiB/s) --- switch --- 5 nodes (in full: 16) and etcd. The node that leads is killed
// while all begin to fill; the one that leads then loses etcd, and not the nodes;
// and the one after that the nodes, and not etcd; then nobody leads for long. All
// the others get the right bytes, one origin download serves all, and another node
// leads soon.
func TestLeaderIsLost(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 8*lab.MiBps).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(inFull(5, 16), "node", 8*lab.MiBps), etcd.URL, "--uplink", "8MiB/s", "--etcd-lease-ttl", lease.String())

	seed := uint64(70)
	// lose does that to the leader while the others fill, and returns who leads then.
	lose := func(what string, within time.Duration, strike func(leader *lab.Node, others []*lab.Node)) (was, is *lab.Node) {
		was = leaderOf(l, nodes, nil)
		others := without(nodes, was)
		seed++
		object := content.Object{Seed: seed, Size: 12 * mib}
		cs := clients(others, origin.Object(object))
		sent := origin.Machine.Sent()
		for _, c := range cs {
			c.Start()
		}
		untilProgress(l, cs[0], 1)
		strike(was, others)
		begin := time.Now()
		is = leaderOf(l, others, nil)
		took := time.Since(begin)
		last := time.Duration(0)
		for _, c := range cs {
			last = max(last, c.Wait().Time)
		}
		l.Check(object, cs...)
		egress := float64(origin.Machine.Sent()-sent) / float64(object.Size)
		t.Logf("%s: another leads after %v; last client %v, origin sent %.3f x", what,
			took.Round(10*time.Millisecond), last.Round(10*time.Millisecond), egress)
		if took > within {
			t.Errorf("%s: nobody led for %v", what, took)
		}
		if egress > 1.5 { // each for itself would be 4
			t.Errorf("%s: the origin sent %.3f x the object", what, egress)
		}
		return was, is
	}

	dead, _ := lose("killed", failover, func(leader *lab.Node, _ []*lab.Node) { leader.Kill() })
	nodes = without(nodes, dead)

	deaf, _ := lose("without etcd", failover, func(leader *lab.Node, _ []*lab.Node) { leader.Machine.Lose(true, etcd.Machine) })
	if n := deaf.Metric("shatabdi_etcd_leader"); n == 1 {
		t.Error("two lead")
	}
	deaf.Machine.Lose(false, etcd.Machine)
	l.Until("it knows etcd again", 30*time.Second, func() bool { return deaf.Metric("shatabdi_etcd_healthy") == 1 })

	var unheard []*lab.Machine
	lone, _ := lose("without the nodes", 25*time.Second, func(leader *lab.Node, others []*lab.Node) {
		for _, n := range others {
			unheard = append(unheard, n.Machine)
		}
		leader.Machine.Lose(true, unheard...)
	})
	lone.Machine.Lose(false, unheard...)

	// Each that leads steps down at once, again and again.
	lose("flapping", failover, func(leader *lab.Node, _ []*lab.Node) {
		was := leader
		for i := 0; i < inFull(4, 20) || leader == was; i++ {
			leader.Order("POST", "drain")
			next := leaderOf(l, nodes, leader)
			leader.Order("DELETE", "drain")
			leader = next
		}
	})

	last := leaderOf(l, nodes, nil)
	begin := time.Now()
	var stopping sync.WaitGroup
	stopping.Go(func() { last.Stop(10 * time.Second) })
	leaderOf(l, without(nodes, last), nil)
	t.Logf("stopped: another leads after %v", time.Since(begin).Round(10*time.Millisecond))
	stopping.Wait()
}
