package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// What distributes the object.
const (
	shatabdi = "shatabdi"
	nginx    = "nginx"
	direct   = "direct"
)

// distribution brings one object to N clients that start in the same instant:
//
//	origin (UOrigin) --- switch --- N machines (U), each with its client
//	                        +------ etcd, or the nginx cache (U)
type distribution struct {
	System     string
	N          int
	F          int64
	U, UOrigin lab.Rate
	Warm       bool    // one more node has the object
	Gate       float64 // for the ratio to the bound; 0: none
	OriginGate float64 // 0: 1.05
}

func (d distribution) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F /= 4
	}
	object := content.Object{Seed: 1, Size: d.F}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	url := origin.Object(object)
	machines := l.Machines(d.N, "node", d.U)

	var nodes []*lab.Node
	clients := make([]*lab.Client, d.N)
	switch d.System {
	case shatabdi:
		etcd := l.Machine("etcd", 0).Etcd()
		all := machines
		if d.Warm {
			all = append([]*lab.Machine{l.Machine("seeder", d.U)}, machines...)
		}
		nodes = lab.Cluster(all, etcd.URL, "--uplink", fmt.Sprintf("%dB/s", d.U))
		if d.Warm {
			l.Check(object, fetch(nodes[0].Wget(url)))
			l.Until("the seeder has everything", 10*time.Second, func() bool {
				return nodes[0].Metric("shatabdi_objects_completed_total") > 0
			})
		}
		for i := range clients {
			clients[i] = nodes[len(nodes)-d.N+i].Wget(url)
		}
	case nginx:
		cache := l.Machine("cache", d.U).NginxCache(true)
		for i, m := range machines {
			clients[i] = m.Wget(cache.URL, url)
		}
	case direct:
		for i, m := range machines {
			clients[i] = m.Wget("", url)
		}
	}

	sent := origin.Machine.Sent()
	load := lab.WatchLoad()
	last := lab.Together(clients...)
	r := row{System: d.System, N: d.N, F: d.F, U: d.U, Time: last, Bound: d.bound(), FirstByte: medianFirstByte(clients), Load: load()}
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	l.Check(object, clients...)
	if d.System == shatabdi {
		r = d.judge(r, nodes)
	}
	add(r)
}

// judge adds what only our nodes tell, and the gates.
func (d distribution) judge(r row, nodes []*lab.Node) row {
	landing := 0
	for _, n := range nodes {
		r.Seeder = max(r.Seeder, n.Metric("shatabdi_peer_bytes_total", `direction="sent"`)/float64(d.F))
		if n.Metric("shatabdi_spans_landed_total") > 0 {
			landing++
		}
	}
	received := lab.Sum(nodes, "shatabdi_peer_bytes_total", `direction="received"`)
	wasted := lab.Sum(nodes, "shatabdi_peer_wasted_bytes_total")
	r.Note = fmt.Sprintf("%d nodes landed spans, %.1f %% wasted", landing, 100*wasted/max(1, received))
	if d.Gate > 0 {
		r = r.atMost("ratio", r.Ratio, d.Gate)
	}
	if d.Warm {
		return r.atMost("origin x", r.Origin, 0.05)
	}
	if d.N >= 8 && d.Gate > 0 {
		r = r.atLeast("landing nodes", float64(landing), float64(d.N/2))
	}
	return r.atMost("origin x", r.Origin, cmp.Or(d.OriginGate, 1.05))
}

// bound is the least time that any scheme needs (Kumar and Ross): the source has
// to send everything once, and all uplinks together N times. Each node is also a
// client. Warm, the source is one node; what the origin could send is not asked.
func (d distribution) bound() time.Duration {
	f, u, source := float64(d.F), float64(d.U), float64(d.UOrigin)
	if d.Warm {
		source = u
	}
	s := max(f/source, float64(d.N)*f/(source+float64(d.N)*u))
	return time.Duration(s * float64(time.Second))
}

func fetch(c *lab.Client) *lab.Client { return c.Start().Wait() }

func medianFirstByte(cs []*lab.Client) time.Duration {
	var ds []time.Duration
	for _, c := range cs {
		ds = append(ds, c.FirstByte)
	}
	return median(ds)
}

func median[N int64 | float64 | time.Duration](ns []N) N {
	if len(ns) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(ns))
	return s[len(s)/2]
}
