package main

import (
	"fmt"
	"slices"
	"time"

	"shatabdi/e2e/lab"
)

// scenario is one entry of the bench. run may add several rows: the rivals of
// one comparison are measured in the same lab.
type scenario struct {
	name  string
	about string
	run   func(l *lab.Lab, quick bool, add func(row))
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Sizes and uplinks are such that a run takes some 20 to 60 s and that two CPUs
// carry it: the sum of all clients stays below about 100 MiB/s.
var scenarios = slices.Concat(distributions, arrivals, origins, faults, single, curve())

var distributions = []scenario{
	{"cold-8", "8 nodes, nothing cached, all uplinks alike: last client against the fluid bound",
		distribution{System: shatabdi, N: 8, F: 256 * mib, U: 8 * lab.MiBps, UOrigin: 8 * lab.MiBps, Gate: 1.30}.run},
	{"cold-8-nginx", "the same through one nginx cache with the same uplink (a smaller object: it is linear)",
		distribution{System: nginx, N: 8, F: 48 * mib, U: 8 * lab.MiBps, UOrigin: 8 * lab.MiBps}.run},
	{"cold-8-direct", "the same without any cache",
		distribution{System: direct, N: 8, F: 48 * mib, U: 8 * lab.MiBps, UOrigin: 8 * lab.MiBps}.run},
	{"cold-16", "16 nodes, nothing cached",
		distribution{System: shatabdi, N: 16, F: 128 * mib, U: 4 * lab.MiBps, UOrigin: 4 * lab.MiBps, Gate: 1.30}.run},
	{"egress-3", "bytes out of the origin when 3 clients start in the same instant",
		distribution{System: shatabdi, N: 3, F: 96 * mib, U: 16 * lab.MiBps, UOrigin: 16 * lab.MiBps}.run},
	{"egress-8", "likewise 8",
		distribution{System: shatabdi, N: 8, F: 96 * mib, U: 8 * lab.MiBps, UOrigin: 8 * lab.MiBps}.run},
	{"egress-16", "likewise 16",
		distribution{System: shatabdi, N: 16, F: 64 * mib, U: 6 * lab.MiBps, UOrigin: 6 * lab.MiBps}.run},
	{"warm-8", "one node has it and 8 others want it; the origin is not asked",
		distribution{System: shatabdi, N: 8, F: 192 * mib, U: 8 * lab.MiBps, UOrigin: 64 * lab.MiBps, Warm: true, Gate: 1.30}.run},
	{"fleet-16", "16 nodes in one process, uplinks limited by the nodes themselves",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 2 * lab.MiBps, Gate: 1.20, Aim: 1.10}.run},
	{"fleet-16-2u", "the same with twice the uplink at the origin",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 4 * lab.MiBps, Gate: 1.20, Aim: 1.10}.run},
	{"fleet-16-8u", "the same with eight times the uplink at the origin",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 16 * lab.MiBps, Gate: 1.20, Aim: 1.10}.run},
	{"fleet-32", "32 nodes",
		fleet{N: 32, F: 32 * mib, U: lab.MiBps, UOrigin: lab.MiBps, Gate: 1.20, Aim: 1.10}.run},
	{"fleet-64", "64 nodes",
		fleet{N: 64, F: 32 * mib, U: lab.MiBps / 2, UOrigin: lab.MiBps, Gate: 1.30, Aim: 1.15}.run},
	{"fleet-128", "128 nodes",
		fleet{N: 128, F: 32 * mib, U: lab.MiBps / 4, UOrigin: lab.MiBps, Gate: 1.40, Aim: 1.25}.run},
	{"fleet-512", "512 nodes: 3.2 GB at 24 MB/s, scaled down alike in size and rate",
		fleet{N: 512, F: 32 * mib, U: lab.MiBps / 8, UOrigin: lab.MiBps, Gate: 1.8, Aim: 1.35}.run},
	{"fleet-warm-16", "one seeder with the same uplink, 16 others",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 64 * lab.MiBps, Warm: true, Gate: 1.15, Aim: 1.08}.run},
	{"fleet-warm-32", "likewise 32",
		fleet{N: 32, F: 32 * mib, U: lab.MiBps, UOrigin: 64 * lab.MiBps, Warm: true, Gate: 1.15, Aim: 1.08}.run},
	{"fleet-warm-64", "likewise 64",
		fleet{N: 64, F: 32 * mib, U: lab.MiBps / 2, UOrigin: 64 * lab.MiBps, Warm: true, Gate: 1.30, Aim: 1.15}.run},
	{"open-50", "one node has it, 50 others want it; no caps, data on tmpfs: what this computer carries",
		openFleet{N: 50, F: 64 * mib}.run},
}

// Clients that come one after the other, each against its own bound; see fluid.
var arrivals = []scenario{
	{"staggered-16", "16 nodes, one client a second",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 2 * lab.MiBps, Starts: everySecond(16), Gate: 1.30, Aim: 1.15}.run},
	{"poisson-16", "16 nodes, clients at random, one a second on average",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 2 * lab.MiBps, Starts: poisson(16, time.Second), Gate: 1.30, Aim: 1.15}.run},
	{"waves-16", "16 nodes, 8 clients at once and 8 when those are done",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 2 * lab.MiBps, Starts: twoWaves(16, 24*time.Second), Gate: 1.30, Aim: 1.15}.run},
}

