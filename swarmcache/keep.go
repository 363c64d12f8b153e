package swarmcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"slices"
	"time"

	"shatabdi/policy"
)

// Kept is something of which the cluster keeps complete copies: what was put, is
// pinned, or is named by a rule. It stands in the directory, so that what is
// wanted is known when all who had it are gone.
type Kept struct {
	Key      policy.Key `json:"key"`
	ID       ObjectID   `json:"id"`
	URL      string     `json:"url"`
	InfoHash InfoHash   `json:"infohash"`
	Length   int64      `json:"length"`
	Replicas int        `json:"replicas"` // that there should be, at least
}

// HasOrigin reports whether it can be had when no node has it.
func (k *Kept) HasOrigin() bool {
	u, err := url.Parse(k.URL)
	return err == nil && u.Host != PutHost
}

// Order asks a node to get a copy of its own. It stands until that node has it,
// or has said why it cannot.
type Order struct {
	Node   NodeID    `json:"node"`
	Kept   Kept      `json:"kept"`
	Origin bool      `json:"origin,omitempty"` // nobody else has it: from there
	At     time.Time `json:"at"`
	Failed string    `json:"failed,omitempty"` // why not
}

// The states of a magnet.
const (
	Healthy  = "healthy"
	Degraded = "degraded" // fewer copies than wanted
	Lost     = "lost"     // none
)

// Health tells of all magnets that are kept, as the leader sees them.
type Health struct {
	Healthy  int   `json:"healthy"`
	Degraded int   `json:"degraded"`
	Lost     int   `json:"lost"`
	Ill      []Ill `json:"ill,omitempty"` // some of those that are not healthy, the worst first
}

// Ill is a magnet that is not healthy.
type Ill struct {
	Key      policy.Key `json:"key"`
	URL      string     `json:"url"`
	State    string     `json:"state"`
	Replicas int        `json:"replicas"`
	Wanted   int        `json:"wanted"`
	Why      string     `json:"why"`
	Since    time.Time  `json:"since"`
}

// Keeper records what is kept.
type Keeper interface {
	// Keep records k in the place of what was kept of its key; with no replicas
	// nothing is any more. It writes only what is new.
	Keep(ctx context.Context, k Kept) error
	// AllKept returns all of it.
	AllKept(ctx context.Context) ([]Kept, error)
	// ClaimSpare claims, of torrents that are kept, that this node alone lets its copy
	// go for others' sake, for SpareStands, and returns those that are this node's then.
	ClaimSpare(ctx context.Context, torrents []InfoHash) (mine []InfoHash, err error)
}

// wanted is how many copies of v the cluster should keep. What is pinned here
// counts as what was put does.
func (c *Cache) wanted(v Version, pinned bool) int {
	n := 0
	if c.cfg.Replicas != nil {
		n = c.cfg.Replicas(v)
	}
	if pinned || isPut(v) {
		n = max(n, c.cfg.PinnedReplicas)
	}
	return n
}

func isPut(v Version) bool {
	u, err := url.Parse(v.URL)
	return err == nil && u.Host == PutHost
}

// keep has the cluster keep v, which is complete here, if it is to.
func (c *Cache) keep(ctx context.Context, v Version) error {
	c.mu.Lock()
	e := c.entries[v.ID]
	pinned := e != nil && e.pinned
	n := 0
	if e != nil {
		n = c.wanted(v, pinned)
		e.wanted = n
	}
	c.mu.Unlock()
	if n == 0 || c.cfg.Keeper == nil || v.InfoHash.IsZero() {
		return nil
	}
	return c.cfg.Keeper.Keep(ctx, keptOf(v, n))
}

func keptOf(v Version, n int) Kept {
	return Kept{Key: v.Key, ID: v.ID, URL: v.URL, InfoHash: v.InfoHash, Length: v.Length, Replicas: n}
}

// repin tells the cluster that an object was pinned here, or is not any more. Where
// others have it pinned as well they say so again within keepEvery.
func (c *Cache) repin(id ObjectID) {
	rec, err := c.cfg.Index.Summary(id) // whether that is here or away
	if err != nil || !rec.Complete || c.cfg.Keeper == nil || rec.Version.InfoHash.IsZero() {
		return
	}
	n := c.wanted(rec.Version, rec.Pinned)
	c.mu.Lock()
	if e := c.entries[id]; e != nil {
		e.wanted = n
	}
	c.mu.Unlock()
	c.goWork(func() {
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			err := c.cfg.Keeper.Keep(c.ctx, keptOf(rec.Version, n))
			if !errors.Is(err, ErrUnavailable) {
				return
			}
			select {
			case <-time.After(wait + mrand.N(wait)):
			case <-c.ctx.Done():
				return
			}
		}
	})
}

