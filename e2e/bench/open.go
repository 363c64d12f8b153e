package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// Nothing here limits but this computer. Data is on tmpfs, and all the CPU there
// is should be taken, so no row carries its load.

// open compares what clients get with what the engine gives when it is alone:
// the same seeder and N leechers without HTTP, etcd, catalogue and clients.
// Clients compare every byte, on the same CPUs.
type open struct {
	N int
	F int64
}

func (d open) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F /= 4
	}
	memory := newMemory(l, d.N, d.F)
	engine := memory.engine(d.N, d.F)
	add(engine)
	add(memory.libtorrent(d.N, d.F))

	object := content.Object{Seed: 1, Size: d.F}
	url := l.Machine("origin", 0).NginxOrigin().Object(object)
	etcd := l.Machine("etcd", 0).Etcd()
	m := l.Machine("fleet", 0)
	m.SmallDisk("fleet", (int64(d.N)+2)*d.F*5/4+gib) // where Fleet keeps its data
	f := m.Fleet(d.N+1, perProcess, etcd.URL, "--log-level", "warn")
	seed(l, f, url, object)
	profiled := profile(f, l.Name(), engine.Time)

	r := row{System: shatabdi, N: d.N, F: d.F, Bound: engine.Time}
	for _, x := range f.Read(url, object, 1, d.N+1) {
		r.Time = max(r.Time, x.End)
	}
	profiled()
	_, r.RSS = f.Processes[0].RSS()
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	r = r.noting("%s", inAll(r)).noting("bound: the engine alone")
	add(r.atLeast("of the engine's rate", 1/r.Ratio, goal{0.9, 0.75}))
}

// raw compares one seeder and one leecher of our engine with libtorrent's, in
// turn, the best of each: what is measured is what it can do.
func raw(l *lab.Lab, quick bool, add func(row)) {
	pairs, size := 3, int64(gib)
	if quick {
		pairs, size = 1, 256*mib
	}
	memory := newMemory(l, 1, size)
	var ours, theirs row
	for range pairs {
		ours = faster(ours, memory.engine(1, size))
		theirs = faster(theirs, memory.libtorrent(1, size))
	}
	add(theirs)
	ours = ours.noting("the best of %d", pairs)
	if theirs.Time > 0 {
		ours.Bound = theirs.Time
		ours.Ratio = ours.Time.Seconds() / ours.Bound.Seconds()
		ours = ours.noting("bound: libtorrent's").atLeast("times libtorrent's rate", 1/ours.Ratio, goal{2.2, 1.8})
	}
	add(ours)
}

func faster(a, b row) row {
	if a.Time == 0 || b.Time < a.Time {
		return b
	}
	return a
}

// inAll is what arrived everywhere together.
func inAll(r row) string {
	return fmt.Sprintf("%.0f MB/s in all", float64(r.N)*float64(r.F)/1e6/r.Time.Seconds())
}

// memory is a machine with a tmpfs.
type memory struct {
	*lab.Machine
	lab *lab.Lab
	dir string
}

// newMemory has room for n+1 copies.
func newMemory(l *lab.Lab, n int, size int64) memory {
	m := l.Machine("raw", 0)
	return memory{m, l, m.SmallDisk("tmpfs", (int64(n)+2)*size)}
}

// engine is one seeder and n leechers of our engine, in one process.
func (m memory) engine(n int, size int64) row {
	dir := filepath.Join(m.dir, "engine")
	defer m.Run("rm", "-rf", dir)
	var out struct{ Seconds float64 }
	printed := m.Run(m.lab.Binary(), "raw", "--data-dir", dir, "--size", fmt.Sprint(size), "--leechers", fmt.Sprint(n))
	if err := json.Unmarshal([]byte(printed), &out); err != nil {
		m.lab.Fatalf("shatabdi raw printed %q: %v", printed, err)
	}
	r := row{System: "the engine alone", N: n, F: size, Time: ofSeconds(out.Seconds)}
	return r.noting("%s", inAll(r))
}

// libtorrent is the same of libtorrent.
func (m memory) libtorrent(n int, size int64) row {
	dir := filepath.Join(m.dir, "libtorrent")
	defer m.Run("rm", "-rf", dir)
	r := row{System: libtorrent, N: n, F: size}
	swarm, ok := runLibtorrent(m.lab, m.Machine, dir, topology{N: n, F: size}, 0)
	if !ok {
		return r.noting(noLibtorrent)
	}
	r.Time = swarm.flow // it connects once a second, which is not what is asked here
	return r.noting("%s, from the first byte on", inAll(r))
}
