package main

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// libtorrentRow is a fleet of libtorrent's sessions with its default choice of
// pieces and peers: the origin is the seeder, each peer knows all others, and
// uplinks are its own limits. It measures no HTTP and no hashing at the source,
// which is to its favour.
type libtorrentRow struct {
	N          int
	F          int64
	U, UOrigin lab.Rate
}

//go:embed libtorrent.py
var libtorrentScript string

func (d libtorrentRow) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F /= 4
	}
	r := row{System: "libtorrent", N: d.N, F: d.F, U: d.U, Plot: true}
	m := l.Machine("peers", 0)
	python := pythonWithLibtorrent(m)
	if python == "" {
		r.Note = "not measured: apt-get install python3-libtorrent"
		add(r)
		return
	}
	file, err := content.Object{Seed: 1, Size: d.F}.File(lab.Out("objects"))
	if err != nil {
		l.Fatalf("%v", err)
	}
	load := lab.WatchLoad()
	var took float64
	out := m.Run(python, "-c", libtorrentScript, file, filepath.Join(m.Dir, "leechers"), fmt.Sprint(d.N),
		fmt.Sprint(int64(d.U)), fmt.Sprint(int64(d.UOrigin)))
	if _, err := fmt.Sscan(out, &took, &r.Origin); err != nil {
		l.Fatalf("libtorrent printed %q: %v", out, err)
	}
	r.Load = load()
	r.Time = time.Duration(took * float64(time.Second))
	r.Bound = distribution{N: d.N, F: d.F, U: d.U, UOrigin: d.UOrigin}.bound()
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	add(r)
}

// pythonWithLibtorrent prefers the python of the PATH; Debian's module belongs to
// Debian's python.
func pythonWithLibtorrent(m *lab.Machine) string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if _, err := m.Try(python, "-c", "import libtorrent"); err == nil {
			return python
		}
	}
	return ""
}

// nginxRow is N readers behind one nginx cache with the uplink of one node. They
// share a machine: only uplinks count, and readers have none.
type nginxRow struct {
	N          int
	F          int64
	U, UOrigin lab.Rate
}

func (d nginxRow) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F /= 4
	}
	object := content.Object{Seed: 1, Size: d.F}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	url := origin.Object(object)
	cache := l.Machine("cache", d.U).NginxCache(true)
	readers := l.Machine("readers", 0)

	sent := origin.Machine.Sent()
	load := lab.WatchLoad()
	r := row{System: nginx, N: d.N, F: d.F, U: d.U, Plot: true}
	var firsts []time.Duration
	for _, x := range readers.Readers(cache.URL, url, object, d.N) {
		r.Time = max(r.Time, x.End)
		firsts = append(firsts, x.FirstByte-x.Start)
	}
	r.Load, r.FirstByte = load(), median(firsts)
	r.Bound = distribution{N: d.N, F: d.F, U: d.U, UOrigin: d.UOrigin}.bound()
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	add(r)
}
