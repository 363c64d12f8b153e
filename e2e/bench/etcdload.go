package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// etcdUse is what etcd did during one fill, by its own metrics.
type etcdUse struct {
	n, spans int
	writes   float64 // keys put and deleted
	events   float64 // changes told to watchers
	sent     float64 // bytes to clients
	received float64 // bytes from clients
	cpu      time.Duration
}

func (u etcdUse) since(m lab.Metrics) etcdUse {
	u.writes += m.Sum("etcd_mvcc_put_total") + m.Sum("etcd_mvcc_delete_total")
	u.events += m.Sum("etcd_debugging_mvcc_events_total")
	u.sent += m.Sum("etcd_network_client_grpc_sent_bytes_total")
	u.received += m.Sum("etcd_network_client_grpc_received_bytes_total")
	return u
}

func (u etcdUse) minus(v etcdUse) etcdUse {
	u.writes, u.events, u.sent, u.received = u.writes-v.writes, u.events-v.events, u.sent-v.sent, u.received-v.received
	u.cpu -= v.cpu
	return u
}

// etcdLoad measures two fleets with the same object. What grows with spans, with
// nodes and with both can be told apart by that, and so extrapolated.
func etcdLoad(l *lab.Lab, quick bool, add func(row)) {
	small, large := cold(8, 32*mib, 4*lab.MiBps, 1), cold(64, 32*mib, lab.MiBps*3/4, 1)
	if quick {
		small, large = small.quarter(), large.quarter()
	}
	var uses []etcdUse
	for _, t := range []topology{small, large} {
		r, u := etcdUseOf(l, t)
		uses = append(uses, u)
		add(r)
	}
	m := modelOf(uses[0], uses[1])
	r := row{System: shatabdi, F: large.F, Text: m.table()}
	r = r.noting("from both: each span %.2f writes, each node %.1f; each node is told %.2f events a span and %.2f of each other node, %.0f bytes an event",
		m.writesPerSpan, m.writesPerNode, m.eventsPerSpan, m.eventsPerPair, m.bytesPerEvent)
	add(r.atMost("writes a span", m.writesPerSpan, goal{3, 3.5}))
}

// etcdUseOf distributes an object and waits until its fill's records are gone.
func etcdUseOf(l *lab.Lab, t topology) (row, etcdUse) {
	name := fmt.Sprint(t.N)
	object := content.Object{Seed: 1, Size: t.F}
	url := l.Machine("origin"+name, t.UOrigin).NginxOrigin().Object(object)
	etcd := l.Machine("etcd"+name, 0).Etcd()
	f := l.Machine("fleet"+name, 0).Fleet(t.N, perProcess, etcd.URL, "--log-level", "warn",
		"--upload-limit", fmt.Sprintf("%dB/s", t.U))
	defer f.Kill()

	before := etcdUse{cpu: etcd.CPU()}.since(etcd.Metrics())
	load := lab.WatchLoad()
	last := time.Duration(0)
	for _, x := range f.Read(url, object, 0, t.N) {
		last = max(last, x.End)
	}
	r := t.row(shatabdi).took(last, t)
	r.Load = load()
	after := etcdUse{}.since(etcd.Metrics())
	for quiet := time.Now(); time.Since(quiet) < 3*time.Second; time.Sleep(200 * time.Millisecond) {
		if now := (etcdUse{}).since(etcd.Metrics()); now.writes != after.writes {
			after, quiet = now, time.Now()
		}
	}
	after.cpu = etcd.CPU()
	u := after.minus(before)
	u.n = t.N
	for _, m := range f.Metrics() {
		u.spans += int(m.Sum("shatabdi_spans_landed_total"))
	}
	perGiB := float64(gib) / float64(t.F)
	return r.noting("%d spans; %.0f writes, %.0f a GiB; %.0f events; sent %s, %s a GiB and node; CPU %v", u.spans, u.writes, u.writes*perGiB,
		u.events, lab.MiB(u.sent), lab.MiB(u.sent*perGiB/float64(t.N)), u.cpu.Round(time.Millisecond)), u
}

// etcdModel is what a fill of S spans by N nodes costs etcd: S writesPerSpan +
// N writesPerNode writes, and N (S eventsPerSpan + N eventsPerPair) events.
type etcdModel struct {
	writesPerSpan, writesPerNode float64
	eventsPerSpan, eventsPerPair float64
	bytesPerEvent                float64
	cpuPerEvent                  time.Duration // writes' included
}

// modelOf solves it for two fleets with the same spans.
func modelOf(a, b etcdUse) (m etcdModel) {
	na, nb, spans := float64(a.n), float64(b.n), float64(b.spans)
	m.writesPerNode = (b.writes - a.writes) / (nb - na)
	m.writesPerSpan = (a.writes - na*m.writesPerNode) / spans
	m.eventsPerPair = max(0, (b.events/nb-a.events/na)/(nb-na))
	m.eventsPerSpan = (b.events/nb - nb*m.eventsPerPair) / spans
	m.bytesPerEvent = b.sent / b.events
	m.cpuPerEvent = time.Duration(float64(b.cpu-a.cpu) / (b.events - a.events))
	return m
}

// The flagship case, which the table is for: an object of 3 GiB over uplinks of
// 24 MiB/s, in spans of 8 MiB.
const (
	flagshipSpans   = 3 * 1024 / 8
	flagshipSeconds = 3 * 1024 / 24.0
)

// events is how many a fill of the flagship's object makes.
func (m etcdModel) events(n float64) float64 {
	return n * (flagshipSpans*m.eventsPerSpan + n*m.eventsPerPair)
}

// table extrapolates.
func (m etcdModel) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "etcd's load by one fill of 3 GiB at 24 MiB/s (%d spans, %.0f s), extrapolated; %.0f µs of CPU an event, writes included:\n\n",
		flagshipSpans, flagshipSeconds, float64(m.cpuPerEvent.Microseconds()))
	fmt.Fprintf(&b, "| N | writes/s | events/s | of them participants | sent | CPUs |\n|---|---|---|---|---|---|\n")
	for _, n := range []float64{100, 1000, 10000} {
		writes := flagshipSpans*m.writesPerSpan + n*m.writesPerNode
		events := m.events(n)
		fmt.Fprintf(&b, "| %.0f | %.0f | %.0f | %.0f %% | %s/s | %.2f |\n", n, writes/flagshipSeconds, events/flagshipSeconds,
			100*n*n*m.eventsPerPair/events, lab.MiB(events*m.bytesPerEvent/flagshipSeconds),
			events*m.cpuPerEvent.Seconds()/flagshipSeconds)
	}
	fmt.Fprintf(&b, "\nOne CPU of etcd is full at N = %.0f; if nodes were told of a few participants only, at N = %.0f.\n"+
		"From there on hashes have to travel between peers.\n", m.full(), etcdModel{eventsPerSpan: m.eventsPerSpan, cpuPerEvent: m.cpuPerEvent}.full())
	return b.String()
}

// full is the N whose events take one CPU.
func (m etcdModel) full() float64 {
	budget := flagshipSeconds / m.cpuPerEvent.Seconds() // events
	linear, square := flagshipSpans*m.eventsPerSpan, m.eventsPerPair
	if square == 0 {
		return budget / linear
	}
	return (math.Sqrt(linear*linear+4*square*budget) - linear) / (2 * square)
}
