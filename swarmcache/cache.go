package swarmcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
)

// Config is what a cache needs.
type Config struct {
	Dir       string // for object files: the home
	Files     Files  // nil: the operating system's
	Index     Index
	Directory Directory
	Swarm     Swarm // nil: no peers
	Node      Node  // this node

	// Size bounds the bytes of the objects in Dir; 0: no bound but the disk's.
	Size int64
	// MinFree is how many bytes of the disk of Dir are left to others, as is looked
	// each OthersEvery, by default 3 s; 0: all that are there may be taken.
	MinFree     int64
	OthersEvery time.Duration
	// Volumes are where objects may be besides, as OpenVolumes returns them.
	Volumes []Volume
	// MaxTransfers is how many objects may be coming in at a time; 0: no bound.
	MaxTransfers int
	// Streams is how many origin streams an object may have, cluster-wide;
	// default 4. Sixteen slow ones land late together.
	Streams int
	// HostStreams is how many streams this node has from one origin at a time,
	// for all objects together; default 16. ClusterHostStreams is the same for all
	// nodes together; default 64.
	HostStreams, ClusterHostStreams int
	// Priority says which objects go first where a link is limited; default normal
	// for all. It may be called under locks: no I/O.
	Priority func(Version) policy.Priority
	// Replicas says of how many complete copies the cluster should have of a version,
	// PinnedReplicas of how many, at least, of what was put or is pinned; Keeper is
	// told; nil: nothing is kept. It may be called under locks: no I/O.
	Replicas       func(Version) int
	PinnedReplicas int
	Keeper         Keeper
	// Copies tells how many complete copies there are of torrents, as far as the
	// tracker knows; nil: nobody can be asked.
	Copies func(context.Context, []InfoHash) (map[InfoHash]int, error)
	// ScrubRate is how many bytes a second are read back to verify them, of each
	// object once in ScrubEvery, by default a week; 0: none.
	ScrubRate  int64
	ScrubEvery time.Duration
	// Inactive is how long what nobody uses stays, whether or not space is short; 0: for
	// ever.
	Inactive time.Duration
	// Settle is how long a node waits with telling a directory that has lost data
	// what it holds; default 5 s, to twice that.
	Settle time.Duration
	// Purged is told of each key that a purge names, so that what is kept elsewhere
	// on this node goes too, and tells how much there was; nil: nothing is kept
	// elsewhere. Distrusted says that purges may have
	// been missed. Both must not block.
	Purged     func(policy.Key) (had int)
	Distrusted func()
	// Events is told what happens; nil: nobody is.
	Events *events.Hub

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // default time.Now
}

// Cache is this node's part of the swarm cache.
type Cache struct {
	Epochs // advanced by purges, and by those who withdraw

	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	rates   rates
	digests digester
	// transfers are those that run; transferred is when one ended last, in nanoseconds since born.
	transfers   atomic.Int32
	transferred atomic.Int64
	budget      *budget
	obeyed      obedience
	softened    atomic.Pointer[map[ofKind]Purge] // when what stands there was purged last
	distrusts   atomic.Uint32                    // how often everything that is stored became stale; changed under files
	draining    atomic.Bool

	born   time.Time     // when this run began, by the real clock
	began  time.Time     // likewise, by the one of its configuration
	absent bool          // this node had been out of touch for long then
	heard  chan struct{} // closed once it has heard of the purges

	ctx    context.Context // of transfers and other work that outlives requests
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	// files makes the opening of objects one at a time: of their reservation and
	// their file together. Held across I/O that a client waits for, so never
	// across a write to the catalogue, which may wait for the disk; taken before mu.
	files sync.Mutex
	// selecting orders what is written about keys. Held across I/O; taken before mu.
	selecting sync.Mutex

	// What is here is known in memory first; the catalogue follows behind the
	// client's first byte. mu guards the fields below and is never held across I/O.
	mu       sync.Mutex
	closed   bool
	objects  map[ObjectID]*object    // with an open file
	entries  map[ObjectID]*entry     // everything that takes space
	current  map[policy.Key]ObjectID // what keys select; each has an entry
	variants variants                // those of current that are keys of variants
	leaving  map[ObjectID]*leaving   // forgotten, but still on the disk
	sealed   map[InfoHash]ObjectID
	volumes  []*volume // the home first; never changed
	// absentees are in the catalogue and not here, by what they are variants of.
	absentees map[policy.Key][]absentee
	evict     *policy.Eviction[ObjectID]
	firsts    map[policy.Key]*first
	round     uint32                     // how often what is stored has become uncertain
	asking    map[ObjectID]chan struct{} // what the directory is being asked about; closed with the answer
	silent    time.Time                  // until when a directory that did not answer is not asked

	spools spools
}

