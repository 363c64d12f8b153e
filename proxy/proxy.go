// Package proxy is the life of one request: refuse it, tunnel it, pass it
// through, or serve it from the swarm cache.
//
// It promises that a client never does worse than without it: bytes pass as
// they were sent, a body that ends early looks like one that ended early, and
// whatever the cache cannot do goes to the origin. It leaves the rules of
// caching to policy, where bytes come from to swarmcache, and the talking to
// origins to proxy/origin.
package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/proxy/small"
	"shatabdi/swarmcache"
)

// Config of a Proxy. Origin is required, the rest has defaults.
type Config struct {
	// Cache keeps large objects; nil: everything passes.
	Cache *swarmcache.Cache
	// Small keeps what is too small for Cache; nil: that passes.
	Small *small.Cache
	// Rules tells the rules of now, asked at each request; nil: the zero Rules.
	Rules func() *policy.Rules
	// Mode tells the mode of now: "pass" turns caching off, and lookups too.
	Mode func() string
	// Origin reaches origins. Its Node is our name in Via, Cache-Status and
	// Proxy-Status.
	Origin *origin.Client

	// Allow lists the networks of those who may use the proxy; this machine
	// always may.
	Allow []netip.Prefix
	// AllowPurge lists the networks of those whose PURGE is obeyed; none: nobody's.
	AllowPurge []netip.Prefix
	// AllowPut lists the networks of those who may put files into the cluster.
	AllowPut []netip.Prefix
	// ConnectPorts are the ports that tunnels may lead to; default 443 and 8443.
	ConnectPorts []int
	// MaxRequestBody bounds what a client may send, in bytes; 0: no bound.
	MaxRequestBody int64
	// TunnelIdle is after how long without a byte in either direction a tunnel
	// is closed; default 1 h.
	TunnelIdle time.Duration

	Logger     *slog.Logger          // nil: silent
	AccessLog  *slog.Logger          // one line per request; nil: none
	Registerer prometheus.Registerer // nil: metrics are not registered
	Now        func() time.Time      // default time.Now
	Ahead      func() time.Duration  // that clock of the cluster's, as far as is known; nil: it is right
}

// Proxy is an http.Handler for a forward proxy's listener. Use Server for an
// http.Server that suits it.
type Proxy struct {
	cfg           Config
	origin        *origin.Client
	name          any    // of this node, in Cache-Status and Proxy-Status
	label         string // and as it is written there
	cache         cache  // nil: none
	admissions    admissions
	patienceProbe time.Duration // with those
	small         *small.Cache
	seen          *seen
	transfers     *transfers
	patienceLook  time.Duration // with those
	questions     questions
	firsts        firsts
	patience      time.Duration            // with those
	engine        *httputil.ReverseProxy   // sends and streams, on every path that reaches an origin
	tunnel        *goproxy.ProxyHttpServer // CONNECT only
	log           *slog.Logger
	metrics       *metrics

	ctx        context.Context // ends with Close; parent of what outlives a handler
	stop       context.CancelFunc
	tunnels    sync.WaitGroup
	work       sync.WaitGroup // of what goes on after its request has been answered
	background chan struct{}  // a slot each for invalidations nobody waits for
}