// Origins that make it hard; package testorigin says how.
var origins = []scenario{
	{"no-range", "16 nodes; the origin ignores Range",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 2 * lab.MiBps, Orders: "norange", Gate: 1.40, Aim: 1.15}.run},
	{"no-validator", "16 nodes; the origin names neither entity tag nor date",
		fleet{N: 16, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 2 * lab.MiBps, Orders: "novalidator", Gate: 1.40, Aim: 1.15}.run},
	{"slow-first-byte", "32 nodes wait for an origin that thinks for 3 s before each response: one download",
		fleet{N: 32, F: 32 * mib, U: 2 * lab.MiBps, UOrigin: 2 * lab.MiBps, Slow: 3 * time.Second}.run},
}

// A fault in a distribution, against the same without it. The first row of each
// is the undisturbed run.
var faults = []scenario{
	{"fault-kill-fifth", "10 nodes; 2 are killed -9 half-way",
		faulty{N: 10, F: 128 * mib, U: 6 * lab.MiBps, UOrigin: 6 * lab.MiBps, Gate: 1.6, OriginGate: 1.2, strike: killFifth}.run},
	{"fault-kill-leader", "10 nodes; the one that runs the tracker is killed -9 half-way",
		faulty{N: 10, F: 128 * mib, U: 6 * lab.MiBps, UOrigin: 6 * lab.MiBps, Gate: 1.6, OriginGate: 1.2, strike: killLeader}.run},
	{"fault-etcd", "10 nodes; etcd is killed half-way and comes back after 10 s",
		faulty{N: 10, F: 256 * mib, U: 6 * lab.MiBps, UOrigin: 6 * lab.MiBps, Gate: 1.6, OriginGate: 1.2, strike: etcdAway}.run},
	{"fault-slow-uplink", "10 nodes; one has a tenth of the uplink",
		faulty{N: 10, F: 128 * mib, U: 6 * lab.MiBps, UOrigin: 6 * lab.MiBps, Gate: 1.3, OriginGate: 1.05, AtStart: true, strike: slowUplink}.run},
	{"fault-silent", "10 nodes; one stands still half-way and closes no connection",
		faulty{N: 10, F: 128 * mib, U: 6 * lab.MiBps, UOrigin: 6 * lab.MiBps, Gate: 1.3, OriginGate: 1.2, strike: silence}.run},
}

var single = []scenario{
	{"alone-1gbit", "one node, nothing cached, origin on 1 Gbit/s: through the proxy against without", alone},
	{"alone-no-caps", "one node filling without any cap against nginx filling its cache", fillNoCaps},
	{"hit", "a local hit against a hit of nginx's cache (sendfile)", hit},
	{"small", "what passing a small object through adds, on one machine", small},
	{"rss-idle", "resident memory of an idle node", rssIdle},
	{"rss-fill", "resident memory while filling 3 GiB with 8 peers", rssFill},
	{"sparse-100g", "first byte and memory with an object of 100 GiB", sparse},
}

// curve is what the plot shows: all uplinks alike, cold, and the same through
// one nginx cache and through libtorrent. The plot is in units of F/u, so each N
// may have the F and u that this computer carries.
func curve() (all []scenario) {
	for _, c := range []struct {
		n int
		f int64
		u lab.Rate
	}{
		{2, 32 * mib, 2 * lab.MiBps},
		{4, 32 * mib, 2 * lab.MiBps},
		{8, 32 * mib, 2 * lab.MiBps},
		{16, 32 * mib, 2 * lab.MiBps},
		{32, 32 * mib, lab.MiBps},
		{64, 32 * mib, lab.MiBps / 2},
	} {
		all = append(all,
			scenario{fmt.Sprintf("curve-%d", c.n), "a point of the plot",
				fleet{N: c.n, F: c.f, U: c.u, UOrigin: c.u, Plot: true}.run},
			scenario{fmt.Sprintf("curve-%d-libtorrent", c.n), "the same through libtorrent",
				libtorrentRow{N: c.n, F: c.f, U: c.u, UOrigin: c.u}.run},
			// A smaller object: it is linear, in N as in F.
			scenario{fmt.Sprintf("curve-%d-nginx", c.n), "the same through one nginx cache",
				nginxRow{N: c.n, F: 8 * mib, U: 8 * lab.MiBps, UOrigin: 8 * lab.MiBps}.run})
	}
	return all
}

// ci is the subset for every change: a minute or so, with small objects, whose
// fixed costs weigh more, rates that leave CPU free, so that a busy machine's runs
// still count, and gates to match.
var ci = []scenario{
	{"ci-cold-8", "8 nodes, nothing cached, shaped uplinks",
		distribution{System: shatabdi, N: 8, F: 48 * mib, U: 4 * lab.MiBps, UOrigin: 4 * lab.MiBps, Gate: 1.5, OriginGate: 1.2}.run},
	{"ci-fleet-16", "16 nodes in one process",
		fleet{N: 16, F: 16 * mib, U: lab.MiBps, UOrigin: lab.MiBps, Gate: 1.5, OriginGate: 1.2}.run},
}
