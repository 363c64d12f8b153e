package main

import (
	"fmt"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// zoned distributes an object in two zones with a thin link between them, one
// process a node: first to nodes that do not know of the zones, then to nodes
// that do, which is to cost less of the link, and no time.
//
//	origin (UOrigin), etcd --- switch --- zone a: N/2 machines (U)
//	                              +------ zone b: N/2 machines (U), Across between them
type zoned struct {
	topology
	Across lab.Rate // all of a zone together, to the other one
}

func (d zoned) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.topology = d.quarter()
	}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	zones := l.Zones(d.Across, "a", "b")
	var machines []*lab.Machine
	for _, z := range zones {
		machines = append(machines, z.Machines(d.N/2, d.U)...)
	}
	anywhere := d.distribute(l, origin, zones, machines, 1, false).noting("chosen at random")
	add(anywhere)
	r := d.distribute(l, origin, zones, machines, 2, true)
	r.Bound, r.Fluid = anywhere.Time, 0
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	add(r.noting("bound: chosen at random").atMost("ratio", r.Ratio, goal{0.9, 1.05}).
		atMost("across x", r.Across, goal{1.1, 1.3}).atMost("origin x", r.Origin, oneCopy))
}

func (d zoned) distribute(l *lab.Lab, origin *lab.Nginx, zones []*lab.Zone, machines []*lab.Machine, seed uint64, known bool) row {
	etcd := l.Machine(fmt.Sprint("etcd", seed), 0).Etcd()
	var nodes []*lab.Node
	for i, m := range machines {
		flags := []string{"--etcd-endpoints", etcd.URL, "--uplink", fmt.Sprintf("%dB/s", d.U.Line())}
		if known {
			flags = append(flags, "--zone", zones[i*len(zones)/len(machines)].Name)
		}
		nodes = append(nodes, m.ShatabdiUnready(flags...))
	}
	defer func() {
		for _, n := range nodes {
			n.Kill()
		}
	}()
	object := content.Object{Seed: seed, Size: d.F}
	url := origin.Object(object)
	clients := make([]*lab.Client, len(nodes))
	for i, n := range nodes {
		n.UntilReady(time.Minute)
		clients[i] = n.Wget(url)
	}
	sent, across := origin.Machine.Sent(), sentAcross(zones)
	load := lab.WatchLoad()
	r := d.row(shatabdi).took(lab.Together(clients...), d.topology)
	r.Load, r.FirstByte = load(), medianFirstByte(clients)
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	r.Across = float64(sentAcross(zones)-across) / float64(d.F)
	l.Check(object, clients...)
	var all []lab.Metrics
	for _, n := range nodes {
		all = append(all, n.Metrics())
	}
	pieces := lab.Sum(nodes, "shatabdi_peer_cross_zone_bytes_total") / float64(d.F)
	return r.exchanged(all).noting("%.3f x the object crossed, %.3f x of it pieces", r.Across, pieces)
}

func sentAcross(zones []*lab.Zone) (n int64) {
	for _, z := range zones {
		n += z.Sent()
	}
	return n
}
