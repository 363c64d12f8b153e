// Package embedded runs an etcd member inside this process, so that one node, or
// three or five members of a small cluster, need no etcd of their own.
//
// It is the door to etcd's server: none of its types come out. A fleet points at
// its own etcd instead and never starts this.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// DefaultQuota bounds the size of the database: a directory holds a few
// kilobytes per object and nothing per piece once a fill is over.
const DefaultQuota = 2 << 30

// TLS names the files of one listener's certificates. With a CA, clients must
// show a certificate that it signed.
type TLS struct{ CA, Cert, Key string }

func (t TLS) info() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: t.Cert, KeyFile: t.Key, TrustedCAFile: t.CA,
		ClientCertAuth: t.CA != "",
	}
}

// Config describes a member. Only Dir is required: the rest makes a cluster of
// one on loopback, on ports that the system picks.
type Config struct {
	Dir  string // its data; created when missing
	Name string // of the member; default "default"

	// ListenClient and ListenPeer are URLs. Advertise… default to them and are
	// needed when the listener is bound to every address.
	ListenClient, ListenPeer       string
	AdvertiseClient, AdvertisePeer string
	ClientTLS, PeerTLS             TLS

	// InitialCluster maps the members' names to their peer URLs. It counts when
	// the data directory is empty.
	InitialCluster map[string]string
	// Join: the cluster runs already, and this member was added to it.
	Join bool

	Quota      int64        // bytes; default DefaultQuota
	LogLevel   string       // of etcd itself: debug, info, warn (default), error
	Logger     *slog.Logger // nil: silent
	Registerer prometheus.Registerer

	// Upkeep is how often the database is looked after; default one minute.
	Upkeep time.Duration
}

// ParseInitialCluster reads "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380".
func ParseInitialCluster(s string) (map[string]string, error) {
	members := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		name, addr, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || name == "" || addr == "" {
			return nil, fmt.Errorf("initial cluster: %q is not name=URL", part)
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("initial cluster: member %q is named twice", name)
		}
		if _, err := parseURL(addr); err != nil {
			return nil, fmt.Errorf("initial cluster: member %q: %w", name, err)
		}
		members[name] = addr
	}
	return members, nil
}

// Server is a running member.
type Server struct {
	cfg    Config
	etcd   *embed.Etcd
	lock   *dirLock
	stop   chan struct{} // closed by Stop
	once   sync.Once
	upkeep sync.WaitGroup
	m      *metrics
}

// Start starts a member and returns when it listens. In a cluster of several it
// answers only once a majority runs: see Ready. The error is an *Error where
// the operator can do something about it.
func Start(cfg Config) (*Server, error) {
	stop := make(chan struct{})
	c, err := cfg.etcd(stop)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, lock: lock, stop: stop}
	c.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(s.endStreams)}
	if s.etcd, err = embed.StartEtcd(c); err != nil {
		lock.unlock()
		return nil, explain(cfg, err)
	}
	s.m = newMetrics(s, cfg.Registerer)
	s.upkeep.Go(s.lookAfter)
	return s, nil
}

