package main

import (
	"fmt"
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

// rssFill: origin (14 MiB/s) --- switch --- 9 nodes (14 MiB/s) that fill 3 GiB.
func rssFill(l *lab.Lab, quick bool, add func(row)) {
	object, uplink := content.Object{Seed: 1, Size: 3 * gib}, 14*lab.MiBps
	l.Deadline = 20 * time.Minute
	if quick {
		object.Size = 512 * mib
	}
	origin := l.Machine("origin", uplink).NginxOrigin()
	nodes := lab.Cluster(l.Machines(9, "node", uplink), l.Machine("etcd", 0).Etcd().URL, "--uplink", fmt.Sprintf("%dB/s", uplink))
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
