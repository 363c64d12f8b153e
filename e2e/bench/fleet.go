package main

import (
	"fmt"
	"slices"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// fleet brings one object to N nodes that share few processes, through real
// etcd, tracker, files, sockets and HTTP readers. Uplinks are the nodes' own
// limits; the origin's is shaped:
//
//	origin (UOrigin) --- switch --- one machine: N nodes (U each), N readers
//	                        +------ etcd
type fleet struct {
	N          int
	F          int64
	U, UOrigin lab.Rate
	Warm       bool // one more node has the object
	Gate       float64
	Aim        float64
}

// perProcess is how many nodes share a process. One process keeps both CPUs
// busy by itself; more only cost memory.
const perProcess = 64

func (d fleet) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F /= 4
	}
	object := content.Object{Seed: 1, Size: d.F}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	url := origin.Object(object)
	etcd := l.Machine("etcd", 0).Etcd()
	n, from := d.N, 0
	if d.Warm {
		n, from = d.N+1, 1
	}
	f := l.Machine("fleet", 0).Fleet(n, perProcess, etcd.URL,
		"--upload-limit", fmt.Sprintf("%dB/s", d.U), "--log-level", "warn")
	if d.Warm {
		f.Read(url, object, 0, 1)
		l.Until("the seeder has everything", 10*time.Second, func() bool {
			return f.Metric(0, "shatabdi_objects_completed_total") > 0
		})
		time.Sleep(2 * time.Second) // published, and known to the tracker
	}

	sent := origin.Machine.Sent()
	load := lab.WatchLoad()
	reads := f.Read(url, object, from, n)
	r := row{System: shatabdi, N: d.N, F: d.F, U: d.U, Bound: d.bound(), Load: load()}
	var firsts []time.Duration
	for _, x := range reads {
		r.Time = max(r.Time, x.End)
		firsts = append(firsts, x.FirstByte-x.Start)
	}
	slices.Sort(firsts)
	if len(firsts) > 0 {
		r.FirstByte = firsts[len(firsts)/2]
	}
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	for i := range min(n, 8) {
		r.Seeder = max(r.Seeder, f.Metric(i, "shatabdi_peer_bytes_total", `direction="sent"`)/float64(d.F))
	}
	received := f.Sum("shatabdi_peer_bytes_total", `direction="received"`)
	wasted := f.Sum("shatabdi_peer_wasted_bytes_total")
	writes := f.Sum("shatabdi_etcd_writes_total")
	events := f.Sum("shatabdi_etcd_watch_events_total")
	_, peak := f.Processes[0].RSS()
	r.RSS = peak
	r.Note = fmt.Sprintf("%.1f %% wasted, etcd %.0f writes %.0f events, aim %.2f", 100*wasted/max(1, received), writes, events, d.Aim)
	r = r.atMost("ratio", r.Ratio, d.Gate)
	if d.Warm {
		r = r.atMost("origin x", r.Origin, 0.05)
	} else {
		r = r.atMost("origin x", r.Origin, 1.05)
	}
	add(r)
}

func (d fleet) bound() time.Duration {
	return distribution{N: d.N, F: d.F, U: d.U, UOrigin: d.UOrigin, Warm: d.Warm}.bound()
}
