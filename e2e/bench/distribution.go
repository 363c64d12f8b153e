package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// What distributes the object.
const (
	shatabdi   = "shatabdi"
	nginx      = "nginx"
	libtorrent = "libtorrent"
	direct     = "direct"
)

// The origin's bytes in every row where it is asked for one copy, and where it is
// not asked. The gate is on its interface, where headers are 2 % and more.
var (
	oneCopy = goal{1.02, 1.05}
	noCopy  = goal{0.02, 0.05}
)

// shaped brings one object to N clients that start in the same instant, one
// process a node, on links that tc shapes:
//
//	origin (UOrigin) --- switch --- N machines (U), each with its client
//	                        +------ etcd, or the nginx cache (U)
type shaped struct {
	topology
	System string // "": shatabdi
	Ratio  goal   // to the bound
	Origin goal   // what left it, in units of F; the zero one: oneCopy
}

func (d shaped) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.topology = d.quarter()
	}
	object := content.Object{Seed: 1, Size: d.F}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	url := origin.Object(object)
	machines := l.Machines(d.N, "node", d.U)

	var nodes []*lab.Node
	clients := make([]*lab.Client, d.N)
	switch d.System {
	case "":
		etcd := l.Machine("etcd", 0).Etcd()
		all := machines
		if d.Warm {
			all = append([]*lab.Machine{l.Machine("seeder", d.U)}, machines...)
		}
		nodes = lab.Cluster(all, etcd.URL, "--uplink", fmt.Sprintf("%dB/s", d.U.Line()))
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
	r := d.row(cmp.Or(d.System, shatabdi)).took(last, d.topology)
	r.FirstByte, r.Load = medianFirstByte(clients), load()
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	l.Check(object, clients...)
	if d.System == "" {
		r = d.judge(r, nodes)
	}
	add(r)
}

// judge adds what only our nodes tell, and the goals.
func (d shaped) judge(r row, nodes []*lab.Node) row {
	var all []lab.Metrics
	for _, n := range nodes {
		all = append(all, n.Metrics())
	}
	r = r.exchanged(all).atMost("ratio", r.Ratio, d.Ratio)
	if d.Warm {
		return r.atMost("origin x", r.Origin, noCopy)
	}
	return r.atMost("origin x", r.Origin, cmp.Or(d.Origin, oneCopy))
}

// exchanged fills in what nodes tell about their dealings with each other.
func (r row) exchanged(nodes []lab.Metrics) row {
	var received, wasted, alone, unanswered, fetched float64
	causes := map[string]float64{} // for a second copy of something to have left the origin, and what etcd did not answer
	landing := 0
	for _, m := range nodes {
		alone += m.Sum("shatabdi_fills_total", `role="alone"`)
		unanswered += m.Sum("shatabdi_etcd_requests_total", `result="error"`) + m.Sum("shatabdi_etcd_requests_total", `result="refused"`)
		add(causes, "", m.By("reason", "shatabdi_spans_orphaned_total"))
		add(causes, "claims ", m.By("outcome", "shatabdi_claims_total", `outcome="unasked"`))
		add(causes, "etcd: ", m.By("op", "shatabdi_etcd_requests_total", `result="error"`))
		r.Seeder = max(r.Seeder, m.Sum("shatabdi_peer_bytes_total", `direction="sent"`)/float64(r.F))
		fetched += m.Sum("shatabdi_fill_origin_bytes_total")
		received += m.Sum("shatabdi_peer_bytes_total", `direction="received"`)
		wasted += m.Sum("shatabdi_peer_wasted_bytes_total")
		if m.Sum("shatabdi_spans_landed_total") > 0 {
			landing++
		}
	}
	r.Wasted = wasted / max(1, received)
	r = r.noting("%d nodes landed spans, fills read %.3f x", landing, fetched/float64(max(1, r.F)))
	if alone+unanswered > 0 {
		r = r.noting("%.0f nodes filled alone, etcd left %.0f requests unanswered", alone, unanswered)
	}
	if len(causes) > 0 {
		r = r.noting("%s", counts(causes))
	}
	return r
}

// add adds what is not zero.
func add(sums map[string]float64, prefix string, by map[string]float64) {
	for k, v := range by {
		if v != 0 {
			sums[prefix+k] += v
		}
	}
}

// counts tells the largest first.
func counts(by map[string]float64) string {
	keys := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b)) })
	var l []string
	for _, k := range keys {
		l = append(l, fmt.Sprintf("%s %.0f", k, by[k]))
	}
	return strings.Join(l, ", ")
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
