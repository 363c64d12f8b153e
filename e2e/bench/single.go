package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// timing is what curl says about itself, without a byte of it looked at.
type timing struct{ first, total time.Duration }

// curl downloads to nowhere on a machine, through a proxy unless that is "".
func curl(l *lab.Lab, m *lab.Machine, proxy, url string, size int64) timing {
	args := []string{"curl", "-sSf", "-o", "/dev/null", "-w", "%{time_starttransfer} %{time_total} %{size_download}"}
	if proxy != "" {
		args = append(args, "-x", proxy)
	}
	f := strings.Fields(m.Run(append(args, url)...))
	if len(f) != 3 || f[2] != fmt.Sprint(size) {
		l.Fatalf("curl %s: got %v, want %d bytes", url, f, size)
	}
	return timing{parseSeconds(f[0]), parseSeconds(f[1])}
}

func parseSeconds(s string) time.Duration {
	f, _ := strconv.ParseFloat(s, 64) // as curl printed it
	return time.Duration(f * float64(time.Second))
}

// alone: origin (1 Gbit/s) --- switch --- one node. In pairs, proxy and direct
// in turn; every download has a query of its own, so nothing is cached.
func alone(l *lab.Lab, quick bool, add func(row)) {
	pairs, object := 5, content.Object{Seed: 1, Size: gib}
	if quick {
		pairs, object.Size = 3, 256*mib
	}
	origin := l.Machine("origin", lab.Gbps).NginxOrigin()
	node := l.Machine("node", 0).Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL)
	url := origin.Object(object)
	l.Check(object, fetch(node.Wget(url))) // the bytes are right; from here on only times count

	load := lab.WatchLoad()
	var ours, plain, delta []time.Duration
	for i := range pairs {
		p := curl(l, node.Machine, "", url, object.Size)
		o := curl(l, node.Machine, node.ProxyURL(), fmt.Sprintf("%s?%d", url, i), object.Size)
		ours, plain, delta = append(ours, o.total), append(plain, p.total), append(delta, o.first-p.first)
	}
	r := row{System: shatabdi, N: 1, F: object.Size, Time: median(ours), Bound: median(plain), Load: load(),
		Note: fmt.Sprintf("bound: plain curl, median of %d pairs; first byte %+.1f ms", pairs, ms(median(delta)))}
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	add(r.atMost("ratio", r.Ratio, goal{Gate: 1.05}).atMost("first byte ms", ms(median(delta)), goal{Gate: 5}))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fillNoCaps: origin --- switch --- one machine with a node and an nginx cache.
func fillNoCaps(l *lab.Lab, quick bool, add func(row)) {
	pairs, object := 5, content.Object{Seed: 1, Size: gib}
	if quick {
		pairs, object.Size = 3, 256*mib
	}
	origin := l.Machine("origin", 0).NginxOrigin()
	node := l.Machine("node", 0).Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL)
	cache := l.Machine("cache", 0).NginxCache(false)
	url := origin.Object(object)

	load := lab.WatchLoad()
	var ours, theirs []time.Duration
	for i := range pairs {
		query := fmt.Sprintf("%s?%d", url, i)
		theirs = append(theirs, curl(l, cache.Machine, cache.URL, query, object.Size).total)
		ours = append(ours, curl(l, node.Machine, node.ProxyURL(), query, object.Size).total)
	}
	r := row{System: shatabdi, N: 1, F: object.Size, Time: median(ours), Bound: median(theirs), Load: load()}
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	rate := func(d time.Duration) float64 { return float64(object.Size) / (1 << 20) / d.Seconds() }
	r.Note = fmt.Sprintf("bound: nginx filling its cache, median of %d pairs; %.0f against %.0f MiB/s", pairs, rate(r.Time), rate(r.Bound))
	r.Load.CPU = 0 // nothing else limits: all the CPU there is should be taken
	add(r.atLeast("throughput", 1/r.Ratio, goal{Gate: 0.7}))
}

