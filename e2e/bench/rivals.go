package main

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// swarmOfLibtorrent is a fleet of libtorrent's sessions with its default choice
// of pieces and peers: the origin is the seeder, each peer knows all others, and
// uplinks are its own limits. It measures no HTTP and no hashing at the source,
// which is to its favour.
type swarmOfLibtorrent struct{ topology }

// libtorrentPiece is the piece length of a scaled-down object, bytes: ours.
const libtorrentPiece = 128 << 10

const noLibtorrent = "not measured: apt-get install python3-libtorrent"

//go:embed libtorrent.py
var libtorrentScript string

func (d swarmOfLibtorrent) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.topology = d.quarter()
	}
	m := l.Machine("peers", 0)
	load := lab.WatchLoad()
	swarm, ok := runLibtorrent(l, m, filepath.Join(m.Dir, "libtorrent"), d.topology, libtorrentPiece)
	if !ok {
		add(d.row(libtorrent).noting(noLibtorrent))
		return
	}
	r := d.row(libtorrent).took(swarm.time, d.topology)
	r.Load, r.Origin, r.Plot = load(), swarm.seeder, true
	add(r)
}

type libtorrentResult struct {
	time, flow time.Duration // from the first connection, from the first byte
	seeder     float64       // copies that it uploaded
}

// runLibtorrent runs a swarm in dir. Without rates there are no limits; without
// a piece length libtorrent chooses. Not ok: there is no libtorrent.
func runLibtorrent(l *lab.Lab, m *lab.Machine, dir string, t topology, piece int) (r libtorrentResult, ok bool) {
	python := pythonWithLibtorrent(m)
	if python == "" {
		return r, false
	}
	file, err := content.Object{Seed: 1, Size: t.F}.File(dir)
	if err != nil {
		l.Fatalf("%v", err)
	}
	var took, flow float64
	out := m.Run(python, "-c", libtorrentScript, file, filepath.Join(dir, "leechers"), fmt.Sprint(t.N),
		fmt.Sprint(int64(t.U)), fmt.Sprint(int64(t.UOrigin)), fmt.Sprint(piece))
	if _, err := fmt.Sscan(out, &took, &flow, &r.seeder); err != nil {
		l.Fatalf("libtorrent printed %q: %v", out, err)
	}
	r.time, r.flow = ofSeconds(took), ofSeconds(flow)
	return r, true
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

// readers is N clients of one nginx cache with the uplink of one node, or
// (direct) of the origin itself. They share a machine: only uplinks count, and
// clients have none. Their objects are smaller: the time is linear in F.
type readers struct {
	topology
	System string
}

func (d readers) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.topology = d.quarter()
	}
	object := content.Object{Seed: 1, Size: d.F}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	url, proxy := origin.Object(object), direct
	if d.System == nginx {
		proxy = l.Machine("cache", d.U).NginxCache(true).URL
	}
	machine := l.Machine("readers", 0)

	sent := origin.Machine.Sent()
	load := lab.WatchLoad()
	var firsts []time.Duration
	last := time.Duration(0)
	for _, x := range machine.Readers(proxy, url, object, d.N) {
		last = max(last, x.End)
		firsts = append(firsts, x.FirstByte-x.Start)
	}
	r := d.row(d.System).took(last, d.topology)
	r.Load, r.FirstByte, r.Plot = load(), median(firsts), true
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	add(r)
}
