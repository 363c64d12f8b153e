package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/cluster/embedded"
	"shatabdi/swarmcache/index"
	"shatabdi/swarmcache/swarm"
	"shatabdi/tracker"
)

// parts are what the cache is made of. They know each other only through the
// contracts; here is where they meet.
type parts struct {
	index   *index.Index
	swarm   *swarm.Swarm
	cluster *cluster.Cluster
	cache   *swarmcache.Cache

	node   swarmcache.Node
	leader atomic.Pointer[string] // announce URL of the leading tracker
	own    []netip.AddrPort       // this daemon's listeners
}

// startParts brings the cache up, bottom first. It is long and straight because
// each part needs those before it.
func (d *daemon) startParts(ctx context.Context) error {
	p := &parts{}
	cfg, dir := d.cfg, d.cfg.DataDir

	// What this node has.
	catalogue := d.ready.required("catalogue")
	x, err := index.Open(index.Options{Dir: filepath.Join(dir, "index"), Logger: d.log, Registerer: d.reg})
	if err != nil {
		return explainIndex(err, dir)
	}
	p.index = x
	d.stack.push("catalogue", func(context.Context) error { return x.Close() })
	d.run("catalogue upkeep", x.Run)
	id, err := nodeID(x)
	if err != nil {
		return err
	}
	catalogue.report(nil)

	// The directory's store, if it is ours to run.
	endpoints := cfg.Etcd.Endpoints
	if cfg.Etcd.Embedded() {
		if endpoints, err = d.startEtcd(); err != nil {
			return err
		}
	}

	// Peers.
	listen, err := parseListen(cfg.Peer.Listen)
	if err != nil {
		return usage("give --peer-listen an address and a port, such as :42069", "%v", err)
	}
	p.swarm, err = swarm.New(swarm.Config{
		Listen: listen, UploadLimit: int64(cfg.Peer.Upload()), DownloadLimit: int64(cfg.Peer.DownloadLimit),
		Secret: func() []byte { return p.cluster.Secret() }, Node: id,
		Tracker: func() string {
			if url := p.leader.Load(); url != nil {
				return *url
			}
			return ""
		},
		Logger: d.log, Registerer: d.reg,
	})
	if err != nil {
		return explainListen(err, "peer", cfg.Peer.Listen)
	}
	d.stack.push("swarm", func(context.Context) error { return p.swarm.Close() })

	trackerLn, err := d.listen(ctx, "tracker", cfg.Tracker.Listen)
	if err != nil {
		return err
	}

	// The directory, and this node's place in it.
	p.node = swarmcache.Node{ID: id, Zone: cfg.Node.Zone, Rack: cfg.Node.Rack, Version: d.build.Version}
	addrs := advertised(cfg.Node.Advertise, listen.Addr())
	for _, a := range addrs {
		p.node.Peers = append(p.node.Peers, netip.AddrPortFrom(a, uint16(p.swarm.Port())))
	}
	p.node.Tracker = "http://" + net.JoinHostPort(addrs[0].String(), strconv.Itoa(portOf(trackerLn))) + "/announce"
	clusterID, secret := cachedSecret(x)
	p.cluster, err = cluster.Open(cluster.Config{
		Endpoints: endpoints,
		CA:        cfg.Etcd.CAFile, Cert: cfg.Etcd.CertFile, Key: cfg.Etcd.KeyFile,
		User: cfg.Etcd.User, PasswordFile: cfg.Etcd.PasswordFile,
		Self: p.node, ClusterID: clusterID, CachedSecret: secret,
		OnSecret: func(id string, secret []byte) {
			if err := cacheSecret(x, id, secret); err != nil {
				d.log.Warn("keep the cluster's secret", "error", err)
			}
		},
		OnLeader: func(url string, self bool) { p.leader.Store(&url) },
		Logger:   d.log, Registerer: d.reg,
	})
	if err != nil {
		return err
	}
	d.run("directory", p.cluster.Run)
	d.run("directory readiness", p.watchDirectory(d.ready))

	// The tracker, which answers while this node leads.
	roster := &roster{cluster: p.cluster}
	tr := tracker.New(tracker.Config{
		Members: roster.lookup,
		Leading: func() (bool, string) {
			url, _, self := p.cluster.Leader()
			return self, url
		},
		Logger: d.log, Registerer: d.reg,
	})
	d.run("tracker", tr.Run)
	d.serveHTTP("tracker", trackerLn, &http.Server{
		Handler: tr, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10,
	})

	// The objects.
	size, err := cacheSize(cfg.Cache, dir)
	if err != nil {
		return err
	}
	p.cache, err = swarmcache.Open(swarmcache.Config{
		Dir: filepath.Join(dir, "objects"), Index: x, Directory: p.cluster, Swarm: p.swarm, Node: p.node,
		Size: size, Streams: cfg.Origin.Streams, Logger: d.log, Registerer: d.reg,
	})
	if err != nil {
		return err
	}
	d.stack.push("transfers", func(context.Context) error { return p.cache.Close() })

	return d.startProxy(ctx, p, trackerLn)
}