// hit: the same; both have the object.
func hit(l *lab.Lab, quick bool, add func(row)) {
	pairs, object := 9, content.Object{Seed: 1, Size: gib}
	if quick {
		pairs, object.Size = 5, 256*mib
	}
	origin := l.Machine("origin", 0).NginxOrigin()
	node := l.Machine("node", 0).Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL)
	cache := l.Machine("cache", 0).NginxCache(false)
	url := origin.Object(object)
	l.Check(object, fetch(node.Wget(url)), fetch(cache.Machine.Wget(cache.URL, url)))
	l.Until("the object is complete", 10*time.Second, func() bool {
		return node.Metric("shatabdi_objects_completed_total") > 0
	})

	sent := origin.Machine.Sent()
	load := lab.WatchLoad()
	var ours, theirs []time.Duration
	for range pairs {
		theirs = append(theirs, curl(l, cache.Machine, cache.URL, url, object.Size).total)
		ours = append(ours, curl(l, node.Machine, node.ProxyURL(), url, object.Size).total)
	}
	r := row{System: shatabdi, N: 1, F: object.Size, Time: median(ours), Bound: median(theirs), Load: load(),
		Note: fmt.Sprintf("bound: nginx serving a hit, median of %d pairs", pairs)}
	r.Load.CPU = 0 // as above
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	if n := origin.Machine.Sent() - sent; n > mib {
		l.Errorf("the origin sent %s for hits", lab.MiB(n))
	}
	add(r.atMost("ratio", r.Ratio, goal{Gate: 1.10}))
}

// firstByte: origin --- switch --- 8 nodes, no caps, all clients of an object in
// the same instant; each object is new. The origin's own first byte is measured
// from one of the machines in between. Both are what curl says: what it costs to
// start curl beside a swarm on the same CPUs is in neither.
func firstByte(l *lab.Lab, quick bool, add func(row)) {
	const n = 8
	rounds, object := 7, content.Object{Seed: 1, Size: 16 * mib}
	if quick {
		rounds = 3
	}
	origin := l.Machine("origin", 0).NginxOrigin()
	nodes := lab.Cluster(l.Machines(n, "node", 0), l.Machine("etcd", 0).Etcd().URL)
	url := origin.Object(object)

	load := lab.WatchLoad()
	var plain, medians []time.Duration
	for i := range rounds {
		plain = append(plain, curl(l, nodes[0].Machine, "", url, object.Size).first)
		var clients []*lab.Client
		for _, node := range nodes {
			clients = append(clients, node.Curl(fmt.Sprintf("%s?%d", url, i), "-w", "%{stderr}%{time_starttransfer}"))
		}
		lab.Together(clients...)
		l.Check(object, clients...)
		var firsts []time.Duration
		for _, c := range clients {
			firsts = append(firsts, parseSeconds(c.Stderr()))
		}
		medians = append(medians, median(firsts))
	}
	r := row{System: shatabdi, N: n, F: object.Size, FirstByte: median(medians), Bound: median(plain), Load: load()}
	r.Load.CPU = 0 // nothing else limits
	r = r.noting("bound: the origin's own to curl; the middle of %d rounds, the slowest %.0f ms", rounds, ms(slices.Max(medians)))
	add(r.atMost("added ms", ms(r.FirstByte-r.Bound), goal{50, 200}))
}

// small: origin, node and client on one machine; one connection, many requests.
func small(l *lab.Lab, quick bool, add func(row)) {
	requests := 1000
	if quick {
		requests = 300
	}
	m := l.Machine("node", 0)
	origin := m.NginxOrigin()
	node := m.Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL, "--allow-destination", m.IP+"/32")
	url := origin.Object(content.Object{Seed: 1, Size: 4000})

	many := func(proxy string) time.Duration {
		args := []string{"curl", "-sSf", "-o", "/dev/null", "-w", "%{time_total}\n", fmt.Sprintf("%s?[1-%d]", url, requests)}
		if proxy != "" {
			args = append(args, "-x", proxy)
		}
		var times []time.Duration
		for line := range strings.Lines(m.Run(args...)) {
			times = append(times, parseSeconds(strings.TrimSpace(line)))
		}
		if len(times) != requests {
			l.Fatalf("curl printed %d times for %d requests", len(times), requests)
		}
		return median(times)
	}
	many(node.ProxyURL()) // both are warm
	load := lab.WatchLoad()
	plain, ours := many(""), many(node.ProxyURL())
	r := row{System: shatabdi, N: 1, Time: ours, Bound: plain, Load: load(),
		Note: fmt.Sprintf("bound: plain curl; medians of %d requests on one connection; %+.3f ms", requests, ms(ours-plain))}
	r.Load.CPU = 0 // as above
	add(r.atMost("added ms", ms(ours-plain), goal{Gate: 1}))
}