// keepEvery is how often a node sees to it that what it has and the cluster
// should keep is known: an operator may have changed the rules, or lost the
// directory.
const keepEvery = 6 * time.Hour

// keepKnown says what this node has that should be kept and is not known as that.
func (c *Cache) keepKnown() {
	for wait := mrand.N(time.Minute); ; wait = keepEvery/2 + mrand.N(keepEvery) {
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return
		}
		if err := c.keepAll(c.ctx); err != nil {
			c.log.Debug("say what is to be kept", "error", err)
		}
	}
}

func (c *Cache) keepAll(ctx context.Context) error {
	var mine []Kept
	err := c.cfg.Index.Each(func(r Record) bool {
		n := c.wanted(r.Version, r.Pinned)
		c.mu.Lock()
		e := c.entries[r.Version.ID]
		here := e != nil && e.volume.ID == r.Volume
		if here {
			e.wanted = n
		}
		c.mu.Unlock()
		if here && n > 0 && r.Complete && !r.Version.InfoHash.IsZero() {
			mine = append(mine, keptOf(r.Version, n))
		}
		return ctx.Err() == nil
	})
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	if len(mine) == 0 {
		return nil
	}
	known, err := c.cfg.Keeper.AllKept(ctx)
	if err != nil {
		return err
	}
	byKey := make(map[policy.Key]Kept, len(known))
	for _, k := range known {
		byKey[k.Key] = k
	}
	for _, k := range mine {
		if have, ok := byKey[k.Key]; ok && (have.ID != k.ID || have.Replicas >= k.Replicas) {
			continue // another version is not ours to judge
		}
		if err := c.cfg.Keeper.Keep(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// countEvery is how often a node asks how many copies there are of what it has and
// the cluster keeps: its last copy is to go last. countAtOnce is of how many it asks
// in one request.
const (
	countEvery  = 2 * time.Minute
	countAtOnce = 100
)

func (c *Cache) countCopies() {
	for wait := 15 * time.Second; ; wait = countEvery/2 + mrand.N(countEvery) {
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return
		}
		if err := c.countNow(c.ctx); err != nil {
			c.log.Debug("count copies", "error", err)
		}
	}
}

func (c *Cache) countNow(ctx context.Context) error {
	var kept []InfoHash
	c.mu.Lock()
	for _, e := range c.entries {
		if e.wanted > 0 && !e.infoHash.IsZero() {
			kept = append(kept, e.infoHash)
		}
	}
	c.mu.Unlock()
	if err := c.countThese(ctx, kept, func(*entry) {}); err != nil {
		return err
	}
	return c.claimSpare(ctx)
}

// countThese counts the copies of some, and has f note it.
func (c *Cache) countThese(ctx context.Context, all []InfoHash, f func(*entry)) error {
	for some := range slices.Chunk(all, countAtOnce) {
		ctx, cancel := context.WithTimeout(ctx, countTimeout)
		copies, err := c.cfg.Copies(ctx, some)
		cancel()
		if err != nil {
			return err
		}
		c.mu.Lock()
		for _, ih := range some {
			if e := c.entries[c.sealed[ih]]; e != nil {
				e.seen = copies[ih]
				f(e)
			}
		}
		c.mu.Unlock()
	}
	return nil
}

const countTimeout = 5 * time.Second

// patienceReplica is how long a copy may stand still before it is given up.
const patienceReplica = 30 * time.Second

// ErrSuperseded: the key selects another version now.
var ErrSuperseded = errors.New("the key selects another version")

// Replicate gets a complete copy of k from peers, and never from the origin. A
// copy that is here already is made known again.
func (c *Cache) Replicate(ctx context.Context, k Kept) error {
	obj, err := c.Lookup(ctx, k.Key, nil)
	if err != nil {
		return err
	}
	defer obj.Close()
	if obj.Version().ID != k.ID {
		return ErrSuperseded
	}
	f := obj.o.file
	if f.Left() == 0 && f.Hashes() != nil {
		if s := c.cfg.Swarm; s != nil {
			s.Seal(f)
		}
		return nil
	}
	r := obj.NewReader(ctx, 0, k.Length)
	defer r.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	left, moved := f.Left(), time.Now()
	for !c.sealedHere(k.ID) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := f.failure(); err != nil {
			return err
		}
		if now := f.Left(); now != left {
			left, moved = now, time.Now()
		}
		if time.Since(moved) > patienceReplica {
			return fmt.Errorf("nothing came for %s, %d pieces are missing", patienceReplica, left)
		}
	}
	return nil
}

// sealedHere reports whether an object is complete and on record.
func (c *Cache) sealedHere(id ObjectID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[id]
	return e != nil && e.verified > 0
}
