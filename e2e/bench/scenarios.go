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
	group string // goals, node, curve, ci
	name  string
	about string
	run   func(l *lab.Lab, quick bool, add func(row))
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Sizes and uplinks are such that a run takes some 15 to 60 s and that two CPUs
// carry it: the sum of all clients stays below about 60 MiB/s.
var scenarios = slices.Concat(goals, node, curve(), ci)

// goals are the rows that say whether the product is what it is for. Ratios are
// to the least time with one copy out of the origin, which every row also checks.
var goals = []scenario{
	{"goals", "cold-8-1u", "8 nodes, nothing cached, the origin's uplink like a node's",
		fleet{topology: cold(8, 64*mib, 4*lab.MiBps, 1), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-8-2u", "the same with twice the uplink at the origin",
		fleet{topology: cold(8, 64*mib, 4*lab.MiBps, 2), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-8-8u", "the same with eight times the uplink at the origin",
		fleet{topology: cold(8, 64*mib, 4*lab.MiBps, 8), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-16-1u", "16 nodes",
		fleet{topology: cold(16, 40*mib, 2*lab.MiBps, 1), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-16-2u", "the same with twice the uplink at the origin",
		fleet{topology: cold(16, 40*mib, 2*lab.MiBps, 2), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-16-8u", "the same with eight times the uplink at the origin",
		fleet{topology: cold(16, 40*mib, 2*lab.MiBps, 8), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-32-1u", "32 nodes",
		fleet{topology: cold(32, 32*mib, lab.MiBps, 1), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-32-2u", "the same with twice the uplink at the origin",
		fleet{topology: cold(32, 32*mib, lab.MiBps, 2), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-32-8u", "the same with eight times the uplink at the origin",
		fleet{topology: cold(32, 32*mib, lab.MiBps, 8), Ratio: goal{1.10, 1.20}}.run},
	{"goals", "cold-16-libtorrent", "16 nodes: libtorrent",
		swarmOfLibtorrent{cold(16, 40*mib, 2*lab.MiBps, 1)}.run},
	{"goals", "cold-16-nginx", "16 nodes: clients of one nginx cache with a node's uplink (a smaller object: it is linear)",
		readers{System: nginx, topology: cold(16, 4*mib, 2*lab.MiBps, 1)}.run},
	{"goals", "cold-16-direct", "16 nodes: no cache at all",
		readers{System: direct, topology: cold(16, 4*mib, 2*lab.MiBps, 1)}.run},

	{"goals", "shaped-8", "8 nodes, one process each, on links that tc shapes",
		shaped{topology: cold(8, 192*mib, 8*lab.MiBps, 1), Ratio: goal{1.12, 1.25}}.run},
	{"goals", "shaped-8-nginx", "the same through one nginx cache with the same uplink (a smaller object: it is linear)",
		shaped{System: nginx, topology: cold(8, 24*mib, 8*lab.MiBps, 1)}.run},
	{"goals", "shaped-8-direct", "the same without any cache",
		shaped{System: direct, topology: cold(8, 24*mib, 8*lab.MiBps, 1)}.run},
	{"goals", "shaped-16", "16 nodes likewise",
		shaped{topology: cold(16, 96*mib, 4*lab.MiBps, 1), Ratio: goal{1.12, 1.25}}.run},

	{"goals", "zones-16", "16 nodes in 2 zones with a thin link between them, that do not know of it, and that do",
		zoned{topology: cold(16, 16*mib, lab.MiBps, 1), Across: lab.MiBps}.run},

	{"goals", "warm-16", "one seeder with the same uplink, 16 others; the origin is not asked",
		fleet{topology: warm(16, 40*mib, 2*lab.MiBps), Ratio: goal{1.08, 1.15}}.run},
	{"goals", "warm-32", "likewise 32",
		fleet{topology: warm(32, 32*mib, lab.MiBps), Ratio: goal{1.08, 1.15}}.run},
	{"goals", "fresh-50", "a fresh node warms up with 50 objects, 1 GiB, from three that got them by one order",
		fresh{N: 3, Objects: 50, F: gib, U: 16 * lab.MiBps, Ratio: goal{1.10, 1.30}}.run},
	{"goals", "cold-64", "64 nodes, nothing cached",
		fleet{topology: cold(64, 32*mib, lab.MiBps/2, 2), Ratio: goal{1.15, 1.30}}.run},
	{"goals", "warm-64", "64 nodes and one seeder",
		fleet{topology: warm(64, 32*mib, lab.MiBps/2), Ratio: goal{1.15, 1.30}}.run},
	{"goals", "cold-128", "128 nodes, nothing cached",
		fleet{topology: cold(128, 32*mib, lab.MiBps/4, 4), Ratio: goal{1.25, 1.40}}.run},
	// Pieces stay at 128 KiB, so that there are a tenth as many as in the 3.2 GB, and
	// one takes a node's uplink for 4 s. What takes 133 s there takes 511 s here: two
	// CPUs get 10 s, as if it were 2.6 there, for what 512 machines have to do once
	// each before the first byte, which each of those would do on its own.
	// Windows of sockets are scaled down as the object is: 6 MiB of 3.2 GB are 32 KiB here.
	{"goals", "cold-512", "512 nodes in 8 processes: 3.2 GB at 24 MB/s, scaled down alike in size and rate",
		fleet{topology: cold(512, 16*mib, lab.MiBps/32, 8), Spread: 10 * time.Second, Window: 32 << 10, Ratio: goal{1.35, 1.8}}.run},

	{"goals", "staggered-16", "16 nodes, one client a second",
		fleet{topology: cold(16, 32*mib, 2*lab.MiBps, 1), Starts: everySecond(16), Ratio: goal{1.15, 1.30}}.run},
	{"goals", "poisson-16", "16 nodes, clients at random, one a second on average",
		fleet{topology: cold(16, 32*mib, 2*lab.MiBps, 1), Starts: poisson(16, time.Second), Ratio: goal{1.15, 1.30}}.run},
	{"goals", "waves-16", "16 nodes, 8 clients at once and 8 when those are done",
		fleet{topology: cold(16, 32*mib, 2*lab.MiBps, 1), Starts: twoWaves(16, 20*time.Second), Ratio: goal{1.15, 1.30}}.run},

	{"goals", "open-50", "one node has it, 50 others want it; no caps, data on tmpfs: against the engine alone", open{N: 50, F: 64 * mib}.run},
	{"goals", "raw", "the engine alone, one seeder and one leecher on loopback, tmpfs: against libtorrent", raw},
	{"goals", "first-byte", "first byte to the median of 8 cold clients, no caps: against the origin's own", firstByte},

	{"goals", "no-range", "16 nodes; the origin ignores Range",
		fleet{topology: cold(16, 32*mib, 2*lab.MiBps, 1), Orders: "norange", Ratio: goal{1.15, 1.40}}.run},
	{"goals", "no-validator", "16 nodes; the origin names neither entity tag nor date",
		fleet{topology: cold(16, 32*mib, 2*lab.MiBps, 1), Orders: "novalidator", Ratio: goal{1.15, 1.40}}.run},
	{"goals", "slow-first-byte", "32 nodes wait for an origin that thinks for 3 s before each response: one download",
		fleet{topology: cold(32, 16*mib, lab.MiBps, 1), Orders: "", Slow: 3 * time.Second}.run},

	{"goals", "fault-kill-fifth", "10 nodes; 2 are killed -9 half-way",
		faulty{topology: faultyTen, Ratio: goal{1.3, 1.6}, Origin: killed, at: 0.5, strike: killFifth}.run},
	{"goals", "fault-kill-claimer", "10 nodes; the one that reads most from the origin is killed -9",
		faulty{topology: faultyTen, Ratio: goal{1.3, 1.6}, Origin: killed, at: 0.3, strike: killClaimer}.run},
	{"goals", "fault-kill-tracker", "10 nodes; the one that runs the tracker is killed -9 half-way",
		faulty{topology: faultyTen, Ratio: goal{1.3, 1.6}, Origin: killed, at: 0.5, strike: killTracker}.run},
	{"goals", "fault-etcd-kill", "10 nodes, etcd of 3; its leader is killed -9 half-way",
		faulty{topology: faultyTen, Members: 3, Ratio: goal{1.3, 1.6}, Origin: killed, at: 0.5, strike: killEtcdLeader}.run},
	{"goals", "fault-etcd-cut", "10 nodes, etcd of 3; its leader is off the network for 10 s",
		faulty{topology: faultyTen, Members: 3, Ratio: goal{1.3, 1.6}, Origin: killed, at: 0.3, strike: cutEtcdLeader}.run},
	{"goals", "fault-etcd-away", "10 nodes, etcd of 1, which is gone for 10 s",
		faulty{topology: faultyTen, Ratio: goal{1.3, 1.6}, Origin: killed, at: 0.3, strike: etcdAway}.run},
	{"goals", "fault-slow-uplink", "10 nodes; one has a tenth of the uplink",
		faulty{topology: faultyTen, Ratio: goal{1.15, 1.3}, strike: slowUplink}.run},
	{"goals", "fault-silent", "10 nodes and a member that has everything and answers nothing",
		faulty{topology: faultyTen, Ratio: goal{1.15, 1.3}, strike: badPeer()}.run},
	{"goals", "fault-corrupt", "10 nodes and a member that has everything and sends garbage",
		faulty{topology: faultyTen, Ratio: goal{1.15, 1.3}, strike: badPeer("-corrupt")}.run},
	{"goals", "fault-frozen", "10 nodes; one stands still half-way and closes no connection",
		faulty{topology: faultyTen, Ratio: goal{1.15, 1.3}, Origin: killed, at: 0.5, strike: freeze}.run},

	{"goals", "etcd-load", "what a fill costs etcd, at two sizes of fleet and extrapolated", etcdLoad},
}

// faultyTen is where faults strike, and killed is what may leave the origin when
// bytes die with their holders.
var (
	faultyTen = cold(10, 96*mib, 6*lab.MiBps, 1)
	killed    = goal{1.02, 1.2}
)

// node are the rows of one node, and of the machine it runs on.
var node = []scenario{
	{"node", "egress-3", "bytes out of the origin when 3 clients start in the same instant",
		shaped{topology: cold(3, 96*mib, 16*lab.MiBps, 1)}.run},
	{"node", "egress-16", "likewise 16",
		shaped{topology: cold(16, 64*mib, 6*lab.MiBps, 1)}.run},
	{"node", "alone-1gbit", "one node, nothing cached, origin on 1 Gbit/s: through the proxy against without", alone},
	{"node", "alone-no-caps", "one node filling without any cap against nginx filling its cache", fillNoCaps},
	{"node", "hit", "a local hit against a hit of nginx's cache (sendfile)", hit},
	{"node", "small", "what passing a small object through adds, on one machine", small},
	{"node", "small-hit", "hits of a small object a second, by wrk: against nginx and squid on the same CPUs", requests},
	{"node", "rss-idle", "resident memory of an idle node", rssIdle},
	{"node", "idle-10k", "a node that holds 10,000 objects nobody wants, and one that wakes", idle10k},
	{"node", "rss-fill", "resident memory while filling 3 GiB with 8 peers", rssFill},
	{"node", "slow-2000", "2,000 clients that take their time, of an object that is here and of one that comes in: memory, and what they cost others", slowClients},
	{"node", "tracker", "announces to 1,000 swarms of 1,000 peers: CPU, memory, and delay at half load, beside opentracker",
		trackers{Swarms: 1000, Peers: 1000, Announces: 200_000}.run},
	{"node", "sparse-100g", "first byte and memory with an object of 100 GiB", sparse},
}

// curve is what the plot shows: all uplinks alike, cold, and the same through
// one nginx cache and through libtorrent. The plot is in units of F/u, so each N
// may have the F and u that this computer carries.
func curve() (all []scenario) {
	for _, t := range []topology{
		cold(2, 40*mib, 4*lab.MiBps, 1),
		cold(4, 40*mib, 4*lab.MiBps, 1),
		cold(8, 40*mib, 4*lab.MiBps, 1),
		cold(16, 32*mib, 2*lab.MiBps, 1),
		cold(32, 32*mib, lab.MiBps, 1),
		cold(64, 24*mib, lab.MiBps/2, 1),
	} {
		// Of nginx a part is enough: the time is linear, in N as in F, but for the
		// half second after which it looks whether somebody else has filled.
		linear := cold(t.N, int64(max(4, 96/t.N))*mib, 8*lab.MiBps, 1)
		all = append(all,
			scenario{"curve", fmt.Sprintf("curve-%d", t.N), "a point of the plot", fleet{topology: t, Plot: true}.run},
			scenario{"curve", fmt.Sprintf("curve-%d-libtorrent", t.N), "the same through libtorrent", swarmOfLibtorrent{t}.run},
			scenario{"curve", fmt.Sprintf("curve-%d-nginx", t.N), "the same through one nginx cache", readers{linear, nginx}.run})
	}
	return all
}

// ci is the subset for every change: a minute or so, with small objects, whose
// fixed costs weigh more, rates that leave CPU free, so that a busy machine's runs
// still count, and gates to match.
var ci = []scenario{
	{"ci", "ci-shaped-8", "8 nodes, nothing cached, shaped uplinks",
		shaped{topology: cold(8, 48*mib, 4*lab.MiBps, 1), Ratio: goal{Gate: 1.5}, Origin: goal{Gate: 1.2}}.run},
	{"ci", "ci-fleet-16", "16 nodes in one process",
		fleet{topology: cold(16, 16*mib, lab.MiBps, 1), Ratio: goal{Gate: 1.5}, Origin: goal{Gate: 1.2}}.run},
}