// Open reads the catalogue and removes files that it does not know. Close the
// cache to stop what it started.
func Open(cfg Config) (*Cache, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Files == nil {
		cfg.Files = osFiles{}
	}
	if cfg.Streams == 0 {
		cfg.Streams = 4
	}
	cfg.Settle = cmp.Or(cfg.Settle, defaultSettle)
	cfg.ScrubEvery = cmp.Or(cfg.ScrubEvery, 7*24*time.Hour)
	if cfg.Purged == nil {
		cfg.Purged = func(policy.Key) int { return 0 }
	}
	if cfg.Distrusted == nil {
		cfg.Distrusted = func() {}
	}
	c := &Cache{
		cfg: cfg, log: cfg.Logger.With("component", "cache"), now: cfg.Now,
		metrics: newMetrics(cfg.Registerer), rates: rates{m: map[string]float64{}},
		objects: map[ObjectID]*object{}, entries: map[ObjectID]*entry{}, current: map[policy.Key]ObjectID{}, variants: variants{},
		leaving: map[ObjectID]*leaving{}, sealed: map[InfoHash]ObjectID{}, firsts: map[policy.Key]*first{}, absentees: map[policy.Key][]absentee{},
		spools: spools{open: map[*Spool]struct{}{}},
		born:   time.Now(), began: cfg.Now(), heard: make(chan struct{}), round: 1, asking: map[ObjectID]chan struct{}{},
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.budget = newBudget(c.ctx, c.goWork, cfg.Directory, cmp.Or(cfg.HostStreams, 16), cmp.Or(cfg.ClusterHostStreams, 64), cfg.Now, cfg.Registerer)
	for _, v := range append([]Volume{{Dir: cfg.Dir, Objects: cfg.Dir, Size: cfg.Size, MinFree: cfg.MinFree}}, cfg.Volumes...) {
		c.volumes = append(c.volumes, c.newVolume(v))
	}
	c.evict = policy.NewEviction[ObjectID](c.limitLocked())
	if err := cfg.Files.MkdirAll(cfg.Dir); err != nil {
		return nil, err
	}
	if err := c.obeyed.load(cfg.Index); err != nil {
		return nil, err
	}
	c.distrusts.Store(c.obeyed.Distrusts)
	c.absent = !c.obeyed.Touch.IsZero() && c.now().Sub(c.obeyed.Touch) >= awayLong
	untold, err := c.load()
	if err != nil {
		return nil, err
	}
	if err := c.distrust(c.obeyed.Era); err != nil {
		return nil, err
	}
	c.lookAtOthers()
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(cacheCollector{c})
	}
	if len(untold) > 0 {
		c.publishLater(mrand.N(time.Second), unmarked, untold...)
	}
	if cfg.Swarm != nil {
		cfg.Swarm.Offer(c)
	}
	c.goWork(func() {
		defer c.inTouch() // if nothing will ever come
		cfg.Directory.Purges(c.ctx, c.obey)
	})
	if cfg.Keeper != nil {
		c.goWork(c.keepKnown)
	}
	if cfg.Copies != nil && (c.limitLocked() > 0 || cfg.Inactive > 0) {
		c.goWork(c.countCopies)
	}
	if cfg.ScrubRate > 0 {
		c.goWork(c.scrub)
	}
	if cfg.Inactive > 0 {
		c.goWork(c.watchInactive)
	}
	if slices.ContainsFunc(c.volumes, func(v *volume) bool { return v.MinFree > 0 }) {
		c.goWork(c.watchOthers)
	}
	return c, nil
}

