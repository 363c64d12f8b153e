package swarmcache

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/policy"
	"shatabdi/swarmcache/layout"
)

// Config is what a cache needs.
type Config struct {
	Dir       string // for object files
	Index     Index
	Directory Directory
	Swarm     Swarm // nil: no peers
	Node      Node  // this node

	// Size bounds the bytes of all objects; 0: no bound but the disk's.
	Size int64
	// Streams is how many origin streams an object may have, cluster-wide;
	// default 4. Sixteen slow ones land late together.
	Streams int
	// HostStreams is how many streams this node has from one origin at a time,
	// for all objects together; default 16. ClusterHostStreams is the same for all
	// nodes together; default 64.
	HostStreams, ClusterHostStreams int

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // default time.Now
}

// Cache is this node's part of the swarm cache.
type Cache struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	rates   rates
	budget  *budget

	ctx    context.Context // of transfers and other work that outlives requests
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	// files makes the coming and going of objects one at a time: of their record,
	// their reservation and their file together. Held across I/O; taken before mu
	// and before object.recording.
	files sync.Mutex

	mu      sync.Mutex // guards the fields below; never held across I/O
	closed  bool
	objects map[ObjectID]*object // with an open file
	entries map[ObjectID]*entry  // everything that takes space
	sealed  map[InfoHash]ObjectID
	used    int64 // bytes reserved by entries
	firsts  map[policy.Key]chan struct{}
}

