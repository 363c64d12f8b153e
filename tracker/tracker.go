// Package tracker is an HTTP BitTorrent tracker: it tells peers who else is in
// their swarm (BEP 3, 7, 23, 31, 48).
//
// Every node runs one; the leader answers, the others redirect to it. Peers are
// kept in memory only, so a new leader starts empty and learns them from their
// next announces; what is downloading meanwhile goes on.
//
// Members of the cluster announce with their node's id and are listed by the
// addresses of its record, whichever way their announce came. Anybody else is
// an outsider, listed by the address of its connection, if it may come at all.
//
// Electing the leader, proving who is a member and saying which swarms exist is
// left to the hooks in Config.
package tracker

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/tracker/wire"
)

// Config is what a Tracker is made of; its zero value works. The hooks are
// called by many goroutines and for almost every announce: they must be quick,
// all but Await, and must not call the Tracker. Defaults are in brackets.
type Config struct {
	ID string // of this tracker, that peers are told and may say again (BEP 3) [none]

	Interval    time.Duration // between a peer's announces, up to 10 % less to spread them [2 min]
	MinInterval time.Duration // the least a peer should wait [10 s]
	NumWant     int           // peers for who does not say how many [50]
	MaxNumWant  int           // peers for who wants too many [200]

	MaxQuery  int // length of a query, in bytes [8 KiB]
	MaxSwarms int // [100,000]
	MaxPeers  int // of one swarm; members come in beyond it, outsiders do not [10,000]

	// Members returns the addresses of a member's node, of every address family,
	// and whether there is such a node, as far as is known: it does not wait. An
	// answer is reused for up to a second and must not be changed afterwards. [no members]
	Members func(node string) ([]netip.AddrPort, bool)
	// Await waits, for a short time, for what Members may be about to hear. [it hears
	// all at once]
	Await func()
	// Place returns the zone and the rack of a member's node, "" if it has none; an
	// answer is reused likewise. [nobody has any]
	Place func(node string) (zone, rack string)
	// Authorize checks that key proves an announce to come from node. [all pass]
	Authorize func(node, key string) bool
	// AllowOutside says whether peers that are no members may announce from an
	// address. [none may]
	AllowOutside func(netip.Addr) bool
	// TrustedProxy says of which proxies the X-Forwarded-For tells where an outsider
	// is. [of none]
	TrustedProxy func(netip.Addr) bool
	// MembersOpen refuses an outsider's announce for a swarm that no member has
	// announced: only those are known, and whatever it makes up costs no memory.
	MembersOpen bool
	// Leading says whether this tracker is the one to answer and, if not, the
	// announce URL of the one that is, or "" if nobody knows. [this one, always]
	Leading func() (leading bool, leaderURL string)

	Logger     *slog.Logger          // [silent]
	Registerer prometheus.Registerer // [none]
	Now        func() time.Time
	Rand       func() uint64
}

func (c *Config) setDefaults() {
	c.Interval = cmp.Or(c.Interval, 2*time.Minute)
	c.MinInterval = cmp.Or(c.MinInterval, 10*time.Second)
	c.NumWant = cmp.Or(c.NumWant, 50)
	c.MaxNumWant = cmp.Or(c.MaxNumWant, 200)
	c.MaxQuery = cmp.Or(c.MaxQuery, 8<<10)
	c.MaxSwarms = cmp.Or(c.MaxSwarms, 100_000)
	c.MaxPeers = cmp.Or(c.MaxPeers, 10_000)
	if c.Members == nil {
		c.Members = func(string) ([]netip.AddrPort, bool) { return nil, false }
	}
	if c.Await == nil {
		c.Await = func() {}
	}
	if c.Place == nil {
		c.Place = func(string) (string, string) { return "", "" }
	}
	if c.Authorize == nil {
		c.Authorize = func(string, string) bool { return true }
	}
	if c.AllowOutside == nil {
		c.AllowOutside = func(netip.Addr) bool { return false }
	}
	if c.TrustedProxy == nil {
		c.TrustedProxy = func(netip.Addr) bool { return false }
	}
	if c.Leading == nil {
		c.Leading = func() (bool, string) { return true, "" }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Uint64
	}
}

// Tracker answers announces and scrapes as an http.Handler. Peers that went
// silent leave only while Run runs.
type Tracker struct {
	cfg     Config
	log     *slog.Logger
	members members
	store   store
	metrics *metrics
	scratch sync.Pool // of *scratch
}

// New returns a tracker without peers. It starts nothing.
func New(cfg Config) *Tracker {
	cfg.setDefaults()
	t := &Tracker{cfg: cfg, log: cfg.Logger.With("component", "tracker")}
	t.members.lookup, t.members.place = cfg.Members, cfg.Place
	t.store.init(cfg.MaxSwarms, cfg.MaxPeers)
	t.store.membersOpen = cfg.MembersOpen
	t.metrics = newMetrics(cfg.Registerer, &t.store)
	t.scratch.New = func() any { return new(scratch) }
	return t
}

// Swarm returns the state of one swarm, and whether anybody is in it.
func (t *Tracker) Swarm(infohash [20]byte) (wire.Swarm, bool) {
	return t.store.stat(infohash)
}

// A peer is forgotten after one and a half intervals of silence. The sweep comes
// four times an interval, so it is gone after at most 1.75 of them.
func (c *Config) silence() time.Duration     { return c.Interval * 3 / 2 }
func (c *Config) sweepPeriod() time.Duration { return max(c.Interval/4, time.Millisecond) }

// Run forgets the peers that went silent, until ctx is done. It returns nil.
func (t *Tracker) Run(ctx context.Context) error {
	tick := time.NewTicker(t.cfg.sweepPeriod())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.sweep()
		}
	}
}

// sweep forgets who is gone: all, if another tracker leads. What is known here
// would be wrong by the time this one leads again, for "stopped" goes elsewhere.
func (t *Tracker) sweep() {
	if leading, _ := t.cfg.Leading(); !leading {
		if n := t.store.clear(); n > 0 {
			t.log.Info("forgot all peers: another tracker leads", "peers", n)
		}
		t.members.clear()
		return
	}
	now := t.cfg.Now()
	t.members.sweep()
	if n := t.store.sweep(now.Add(-t.cfg.silence()).UnixNano()); n > 0 {
		t.log.Debug("forgot silent peers", "peers", n)
	}
}