// startProxy opens the door for clients, last.
func (d *daemon) startProxy(ctx context.Context, p *parts, others ...net.Listener) error {
	cfg := d.cfg
	ln, err := d.listen(ctx, "proxy", cfg.Proxy.Listen)
	if err != nil {
		return err
	}
	for _, l := range append(others, ln, d.adminLn) {
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			p.own = append(p.own, a.AddrPort())
		}
	}
	p.own = append(p.own, p.node.Peers...)
	client := origin.New(origin.Config{
		Node: viaName(cfg.Node.Name, p.node.ID), Hosts: cfg.Resolver.Hosts, AllowDestinations: cfg.Proxy.AllowDestination,
		Own:         func() []netip.AddrPort { return p.own },
		DialTimeout: cfg.Origin.DialTimeout, TLSHandshakeTimeout: cfg.Origin.TLSTimeout,
		ResponseHeaderTimeout: cfg.Origin.HeaderTimeout, Registerer: d.reg,
	})
	d.stack.push("origin connections", func(context.Context) error { client.Close(); return nil })
	rules := cfg.Policy()
	ports := make([]int, len(cfg.Proxy.ConnectPorts))
	for i, port := range cfg.Proxy.ConnectPorts {
		ports[i] = int(port)
	}
	px, err := proxy.New(proxy.Config{
		Cache: p.cache, Rules: func() *policy.Rules { return rules },
		Mode: func() string {
			if cfg.Mode == ModePass {
				return ModePass
			}
			return p.cluster.Mode()
		},
		Origin: client, Allow: cfg.Proxy.Allow, ConnectPorts: ports, MaxRequestBody: int64(cfg.Proxy.MaxBody),
		Logger: d.log.With("component", "proxy"), AccessLog: d.log.With("component", "access"), Registerer: d.reg,
	})
	if err != nil {
		return err
	}
	d.stack.push("tunnels", func(context.Context) error { px.Close(); return nil })
	srv := px.Server()
	srv.ReadHeaderTimeout, srv.IdleTimeout = cfg.Proxy.HeaderTimeout, cfg.Proxy.IdleTimeout
	srv.MaxHeaderBytes = int(cfg.Proxy.MaxHeader)
	d.serveHTTP("proxy", ln, srv)
	return nil
}

// startEtcd runs the embedded member and returns its endpoints.
func (d *daemon) startEtcd() ([]string, error) {
	cfg := d.cfg.Etcd
	s, err := embedded.Start(embedded.Config{
		Dir: filepath.Join(d.cfg.DataDir, "etcd"), Name: d.cfg.Node.Name,
		ListenClient: first(cfg.ListenClient), ListenPeer: first(cfg.ListenPeer),
		InitialCluster: cfg.InitialCluster, Quota: int64(cfg.Quota),
		Logger: d.log, Registerer: d.reg,
	})
	if err != nil {
		var e *embedded.Error
		if errors.As(err, &e) {
			return nil, failure(e.Hint(), "%v", err)
		}
		return nil, err
	}
	d.stack.push("etcd", func(context.Context) error { s.Stop(); return nil })
	if w := s.Warning(); w != "" {
		d.log.Warn(w)
	}
	return s.Endpoints(), nil
}

func first(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return l[0]
}

