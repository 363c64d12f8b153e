package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy"
	"shatabdi/proxy/origin"
	"shatabdi/proxy/small"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/clock"
	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/cluster/embedded"
	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/events"
	"shatabdi/swarmcache/index"
	"shatabdi/swarmcache/jobs"
	"shatabdi/swarmcache/source"
	"shatabdi/swarmcache/swarm"
	"shatabdi/tracker"
)

// parts are what the cache is made of. They know each other only through the
// contracts; here is where they meet.
type parts struct {
	index   *index.Index
	swarm   *swarm.Swarm
	cluster *cluster.Cluster
	clock   *clock.Clock
	cache   *swarmcache.Cache
	small   *small.Cache // nil: small responses pass

	downloads *download.Downloads
	sources   *source.Sources
	proxy     http.RoundTripper // of this daemon's own requests

	node   swarmcache.Node
	rules  func() *policy.Rules   // of now
	direct *http.Client           // past every proxy, to other nodes
	leader atomic.Pointer[string] // announce URL of the leading tracker
	news   chan struct{}          // room for one: the leader changed
	own    []netip.AddrPort       // this daemon's listeners; complete before the first request

	members    *members              // by the directory, for who connects
	outside    func(netip.Addr) bool // who may take part without being one
	closeSwarm func() error          // once
}

