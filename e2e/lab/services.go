package lab

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"shatabdi/e2e/testorigin"
)

// Etcd is a real etcd process.
type Etcd struct {
	*Process
	URL string

	args []string
}

// Etcd starts an etcd of one member.
func (m *Machine) Etcd() *Etcd {
	m.lab.Helper()
	return EtcdCluster(m)[0]
}

// EtcdCluster starts an etcd with a member on every machine, and waits until it
// has a leader. In a fleet etcd has machines of its own; here it gets the CPU
// before the nodes do, and a disk in memory: beside 512 nodes' catalogues on one
// disk each of its writes took 85 ms.
func EtcdCluster(ms ...*Machine) (members []*Etcd) {
	ms[0].lab.Helper()
	var initial []string
	for _, m := range ms {
		initial = append(initial, m.Name+"="+m.etcdPeerURL())
	}
	for _, m := range ms {
		e := &Etcd{URL: "http://" + m.IP + ":2379"}
		e.args = []string{"nice", "-n", "-10", m.lab.etcdBinary(),
			"--name", m.Name, "--data-dir", m.SmallDisk("etcd", 1<<30),
			"--listen-client-urls", e.URL, "--advertise-client-urls", e.URL,
			"--listen-peer-urls", m.etcdPeerURL(), "--initial-advertise-peer-urls", m.etcdPeerURL(),
			"--initial-cluster", strings.Join(initial, ","), "--log-level", "warn"}
		e.Process = m.Start("etcd", e.args...)
		members = append(members, e)
	}
	for _, e := range members {
		e.untilServing(e.URL+"/health", 30*time.Second)
	}
	return members
}

func (m *Machine) etcdPeerURL() string { return "http://" + m.IP + ":2380" }

// Leads reports whether the member leads its cluster, as far as it knows.
func (e *Etcd) Leads() bool {
	e.Machine.lab.Helper()
	return e.Metrics().Sum("etcd_server_is_leader") == 1
}

// Restart starts an etcd that was killed, on its old data.
func (e *Etcd) Restart() {
	m := e.Machine
	m.lab.Helper()
	e.Process = m.Start("etcd", e.args...)
	e.untilServing(e.URL+"/health", 20*time.Second)
}

// Origin is a process of package testorigin.
type Origin struct {
	*Process
	URL string
}

// Origin starts an origin that misbehaves on order, on port 80.
func (m *Machine) Origin() *Origin {
	m.lab.Helper()
	o := &Origin{URL: "http://" + m.IP}
	o.Process = m.Start("origin", m.lab.originBinary(), "-listen", m.IP+":80")
	o.untilServing(o.URL+"/_/stats", 10*time.Second)
	return o
}

// Stats returns what the origin sent under a path.
func (o *Origin) Stats(path string) testorigin.Counts {
	o.Machine.lab.Helper()
	var all map[string]testorigin.Counts
	o.Machine.lab.must(json.Unmarshal([]byte(o.Machine.Run("curl", "-sf", o.URL+"/_/stats")), &all))
	return all[path]
}

// Change makes the object under a path another one.
func (o *Origin) Change(path string) {
	o.Machine.lab.Helper()
	o.Machine.Run("curl", "-sf", "-X", "POST", o.URL+"/_/change"+path)
}

// Node is a running shatabdi.
type Node struct {
	*Process
	DataDir string

	args []string
}

// Where a node listens, as seen from its own machine.
const (
	proxyURL = "http://127.0.0.1:3128"
	adminURL = "http://127.0.0.1:3180"
)

// Shatabdi starts a node with its default settings and these flags, room for objects
// whatever share of the disk is free, and waits until it is ready. Without --etcd-endpoints it embeds an etcd that the others
// may use by EtcdURL.
func (m *Machine) Shatabdi(flags ...string) *Node {
	m.lab.Helper()
	n := m.ShatabdiUnready(flags...)
	n.UntilReady(30 * time.Second)
	return n
}

// ShatabdiUnready is Shatabdi for a node that may never be ready.
func (m *Machine) ShatabdiUnready(flags ...string) *Node {
	m.lab.Helper()
	n := &Node{DataDir: filepath.Join(m.Dir, "data")}
	n.args = append([]string{m.lab.Binary(), "serve",
		"--data-dir", n.DataDir,
		"--cache-size", "64GiB", "--cache-min-free", "16MiB",
		"--tracker-listen", m.IP + ":6969",
		"--peer-listen", m.IP + ":42069",
		"--advertise", m.IP}, flags...)
	if !strings.Contains(strings.Join(flags, " "), "--etcd-endpoints") {
		n.args = append(n.args, "--etcd-listen-client", "http://"+m.IP+":2379")
	}
	n.Process = m.Start("shatabdi", n.args...)
	return n
}

// EtcdURL is where the node's embedded etcd serves.
func (n *Node) EtcdURL() string { return "http://" + n.Machine.IP + ":2379" }

// UntilReady waits for /readyz.
func (n *Node) UntilReady(within time.Duration) {
	n.Machine.lab.Helper()
	n.untilServing(adminURL+"/readyz", within)
}

// Answers reports whether the node is there: it was not killed or stopped.
func (n *Node) Answers() bool {
	_, err := n.Machine.Try("curl", "-sf", "-m", "1", "-o", "/dev/null", adminURL+"/livez")
	return err == nil
}

// Restart starts the node again, which must have ended, with the flags it had.
func (n *Node) Restart() {
	n.Machine.lab.Helper()
	n.RestartUnready()
	n.UntilReady(30 * time.Second)
}

// RestartUnready is Restart for a node that will not be waited for.
func (n *Node) RestartUnready() {
	n.Machine.lab.Helper()
	n.Process = n.Machine.Start("shatabdi", n.args...)
}

// Wget and Curl prepare downloads through the node by a client on its machine.
func (n *Node) Wget(url string, args ...string) *Client {
	return n.Machine.Wget(proxyURL, url, args...)
}
func (n *Node) Curl(url string, args ...string) *Client {
	return n.Machine.Curl(proxyURL, url, args...)
}

// ProxyURL is the node's proxy, for programs on its machine.
func (n *Node) ProxyURL() string { return proxyURL }

// BadPeer starts a member of every fill that nobody should trust; see the
// command of that name.
func (m *Machine) BadPeer(flags ...string) *Process {
	m.lab.Helper()
	return m.Start("badpeer", append([]string{m.lab.badPeerBinary()}, flags...)...)
}

// Cluster starts a node on every machine, all at once, with an external etcd or
// (etcd == "") with the first node's embedded one.
func Cluster(ms []*Machine, etcd string, flags ...string) []*Node {
	l := ms[0].lab
	l.Helper()
	var nodes []*Node
	for _, m := range ms {
		own := flags
		if etcd != "" {
			own = append([]string{"--etcd-endpoints", etcd}, flags...)
		}
		n := m.ShatabdiUnready(own...)
		if etcd == "" {
			etcd = n.EtcdURL()
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.UntilReady(60 * time.Second)
	}
	return nodes
}

// MiB prints bytes as people compare them.
func MiB[N int64 | float64](n N) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
