package main

import (
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
var scenarios = []scenario{
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
	{"alone-1gbit", "one node, nothing cached, origin on 1 Gbit/s: through the proxy against without", alone},
	{"alone-no-caps", "one node filling without any cap against nginx filling its cache", fillNoCaps},
	{"hit", "a local hit against a hit of nginx's cache (sendfile)", hit},
	{"small", "what passing a small object through adds, on one machine", small},
	{"rss-idle", "resident memory of an idle node", rssIdle},
	{"rss-fill", "resident memory while filling 3 GiB with 8 peers", rssFill},
	{"sparse-100g", "first byte and memory with an object of 100 GiB", sparse},
}