// etcd translates the configuration.
func (cfg *Config) etcd(stopping <-chan struct{}) (*embed.Config, error) {
	if cfg.Dir == "" {
		return nil, errors.New("embedded etcd: no data directory")
	}
	cfg.Name = cmp.Or(cfg.Name, embed.DefaultName)
	cfg.ListenClient = cmp.Or(cfg.ListenClient, "http://127.0.0.1:0")
	cfg.ListenPeer = cmp.Or(cfg.ListenPeer, "http://127.0.0.1:0")
	cfg.AdvertiseClient = cmp.Or(cfg.AdvertiseClient, cfg.ListenClient)
	cfg.AdvertisePeer = cmp.Or(cfg.AdvertisePeer, cfg.InitialCluster[cfg.Name], cfg.ListenPeer)
	cfg.Quota = cmp.Or(cfg.Quota, DefaultQuota)
	cfg.Upkeep = cmp.Or(cfg.Upkeep, time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.InitialCluster) == 0 {
		cfg.InitialCluster = map[string]string{cfg.Name: cfg.AdvertisePeer}
	}

	c := embed.NewConfig()
	c.Name, c.Dir = cfg.Name, cfg.Dir
	for _, u := range []struct {
		what, from string
		to         *[]url.URL
	}{
		{"client listener", cfg.ListenClient, &c.ListenClientUrls},
		{"peer listener", cfg.ListenPeer, &c.ListenPeerUrls},
		{"advertised client URL", cfg.AdvertiseClient, &c.AdvertiseClientUrls},
		{"advertised peer URL", cfg.AdvertisePeer, &c.AdvertisePeerUrls},
	} {
		parsed, err := parseURL(u.from)
		if err != nil {
			return nil, fmt.Errorf("embedded etcd: %s: %w", u.what, err)
		}
		*u.to = []url.URL{*parsed}
	}
	c.ClientTLSInfo, c.PeerTLSInfo = cfg.ClientTLS.info(), cfg.PeerTLS.info()

	var members []string
	for _, name := range slices.Sorted(maps.Keys(cfg.InitialCluster)) {
		members = append(members, name+"="+cfg.InitialCluster[name])
	}
	c.InitialCluster, c.InitialClusterToken = strings.Join(members, ","), "shatabdi"
	if cfg.Join {
		c.ClusterState = embed.ClusterStateFlagExisting
	}

	c.QuotaBackendBytes = cfg.Quota
	// By revision, not by the hour: how much history there is must not depend on
	// how busy the swarm is, and a watcher that falls further behind reads afresh.
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModeRevision, "10000"
	// The raft log is kept in memory from snapshot to snapshot. Our values are
	// small but many, and a follower that falls 1,000 entries behind takes the
	// snapshot: some MiB instead of tens.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 2000, 1000
	c.EnableGRPCGateway = false
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&bridge{cfg.Logger, level(cfg.LogLevel), stopping}))
	return c, nil
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an http or https URL", s)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return nil, fmt.Errorf("%q has no port", s)
	}
	return u, nil
}

// Endpoints returns the URLs to reach this member at, from this machine.
func (s *Server) Endpoints() []string {
	var urls []string
	for _, l := range s.etcd.Clients {
		urls = append(urls, s.etcd.Config().ListenClientUrls[0].Scheme+"://"+reachable(l.Addr()))
	}
	return urls
}

// reachable replaces the address that means "every address" by loopback.
func reachable(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(t.Port))
}

// Ready is closed when the member has joined its cluster and answers.
func (s *Server) Ready() <-chan struct{} { return s.etcd.Server.ReadyNotify() }

// Err delivers what makes the member stop by itself.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// DBSize returns the bytes of the database on disk, and those of them in use.
func (s *Server) DBSize() (size, inUse int64) {
	b := s.etcd.Server.Backend()
	return b.Size(), b.SizeInUse()
}

// Stop ends the member and waits for it, some seconds at most.
func (s *Server) Stop() {
	s.once.Do(func() {
		close(s.stop)
		s.upkeep.Wait()
		s.m.unregister()
		s.etcd.Close()
		s.lock.unlock()
	})
}

// endStreams lets watches and keep-alives of clients end when we stop: etcd
// itself would wait its whole request timeout, seven seconds, for them.
func (s *Server) endStreams(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return h(srv, &endingStream{ss, ctx})
}

type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (e *endingStream) Context() context.Context { return e.ctx }

// Warning says what an operator should know about who can reach this member;
// empty when there is nothing to say.
func (s *Server) Warning() string {
	var open []string
	for _, l := range []struct {
		what, url string
		tls       TLS
	}{{"clients", s.cfg.ListenClient, s.cfg.ClientTLS}, {"peers", s.cfg.ListenPeer, s.cfg.PeerTLS}} {
		if u, err := parseURL(l.url); err == nil && !loopback(u.Hostname()) && l.tls.CA == "" {
			open = append(open, fmt.Sprintf("%s on %s", l.what, u.Host))
		}
	}
	if open == nil {
		return ""
	}
	return "etcd listens without authentication for " + strings.Join(open, " and for ") +
		": anyone who reaches it can change what the cluster serves; set client certificates or keep it behind a firewall"
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
