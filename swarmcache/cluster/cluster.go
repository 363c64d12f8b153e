// Package cluster keeps what the nodes must agree on in etcd: which version a
// key selects, which fills run and who fetches which span of them, who the
// nodes are and which of them runs the tracker.
//
// It promises to be an accelerator only. When etcd is away every method answers
// swarmcache.ErrUnavailable, at once as soon as that is known and within two
// seconds otherwise, half a second where a client waits; a loop in Run finds out
// when etcd is back. One that is only slow is waited for where the node would
// otherwise go to the origin for a body that another one fetches. Whatever this node claimed stands under its lease and ends
// with it.
//
// It is the door to etcd's client: none of its types come out.
package cluster

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/clock"
)

// Defaults of a Config.
const (
	DefaultPrefix = "/shatabdi/v1/"
	// DefaultLeaseTTL is how long the claims of a dead node stand. Some clients
	// give up after ten seconds without a byte: within half of that others must
	// be able to take over. Shorter, and an election of etcd's own, which takes
	// one to two seconds, costs live nodes their leases.
	DefaultLeaseTTL = 5 * time.Second
	// DefaultCallTimeout bounds a call while etcd is not known to be away; those
	// that a client's request waits for have half a second at most.
	DefaultCallTimeout = 2 * time.Second
	// DefaultOrphanAge is how long a fill stands that nobody takes part in.
	DefaultOrphanAge = time.Minute
)

