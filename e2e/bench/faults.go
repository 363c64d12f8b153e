package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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
//	                        +------ etcd, of one member or of three
type faulty struct {
	topology
	Members int  // of etcd; 0: one
	Ratio   goal // time against undisturbed
	Origin  goal // the zero one: oneCopy

	at     float64 // the share of the bytes that the median client has when it strikes
	strike func(c *cluster) (hit []*lab.Node)
}

// cluster is what a fault may strike. strike returns the nodes whose clients do
// not count: they fail, or hang with their node.
type cluster struct {
	lab   *lab.Lab
	etcd  []*lab.Etcd
	nodes []*lab.Node
	u     lab.Rate
	bad   *lab.Process // the peer that nobody should trust, if there is one
}

func (d faulty) run(l *lab.Lab, quick bool, add func(row)) {
	if quick {
		d.topology = d.quarter()
	}
	origin := l.Machine("origin", d.UOrigin).NginxOrigin()
	c := &cluster{lab: l, etcd: lab.EtcdCluster(l.Machines(cmp.Or(d.Members, 1), "etcd", 0)...), u: d.U}
	c.nodes = lab.Cluster(l.Machines(d.N, "node", d.U), c.endpoints(), "--uplink", fmt.Sprintf("%dB/s", d.U.Line()))

	undisturbed := d.distribute(l, origin, c, 1, nil).noting("undisturbed")
	add(undisturbed)

	r := d.distribute(l, origin, c, 2, d.strike)
	if c.bad != nil && !strings.Contains(c.bad.LogTail(5), "asked") {
		l.Errorf("nobody asked the bad peer for anything: nothing was tested")
	}
	r.Bound, r.Fluid = undisturbed.Time, 0
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	r.Load.Late = max(r.Load.Late, undisturbed.Load.Late)
	r.Load.CPU = max(r.Load.CPU, undisturbed.Load.CPU)
	alive := slices.DeleteFunc(slices.Clone(c.nodes), func(n *lab.Node) bool { return !n.Answers() })
	if banned := lab.Sum(alive, "shatabdi_peers_banned"); banned > 0 {
		r = r.noting("%.0f nodes banned a peer", banned)
	}
	add(r.noting("bound: undisturbed").atMost("ratio", r.Ratio, d.Ratio).atMost("origin x", r.Origin, cmp.Or(d.Origin, oneCopy)))
}

// distribute is one run with an object of its own.
func (d faulty) distribute(l *lab.Lab, origin *lab.Nginx, c *cluster, seed uint64, strike func(*cluster) []*lab.Node) row {
	object := content.Object{Seed: seed, Size: d.F}
	url := origin.Object(object)
	clients := make([]*lab.Client, d.N)
	for i, n := range c.nodes {
		clients[i] = n.Wget(url)
	}
	sent := origin.Machine.Sent()
	load := lab.WatchLoad()

	var hit []*lab.Node
	if strike != nil && d.at == 0 {
		hit = strike(c)
	}
	for _, client := range clients {
		client.Start()
	}
	if strike != nil && d.at > 0 {
		l.Until("it is time to strike", l.Deadline, func() bool { return progress(clients) >= int64(d.at*float64(d.F)) })
		hit = strike(c)
	}
	var counted []*lab.Client
	last := time.Duration(0)
	for i, client := range clients {
		if slices.Contains(hit, c.nodes[i]) {
			continue
		}
		counted = append(counted, client.Wait())
		last = max(last, client.Time)
	}
	r := d.row(shatabdi).took(last, d.topology)
	r.Load, r.FirstByte = load(), medianFirstByte(counted)
	r.Origin = float64(origin.Machine.Sent()-sent) / float64(d.F)
	l.Check(object, counted...)
	if len(hit) > 0 {
		r = r.noting("%d nodes hit", len(hit))
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

func (c *cluster) endpoints() string {
	var urls []string
	for _, e := range c.etcd {
		urls = append(urls, e.URL)
	}
	return strings.Join(urls, ",")
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

// killClaimer kills the node that reads most from the origin at this moment.
func killClaimer(c *cluster) []*lab.Node {
	const read = "shatabdi_fill_origin_bytes_total"
	before := make([]float64, len(c.nodes))
	for i, n := range c.nodes {
		before[i] = n.Metric(read)
	}
	claimer, most := c.nodes[0], -1.0
	for i, n := range c.nodes {
		if more := n.Metric(read) - before[i]; more > most {
			claimer, most = n, more
		}
	}
	claimer.Kill()
	return []*lab.Node{claimer}
}

// killTracker kills the node that runs the tracker.
func killTracker(c *cluster) []*lab.Node {
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

// etcdAway kills all of etcd and starts it again 10 s later.
func etcdAway(c *cluster) []*lab.Node {
	for _, e := range c.etcd {
		e.Kill()
	}
	time.Sleep(10 * time.Second)
	for _, e := range c.etcd {
		e.Restart()
	}
	return nil
}

// killEtcdLeader kills the member that leads; the others elect another one.
func killEtcdLeader(c *cluster) []*lab.Node {
	c.etcdLeader().Kill()
	return nil
}

// cutEtcdLeader takes the network from the leading member for 10 s. Who is
// connected to it hears nothing, not even that the connection broke.
func cutEtcdLeader(c *cluster) []*lab.Node {
	leader := c.etcdLeader()
	leader.Machine.Cut(true)
	time.Sleep(10 * time.Second)
	leader.Machine.Cut(false)
	return nil
}

func (c *cluster) etcdLeader() (leader *lab.Etcd) {
	c.lab.Until("etcd has a leader", 10*time.Second, func() bool {
		for _, e := range c.etcd {
			if e.Leads() {
				leader = e
			}
		}
		return leader != nil
	})
	return leader
}

// freeze stops a node without closing a connection, with claims and requests of
// others in its hands.
func freeze(c *cluster) []*lab.Node {
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

// badPeer has one more member join: it says that it has every piece, and sends
// garbage, or nothing at all.
func badPeer(flags ...string) func(c *cluster) []*lab.Node {
	return func(c *cluster) []*lab.Node {
		m := c.lab.Machine("badpeer", c.u)
		c.bad = m.BadPeer(append([]string{"-etcd", c.endpoints(), "-listen", m.IP + ":42069"}, flags...)...)
		c.lab.Until("the bad peer has joined", 10*time.Second, func() bool { return strings.Contains(c.bad.LogTail(5), "joined") })
		return nil
	}
}
