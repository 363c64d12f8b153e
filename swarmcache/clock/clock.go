// Package clock measures how far this node's clock is from the cluster's, so that
// the nodes can tell each other times.
//
// The cluster's time is that of the node that leads. A leader that has measured goes
// on with the time of the one before it, within what its measurement leaves open; one
// that has not, or whose clock was set, begins a new scale, and what was dated by
// another scale has no date.
//
// Nothing here sets a clock, and nobody needs to know what time it really is.
package clock

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// drift is by how much a clock may run faster or slower than another: twice what
	// a time service corrects at most, and more than crystals differ.
	drift = 1e-3
	// setBy is how far a leader's clock may be set without beginning a new scale.
	setBy = 100 * time.Millisecond
	// carriesOn is how well a new leader must know the scale that it goes on with.
	carriesOn = time.Second

	retryEvery = 50 * time.Millisecond // at first, and then twice as long each time: a leader's own clock may be late
	samples    = 4
)

// Config is what a Clock is made of. Leader and Node are required.
type Config struct {
	Node string // this one
	// Leader says who leads, where its tracker answers announces, and whether it is
	// this node. It must be quick.
	Leader func() (url, node string, self bool)
	Now    func() time.Time // default time.Now
	Every  time.Duration    // between measurements; default 30 s

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Reading is what is known of the cluster's time at a moment.
type Reading struct {
	Scale  string        // names the time; empty: nothing is known
	Offset time.Duration // to add to this node's time
	Doubt  time.Duration // by which Offset may be wrong, either way
}

// Clock is this node's knowledge of the cluster's time.
type Clock struct {
	cfg    Config
	news   chan struct{} // room for one: another node leads
	learnt chan struct{} // closed once anything is known
	learn  func()        // closes it

	mu    sync.Mutex
	known Reading
	from  string // the leader that it was measured by; this node when it leads
	at    moment // when
	leads bool   // this node's clock makes the scale

	look func() moment // now
}

// moment is what this node's clock shows, and how long it has run: somebody may set it.
type moment struct {
	shows time.Time
	ran   time.Duration
}

// New returns a clock that knows nothing. It starts nothing: Run does.
func New(cfg Config) *Clock {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Every = cmp.Or(cfg.Every, 30*time.Second)
	cfg.Logger = cfg.Logger.With("component", "clock")
	begun := cfg.Now()
	c := &Clock{cfg: cfg, news: make(chan struct{}, 1), learnt: make(chan struct{}), look: func() moment {
		now := cfg.Now()
		return moment{now.Round(0), now.Sub(begun)}
	}}
	c.learn = sync.OnceFunc(func() { close(c.learnt) })
	c.register(cfg.Registerer)
	return c
}

// Read tells what is known now. It does no I/O.
func (c *Clock) Read() Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readLocked(c.look())
}

func (c *Clock) readLocked(now moment) Reading {
	r := c.known
	if r.Scale == "" {
		return r
	}
	ran := now.ran - c.at.ran
	// By how much the clock was set since. A machine that slept looks like that too.
	r.Doubt += (now.shows.Sub(c.at.shows) - ran).Abs()
	if !c.leads {
		r.Doubt += time.Duration(float64(ran) * drift)
	}
	return r
}

// knownWell is how well the cluster's time must be known to judge a Date by it.
const knownWell = time.Second

// Ahead is by how much this node's clock is ahead of the cluster's, to judge a Date by;
// 0 where that is not known, or this clock was set since.
func (c *Clock) Ahead() time.Duration {
	if r := c.Read(); r.Doubt <= knownWell {
		return -r.Offset
	}
	return 0
}

// Learnt is closed once anything is known of the cluster's time.
func (c *Clock) Learnt() <-chan struct{} { return c.learnt }

// LeaderChanged has the clock measured at once.
func (c *Clock) LeaderChanged() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// Run measures until ctx is done. It returns nil.
func (c *Clock) Run(ctx context.Context) error {
	ask := newAsker()
	defer ask.rest()
	for retry := retryEvery; ; {
		wait := c.cfg.Every
		switch url, node, self := c.cfg.Leader(); {
		case self:
			c.lead()
		case url == "":
			c.follow()
		default:
			c.follow()
			if err := c.measure(ctx, ask, url, node); err != nil {
				c.cfg.Logger.Debug("measure the clock", "leader", node, "error", err)
				wait = min(wait, retry/2+rand.N(retry))
				retry = min(2*retry, c.cfg.Every)
			} else {
				retry = retryEvery
			}
			ask.rest()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.news:
			retry = retryEvery
		case <-time.After(wait):
		}
	}
}

// lead makes this node's clock the cluster's: it goes on with the scale there is, if
// that is known well and this clock was not set since.
func (c *Clock) lead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	r := c.readLocked(now)
	switch {
	case c.leads && r.Doubt <= c.known.Doubt+setBy:
		return
	case c.leads || r.Scale == "" || r.Doubt > carriesOn:
		r = Reading{Scale: crand.Text()}
		c.cfg.Logger.Info("this node's clock is the cluster's", "scale", r.Scale)
	}
	c.known, c.from, c.at, c.leads = r, c.cfg.Node, now, true
	c.learn()
}

// follow ends what lead began. What this node knows of the scale it made is exact
// no more.
func (c *Clock) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leads {
		now := c.look()
		c.known, c.at, c.leads = c.readLocked(now), now, false
	}
}

// measure asks the leader a few times; the quickest answer leaves least open.
func (c *Clock) measure(ctx context.Context, ask *asker, url, node string) error {
	var best Reading
	var at moment
	for range samples {
		sent := c.look()
		told, err := ask.time(ctx, url)
		if err == nil && told.Node != node {
			err = errNotLeader
		}
		if err != nil {
			return err
		}
		if r := between(sent, c.look(), told); best.Scale == "" || r.Doubt < best.Doubt {
			best, at = r, sent
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known.Scale != best.Scale {
		c.cfg.Logger.Info("measured the clock", "leader", node, "offset", best.Offset, "doubt", best.Doubt, "scale", best.Scale)
	}
	c.known, c.from, c.at = best, node, at
	c.learn()
	return nil
}

// between compares clocks: what was told is the cluster's time at some moment between
// two of ours.
func between(sent, received moment, told answer) Reading {
	half := (received.ran - sent.ran) / 2
	return Reading{told.Scale, time.Unix(0, told.Time).Sub(sent.shows.Add(half)), half + told.Doubt}
}
