// Package origin is the one HTTP client that talks to origins.
//
// It promises: no proxy environment variable is ever obeyed, bodies come as
// they were sent (no decompression), addresses that a proxy must not be talked
// into reaching are refused after name resolution, every request carries our
// Via and none that already carries it is sent, and every failure is an *Error
// whose Kind says what went wrong. Bodies are streamed; it keeps nothing.
package origin

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config of a Client. The zero value works.
type Config struct {
	// Node is our pseudonym in Via (RFC 9110 §7.6.3), a token. Two nodes that
	// send requests through each other need different ones. Default "shatabdi".
	Node string
	// Hosts maps names to addresses, before and instead of DNS.
	Hosts map[string]netip.Addr
	// AllowDestinations lists networks that may be reached although they are
	// loopback, link-local, metadata and the like.
	AllowDestinations []netip.Prefix
	// Own tells the daemon's listeners, asked at each dial. They are refused
	// even where AllowDestinations holds their network: one may be the proxy.
	Own func() []netip.AddrPort

	DialTimeout           time.Duration // default 10 s, name resolution included
	TLSHandshakeTimeout   time.Duration // default 10 s
	ResponseHeaderTimeout time.Duration // from the end of the request to the header; default 5 min, for long polls
	ContinueTimeout       time.Duration // how long an origin's 100 is waited for; default 5 s
	IdleTimeout           time.Duration // of kept connections; default 60 s
	MaxIdlePerHost        int           // kept connections; default 32
	MaxStreams            int           // parallel Source.Get per host; default 32
	// StallTimeout is how long the body of a Source.Get may stand still before
	// its reading fails; 0: for ever. What passes through to a client is not
	// bound by it: event streams are silent for hours.
	StallTimeout time.Duration

	// HTTP2 offers h2 to https origins. It is off because large bodies suffer
	// from it: the streams of one object share a connection, so one window and
	// one lost packet stops them all, and closing one stream unread (the loser
	// of a race) leaves its bytes in everybody's way.
	HTTP2 bool
	// TLS is cloned; nil means the system's roots.
	TLS *tls.Config

	// Sources answer for other schemes than http and https.
	Sources map[string]http.RoundTripper

	Registerer prometheus.Registerer // nil: metrics are not registered
}

// Client sends requests to origins. It is safe for concurrent use.
type Client struct {
	node      string
	hosts     map[string]netip.Addr
	guard     guard
	transport *http.Transport
	sources   map[string]http.RoundTripper
	timeout   time.Duration // of a dial
	stall     time.Duration
	streams   *streams
	latency   latencies
	metrics   *metrics
}

// New returns a Client. It starts no goroutine.
func New(cfg Config) *Client {
	c := &Client{
		node:    or(cfg.Node, "shatabdi"),
		hosts:   make(map[string]netip.Addr, len(cfg.Hosts)),
		guard:   guard{allow: cfg.AllowDestinations, own: cfg.Own},
		timeout: or(cfg.DialTimeout, 10*time.Second),
		stall:   cfg.StallTimeout,
		sources: cfg.Sources,
		streams: newStreams(or(cfg.MaxStreams, 32)),
		metrics: newMetrics(cfg.Registerer),
	}
	for name, addr := range cfg.Hosts {
		c.hosts[canonicalHost(name)] = addr
	}
	c.transport = &http.Transport{
		Proxy:                  nil, // never from the environment: it names us
		DialContext:            c.dialCounted,
		TLSClientConfig:        cfg.TLS.Clone(),
		TLSHandshakeTimeout:    or(cfg.TLSHandshakeTimeout, 10*time.Second),
		ResponseHeaderTimeout:  or(cfg.ResponseHeaderTimeout, 5*time.Minute),
		ExpectContinueTimeout:  or(cfg.ContinueTimeout, 5*time.Second),
		IdleConnTimeout:        or(cfg.IdleTimeout, 60*time.Second),
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    or(cfg.MaxIdlePerHost, 32),
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	c.transport.Protocols.SetHTTP1(true)
	c.transport.Protocols.SetHTTP2(cfg.HTTP2)
	return c
}

// Node returns our pseudonym in Via.
func (c *Client) Node() string { return c.node }

// Close gives up idle connections. Running requests go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// RoundTrip sends one request as given, plus Via, and follows nothing. Removing
// hop-by-hop fields is left to the caller (RemoveHopByHop), who alone knows
// whether an upgrade is wanted. Errors are *Error.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := c.refuse(req); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	out := *req // a RoundTripper must not change what it was given
	out.Header = req.Header.Clone()
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	AddVia(out.Header, req.ProtoMajor, req.ProtoMinor, c.node)
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // or net/http would add its own
	}
	sent := time.Now()
	res, err := c.carry(&out)
	if err != nil {
		return nil, c.failed(req.URL.Host, err)
	}
	if err := trimNames(res.Header); err != nil {
		res.Body.Close()
		return nil, c.failed(req.URL.Host, err)
	}
	c.latency.add(req.URL.Host, time.Since(sent))
	c.metrics.requests.Inc()
	return res, nil
}

// carry sends a request over the network, or to the source of its scheme.
func (c *Client) carry(req *http.Request) (*http.Response, error) {
	source := c.sources[req.URL.Scheme]
	if source == nil {
		return c.transport.RoundTrip(req)
	}
	res, err := source.RoundTrip(req)
	if err == nil {
		res.Body = &countedBody{res.Body, c.metrics.bytes}
	}
	return res, err
}

// countedBody counts what comes from a source.
type countedBody struct {
	io.ReadCloser
	bytes prometheus.Counter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(float64(n))
	return n, err
}

func (c *Client) refuse(req *http.Request) *Error {
	if s := req.URL.Scheme; s != "http" && s != "https" && c.sources[s] == nil {
		return c.failed(req.URL.Host, &Error{Kind: KindScheme, Err: fmt.Errorf("cannot fetch %q URLs", s)})
	}
	if ViaHas(req.Header, c.node) {
		return c.failed(req.URL.Host, &Error{Kind: KindLoop, Err: fmt.Errorf("the request has passed %s before", c.node)})
	}
	return nil
}

// DialContext connects to host:port like the requests do: by Hosts, then DNS,
// and never to a refused address. Errors are *Error.
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	asked := addr
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, c.failed(asked, &Error{Kind: KindDNS, Err: err})
	}
	if ip, ok := c.hosts[canonicalHost(host)]; ok {
		addr = net.JoinHostPort(ip.String(), port)
	}
	d := net.Dialer{Timeout: c.timeout, ControlContext: c.guard.control}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, c.failed(asked, &Error{Kind: dialKind(err), Err: err})
	}
	return conn, nil
}

// dialCounted counts what comes from origins where it comes in, so that heads,
// TLS records and bodies nobody reads to the end are in the figure.
func (c *Client) dialCounted(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, bytes: c.metrics.bytes}, nil
}

type countedConn struct {
	net.Conn
	bytes prometheus.Counter
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(float64(n))
	return n, err
}

func canonicalHost(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
