package main

import (
	"cmp"
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
	Warm       bool    // one more node has the object
	Gate       float64 // for the ratio to the bound; 0: none
	Aim        float64
	OriginGate float64 // 0: 1.05

	Starts []time.Duration // when each client comes; nil: all in the same instant
	Orders string          // the origin obeys them, as package testorigin says; "": it is nginx
	Slow   time.Duration   // before the header of each of the origin's responses
	Plot   bool
}

// perProcess is how many nodes share a process. One process keeps both CPUs
// busy by itself; more only cost memory.
const perProcess = 64

func (d fleet) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d = d.quarter()
	}
	object := content.Object{Seed: 1, Size: d.F}
	origin := d.origin(l, object)
	etcd := l.Machine("etcd", 0).Etcd()
	n, from := d.N, 0
	if d.Warm {
		n, from = d.N+1, 1
	}
	f := l.Machine("fleet", 0).Fleet(n, perProcess, etcd.URL,
		"--upload-limit", fmt.Sprintf("%dB/s", d.U), "--log-level", "warn",
		// Hundreds of nodes on two CPUs keep their etcd waiting.
		"--etcd-lease-ttl", "30s")
	if d.Warm {
		seed(l, f, origin.url, object)
	}

	sent := origin.machine.Sent()
	load := lab.WatchLoad()
	reads := f.Read(origin.url, object, from, n, d.Starts...)
	r := d.measure(reads, load())
	r.Origin = float64(origin.machine.Sent()-sent) / float64(d.F)
	for i := range min(n, 8) {
		r.Seeder = max(r.Seeder, f.Metric(i, "shatabdi_peer_bytes_total", `direction="sent"`)/float64(d.F))
	}
	received := f.Sum("shatabdi_peer_bytes_total", `direction="received"`)
	wasted := f.Sum("shatabdi_peer_wasted_bytes_total")
	writes := f.Sum("shatabdi_etcd_writes_total")
	events := f.Sum("shatabdi_etcd_watch_events_total")
	_, r.RSS = f.Processes[0].RSS()
	r.Note += fmt.Sprintf("%.1f %% wasted, etcd %.0f writes %.0f events", 100*wasted/max(1, received), writes, events)
	if d.Aim > 0 {
		r.Note += fmt.Sprintf(", aim %.2f", d.Aim)
	}
	if d.Gate > 0 {
		r = r.atMost("ratio", r.Ratio, d.Gate)
	}
	if origin.asked != nil {
		whole, ranges := origin.asked()
		r.Note += fmt.Sprintf(", origin was asked %d times, and %d for ranges", whole, ranges)
		r = r.atMost("downloads", float64(whole), 1)
	}
	if d.Warm {
		r = r.atMost("origin x", r.Origin, 0.05)
	} else {
		r = r.atMost("origin x", r.Origin, cmp.Or(d.OriginGate, 1.05))
	}
	add(r)
}

// quarter has a quarter of the bytes, and arrivals as much closer.
func (d fleet) quarter() fleet {
	d.F /= 4
	d.Starts = slices.Clone(d.Starts)
	for i := range d.Starts {
		d.Starts[i] /= 4
	}
	return d
}

type fleetOrigin struct {
	machine *lab.Machine
	url     string
	asked   func() (whole, ranges int) // requests; nil: unknown
}

func (d fleet) origin(l *lab.Lab, object content.Object) fleetOrigin {
	m := l.Machine("origin", d.UOrigin)
	if d.Orders == "" && d.Slow == 0 {
		return fleetOrigin{machine: m, url: m.NginxOrigin().Object(object)}
	}
	path := fmt.Sprintf("/size=%d/seed=%d", object.Size, object.Seed)
	if d.Orders != "" {
		path += "/" + d.Orders
	}
	if d.Slow > 0 {
		path += "/slow=" + d.Slow.String()
	}
	path += "/f.bin"
	o := m.Origin()
	return fleetOrigin{machine: m, url: o.URL + path, asked: func() (whole, ranges int) {
		c := o.Stats(path)
		return c.Requests - c.Ranges, c.Ranges
	}}
}

// seed brings the object to node 0.
func seed(l *lab.Lab, f *lab.Fleet, url string, object content.Object) {
	f.Read(url, object, 0, 1)
	l.Until("the seeder has everything", 10*time.Second, func() bool {
		return f.Metric(0, "shatabdi_objects_completed_total") > 0
	})
	time.Sleep(2 * time.Second) // published, and known to the tracker
}

// measure compares with the bound: the last client, or with Starts each client
// with its own and the worst of them counts.
func (d fleet) measure(reads []lab.Read, load lab.Load) row {
	r := row{System: shatabdi, N: d.N, F: d.F, U: d.U, Load: load, Plot: d.Plot}
	var firsts []time.Duration
	for _, x := range reads {
		firsts = append(firsts, x.FirstByte-x.Start)
	}
	r.FirstByte = median(firsts)
	if d.Starts == nil {
		r.Bound = d.Slow + d.bound()
		for _, x := range reads {
			r.Time = max(r.Time, x.End)
		}
		r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
		if once := d.Slow + d.boundOfOneCopy(); !d.Warm && once > r.Bound*101/100 {
			r.Note = fmt.Sprintf("%.3f of the least time with one copy out of the origin; ", r.Time.Seconds()/once.Seconds())
		}
		return r
	}
	least := fluid{F: d.F, U: d.U, UOrigin: d.UOrigin}.times(d.Starts)
	var ratios []float64
	for _, x := range reads {
		ratio := x.Took().Seconds() / least[x.Reader].Seconds()
		if ratios = append(ratios, ratio); ratio > r.Ratio {
			r.Ratio, r.Time, r.Bound = ratio, x.Took(), least[x.Reader]
		}
	}
	r.Note = fmt.Sprintf("the worst client against its own bound; the median one %.3f; ", median(ratios))
	return r
}

func (d fleet) bound() time.Duration {
	return distribution{N: d.N, F: d.F, U: d.U, UOrigin: d.UOrigin, Warm: d.Warm}.bound()
}

// boundOfOneCopy is the bound for who takes only one copy out of the origin: a fast
// origin is then idle for most of the time, which the other bound does not know.
func (d fleet) boundOfOneCopy() time.Duration {
	return slices.Max(fluid{F: d.F, U: d.U, UOrigin: d.UOrigin}.times(make([]time.Duration, d.N)))
}

// openFleet measures what the swarm carries when nothing but this computer is
// the limit: one node has the object, N others want it, no caps, data on tmpfs.
type openFleet struct {
	N int
	F int64
}

func (d openFleet) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F /= 4
	}
	object := content.Object{Seed: 1, Size: d.F}
	url := l.Machine("origin", 0).NginxOrigin().Object(object)
	etcd := l.Machine("etcd", 0).Etcd()
	m := l.Machine("fleet", 0)
	m.SmallDisk("fleet", (int64(d.N)+2)*d.F*5/4+gib) // where Fleet keeps its data
	f := m.Fleet(d.N+1, perProcess, etcd.URL, "--log-level", "warn")
	seed(l, f, url, object)

	r := row{System: shatabdi, N: d.N, F: d.F}
	for _, x := range f.Read(url, object, 1, d.N+1) {
		r.Time = max(r.Time, x.End)
	}
	_, r.RSS = f.Processes[0].RSS()
	r.Note = fmt.Sprintf("%.0f MB/s in all, every byte compared; no rival was measured beside it",
		float64(d.N)*float64(d.F)/1e6/r.Time.Seconds())
	add(r) // without a load: all the CPU there is should be taken
}