// startParts brings the cache up, bottom first, so that the stack takes it down
// from the top: clients, transfers, swarm, tracker, directory with its lease,
// etcd, catalogue. Each part needs those before it.
func (d *daemon) startParts(ctx context.Context) error {
	p := &parts{
		members: newMembers(), rules: d.rules.Load, news: make(chan struct{}, 1), outside: within(d.cfg.Peer.OutsideClients),
		direct: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if err := d.openCatalogue(p); err != nil {
		return err
	}
	listen, err := parseListen(d.cfg.Peer.Listen)
	if err != nil {
		return usage("give --peer-listen an address and a port, such as :42069", "%v", err)
	}
	addrs := advertised(d.cfg.Node.Advertise, listen.Addr())
	endpoints := d.cfg.Etcd.Endpoints
	if d.cfg.Etcd.Embedded() {
		if endpoints, err = d.startEtcd(p, addrs[0]); err != nil {
			return err
		}
	}
	if err := d.startSwarm(p, listen, addrs); err != nil {
		return err
	}
	trackerLn, err := d.listen(ctx, "tracker", d.cfg.Tracker.Listen)
	if err != nil {
		return err
	}
	if err := d.joinCluster(p, endpoints, tcpAddr(trackerLn)); err != nil {
		return err
	}
	tr := d.startTracker(p, trackerLn)
	if err := d.openCache(p); err != nil {
		return err
	}
	if err := d.startProxy(ctx, p, trackerLn); err != nil {
		return err
	}
	d.keepReplicas(p, tr)
	d.run("jobs", jobs.New(jobs.Config{
		Self: p.node.ID, Directory: p.cluster, Downloads: p.downloads, Resolve: swarmcache.Resolve, Draining: p.cache.Draining, Logger: d.log,
	}).Run)
	if every := d.cfg.Cache.HotEvery; every > 0 {
		d.run("what is hot", p.tellHot(every))
	}
	return nil
}

// openCatalogue opens what this node has, and tells who it is.
func (d *daemon) openCatalogue(p *parts) error {
	opened := d.ready.required("catalogue")
	x, err := index.Open(index.Options{Dir: filepath.Join(d.cfg.DataDir, "index"), Logger: d.log, Registerer: d.reg})
	if err != nil {
		return explainIndex(err, d.cfg.DataDir)
	}
	p.index = x
	d.stack.push("catalogue", func(context.Context) error { return x.Close() })
	d.run("catalogue upkeep", x.Run)
	id, err := nodeID(x)
	if err != nil {
		return err
	}
	p.node = swarmcache.Node{ID: id, Name: d.cfg.Node.Name, Zone: d.cfg.Node.Zone, Rack: d.cfg.Node.Rack, Version: d.build.Version}
	opened.report(nil)
	return nil
}

// startSwarm listens for peers, who find this node at addrs.
func (d *daemon) startSwarm(p *parts, listen netip.AddrPort, addrs []netip.Addr) (err error) {
	cfg := d.cfg.Peer
	p.swarm, err = swarm.New(swarm.Config{
		Listen: listen, UploadLimit: int64(cfg.Upload()), DownloadLimit: int64(cfg.DownloadLimit),
		Secret: func() []byte { return p.cluster.Secret() }, Node: p.node.ID, Zone: p.node.Zone, Rack: p.node.Rack,
		Tracker: func() string {
			if url := p.leader.Load(); url != nil {
				return *url
			}
			return ""
		},
		Reached: func(url string, answered bool) { p.cluster.Reached(url, answered) },
		Member:  p.members.has, AllowOutside: p.outside,
		Logger: d.log, Registerer: d.reg,
	})
	if err != nil {
		return explainListen(err, "peer", "peer-listen", cfg.Listen)
	}
	p.closeSwarm = sync.OnceValue(p.swarm.Close)
	// For a start that fails halfway. Its place in an orderly stop is further down.
	d.stack.push("swarm, at the latest", func(context.Context) error { p.closeSwarm(); return nil })
	own := p.swarm.PeerID()
	p.node.PeerID = hex.EncodeToString(own[:])
	for _, a := range addrs {
		p.node.Peers = append(p.node.Peers, netip.AddrPortFrom(a, uint16(p.swarm.Port())))
	}
	return nil
}

// joinCluster opens the directory, and takes this node's place in it.
func (d *daemon) joinCluster(p *parts, endpoints []string, at netip.AddrPort) (err error) {
	cfg := d.cfg.Etcd
	host := advertised(d.cfg.Node.Advertise, at.Addr())[0].String()
	p.node.Tracker = "http://" + net.JoinHostPort(host, strconv.Itoa(int(at.Port()))) + "/announce"
	p.clock = clock.New(clock.Config{
		Node: string(p.node.ID), Now: d.now,
		Leader: func() (string, string, bool) {
			url, node, self := p.cluster.Leader()
			return url, string(node), self
		},
		Logger: d.log, Registerer: d.reg,
	})
	p.cluster, err = cluster.Open(cluster.Config{
		Endpoints: endpoints,
		CA:        cfg.CAFile, Cert: cfg.CertFile, Key: cfg.KeyFile,
		User: cfg.User, PasswordFile: cfg.PasswordFile,
		LeaseTTL: cfg.LeaseTTL,
		Self:     p.node, ClusterID: cfg.ClusterID, Known: knownCluster(p.index),
		OnKnown: func(k cluster.Known) {
			if err := keepCluster(p.index, k); err != nil {
				d.log.Warn("keep what is known of the cluster", "error", err)
			}
		},
		OnLeader: func(url string, _ bool) {
			p.leader.Store(&url)
			p.clock.LeaderChanged()
			_, leader, self := p.cluster.Leader()
			d.events.Tell(events.Event{Kind: events.Leader, Node: string(leader), Self: self})
			select {
			case p.news <- struct{}{}:
			default:
			}
		},
		Clock: p.clock.Read, Clocked: p.clock.Learnt(), Now: d.now,
		Logger: d.log, Registerer: d.reg,
	})
	if err != nil {
		return err
	}
	p.members.from(p.cluster.ArePeers, p.cluster.Nodes)
	d.run("directory", p.cluster.Run)
	d.run("clock", p.clock.Run)
	d.run("directory readiness", p.watchDirectory(d.ready, d.patience))
	return nil
}

// startTracker serves the tracker, which answers while this node leads.
func (d *daemon) startTracker(p *parts, l net.Listener) *tracker.Tracker {
	roster := &roster{ask: p.cluster.Nodes}
	tr := tracker.New(tracker.Config{
		ID: string(p.node.ID), Members: roster.lookup, Await: roster.await, Place: roster.place, MembersOpen: true, AllowOutside: p.outside,
		Authorize: (&proofs{secret: p.cluster.Secret}).hold,
		TrustedProxy: func(a netip.Addr) bool {
			return slices.ContainsFunc(d.cfg.Tracker.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
		},
		Leading: func() (bool, string) {
			url, _, self := p.cluster.Leader()
			return self, url
		},
		Logger: d.log, Registerer: d.reg,
	})
	d.run("tracker", tr.Run)
	srv := trackerServer(tr)
	mux := http.NewServeMux()
	mux.Handle(clock.Path, p.clock)
	mux.Handle("/", tr)
	srv.Handler = mux
	d.serveHTTP("tracker", tr.Quick(l, srv), srv)
	// The swarm says goodbye to the tracker, so it goes first.
	d.stack.push("swarm", func(context.Context) error { return p.closeSwarm() })
	return tr
}

// openCache opens the objects, large and small.
func (d *daemon) openCache(p *parts) error {
	cfg, dir := d.cfg, d.cfg.DataDir
	objects := filepath.Join(dir, "objects")
	home, err := volumeOf(dir)
	if err != nil {
		return err
	}
	volumes, err := d.openVolumes(p.index)
	if err != nil {
		return err
	}
	if err := d.openSmall(p); err != nil {
		return err
	}
	p.cache, err = swarmcache.Open(swarmcache.Config{
		Dir: objects, Index: p.index, Directory: p.cluster, Swarm: p.swarm, Node: p.node,
		Replicas: p.replicas, PinnedReplicas: cfg.Cache.Replicas, Keeper: p.cluster, Copies: p.swarm.Copies,
		Size: home.quota(cfg.Cache), MinFree: cfg.Cache.MinFree.Of(home.total), Volumes: volumes, MaxTransfers: cfg.Cache.MaxTransfers, Priority: p.priority, Streams: cfg.Origin.Streams,
		ScrubRate: int64(cfg.Scrub.Rate), ScrubEvery: cfg.Scrub.Every, Inactive: cfg.Cache.Inactive,
		HostStreams: cfg.Origin.StreamsPerHost, ClusterHostStreams: cfg.Origin.ClusterStreamsPerHost,
		Purged: p.small.Forget, Distrusted: p.small.ForgetAll, Events: d.events, Now: d.now,
		Logger: d.log, Registerer: d.reg,
	})
	if err != nil {
		return err
	}
	d.stack.push("transfers", func(context.Context) error { return p.cache.Close() })
	d.stack.push("uploads", p.finishUploads)
	return d.warnOfNoRoom(p.cache.Volumes(), objects)
}

// priority is what the rules say of an object.
func (p *parts) priority(v swarmcache.Version) policy.Priority {
	u, err := url.Parse(v.URL)
	if err != nil {
		return policy.PriorityNormal
	}
	return p.rules().Priority(u, v.Stored.Header, v.Length)
}

// replicas is what the rules say of how many copies of an object are kept.
func (p *parts) replicas(v swarmcache.Version) int {
	u, err := url.Parse(v.URL)
	if err != nil {
		return 0
	}
	return p.rules().Replicas(u, v.Stored.Header, v.Length)
}

// mountAPI lets the operator ask and order.
func (d *daemon) mountAPI(p *parts, px *proxy.Proxy) {
	h := api.New(api.Config{
		Node: p.node, Name: d.cfg.Node.Name, Started: d.started,
		Ready: d.ready.report, LocalMode: func() string { return d.current.Load().Mode },
		Counters: d.counters, Rules: p.rules, Explain: p.explain(px), Reload: func() (api.Reloaded, error) { return d.reload(p) }, Settings: d.settings,
		Cache: p.cache, Cluster: p.cluster, Clock: p.clock.Read, Torrents: p.swarm, Drain: func(ctx context.Context, on bool) error { return d.drain(ctx, p, on) }, Limiter: p.swarm, Rates: rates{}, Limits: d.limits,
		Downloads: p.downloads, Sources: p.sources, Events: d.events, UploadDirectories: d.cfg.Uploads.Directories, Proxy: func() string { return dialable(d.proxyAddr) },
	})
	d.admin.api.Store(&h)
}

// startProxy opens the door for clients, last.
func (d *daemon) startProxy(ctx context.Context, p *parts, others ...net.Listener) error {
	cfg := d.cfg
	ln, err := d.listen(ctx, "proxy", cfg.Proxy.Listen)
	if err != nil {
		return err
	}
	d.proxyAddr = ln.Addr().String()
	if err := boundUnsent(ln); err != nil {
		d.log.Debug("bound what waits in sockets", "error", err)
	}
	for _, l := range append(others, ln, d.adminLn) {
		p.own = append(p.own, tcpAddr(l))
	}
	p.own = append(p.own, p.node.Peers...)
	var client *origin.Client
	p.sources = cfg.Sources.open(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return client.DialContext(ctx, network, addr)
	})
	client = origin.New(origin.Config{
		Node: viaName(cfg.Node.Name, p.node.ID), Hosts: cfg.Resolver.Hosts, AllowDestinations: cfg.Proxy.AllowDestination,
		Own:         func() []netip.AddrPort { return p.own },
		DialTimeout: cfg.Origin.DialTimeout, TLSHandshakeTimeout: cfg.Origin.TLSTimeout,
		ResponseHeaderTimeout: cfg.Origin.HeaderTimeout, StallTimeout: cfg.Origin.StallTimeout,
		MaxStreams: cfg.Origin.StreamsPerHost, Sources: carriers(p.sources), Registerer: d.reg,
	})
	d.stack.push("origin connections", func(context.Context) error { client.Close(); return nil })
	ports := make([]int, len(cfg.Proxy.ConnectPorts))
	for i, port := range cfg.Proxy.ConnectPorts {
		ports[i] = int(port)
	}
	px, err := proxy.New(proxy.Config{
		Cache: p.cache, Small: p.small, Rules: p.rules,
		Mode: func() string {
			if d.current.Load().Mode == ModePass {
				return ModePass
			}
			return p.cluster.Mode()
		},
		Now: d.now, Ahead: p.clock.Ahead, Origin: client,
		Allow: cfg.Proxy.Allow, AllowPurge: cfg.Proxy.AllowPurge, AllowPut: cfg.Proxy.AllowPut, ConnectPorts: ports, MaxRequestBody: int64(cfg.Proxy.MaxBody),
		Logger: d.log.With("component", "proxy"), AccessLog: d.log.With("component", "access"), Registerer: d.reg,
	})
	if err != nil {
		return err
	}
	d.stack.push("tunnels", func(context.Context) error { px.Close(); return nil })
	d.startDownloads(p, px)
	d.mountAPI(p, px)
	d.parts.Store(p)
	srv := px.Server()
	srv.ReadHeaderTimeout, srv.IdleTimeout = cfg.Proxy.HeaderTimeout, cfg.Proxy.IdleTimeout
	srv.MaxHeaderBytes = int(cfg.Proxy.MaxHeader)
	if n := descriptors(cfg.Proxy.MaxConnections); n > 0 {
		if n < cfg.Proxy.MaxConnections {
			d.log.Warn("fewer file descriptors than clients may need", "max_connections", n, "configured", cfg.Proxy.MaxConnections, "hint", "raise LimitNOFILE= or ulimit -n")
		}
		ln = limit(ln, n)
	}
	d.serveHTTP("proxy", px.Quick(ln, srv), srv)
	return nil
}

// startEtcd runs the embedded member and returns its endpoints. self is where
// others reach this node.
func (d *daemon) startEtcd(p *parts, self netip.Addr) ([]string, error) {
	cfg := d.cfg.Etcd
	clients, peers := cfg.ListenClient[0], cfg.ListenPeer[0]
	s, err := embedded.Start(embedded.Config{
		Dir: filepath.Join(d.cfg.DataDir, "etcd"), Name: d.cfg.Node.Name,
		ListenClient: clients, AdvertiseClient: reachableURL(clients, self),
		ListenPeer: peers, AdvertisePeer: cmp.Or(cfg.InitialCluster[d.cfg.Node.Name], reachableURL(peers, self)),
		InitialCluster: cfg.InitialCluster, Quota: int64(cfg.Quota),
		Logger: d.log, Registerer: d.reg,
	})
	if err != nil {
		return nil, explainEtcd(err, clients, peers)
	}
	d.stack.push("etcd", func(context.Context) error { s.Stop(); return nil })
	d.run("etcd watch", func(ctx context.Context) error {
		select {
		case err := <-s.Err():
			// The directory will say that it is away, and the cache goes on alone.
			d.log.Error("the embedded etcd stopped by itself", "error", err)
		case <-ctx.Done():
		}
		return nil
	})
	for _, raw := range []string{clients, peers} {
		if at, err := urlAddr(raw); err == nil {
			p.own = append(p.own, at)
		}
	}
	return s.Endpoints(), nil
}

// explainEtcd names the flag whose address is the trouble.
func explainEtcd(err error, clients, peers string) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		for what, raw := range map[string]string{"client": clients, "peer": peers} {
			at, err := urlAddr(raw)
			_, port, _ := net.SplitHostPort(op.Addr.String()) // of [::] it says 0.0.0.0
			if err == nil && (at.String() == op.Addr.String() || at.Addr().IsUnspecified() && port == strconv.Itoa(int(at.Port()))) {
				return explainListen(op.Err, "embedded etcd's "+what, "etcd-listen-"+what, at.String())
			}
		}
	}
	var e *embedded.Error
	if errors.As(err, &e) {
		return failure(e.Hint(), "%v", err)
	}
	return err
}