// New returns a Proxy. It starts nothing.
func New(cfg Config) (*Proxy, error) {
	if cfg.Origin == nil {
		return nil, fmt.Errorf("proxy: no origin client")
	}
	if len(cfg.ConnectPorts) == 0 {
		cfg.ConnectPorts = []int{443, 8443}
	}
	if cfg.TunnelIdle == 0 {
		cfg.TunnelIdle = time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Ahead == nil {
		cfg.Ahead = func() time.Duration { return 0 }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Proxy{
		cfg: cfg, origin: cfg.Origin, log: cfg.Logger, metrics: newMetrics(cfg.Registerer),
		name: fieldName(cfg.Origin.Node()), small: cfg.Small, seen: newSeen(), transfers: newTransfers(), background: make(chan struct{}, 64),
		questions: questions{now: map[swarmcache.ObjectID]*question{}}, firsts: firsts{now: map[string]chan struct{}{}}, patience: defaultPatience, patienceProbe: patienceProbe, patienceLook: patienceLook,
	}
	p.label = label(p.name)
	if cfg.Cache != nil {
		p.cache = swarmCache{cfg.Cache}
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.engine = p.newEngine()
	p.tunnel = p.newTunnel()
	return p, nil
}

// Server returns an http.Server that serves p. It bounds headers in size and
// time, and idle connections; bodies take the time they take.
func (p *Proxy) Server() *http.Server {
	return &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return p.ctx },
		ConnContext:       noteCrowd,

		DisableGeneralOptionsHandler: true, // "OPTIONS *" is answered like other requests that are not for a proxy
	}
}

// Close cuts what still runs - transfers of a Server, upgraded connections,
// tunnels - and waits for what it started itself. Shut the server down first.
func (p *Proxy) Close() {
	p.stop()
	p.tunnels.Wait()
	p.work.Wait()
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := p.begin(w, r)
	defer p.end(x)
	r = x.r
	if err := p.admit(r); err != nil {
		p.fail(x, err)
		return
	}
	if x.crowded() {
		p.fail(x, errCrowded)
		return
	}
	if r.Method == http.MethodConnect {
		p.connect(x)
		return
	}
	if err := p.checkForm(r); err != nil {
		p.fail(x, err)
		return
	}
	if limit := p.cfg.MaxRequestBody; limit > 0 {
		if r.ContentLength > limit {
			p.fail(x, refused(http.StatusRequestEntityTooLarge, "http_request_error",
				fmt.Sprintf("a request body may have %d bytes here", limit)))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	p.follow(x)
}

// follow takes the route that the rules choose.
func (p *Proxy) follow(x *exchange) {
	req := policy.Request{Method: x.r.Method, URL: x.r.URL, Header: x.r.Header, HasBody: x.r.ContentLength != 0}
	route := p.rules().Route(req)
	x.url = route.FetchURL
	switch {
	case route.Kind == policy.Deny:
		p.fail(x, refused(http.StatusForbidden, "http_request_denied", "a rule of this proxy denies it"))
	case p.cache == nil:
		p.pass(x)
	case strings.EqualFold(x.r.URL.Hostname(), swarmcache.PutHost):
		p.put(x, req, route)
	case req.Method == methodPurge && route.Reason == policy.ReasonMethod && !p.passing(): // what is cached but for the method
		p.purge(x)
	case route.Kind == policy.Swarm && !p.passing() && !rangeSigned(x.r.Header, x.r.URL):
		p.cached(x, req, route)
	default:
		p.beside(x, route)
	}
}

// beside passes what the cache cannot answer, and hears what that changes.
func (p *Proxy) beside(x *exchange, route policy.Route) {
	x.respond = func(res *http.Response) error {
		// The fields of the answer speak of where it came from, the client of
		// where it asked.
		asked := policy.Request{Method: x.r.Method, URL: x.url}
		for i, u := range policy.Invalidated(asked, res.StatusCode, res.Header) {
			if i == 0 {
				u = x.r.URL
			}
			p.invalidate(x.r.Context(), u, x.r.Header)
		}
		if !p.passing() { // else there is no cache that could say something
			words := res.Header["X-Cache-Status"]
			p.cacheStatus(res.Header, besideStatus(route, res.StatusCode))
			if len(words) > 0 { // of a cache that has seen it
				res.Header["X-Cache-Status"] = words
			}
		}
		return nil
	}
	p.pass(x)
}

// passing reports whether caching is turned off.
func (p *Proxy) passing() bool { return p.cfg.Mode != nil && p.cfg.Mode() == "pass" }

func (p *Proxy) rules() *policy.Rules {
	if p.cfg.Rules == nil {
		return &policy.Rules{}
	}
	return p.cfg.Rules()
}

// admit checks who asks.
func (p *Proxy) admit(r *http.Request) error {
	ip, ok := clientAddr(r)
	if !ok {
		return refused(http.StatusForbidden, "http_request_denied", "your address is not known here")
	}
	if ip.IsLoopback() || contain(p.cfg.Allow, ip) {
		return nil
	}
	return refused(http.StatusForbidden, "http_request_denied",
		fmt.Sprintf("%s may not use this proxy; its operator can allow your network with --allow", ip))
}

// clientAddr is where a request comes from.
func clientAddr(r *http.Request) (ip netip.Addr, ok bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap().WithZone(""), err == nil
}

func contain(networks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// checkForm checks that the request is one for a proxy.
func (p *Proxy) checkForm(r *http.Request) error {
	switch {
	case r.URL.Host == "" && (r.URL.Scheme == "" || r.URL.Path == ""): // file:///path has none
		return refused(http.StatusBadRequest, "http_request_error", fmt.Sprintf(
			"this is a forward proxy: it wants the whole URL in the request line, which clients send when told so; try: http_proxy=http://%s curl http://%s/", r.Host, "example.com"))
	case r.URL.User != nil:
		// RFC 9110 §4.2.4. What it would turn into is an Authorization that no
		// rule of caching has seen.
		return refused(http.StatusBadRequest, "http_request_error", "user and password do not belong into the URL; send them in Authorization")
	}
	return nil
}
