package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/testorigin"
)

// origin is a test origin inside this process.
type origin struct {
	*testorigin.Origin
	server *http.Server
	addr   string
}

func startOrigin(bytesPerSecond int64) (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{Origin: testorigin.New(bytesPerSecond), addr: l.Addr().String()}
	o.server = &http.Server{Handler: o.Origin}
	go o.server.Serve(l) // until close
	return o, nil
}

func (o *origin) close() { o.server.Close() }

func (o *origin) url(c content.Object) string {
	return fmt.Sprintf("http://%s/size=%d/seed=%d/file.bin", o.addr, c.Size, c.Seed)
}

// node is one shatabdi on ports of its own.
type node struct {
	proxy, admin string // URLs
	log          string // path
	cmd          *exec.Cmd
	exited       chan struct{}
}

type cluster struct{ nodes []*node }

// startCluster starts n nodes on loopback, the first with an embedded etcd for
// all. The cluster must be closed also when there is an error.
func startCluster(ctx context.Context, binary, dir string, n int, upload string) (*cluster, error) {
	c := &cluster{}
	etcd, etcdPeer := "http://"+freeAddr(), "http://"+freeAddr()
	for i := range n {
		flags := []string{"--etcd-endpoints", etcd}
		if i == 0 {
			flags = []string{"--etcd-listen-client", etcd, "--etcd-listen-peer", etcdPeer}
		}
		node, err := startNode(binary, filepath.Join(dir, fmt.Sprint("node", i+1)), append(flags, "--upload-limit", upload+"/s"))
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, node)
	}
	for _, n := range c.nodes {
		if err := n.untilReady(ctx, 30*time.Second); err != nil {
			return c, err
		}
	}
	return c, nil
}

func startNode(binary, dir string, flags []string) (*node, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	proxy, admin := freeAddr(), freeAddr()
	n := &node{proxy: "http://" + proxy, admin: "http://" + admin, log: dir + ".log", exited: make(chan struct{})}
	log, err := os.Create(n.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	n.cmd = exec.Command(binary, append([]string{"serve",
		"--data-dir", dir,
		"--cache-size", "1GiB", "--cache-min-free", "16MiB", // whatever share of the disk is free
		"--proxy-listen", proxy,
		"--admin-listen", admin,
		"--tracker-listen", freeAddr(),
		"--peer-listen", freeAddr(),
		"--advertise", "127.0.0.1",
		// The origin is on loopback, which is refused by default.
		"--allow-destination", "127.0.0.0/8"}, flags...)...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	// A Ctrl-C is for the demo, which then stops its nodes.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.cmd.Env = withoutProxy()
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { n.cmd.Wait(); close(n.exited) }() // how it ended is in its log
	return n, nil
}

// freeAddr is an address on loopback that was free a moment ago.
func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // loopback without a free port
	}
	defer l.Close()
	return l.Addr().String()
}

// withoutProxy is the environment without what would send clients elsewhere.
func withoutProxy() (env []string) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") && !strings.HasPrefix(name, "SHATABDI_") {
			env = append(env, kv)
		}
	}
	return env
}

var direct = &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}

func (n *node) untilReady(ctx context.Context, within time.Duration) error {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		if resp, err := direct.Get(n.admin + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.exited:
			return fmt.Errorf("a node ended at once:\n%s", tail(n.log, 15))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("a node is not ready after %v:\n%s", within, tail(n.log, 15))
}

// close stops the nodes, the one with the etcd last.
func (c *cluster) close() {
	for i := len(c.nodes) - 1; i >= 0; i-- {
		n := c.nodes[i]
		syscall.Kill(n.cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-n.exited:
		case <-time.After(5 * time.Second):
			syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
			<-n.exited
		}
	}
}

func (c *cluster) proxies() (urls []string) {
	for _, n := range c.nodes {
		urls = append(urls, n.proxy)
	}
	return urls
}

// lastWords are the ends of the nodes' logs.
func (c *cluster) lastWords() (s string) {
	for i, n := range c.nodes {
		s += fmt.Sprintf("-- node %d\n%s\n", i+1, tail(n.log, 10))
	}
	return s
}

// peerBytes is what the nodes have received from each other.
func (c *cluster) peerBytes() (sum int64, err error) {
	for _, n := range c.nodes {
		resp, err := direct.Get(n.admin + "/metrics")
		if err != nil {
			return 0, err
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(line, `shatabdi_peer_bytes_total{direction="received"} `); ok {
				v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					return 0, err
				}
				sum += int64(v)
			}
		}
	}
	return sum, nil
}

func tail(path string, lines int) string {
	b, _ := os.ReadFile(path)
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
