//go:build e2e

package e2e

import (
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin and etcd --- switch --- two zones of 4 machines (in full: 8), with half a
// machine's uplink between them
//
// All want one object: it crosses once, in the one direction or the other. Then
// a zone has another object, and the other one wants it: it crosses once, and the
// origin is not asked. In full the same is done first by nodes that do not know
// of zones, and who do is not to be slower.
func TestObjectCrossesOnce(t *testing.T) {
	const uplink = 6 * lab.MiBps
	l := lab.New(t)
	origin := l.Machine("origin", uplink).NginxOrigin()
	zones := l.Zones(uplink/2, "a", "b")
	each := inFull(4, 8)
	var machines []*lab.Machine
	for _, z := range zones {
		machines = append(machines, z.Machines(each, uplink)...)
	}
	seed := uint64(80)
	object := func(size int64) content.Object { seed++; return content.Object{Seed: seed, Size: size} }
	// fetch is how long who need for an object, and how many times it crosses and
	// leaves the origin.
	fetch := func(what string, o content.Object, who ...*lab.Node) (took time.Duration, across, egress float64) {
		cs := clients(who, origin.Object(o))
		before, sent := zones[0].Sent()+zones[1].Sent(), origin.Machine.Sent()
		took = lab.Together(cs...)
		l.Check(o, cs...)
		across = float64(zones[0].Sent()+zones[1].Sent()-before) / float64(o.Size)
		egress = float64(origin.Machine.Sent()-sent) / float64(o.Size)
		t.Logf("%s: %.3f x crossed, origin sent %.3f x, last client %v", what, across, egress, took.Round(10*time.Millisecond))
		return took, across, egress
	}
	cluster := func(name string, known bool) (nodes []*lab.Node) {
		etcd := l.Machine(name, 0).Etcd()
		for i, m := range machines {
			flags := []string{"--etcd-endpoints", etcd.URL, "--uplink", "6MiB/s"}
			if known {
				flags = append(flags, "--zone", zones[i/each].Name)
			}
			nodes = append(nodes, m.ShatabdiUnready(flags...))
		}
		for _, n := range nodes {
			n.UntilReady(time.Minute)
		}
		return nodes
	}

	var atRandom time.Duration
	size := inFull[int64](10*mib, 24*mib)
	if inFull(false, true) {
		nodes := cluster("etcd-random", false)
		atRandom, _, _ = fetch("chosen at random", object(size), nodes...)
		for _, n := range nodes {
			n.Kill()
		}
	}
	nodes := cluster("etcd", true)
	took, across, egress := fetch("all at once", object(size), nodes...)
	if across > 1.3 || egress > 1.1 {
		t.Errorf("all at once: %.3f x the object crossed, the origin sent %.3f x", across, egress)
	}
	if atRandom != 0 && took > atRandom*11/10 {
		t.Errorf("it took %v, and %v where peers are chosen at random", took, atRandom)
	}
	other := object(size * 4 / 5)
	fetch("one zone", other, nodes[:each]...)
	if _, across, egress = fetch("one zone after the other", other, nodes[each:]...); across > 1.3 || egress > 0.1 {
		t.Errorf("one zone after the other: %.3f x the object crossed, the origin sent %.3f x", across, egress)
	}
}
