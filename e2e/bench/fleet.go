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
	topology
	Ratio  goal // to the bound
	Origin goal // what left it, in units of F; the zero one: oneCopy

	Starts []time.Duration // when each client comes; nil: all in the same instant,
	Spread time.Duration   // or evenly within that, and all count from the first one on
	Orders string          // the origin obeys them, as package testorigin says; "": it is nginx
	Slow   time.Duration   // before the header of each of the origin's responses
	Plot   bool

	Window int64 // what a socket takes in before it is read, at most; 0: as everywhere
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
	fleet := l.Machine("fleet", 0)
	n, from := d.N, 0
	if d.Warm {
		n, from = d.N+1, 1
	}
	if d.Window > 0 {
		fleet.SocketWindow(d.Window)
	}
	f := startFleet(fleet, n, etcd, "--upload-limit", fmt.Sprintf("%dB/s", d.U))
	if d.Warm {
		seed(l, f, origin.url, object)
	}

	sent := origin.machine.Sent()
	profiled := profile(f, l.Name(), d.bound())
	load, spent := lab.WatchLoad(), f.CPU()
	starts := d.Starts
	if d.Spread > 0 {
		starts = evenly(d.N, d.Spread)
	}
	reads := f.Read(origin.url, object, from, n, starts...)
	r := d.measure(reads, load())
	spent = f.CPU() - spent
	profiled()
	r.Origin = float64(origin.machine.Sent()-sent) / float64(d.F)
	r = r.exchanged(f.Metrics()).atMost("ratio", r.Ratio, d.Ratio)
	_, r.RSS = f.Processes[0].RSS()
	r = r.noting("%.1f ms of CPU a MiB", 1000*spent.Seconds()*mib/float64(int64(d.N)*d.F))
	if origin.asked != nil {
		whole, ranges := origin.asked()
		r = r.noting("origin was asked %d times, and %d for ranges", whole, ranges).
			atMost("downloads", float64(whole), goal{Gate: 1})
	}
	if d.Warm {
		r = r.atMost("origin x", r.Origin, noCopy)
	} else {
		r = r.atMost("origin x", r.Origin, cmp.Or(d.Origin, oneCopy))
	}
	add(r)
}

// startFleet starts n nodes that keep long leases: hundreds of them on two CPUs
// keep their etcd waiting.
func startFleet(m *lab.Machine, n int, etcd *lab.Etcd, flags ...string) *lab.Fleet {
	return m.Fleet(n, perProcess, etcd.URL,
		append([]string{"--log-level", "warn", "--etcd-lease-ttl", "30s"}, flags...)...)
}

// profile takes profiles in the middle of a run of about that length, if they
// were asked for; the returned function waits for them.
func profile(f *lab.Fleet, name string, run time.Duration) (wait func()) {
	if !profiling {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(run / 4)
		f.Profile(max(time.Second, run/2), lab.Out(name))
	}()
	return func() { <-done }
}

// quarter has a quarter of the bytes, and arrivals as much closer.
func (d fleet) quarter() fleet {
	d.topology = d.topology.quarter()
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
		return f.Metrics()[0].Sum("shatabdi_objects_completed_total") > 0
	})
	time.Sleep(2 * time.Second) // published, and known to the tracker
}

// measure compares with the bound: the last client, or with Starts each client
// with its own and the worst of them counts.
func (d fleet) measure(reads []lab.Read, load lab.Load) row {
	r := d.row(shatabdi)
	r.Load, r.Plot = load, d.Plot
	var firsts []time.Duration
	for _, x := range reads {
		firsts = append(firsts, x.FirstByte-x.Start)
	}
	r.FirstByte = median(firsts)
	if d.Starts == nil {
		last := time.Duration(0)
		for _, x := range reads {
			last = max(last, x.End)
		}
		r = r.took(last, d.topology)
		r.Bound += d.Slow
		r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
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
	return r.noting("the worst client against its own bound; the median one %.3f", median(ratios))
}