// Close stops all transfers; what they have is recorded.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel(errClosing)
	c.work.Wait()
	return nil
}

var errClosing = fmt.Errorf("%w: the cache is closing", ErrFillEnded)

// goWork starts f unless the cache is closing.
func (c *Cache) goWork(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Go(f)
	}
	return !c.closed
}

func pathOf(dir string, id ObjectID) string {
	return filepath.Join(dir, string(id[:2]), string(id))
}

// Local finds what key selects on this node alone, without asking anybody. The
// object may be incomplete.
func (c *Cache) Local(key policy.Key, o Origin) (*Object, error) {
	id, ok := c.selected(key)
	if !ok {
		return nil, ErrNotFound
	}
	obj, err := c.open(id)
	if err != nil {
		return nil, err
	}
	h := obj.handle(o)
	h.doubt = c.unheardOf(h)
	return h, nil
}

func (c *Cache) selected(key policy.Key) (id ObjectID, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok = c.current[key]
	return id, ok
}

// open returns an object that this node has, with a reference on its file, for
// somebody who uses it.
func (c *Cache) open(id ObjectID) (*object, error) {
	c.touch(id)
	return c.look(id)
}

// look is open for upkeep, which does not count as a use.
func (c *Cache) look(id ObjectID) (*object, error) {
	if o, err := c.inMemory(id); o != nil || err != nil {
		return o, err
	}
	c.files.Lock()
	defer c.files.Unlock()
	rec, err := c.recorded(c.cfg.Index.Get, id)
	if err != nil {
		return nil, err
	}
	return c.openLocked(rec.Version, &rec, true)
}

// admit opens the object of v, new or known, with space reserved. The catalogue
// is told behind the back of the client who waits: until then the file belongs
// to no object, and a crash leaves nothing of it.
//
// Where a disk fails or is full another one is tried.
func (c *Cache) admit(v Version) (o *object, err error) {
	for range c.volumes {
		var unwell bool
		if o, unwell, err = c.admitOnce(v); !unwell {
			return o, err
		}
	}
	return nil, err
}

// admitOnce is admit on one volume; unwell: a new object's disk is.
func (c *Cache) admitOnce(v Version) (_ *object, unwell bool, _ error) {
	defer c.untilRoom()
	if !c.has(v.ID) {
		c.lookAtDisks(v.Length)
	}
	c.files.Lock()
	defer c.files.Unlock()
	c.untilGone(v.ID) // its file has the same name
	rec, known := Record{Version: v, Added: c.now().Unix()}, false
	if c.has(v.ID) {
		if r, err := c.recorded(c.cfg.Index.Get, v.ID); err == nil && !c.isAway(&r) {
			rec, known = r, true
		}
		if !v.InfoHash.IsZero() {
			rec.Version = v // the directory's facts are as fresh or fresher
		}
	} else if err := c.reserve(v, nil, 0); err != nil {
		return nil, false, err
	}
	o, err := c.openLocked(rec.Version, &rec, known)
	if err != nil {
		at := c.volumeOf(v.ID)
		if !known {
			c.forget(v.ID)
		}
		return nil, !known && (at == nil || at.rank() > 0), err
	}
	c.touch(v.ID)
	o.learn(v.InfoHash)
	c.select_(o)
	return o, false, nil
}

