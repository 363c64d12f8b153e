package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// faulty distributes an object twice in one lab, one process a node: once
// undisturbed, once with a fault. What counts is the last client of those who
// were not hit, against the undisturbed run:
//
//	origin (UOrigin) --- switch --- N machines (U), each with its node and client
//	                        +------ etcd
type faulty struct {
	N          int
	F          int64
	U, UOrigin lab.Rate
	Gate       float64 // time against undisturbed
	OriginGate float64
	AtStart    bool // not when half of the bytes are there

	// strike does the damage and returns the nodes whose clients do not count.
	strike func(c *cluster) (hit []*lab.Node)
}

type cluster struct {
	etcd  *lab.Etcd
	nodes []*lab.Node
	u     lab.Rate
}

func (d faulty) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.F /= 4
	}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	c := &cluster{etcd: l.Machine("etcd", 0).Etcd(), u: d.U}
	c.nodes = lab.Cluster(l.Machines(d.N, "node", d.U), c.etcd.URL, "--uplink", fmt.Sprintf("%dB/s", d.U))

	undisturbed := d.distribute(l, origin, c, 1, nil)
	undisturbed.Bound = distribution{N: d.N, F: d.F, U: d.U, UOrigin: d.UOrigin}.bound()
	undisturbed.Ratio = undisturbed.Time.Seconds() / undisturbed.Bound.Seconds()
	undisturbed.Note = "undisturbed"
	add(undisturbed)

	r := d.distribute(l, origin, c, 2, d.strike)
	r.Bound = undisturbed.Time
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	r.Note += "; bound: the undisturbed run"
	r.Load.Late = max(r.Load.Late, undisturbed.Load.Late)
	add(r.atMost("ratio", r.Ratio, d.Gate).atMost("origin x", r.Origin, d.OriginGate))
}

// distribute is one run with an object of its own.
func (d faulty) distribute(l *lab.Lab, origin *lab.Nginx, c *cluster, seed uint64, strike func(*cluster) []*lab.Node) row {
	object := content.Object{Seed: seed, Size: d.F}
	url := origin.Object(object)
	clients := make([]*lab.Client, d.N)
	for i, n := range c.nodes {
		clients[i] = n.Wget(url)
	}
	r := row{System: shatabdi, N: d.N, F: d.F, U: d.U}
	sent := origin.Machine.Sent()
	load := lab.WatchLoad()

	var hit []*lab.Node
	if strike != nil && d.AtStart {
		hit = strike(c)
	}
	for _, client := range clients {
		client.Start()
	}
	if strike != nil && !d.AtStart {
		l.Until("half of the bytes are there", l.Deadline, func() bool { return progress(clients) >= d.F/2 })
		hit = strike(c)
	}
	var counted []*lab.Client
	for i, client := range clients {
		if slices.Contains(hit, c.nodes[i]) {
			continue // it fails, or hangs with its node
		}
		counted = append(counted, client.Wait())
		r.Time = max(r.Time, client.Time)
	}
	r.Load = load()
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	r.FirstByte = medianFirstByte(counted)
	l.Check(object, counted...)
	if strike != nil {
		r.Note = fmt.Sprintf("%d nodes hit", len(hit))
	}
	return r
}

// progress is what the median client has.
func progress(clients []*lab.Client) int64 {
	var got []int64
	for _, c := range clients {
		got = append(got, c.Progress())
	}
	return median(got)
}

// killFifth kills every fifth node (kill -9), and with it the claims it holds;
// not the one that runs the tracker.
func killFifth(c *cluster) (hit []*lab.Node) {
	leader := c.leader()
	for _, n := range c.nodes {
		if n != leader && len(hit) < len(c.nodes)/5 {
			hit = append(hit, n)
		}
	}
	for _, n := range hit {
		n.Kill()
	}
	return hit
}

// killLeader kills the node that runs the tracker.
func killLeader(c *cluster) []*lab.Node {
	leader := c.leader()
	leader.Kill()
	return []*lab.Node{leader}
}

func (c *cluster) leader() *lab.Node {
	for _, n := range c.nodes {
		if n.Metric("shatabdi_etcd_leader") == 1 {
			return n
		}
	}
	return c.nodes[0] // between two elections
}

// etcdAway kills etcd and starts it again 10 s later.
func etcdAway(c *cluster) []*lab.Node {
	c.etcd.Kill()
	time.Sleep(10 * time.Second)
	c.etcd.Restart()
	return nil
}

// silence stops a node without closing a connection, with claims and requests
// of others in its hands.
func silence(c *cluster) []*lab.Node {
	n := c.nodes[len(c.nodes)-1]
	n.Signal(syscall.SIGSTOP)
	return []*lab.Node{n}
}

// slowUplink leaves one node a tenth of its uplink. Its own client counts: it
// can receive as fast as the others.
func slowUplink(c *cluster) []*lab.Node {
	c.nodes[len(c.nodes)-1].Machine.Shape(c.u / 10)
	return nil
}
