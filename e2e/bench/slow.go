package main

import (
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// slowClients: origin (16 MiB/s) --- switch --- one node, and 2,000 clients that
// take 8 KiB/s each: one half of an object that is here, the other of one that
// comes in meanwhile. Others ask for the same, before and during that.
func slowClients(l *lab.Lab, quick bool, add func(row)) {
	const rate = 8 << 10
	n, object, uplink := 2000, content.Object{Seed: 1, Size: 256 * mib}, 16*lab.MiBps
	if quick {
		object.Size, uplink = 64*mib, 8*lab.MiBps
	}
	l.Deadline = 5 * time.Minute
	origin := l.Machine("origin", uplink).NginxOrigin()
	node := l.Machine("node", 0).Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL)
	here, coming := origin.Object(object), origin.Object(object)+"?coming"
	alone := fetch(node.Curl(here)).Time
	hit := func() time.Duration {
		return curl(l, node.Machine, node.ProxyURL(), here, object.Size).total
	}
	hitAlone := median([]time.Duration{hit(), hit(), hit()})

	time0, _ := node.RSS()
	load := lab.WatchLoad()
	lasting := time.Duration(float64(object.Size)/float64(uplink)*float64(time.Second)) + 15*time.Second
	waits := []func() []lab.Read{
		node.Machine.SlowReaders(node.ProxyURL(), here, object, n/2, rate, lasting),
		node.Machine.SlowReaders(node.ProxyURL(), coming, object, n/2, rate, lasting),
	}
	l.Until("all clients are served", time.Minute, func() bool {
		return node.Metric("shatabdi_requests_in_flight") >= float64(n)
	})
	began := node.CPU()
	c := fetch(node.Curl(coming))
	spent := node.CPU() - began
	l.Check(object, c)
	among := median([]time.Duration{hit(), hit(), hit()})
	served := 0
	for _, wait := range waits {
		for _, r := range wait() {
			if r.Bytes > 0 {
				served++
			}
		}
	}
	_, peak := node.RSS()
	r := row{System: shatabdi, N: n, F: object.Size, U: uplink, Time: c.Time, Bound: alone, RSS: peak, Load: load()}
	r.Load.CPU = 0 // 2,000 clients live on this computer too
	r.Ratio = c.Time.Seconds() / alone.Seconds()
	r = r.noting("bound: the fill with nobody else; a hit takes %v, among them %v; before they came %s; the fill takes %.0f %% of a CPU",
		hitAlone.Round(time.Millisecond), among.Round(time.Millisecond), lab.MiB(time0), 100*spent.Seconds()/c.Time.Seconds())
	r = r.atMost("MiB", float64(peak)/mib, goal{Gate: 400}).atMost("fill", r.Ratio, goal{Aim: 1.05, Gate: 1.2})
	add(r.atLeast("served", float64(served), goal{Gate: float64(n)}))
}