// Open reads the catalogue and removes files that it does not know. Close the
// cache to stop what it started.
func Open(cfg Config) (*Cache, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Streams == 0 {
		cfg.Streams = 4
	}
	c := &Cache{
		cfg: cfg, log: cfg.Logger.With("component", "cache"), now: cfg.Now,
		metrics: newMetrics(cfg.Registerer), rates: rates{m: map[string]float64{}},
		objects: map[ObjectID]*object{}, entries: map[ObjectID]*entry{}, sealed: map[InfoHash]ObjectID{},
		firsts: map[policy.Key]chan struct{}{},
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.budget = newBudget(c.ctx, c.goWork, cfg.Directory, cmp.Or(cfg.HostStreams, 16), cmp.Or(cfg.ClusterHostStreams, 64), cfg.Now, cfg.Registerer)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(cacheCollector{c})
	}
	if cfg.Swarm != nil {
		cfg.Swarm.Offer(c)
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

// path is where the body of id is.
func (c *Cache) path(id ObjectID) string {
	return filepath.Join(c.cfg.Dir, string(id[:2]), string(id))
}

// Local finds what key selects on this node alone, without asking anybody. The
// object may be incomplete.
func (c *Cache) Local(key policy.Key, o Origin) (*Object, error) {
	id, err := c.cfg.Index.Current(key)
	if err != nil {
		return nil, err
	}
	rec, err := c.cfg.Index.Get(id)
	if err != nil {
		return nil, err
	}
	obj, err := c.inMemory(id)
	if err != nil {
		return nil, err
	}
	if obj != nil {
		return obj.handle(o), nil
	}
	c.files.Lock()
	defer c.files.Unlock()
	if obj, err = c.openLocked(rec.Version, &rec); err != nil {
		return nil, err
	}
	return obj.handle(o), nil
}

// Lookup finds what key selects: a local object, one being filled, or one the
// cluster holds; with the directory's answer bounded in time. ErrNotFound: a
// miss. The object is a handle: Close it. o serves the spans that this node may
// have to fetch while the handle's readers want them.
func (c *Cache) Lookup(ctx context.Context, key policy.Key, o Origin) (*Object, error) {
	local, err := c.Local(key, o)
	if err == nil && (local.Complete() || local.o.busy()) {
		return local, nil
	}
	v, fill, derr := c.cfg.Directory.Lookup(ctx, key)
	switch {
	case derr == nil && fill != nil && fill.Ended == "":
		if v == nil || v.ID != fill.Version.ID {
			v = &fill.Version
		}
	case derr == nil && v != nil:
		fill = nil
	case err == nil: // nothing is known of it elsewhere: what is here counts
		return local, nil
	case errors.Is(derr, ErrUnavailable):
		return nil, fmt.Errorf("%w here, and the %w", ErrNotFound, derr)
	default:
		return nil, ErrNotFound
	}
	if err == nil {
		if local.Version().ID == v.ID {
			local.o.learn(v.InfoHash)
			local.o.expect(fill)
			return local, nil
		}
		local.Close()
	}
	obj, err := c.admit(*v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	obj.expect(fill)
	return obj.handle(o), nil
}

// admit opens the file of v, with space reserved and the catalogue told.
func (c *Cache) admit(v Version) (*object, error) {
	c.files.Lock()
	defer c.files.Unlock()
	rec, err := c.cfg.Index.Get(v.ID)
	if err != nil {
		if err := c.reserve(v); err != nil {
			return nil, err
		}
		rec = Record{Version: v, Added: c.now().Unix()}
		if err := c.cfg.Index.Put(rec); err != nil {
			c.unreserve(v.ID)
			return nil, err
		}
	} else if !v.InfoHash.IsZero() {
		rec.Version = v // the directory's facts are as fresh or fresher
	}
	obj, err := c.openLocked(rec.Version, &rec)
	if err != nil {
		c.forgetLocked(v.ID)
		return nil, err
	}
	obj.learn(v.InfoHash)
	if err := c.select_(v.Key, v.ID); err != nil {
		obj.file.Release()
		return nil, err
	}
	return obj, nil
}

// select_ makes id what key selects here; the version it replaces goes. It needs
// c.files.
func (c *Cache) select_(key policy.Key, id ObjectID) error {
	old, err := c.cfg.Index.Current(key)
	if err == nil && old == id {
		return nil
	}
	if err := c.cfg.Index.SetCurrent(key, id); err != nil {
		return err
	}
	if err == nil {
		c.forgetLocked(old)
	}
	return nil
}

// openLocked returns the in-memory object of v with a reference on its file,
// opening the file if it is not. A record whose file is gone is forgotten. It
// needs c.files.
func (c *Cache) openLocked(v Version, rec *Record) (*object, error) {
	if o, err := c.inMemory(v.ID); o != nil || err != nil {
		return o, err
	}
	f, err := OpenFile(c.path(v.ID), v, rec)
	if errors.Is(err, ErrNotFound) {
		c.log.Warn("an object's file is gone", "object", v.ID, "error", err)
		c.forgetLocked(v.ID)
	}
	if err != nil {
		return nil, err
	}
	o := &object{c: c, file: f, added: rec.Added, pinned: rec.Pinned}
	f.onClose = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.objects[v.ID] == o {
			delete(c.objects, v.ID)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects[v.ID] = o
	return o, nil
}

// inMemory returns the object whose file is open already, if it is.
func (c *Cache) inMemory(id ObjectID) (*object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosing
	}
	c.touchLocked(id)
	if o := c.objects[id]; o != nil && o.file.Acquire() {
		return o, nil
	}
	return nil, nil
}

// ClaimFirst claims the cluster-wide right to send the first GET for a key that
// policy expects to be large. A *ClaimedError after a wait: look up again.
// When the directory is away the claim is for this node only.
func (c *Cache) ClaimFirst(ctx context.Context, key policy.Key) (release func(), err error) {
	c.mu.Lock()
	if wait := c.firsts[key]; wait != nil {
		c.mu.Unlock()
		select {
		case <-wait:
			return nil, &ClaimedError{c.cfg.Node.ID}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	mine := make(chan struct{})
	c.firsts[key] = mine
	c.mu.Unlock()
	unlock := sync.OnceFunc(func() {
		c.mu.Lock()
		delete(c.firsts, key)
		c.mu.Unlock()
		close(mine)
	})
	there, err := c.cfg.Directory.ClaimFirst(ctx, key)
	switch {
	case err == nil:
		return func() { there(); unlock() }, nil
	case errors.Is(err, ErrUnavailable):
		return unlock, nil
	}
	unlock()
	return nil, err
}

// Fill opens the fill of v, or joins it if somebody else opened it first. v.ID
// and v.PieceLen are set by Fill. ranges tells that the origin takes Range
// requests. body is the origin's response body from byte 0 on, or nil (after
// the answer to a Range request); Fill owns it: the opener reads its first
// spans from it, a loser closes it unread. On an error, such as ErrNoSpace, body
// is untouched and still the caller's.
func (c *Cache) Fill(ctx context.Context, v Version, ranges bool, body io.ReadCloser, o Origin) (*Object, error) {
	v.PieceLen = layout.PieceLenFor(v.Length)
	if v.Validator == "" {
		v.Nonce = nonce()
	}
	if err := c.fits(v.Length); err != nil {
		return nil, err
	}
	rec, opener, alone, err := c.openFill(ctx, v, !ranges || v.Validator == "", o)
	if err != nil {
		return nil, err
	}
	obj, err := c.admit(rec.Version)
	if err != nil {
		return nil, err
	}
	h := obj.handle(o)
	if !obj.fill(&rec, opener || alone, alone, body, o) && body != nil {
		body.Close()
	}
	return h, nil
}

// openFill creates the fill's record or finds the one that stands. A fill that
// ended is begun again, with one claimer.
func (c *Cache) openFill(ctx context.Context, v Version, single bool, o Origin) (rec FillRecord, opener, alone bool, err error) {
	var latency time.Duration
	if o != nil {
		latency = o.Latency()
	}
	plan := layout.PlanFor(v.Layout(), latency)
	for last := v.Attempt + maxAttempts; v.Attempt < last; v.Attempt++ {
		v.Identify()
		rec = FillRecord{
			Version: v, MaxSpan: plan.MaxSpan, Flat: plan.Flat,
			Opener: c.cfg.Node.ID, Single: single || v.Attempt > 0,
		}
		mine := rec
		rec, opener, err = c.cfg.Directory.OpenFill(ctx, rec)
		switch {
		case errors.Is(err, ErrUnavailable):
			return mine, true, true, nil
		case err != nil:
			return rec, false, false, err
		case rec.Ended == "":
			return rec, opener, false, nil
		}
	}
	return rec, false, false, fmt.Errorf("%w: %d attempts: %s", ErrFillEnded, v.Attempt, rec.Ended)
}

// maxAttempts is how many fills of one version are begun in a row.
const maxAttempts = 4

func nonce() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Refresh records new freshness facts of obj's version, here and in the
// directory, after a 304.
func (c *Cache) Refresh(ctx context.Context, obj *Object, s policy.Stored) error {
	f := obj.o.file
	f.mu.Lock()
	f.version.Stored = s
	f.mu.Unlock()
	v := f.Version()
	if err := obj.o.rewrite(); err != nil {
		return err
	}
	err := c.cfg.Directory.Publish(ctx, v)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrStale) {
		return nil
	}
	return err
}

// Withdraw makes key select nothing, here and in the directory.
func (c *Cache) Withdraw(ctx context.Context, key policy.Key) error {
	if id, err := c.cfg.Index.Current(key); err == nil {
		c.forget(id, key)
	}
	err := c.cfg.Directory.Withdraw(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// publish tells the directory of a complete object, unless it knows.
func (c *Cache) publish(ctx context.Context, v Version) error {
	have, _, err := c.cfg.Directory.Lookup(ctx, v.Key)
	if err == nil && have != nil && have.ID == v.ID && !have.InfoHash.IsZero() {
		return nil
	}
	err = c.cfg.Directory.Publish(ctx, v)
	if errors.Is(err, ErrStale) {
		return nil
	}
	return err
}

// publishLater publishes o, and tries again while the directory is away.
func (c *Cache) publishLater(o *object, wait time.Duration) {
	c.goWork(func() {
		for ; ; wait = min(max(2*wait, time.Second), time.Minute) {
			select {
			case <-c.ctx.Done():
				return
			case <-time.After(wait):
			}
			if o.file.Condemned() {
				return // purged meanwhile: it must not come back
			}
			err := c.publish(c.ctx, o.file.Version())
			if err == nil {
				return
			}
			c.log.Debug("publish", "object", o.file.version.ID, "error", err)
			wait += mrand.N(time.Second)
		}
	})
}

// Held implements Held for the swarm.
func (c *Cache) Held(ih InfoHash) (*File, func(), bool) {
	c.mu.Lock()
	id, ok := c.sealed[ih]
	c.mu.Unlock()
	if !ok {
		return nil, nil, false
	}
	c.files.Lock()
	defer c.files.Unlock()
	rec, err := c.cfg.Index.Get(id)
	if err != nil || !rec.Complete || len(rec.Hashes) == 0 {
		return nil, nil, false
	}
	o, err := c.openLocked(rec.Version, &rec)
	if err != nil {
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