// watchDirectory keeps the readiness checks of the directory and the tracker.
func (p *parts) watchDirectory(r *readiness) func(context.Context) error {
	directory, leader := r.helpful("directory", patience), r.helpful("tracker", patience)
	return func(ctx context.Context) error {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		contact := p.cluster.FirstContact()
		for {
			directory.report(p.cluster.State())
			leader.report(nil)
			if url, _, _ := p.cluster.Leader(); url == "" {
				leader.report(errors.New("no leader is known"))
			}
			select {
			case <-ctx.Done():
				return nil
			case <-contact:
				contact = nil
			case <-tick.C:
			}
		}
	}
}

// roster answers the tracker where the members are. It asks the directory once
// a second at most.
type roster struct {
	cluster *cluster.Cluster
	mu      sync.Mutex
	nodes   map[string][]netip.AddrPort
	asked   time.Time
}

func (r *roster) lookup(node string) ([]netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asked) > time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		nodes, err := r.cluster.Nodes(ctx)
		cancel()
		r.asked = time.Now()
		if err == nil { // what was known is better than nothing
			r.nodes = make(map[string][]netip.AddrPort, len(nodes))
			for _, n := range nodes {
				r.nodes[string(n.ID)] = n.Peers
			}
		}
	}
	addrs, ok := r.nodes[node]
	return addrs, ok
}

// nodeID is this node's name for as long as its data directory lives.
func nodeID(x *index.Index) (swarmcache.NodeID, error) {
	const setting = "node_id"
	b, err := x.Setting(setting)
	if errors.Is(err, swarmcache.ErrNotFound) {
		var id [8]byte
		rand.Read(id[:])
		b = []byte(hex.EncodeToString(id[:]))
		err = x.SetSetting(setting, b)
	}
	if err != nil {
		return "", fmt.Errorf("node id: %w", err)
	}
	return swarmcache.NodeID(b), nil
}

// The cluster's secret is kept here too, so that a node that starts without its
// directory can still meet its peers.
const secretSetting = "cluster"

type clusterSecret struct {
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
}

func cachedSecret(x *index.Index) (id string, secret []byte) {
	var s clusterSecret
	if b, err := x.Setting(secretSetting); err == nil && json.Unmarshal(b, &s) == nil {
		return s.ID, s.Secret
	}
	return "", nil
}

func cacheSecret(x *index.Index, id string, secret []byte) error {
	b, err := json.Marshal(clusterSecret{id, secret})
	if err != nil {
		return err
	}
	return x.SetSetting(secretSetting, b)
}

// advertised is where other nodes reach this one: what the operator says, the
// address it listens on, or every global address of its interfaces.
func advertised(given []netip.Addr, listen netip.Addr) []netip.Addr {
	if len(given) > 0 {
		return given
	}
	if listen.IsValid() && !listen.IsUnspecified() {
		return []netip.Addr{listen}
	}
	var l []netip.Addr
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				l = append(l, ip.Unmap())
			}
		}
	}
	if len(l) == 0 {
		l = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	return l
}

// parseListen reads "addr:port", where an empty addr means every one.
func parseListen(s string) (netip.AddrPort, error) {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ap := a.AddrPort()
	if !ap.Addr().IsValid() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(a.Port)), nil
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

func portOf(ln net.Listener) int {
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// viaName is this node's name in Via: its own name, and enough of its id to
// tell apart two nodes of one name.
func viaName(name string, id swarmcache.NodeID) string {
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, name)
	return clean + "-" + string(id[:min(6, len(id))])
}

// cacheSize turns the configured share into bytes of the volume of dir.
func cacheSize(c Cache, dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("size of the volume of %s: %w", dir, err)
	}
	total := int64(st.Blocks) * int64(st.Bsize)
	return c.Size.Of(total), nil
}

// explainIndex adds what to try.
func explainIndex(err error, dir string) error {
	var format *index.FormatError
	switch {
	case errors.Is(err, index.ErrLocked):
		return failure("stop the other process, or choose another --data-dir", "%v", err)
	case errors.As(err, &format):
		return failure("use the version of shatabdi that wrote it, or another --data-dir", "%v", err)
	case errors.Is(err, index.ErrDamaged):
		return failure("remove "+filepath.Join(dir, "index")+" to start with an empty cache", "%v", err)
	case errors.Is(err, swarmcache.ErrNoSpace):
		return failure("free some space, or choose another --data-dir", "%v", err)
	}
	return err
}
