package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// soak fills, reads and evicts for a time, and then nothing may have grown:
//
//	origin --- switch --- 3 nodes, each with room for half of the objects
//	             +------ etcd
//
// What one node holds when it rests is compared with what it held when it rested
// early on; memory, which the runtime gives back when it likes, is compared by the
// medians of the second and the last third of the time.
type soak struct{ time.Duration }

// The objects of a soak. All clients of a cycle want the same one.
const (
	soakObjects = 24
	soakSize    = 8 * mib
	soakCache   = soakObjects * soakSize / 2
	// soakEvery leaves some objects that can be evicted: one that is complete stays
	// in use for 10 s and longer.
	soakEvery = 1500 * time.Millisecond
	// soakRest is longer than a torrent, or a place on a board, lingers.
	soakRest = 45 * time.Second
)

// held is what a node holds.
type held struct{ goroutines, descriptors, files, keys float64 }

func (d soak) run(l *lab.Lab, _ bool, add func(row)) {
	l.Deadline = time.Minute
	origin := l.Machine("origin", 0).Origin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(3, "node", 0), etcd.URL, "--cache-size", fmt.Sprint(soakCache), "--cache-min-free", "0", "--log-level", "warn")
	cycles := 0
	memory := make([][]int64, len(nodes))
	work := func(d time.Duration, least int) (rested []held) {
		for end := time.Now().Add(d); time.Now().Before(end) || cycles < least; cycles++ {
			next := time.Now().Add(soakEvery)
			cycle(l, origin, etcd, nodes, cycles)
			for i, n := range nodes {
				now, _ := n.RSS()
				memory[i] = append(memory[i], now)
			}
			time.Sleep(time.Until(next))
		}
		return rest(etcd, nodes)
	}
	early := work(d.Duration/6, soakObjects*3/2) // every object was there once
	late := work(d.Duration*5/6, 0)
	for i, n := range nodes {
		m := memory[i]
		second, last := median(m[len(m)/3:2*len(m)/3]), median(m[2*len(m)/3:])
		r := row{System: n.Machine.Name, RSS: slices.Max(m)}
		r = r.noting("%d cycles in %v, %.0f evictions, %.1f GiB from peers", cycles, d.Duration,
			n.Metric("shatabdi_objects_evicted_total"), n.Metric("shatabdi_peer_bytes_total", `direction="received"`)/gib)
		r = grown(r, "goroutines", early[i].goroutines, late[i].goroutines, 20)
		r = grown(r, "descriptors", early[i].descriptors, late[i].descriptors, 10)
		r = grown(r, "files", early[i].files, late[i].files, 10)
		r = grown(r, "etcd keys", early[i].keys, late[i].keys, 10)
		add(grown(r, "MiB", float64(second)/mib, float64(last)/mib, 16))
	}
}

// grown sets the gate for a figure that was at first and is now: a tenth more, and
// some room for chance.
func grown(r row, what string, first, now, room float64) row {
	r = r.noting("%s %.0f -> %.0f", what, first, now)
	return r.atMost(what, now, goal{Gate: first*1.1 + room})
}

// cycle has every node's client ask for the next object. Now and then one leaves
// half-way, or wants a part only, or etcd stands still for longer than a request
// waits for it.
func cycle(l *lab.Lab, origin *lab.Origin, etcd *lab.Etcd, nodes []*lab.Node, i int) {
	object := content.Object{Seed: uint64(i*7%soakObjects + 1), Size: soakSize}
	url := fmt.Sprintf("%s/size=%d/seed=%d/f.bin", origin.URL, object.Size, object.Seed)
	var clients, whole []*lab.Client
	for k, n := range nodes {
		c := n.Curl(url)
		switch (i + k) % 11 {
		case 3:
			c.Abandon = object.Size / 2
		case 5:
			c = n.Curl(url, "-r", "3000000-4999999")
		default:
			whole = append(whole, c)
		}
		clients = append(clients, c)
	}
	if i%10 == 9 {
		etcd.Signal(syscall.SIGSTOP)
		time.AfterFunc(3*time.Second, func() { etcd.Signal(syscall.SIGCONT) })
	}
	lab.Together(clients...)
	l.Check(object, whole...)
}

// rest waits until what lingers is gone and looks at what is left.
func rest(etcd *lab.Etcd, nodes []*lab.Node) (all []held) {
	time.Sleep(soakRest)
	keys := etcd.Metrics().Sum("etcd_debugging_mvcc_keys_total")
	for _, n := range nodes {
		m := n.Metrics()
		all = append(all, held{
			goroutines: m.Sum("go_goroutines"), descriptors: m.Sum("process_open_fds"),
			files: float64(filesBelow(n.DataDir)), keys: keys,
		})
	}
	return all
}

func filesBelow(dir string) (n int) {
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() { // what was removed meanwhile does not count
			n++
		}
		return nil
	})
	return n
}