// reachableURL is raw, with addr in the place of a host that means every
// address.
func reachableURL(raw string, addr netip.Addr) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsUnspecified() {
		return raw
	}
	u.Host = net.JoinHostPort(addr.String(), u.Port())
	return u.String()
}

// urlAddr is the address in a URL to listen on.
func urlAddr(raw string) (netip.AddrPort, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := net.ResolveTCPAddr("tcp", u.Host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port()), nil
}

// tcpAddr is where ln listens.
func tcpAddr(ln net.Listener) netip.AddrPort {
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// watchDirectory keeps the readiness checks of the directory and the tracker.
func (p *parts) watchDirectory(r *readiness, patience time.Duration) func(context.Context) error {
	directory, leader := r.helpful("directory", patience), r.helpful("tracker", patience)
	return func(ctx context.Context) error {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		contact := p.cluster.FirstContact()
		for {
			directory.report(p.cluster.State())
			leader.report(p.hasLeader())
			select {
			case <-ctx.Done():
				return nil
			case <-contact:
				contact = nil
			case <-p.news:
			case <-tick.C:
			}
		}
	}
}

func (p *parts) hasLeader() error {
	if url, _, _ := p.cluster.Leader(); url == "" {
		return errors.New("no leader is known")
	}
	return nil
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