// select_ makes o what its key selects here; the version it replaces goes. The
// catalogue is told in the background.
func (c *Cache) select_(o *object) {
	key, id := o.file.version.Key, o.file.version.ID
	c.mu.Lock()
	old, was := c.current[key]
	if c.entries[id] == nil || was && old == id {
		c.mu.Unlock()
		return
	}
	c.current[key] = id
	c.variants.add(key)
	surplus, many := c.surplusLocked(key)
	pinned := was && c.entries[old].pinned
	c.entries[id].pinned = c.entries[id].pinned || pinned
	c.mu.Unlock()
	if was {
		c.forget(old)
	}
	if many {
		c.forget(surplus)
	}
	o.file.Acquire() // it stays in memory until the catalogue knows it
	record := func() {
		defer o.file.Release()
		if err := o.enter(pinned); err != nil {
			c.log.Warn("an object will not be kept", "object", id, "error", c.noRoom(err))
			o.condemn()
		}
		if _, err := c.forgetAway(key, func(a absentee) bool { return a.key == key && a.id != id }); err != nil {
			c.log.Warn("forget what was replaced", "key", key, "error", err)
		}
	}
	if !c.goWork(record) {
		record()
	}
}

// openLocked returns the in-memory object of v with a reference on its file,
// opening the file if it is not. recorded tells that the catalogue has rec; when
// its file is gone it is forgotten. It needs c.files.
func (c *Cache) openLocked(v Version, rec *Record, recorded bool) (*object, error) {
	if o, err := c.inMemory(v.ID); o != nil || err != nil {
		return o, err
	}
	at := c.volumeOf(v.ID)
	if at == nil || recorded && rec.Volume != at.ID {
		return nil, ErrNotFound
	}
	f, err := openFile(at.files, pathOf(at.Objects, v.ID), v, rec)
	if errors.Is(err, ErrNotFound) {
		c.vanished(v.ID, err)
	}
	if err != nil {
		return nil, err
	}
	f.SetPriority(c.PriorityOf(*rec))
	o := &object{c: c, file: f, volume: at.ID, added: rec.Added, pinned: rec.Pinned, priority: rec.Priority, verified: rec.Verified, recorded: recorded}
	f.onClose = func() {
		c.mu.Lock()
		away := func() {}
		if c.objects[v.ID] == o {
			if !o.recorded && c.isAwayLocked(v) { // another body is, and nobody would find this one
				_, away = c.leaveLocked(v.ID)
			}
			delete(c.objects, v.ID)
		}
		c.mu.Unlock()
		away()
	}
	c.mu.Lock()
	here := c.entries[v.ID] != nil
	if here {
		c.objects[v.ID] = o
	}
	c.mu.Unlock()
	if !here { // forgotten meanwhile
		f.Release()
		return nil, ErrNotFound
	}
	if f.Left() == 0 && f.Version().SHA256 == "" {
		c.follow(o)
	}
	return o, nil
}

// inMemory returns the object whose file is open already, if it is.
func (c *Cache) inMemory(id ObjectID) (*object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosing
	}
	if o := c.objects[id]; o != nil && o.file.Acquire() {
		return o, nil
	}
	return nil, nil
}

// Held implements Held for the swarm.
func (c *Cache) Held(ih InfoHash) (*File, func(), bool) {
	c.mu.Lock()
	id, ok := c.sealed[ih]
	c.mu.Unlock()
	if !ok {
		return nil, nil, false
	}
	o, err := c.open(id)
	if err != nil {
		return nil, nil, false
	}
	if o.file.Left() > 0 || o.file.Hashes() == nil {
		o.file.Release()
		return nil, nil, false
	}
	return o.file, func() { o.file.Release() }, true
}

// EachHeld implements Held for the swarm.
func (c *Cache) EachHeld(f func(InfoHash) bool) {
	c.mu.Lock()
	all := make([]InfoHash, 0, len(c.sealed))
	for ih := range c.sealed {
		all = append(all, ih)
	}
	c.mu.Unlock()
	for _, ih := range all {
		if !f(ih) {
			return
		}
	}
}
