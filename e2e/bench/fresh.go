package main

import (
	"fmt"
	"strings"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// fresh has a node that has nothing warm up with many objects from others that have
// them: those get them by one order, the origin sending each once for all.
//
//	origin, etcd --- switch --- N machines (U), and a fresh one
type fresh struct {
	N, Objects int
	F          int64    // bytes of all objects together
	U          lab.Rate // uplink of each machine
	Ratio      goal
}

func (d fresh) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F, d.Objects = d.F/8, d.Objects/8
	}
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	uplink := fmt.Sprintf("%dB/s", d.U.Line())
	nodes := lab.Cluster(l.Machines(d.N, "node", d.U), etcd.URL, "--uplink", uplink)
	objects := make([]content.Object, d.Objects)
	urls := make([]string, d.Objects)
	for i := range objects {
		objects[i] = content.Object{Seed: uint64(100 + i), Size: d.F / int64(d.Objects)}
		urls[i] = origin.Object(objects[i])
	}
	sent := origin.Machine.Sent()
	nodes[0].Machine.Run(append([]string{l.Binary(), "warm", "--all"}, urls...)...)
	once := float64(origin.Machine.Sent()-sent) / float64(d.F)

	node := l.Machine("fresh", d.U).Shatabdi("--etcd-endpoints", etcd.URL, "--uplink", uplink)
	sent = origin.Machine.Sent()
	load, began := lab.WatchLoad(), time.Now()
	told := node.Machine.Run(append([]string{l.Binary(), "warm"}, urls...)...)
	r := row{System: shatabdi, N: d.N + 1, F: d.F, U: d.U, Time: time.Since(began), Load: load()}
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	fetched := node.Metric("shatabdi_fill_origin_bytes_total")
	for i := range objects {
		if i%10 == 0 { // each was verified piece by piece
			l.Check(objects[i], fetch(node.Wget(urls[i])))
		}
	}
	r.Bound = time.Duration(float64(d.F) / (float64(d.N) * float64(d.U)) * float64(time.Second))
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	add(r.noting("bound: all uplinks of those that have it; %s; the origin sent %.2f x to the first %d", strings.TrimSpace(told), once, d.N).
		atMost("ratio", r.Ratio, d.Ratio).atMost("origin x", r.Origin, noCopy).atMost("1 + bytes from the origin", 1+fetched, goal{Gate: 1}).
		atMost("origin x before", once, goal{1.02, 1.1}))
}