// Config says where etcd is and who this node is. Endpoints and Self.ID are
// required.
type Config struct {
	Endpoints    []string // URLs
	CA           string   // file, PEM: who signed etcd's certificate
	Cert, Key    string   // files, PEM: this node's client certificate
	User         string
	PasswordFile string // read again at every connection
	Prefix       string // of every key; default DefaultPrefix

	Self swarmcache.Node

	LeaseTTL    time.Duration // default DefaultLeaseTTL; etcd takes whole seconds, from 2 on
	CallTimeout time.Duration // default DefaultCallTimeout
	OrphanAge   time.Duration // default DefaultOrphanAge

	// ClusterID is the cluster that this node is to belong to; empty: that of Known,
	// and without one whichever it meets first.
	ClusterID string
	// Known is what OnKnown was told last in an earlier run.
	Known Known
	// OnKnown is called from Run at each contact, and every minute, with what to keep
	// for the next run.
	OnKnown func(Known)
	// OnLeader is called from Run, in order, whenever another node leads or this
	// one begins or ceases to. An empty url: nobody leads. It must not block.
	OnLeader func(url string, self bool)

	// Clock is what this node knows of the cluster's time, by which the nodes tell each
	// other when something was; nil: their clocks agree. Now is this node's clock,
	// default time.Now.
	Clock func() clock.Reading
	Now   func() time.Time
	// Clocked is closed once Clock knows anything: who asks for a response's age before
	// waits for a moment. nil: nobody does.
	Clocked <-chan struct{}

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Cluster is this node's view of the cluster. It satisfies swarmcache.Directory.
type Cluster struct {
	cfg  Config
	tls  *tls.Config
	keys keys
	log  *slog.Logger
	m    *metrics
	// relist is how often a participant that is not listed is to be, where there is room.
	relist  time.Duration
	silence time.Duration // of etcd, after which others may have replaced what is here
	ping    time.Duration // how often gRPC looks whether a silent connection lives
	late    time.Duration // after which a fill is opened late
	tellers int           // of what is hot, whose records are read
	// unhurried: this node's computer is taken to have nothing else to do
	unhurried bool

	client  atomic.Pointer[clientv3.Client] // nil before Run and after it
	lease   atomic.Int64                    // clientv3.LeaseID, the latest; 0 before the first
	obeyed  atomic.Int64                    // revision up to which the purges are
	size    atomic.Int64                    // how many nodes there were at the last census
	mode    atomic.Pointer[string]
	joined  atomic.Pointer[time.Time] // when it first did; nil: never
	starved starved
	health  health
	wires   wires
	// listening: silent connections are to be looked for again
	listening atomic.Bool
	debts     debts
	slots     slots
	uses      uses
	leading   leading
	unheard   unheard
	told      told
	orphans   map[swarmcache.ObjectID]time.Time // owned by CollectOrphans, under leading.collect

	mu       sync.Mutex // guards the fields below; never held across I/O
	self     swarmcache.Node
	record   record    // of the cluster, as far as it is known
	recorded int64     // revision at which it stood
	answered time.Time // when etcd did last
	absences int       // how often it had not for long
	past     Moment    // of etcd, as far as this node has seen it
	seen     time.Time // when that was
	places   []string  // where
	most     int64     // nodes of the cluster at a time, as far as this one has counted
	boards   map[*board]struct{}
	opening  map[swarmcache.ObjectID]int // by how many calls
}

var _ swarmcache.Directory = (*Cluster)(nil)

// Open checks the configuration. It does not ask etcd and starts nothing: Run
// does. An error is one of the configuration, such as a file that is not there.
func Open(cfg Config) (*Cluster, error) {
	if len(cfg.Endpoints) == 0 || cfg.Self.ID == "" {
		return nil, errors.New("cluster: endpoints and a node id are required")
	}
	cfg.Prefix = cmp.Or(cfg.Prefix, DefaultPrefix)
	if !strings.HasSuffix(cfg.Prefix, "/") {
		cfg.Prefix += "/"
	}
	cfg.LeaseTTL = max(cmp.Or(cfg.LeaseTTL, DefaultLeaseTTL), 2*time.Second)
	cfg.CallTimeout = cmp.Or(cfg.CallTimeout, DefaultCallTimeout)
	cfg.OrphanAge = cmp.Or(cfg.OrphanAge, DefaultOrphanAge)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if n := len(cfg.Known.Secret); n != 0 && n != secretLen {
		return nil, fmt.Errorf("cluster: a secret of %d bytes, want %d", n, secretLen)
	}
	c := &Cluster{
		cfg: cfg, keys: keys{cfg.Prefix}, log: cfg.Logger, self: cfg.Self, relist: 10 * time.Second, silence: outOfTouch, late: unheardFor, tellers: maxTellers,
		// gRPC's least: a server closes connections that ping more often than every
		// five seconds.
		ping:   10 * time.Second,
		boards: map[*board]struct{}{}, opening: map[swarmcache.ObjectID]int{}, orphans: map[swarmcache.ObjectID]time.Time{},
	}
	if _, err := c.password(); err != nil {
		return nil, err
	}
	if cfg.CA != "" || cfg.Cert != "" || cfg.Key != "" {
		var err error
		info := transport.TLSInfo{TrustedCAFile: cfg.CA, CertFile: cfg.Cert, KeyFile: cfg.Key}
		if c.tls, err = info.ClientConfig(); err != nil {
			return nil, fmt.Errorf("cluster: certificates for etcd: %w", err)
		}
	}
	c.recall(cfg.Known)
	c.obeyed.Store(obeysAll)
	c.health.init()
	c.slots.init()
	c.mode.Store(new(string))
	c.m = newMetrics(c, cfg.Registerer)
	return c, nil
}

func (c *Cluster) password() (string, error) {
	if c.cfg.PasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.cfg.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("cluster: password for etcd: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func randomSecret() []byte {
	b := make([]byte, secretLen)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

// Secret is the cluster's, as soon as it is known: from the cluster's record, or
// from the last run. Before first contact without either it is a random one of
// this process, so wait for FirstContact, or ask again for every fill.
func (c *Cluster) Secret() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record.Secret
}

// ID names the cluster; empty before first contact ever.
func (c *Cluster) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record.ID
}

// Run connects to etcd, takes part in the cluster until ctx is done, and then
// leaves it: lease, claims, membership and leadership end at once. Etcd may come
// and go meanwhile. It returns nil when everything it started has stopped.
func (c *Cluster) Run(ctx context.Context) error {
	defer c.health.down(errStopped)
	defer c.m.unregister()
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		client, err := c.dial(ctx)
		if err == nil {
			c.client.Store(client)
			c.sessions(ctx, client)
			c.client.Store(nil)
			client.Close()
			return nil
		}
		c.health.down(err) // a password that cannot be checked, for one
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// pingTimeout is when a connection on which nobody asks anything is given up; one that is
// silent while somebody waits is much sooner. A computer that has too much to do may be
// late with both ends of a ping, and who connects again has everything to read afresh.
const pingTimeout = 10 * time.Second

// dial makes a client. It does not wait for a connection, except to log in.
func (c *Cluster) dial(ctx context.Context) (*clientv3.Client, error) {
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Endpoints: c.cfg.Endpoints, TLS: c.tls, Username: c.cfg.User, Password: password,
		// Not ctx: leaving the cluster needs the client after ctx is done.
		Context:           context.WithoutCancel(ctx),
		DialTimeout:       c.cfg.CallTimeout,
		DialKeepAliveTime: c.ping, DialKeepAliveTimeout: pingTimeout,
		MaxUnaryRetries: 3,
		Logger:          zap.NewNop(), // what matters reaches our log through State
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(c.wires.dial),
			grpc.WithConnectParams(grpc.ConnectParams{
				// gRPC waits up to two minutes between attempts; a fleet wants etcd back sooner.
				Backoff:           backoff.Config{BaseDelay: retryMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: retryMax / 2},
				MinConnectTimeout: 2 * time.Second,
			}),
		},
	})
}

// pause waits; false when ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
