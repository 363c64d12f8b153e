package main

import (
	"fmt"
	"path/filepath"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// rssIdle: one node with an external etcd, one with its own; nothing to do.
func rssIdle(l *lab.Lab, quick bool, add func(row)) {
	settle := 20 * time.Second
	if quick {
		settle = 5 * time.Second
	}
	external := l.Machine("external", 0).Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL)
	embedded := l.Machine("embedded", 0).Shatabdi()
	time.Sleep(settle) // what is measured is that nothing happens
	for _, c := range []struct {
		node  *lab.Node
		note  string
		limit float64
	}{{external, "external etcd", 80}, {embedded, "embedded etcd", 160}} {
		now, peak := c.node.RSS()
		r := row{System: shatabdi, RSS: now, Note: fmt.Sprintf("%s, after %v; peak %s", c.note, settle, lab.MiB(peak))}
		add(r.atMost("MiB", float64(now)/mib, goal{Gate: c.limit}))
	}
}

// idle10k: a node that holds 10,000 objects nobody wants, one that holds
// nothing, and one that then asks the first for an object. The directory hears of
// that late, so the origin has to confirm it, and sends nothing.
func idle10k(l *lab.Lab, quick bool, add func(row)) {
	objects, settle := 10_000, 30*time.Second
	if quick {
		objects, settle = 1000, 5*time.Second
	}
	const size = 100 * mib // in all 1 TB, sparse
	etcd := l.Machine("etcd", 0).Etcd().URL
	full, empty := l.Machine("full", 0), l.Machine("empty", 0)
	origin := l.Machine("origin", 0).Origin()
	path := fmt.Sprintf("/size=%d/seed=0", size)
	full.Run(l.Binary(), "stock", "--data-dir", filepath.Join(full.Dir, "data"), "--objects", fmt.Sprint(objects), "--size", fmt.Sprint(size),
		"--url", origin.URL+path, "--etag", fmt.Sprintf("0-%d", size)) // as this origin calls it
	start := func(m *lab.Machine) (*lab.Node, time.Duration) {
		began := time.Now()
		return m.Shatabdi("--etcd-endpoints", etcd), time.Since(began)
	}
	none, emptyReady := start(empty)
	many, fullReady := start(full)
	l.Until("its objects are announced", time.Minute, func() bool {
		return max(many.Metric("shatabdi_tracker_swarms"), none.Metric("shatabdi_tracker_swarms")) == float64(objects)
	})
	time.Sleep(settle) // what is measured is that nothing happens
	noneCPU, manyCPU := none.CPU(), many.CPU()
	time.Sleep(settle)
	noneCPU, manyCPU = none.CPU()-noneCPU, many.CPU()-manyCPU
	noneRSS, _ := none.RSS()
	manyRSS, _ := many.RSS()

	c := l.Machine("client", 0).Shatabdi("--etcd-endpoints", etcd).Curl(origin.URL + path + "/0.iso")
	fetch(c)
	if sent := origin.Stats(path + "/0.iso"); c.Err != nil || c.Bytes != size || sent.Bytes > 0 {
		l.Errorf("the object that woke: %d bytes, %d of them from the origin, %v %s", c.Bytes, sent.Bytes, c.Err, c.Stderr())
	}
	r := row{System: shatabdi, N: objects, F: size, Time: fullReady, FirstByte: c.FirstByte, RSS: manyRSS,
		Note: fmt.Sprintf("time: until ready; an empty node: %v, %s; CPU in %v: %v, empty %v; first byte: at another node, after a handshake woke the object",
			emptyReady.Round(time.Millisecond), lab.MiB(noneRSS), settle, manyCPU, noneCPU)}
	add(r.atMost("MiB more", float64(manyRSS-noneRSS)/mib, goal{Aim: 32, Gate: 64}).
		atMost("ready ms later", ms(fullReady-emptyReady), goal{Aim: 500, Gate: 2000}).
		atMost("first byte ms", ms(c.FirstByte), goal{Aim: 200, Gate: 1000}).
		atMost("CPU % more", 100*(manyCPU-noneCPU).Seconds()/settle.Seconds(), goal{Aim: 0.5, Gate: 2}))
}

// rssFill: origin (14 MiB/s) --- switch --- 9 nodes (14 MiB/s) that fill 3 GiB.
func rssFill(l *lab.Lab, quick bool, add func(row)) {
	object, uplink := content.Object{Seed: 1, Size: 3 * gib}, 14*lab.MiBps
	l.Deadline = 20 * time.Minute
	if quick {
		object.Size = 512 * mib
	}
	origin := l.Machine("origin", uplink).NginxOrigin()
	nodes := lab.Cluster(l.Machines(9, "node", uplink), l.Machine("etcd", 0).Etcd().URL, "--uplink", fmt.Sprintf("%dB/s", uplink.Line()))
	url := origin.Object(object)
	lab.Digest(object) // before the clock runs
	var clients []*lab.Client
	for _, n := range nodes {
		clients = append(clients, n.Curl(url))
	}
	load := lab.WatchLoad()
	last := lab.Together(clients...)
	r := row{System: shatabdi, N: 9, F: object.Size, U: uplink, Time: last, Load: load(), Note: "RSS: the highest peak of the nine"}
	l.Check(object, clients...)
	for _, n := range nodes {
		_, peak := n.RSS()
		r.RSS = max(r.RSS, peak)
	}
	r.Load.CPU = 0 // memory does not care how long it took
	r.Load.Late = 0
	add(r.atMost("MiB", float64(r.RSS)/mib, goal{Gate: 300}))
}

// sparse: a synthetic origin --- switch --- one node. The client leaves after
// 256 MiB of 100 GiB; then one asks for a piece of the far end.
func sparse(l *lab.Lab, quick bool, add func(row)) {
	const path = "/size=100GiB/f.bin"
	origin := l.Machine("origin", 0).Origin()
	m := l.Machine("node", 0)
	// A tmpfs may promise more than there is memory: the object is sparse.
	node := m.Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL,
		"--data-dir", m.SmallDisk("disk", 200*gib), "--cache-size", "190GiB", "--cache-min-free", "0")
	load := lab.WatchLoad()
	c := node.Curl(origin.URL + path)
	c.Abandon = 256 * mib
	fetch(c)
	if c.Bytes < c.Abandon {
		l.Fatalf("curl ended after %d bytes: %v %s", c.Bytes, c.Err, c.Stderr())
	}
	far := node.Curl(origin.URL+path, "-r", "99999999000-99999999999")
	fetch(far)
	if far.Err != nil || far.Bytes != 1000 {
		l.Errorf("a range of the far end: %d bytes, %v %s", far.Bytes, far.Err, far.Stderr())
	}
	_, peak := node.RSS()
	r := row{System: shatabdi, N: 1, F: 100 * gib, FirstByte: c.FirstByte, RSS: peak, Load: load(),
		Note: fmt.Sprintf("256 MiB took %v; 1000 bytes of the far end %v; stored: %.0f objects",
			c.Time.Round(time.Millisecond), far.Time.Round(time.Millisecond), node.Metric("shatabdi_cache_objects"))}
	r.Load.CPU = 0
	// A disk too small for the reservation passes it through, which shows nothing.
	add(r.atMost("MiB", float64(peak)/mib, goal{Gate: 500}).atLeast("fills", node.Metric("shatabdi_fills_total"), goal{Gate: 1}))
}
