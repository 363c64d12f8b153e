// Package small keeps responses that are not worth a swarm, whole, in the memory
// of this node, and on its disk behind that.
//
// It promises that nothing is found which was forgotten after its Mark was taken,
// that a body which ends early is never taken for a whole one, and that objects
// and bodies on their way have a bound each. It leaves to policy what may be stored
// and served, and to proxy the asking of origins. What is on the disk outlives the
// process; it is written behind the clients' backs, and may be lost.
package small

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

var (
	// ErrForgotten: what the key selects was forgotten since the request went out.
	ErrForgotten = errors.New("forgotten meanwhile")
	// ErrOutdated: a more recent response came meanwhile.
	ErrOutdated = errors.New("a more recent response is here")
	// ErrNoSpace: the object is too large, or too many are on their way.
	ErrNoSpace = errors.New("no space in memory")
)

// maxVariants bounds what is kept under one key: each is compared with a request
// that selects. The one that came first goes first.
const maxVariants = 32

// overhead is what an object is taken to cost besides its body and its header.
const overhead = 1 << 10

// Config of a Cache.
type Config struct {
	Size       int64                 // bytes of objects, and of bodies on their way
	Registerer prometheus.Registerer // nil: metrics are not registered

	// Store is the disk behind the memory; nil: none. Run writes to it.
	Store Store
	// Heard waits a moment, and reports, whether this node knows what was purged while
	// it was away. nil: it does.
	Heard  func() bool
	Logger *slog.Logger // nil: silent
}

// Cache holds small objects, several variants to a key. A nil one holds none.
type Cache struct {
	size    int64
	entries *otter.Cache[policy.Key, variants]
	coming  atomic.Int64 // bytes of bodies on their way

	mu sync.Mutex // orders changes of entries; finding needs no lock

	disk *disk // nil: none
}

// variants are what one key selects, the newest last. A slice is never changed,
// but replaced.
type variants []*Object

// New returns an empty cache.
func New(cfg Config) *Cache {
	c := &Cache{size: cfg.Size}
	evictions := prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "shatabdi", Name: "small_evictions_total",
		Help: "Keys whose small objects made room for others.",
	})
	c.entries = otter.Must(&otter.Options[policy.Key, variants]{
		MaximumWeight: uint64(cfg.Size), Weigher: weight, StatsRecorder: &recorder{evictions: evictions},
	})
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(evictions,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Namespace: "shatabdi", Name: "small_bytes", Help: "Bytes of small objects in memory, with what they cost besides their bodies.",
			}, func() float64 { return float64(c.entries.WeightedSize()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Namespace: "shatabdi", Name: "small_keys", Help: "URLs of which small objects are in memory.",
			}, func() float64 { return float64(c.entries.EstimatedSize()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Namespace: "shatabdi", Name: "small_coming_bytes", Help: "Bytes of small bodies on their way from origins.",
			}, func() float64 { return float64(c.coming.Load()) }))
	}
	if cfg.Store != nil {
		c.disk = newDisk(c, cfg)
	}
	return c
}

type recorder struct {
	stats.NoopRecorder
	evictions prometheus.Counter
}

func (r *recorder) RecordEviction(uint32) { r.evictions.Inc() }

// weight is that of the variants that are here. It is nothing while all are on
// their way: what weighs nothing is not evicted, and those who wait for it are to
// find it. See settle.
func weight(key policy.Key, vs variants) uint32 {
	n, whole := int64(len(key)), false
	for _, o := range vs {
		if o.Complete() {
			n, whole = n+o.weight, true
		}
	}
	if !whole {
		return 0
	}
	return uint32(min(n, 1<<32-1))
}

// Takes reports whether a body of that many bytes could be kept. One that is
// larger than a quarter of the cache would cost too many others their place.
func (c *Cache) Takes(length int64) bool { return c != nil && length <= c.size/4 }

// Most is the length of the largest body that could be kept.
func (c *Cache) Most() int64 {
	if c == nil {
		return 0
	}
	return c.size / 4
}

// Reserve and Release count a body on its way whose length is not known.
func (c *Cache) Reserve(n int64) bool {
	if c.coming.Add(n) > c.size {
		c.coming.Add(-n)
		return false
	}
	return true
}

// Release takes back what was reserved.
func (c *Cache) Release(n int64) { c.coming.Add(-n) }

// Coming is how many bytes of bodies are on their way.
func (c *Cache) Coming() int64 { return c.coming.Load() }

// Find returns the object that answers a request for key with these fields. If
// there are only other variants it returns one of them, and false.
func (c *Cache) Find(key policy.Key, h http.Header, rules *policy.Caching) (o *Object, selected bool) {
	if c == nil {
		return nil, false
	}
	o, selected = c.inMemory(key, h, rules)
	if selected || c.disk == nil {
		return o, selected
	}
	if kept, selected := c.disk.find(key, h, rules, o == nil); kept != nil {
		return kept, selected
	}
	return o, false
}

func (c *Cache) inMemory(key policy.Key, h http.Header, rules *policy.Caching) (o *Object, selected bool) {
	vs, ok := c.entries.GetIfPresent(key)
	if !ok {
		return nil, false
	}
	if len(vs) == 1 {
		return vs[0], rules.SelectedBy(*vs[0].stored.Load(), h)
	}
	stored := make([]policy.Stored, len(vs))
	for i, o := range vs {
		stored[i] = *o.stored.Load()
	}
	if i := rules.Select(h, stored); i >= 0 {
		return vs[i], true
	}
	return vs[len(vs)-1], false
}

// Open keeps a response whose body is about to come: v.Length bytes, by Fill.
// Whoever finds the object reads along. since is from before the request.
func (c *Cache) Open(v swarmcache.Version, since swarmcache.Mark) (*Object, error) {
	if !c.Takes(v.Length) || !c.Reserve(v.Length) {
		return nil, ErrNoSpace
	}
	o := newObject(c, v)
	if err := c.enter(o, since); err != nil {
		c.Release(v.Length)
		return nil, err
	}
	return o, nil
}

// Put keeps a response that is here, with its whole body.
func (c *Cache) Put(v swarmcache.Version, body []byte, since swarmcache.Mark) error {
	if v.Length = int64(len(body)); !c.Takes(v.Length) {
		return ErrNoSpace
	}
	o := newObject(c, v)
	o.data = body
	o.done.Store(true)
	if err := c.enter(o, since); err != nil {
		return err
	}
	if c.disk != nil {
		c.disk.save(o)
	}
	return nil
}

// enter puts o in the place of what selects the same.
func (c *Cache) enter(o *Object, since swarmcache.Mark) error {
	err := c.remember(o, since)
	if err == nil && c.disk != nil {
		c.disk.dropVariant(o)
	}
	return err
}

func (c *Cache) remember(o *Object, since swarmcache.Mark) error {
	key, s := o.version.Key, o.stored.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if since.Past() {
		return fmt.Errorf("%s: %w", key, ErrForgotten)
	}
	old, _ := c.entries.GetIfPresent(key)
	vs := make(variants, 0, len(old)+1)
	for _, other := range old {
		switch st := other.stored.Load(); {
		case !policy.SameVariant(s, st):
			vs = append(vs, other)
		case policy.Older(s, st):
			return fmt.Errorf("%s: %w", key, ErrOutdated)
		}
	}
	if c.disk != nil {
		o.mark = c.disk.pass(key)
	}
	c.addLocked(vs, o)
	return nil
}

func (c *Cache) addLocked(vs variants, o *Object) {
	if len(vs) == maxVariants {
		vs = vs[1:]
	}
	c.entries.Set(o.version.Key, append(vs, o))
}

// comesBack puts o, from the disk, beside the other variants, and returns what is in
// memory now; nil: it was forgotten meanwhile.
func (c *Cache) comesBack(o *Object) *Object {
	s := o.stored.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.mark.Past() {
		return nil
	}
	vs, _ := c.entries.GetIfPresent(o.version.Key)
	for _, other := range vs {
		if policy.SameVariant(s, other.stored.Load()) {
			return other
		}
	}
	c.addLocked(slices.Clone(vs), o)
	return o
}

// holds reports whether o is in memory.
func (c *Cache) holds(o *Object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries.GetEntryQuietly(o.version.Key)
	return ok && slices.Contains(e.Value, o)
}

// settle lets o weigh what it weighs, now that it is whole.
func (c *Cache) settle(o *Object) {
	if c.weigh(o) && c.disk != nil {
		c.disk.save(o)
	}
}

func (c *Cache) weigh(o *Object) (here bool) {
	key := o.version.Key
	c.mu.Lock()
	defer c.mu.Unlock()
	vs, _ := c.entries.GetIfPresent(key)
	if here = slices.Contains(vs, o); here {
		c.entries.Set(key, vs)
	}
	return here
}

// Forget removes everything that key selects, and tells how many objects that were.
// Advance the marks of key before, lest what is on its way is stored after.
func (c *Cache) Forget(key policy.Key) (had int) {
	if c == nil {
		return 0
	}
	had = c.forget(key)
	if c.disk != nil {
		had = max(had, c.disk.drop(key, true, func(variant) bool { return true }))
	}
	return had
}

func (c *Cache) forget(key policy.Key) (had int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disk != nil {
		c.disk.pass(key)
	}
	vs, _ := c.entries.Invalidate(key)
	return len(vs)
}

// ForgetAll removes everything. Advance all marks before.
func (c *Cache) ForgetAll() {
	if c == nil {
		return
	}
	c.forgetAll()
	if c.disk != nil {
		c.disk.clear()
	}
}

func (c *Cache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disk != nil {
		c.disk.marks.AdvanceAll()
	}
	c.entries.InvalidateAll()
}

// remove removes one object.
func (c *Cache) remove(o *Object) {
	c.removeHere(o)
	if c.disk != nil {
		c.disk.drop(o.version.Key, false, func(v variant) bool { return v.Version.ID == o.version.ID })
	}
}

func (c *Cache) removeHere(o *Object) {
	key := o.version.Key
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disk != nil {
		c.disk.pass(key)
	}
	old, ok := c.entries.GetIfPresent(key)
	if !ok {
		return
	}
	vs := make(variants, 0, len(old))
	for _, other := range old {
		if other != o {
			vs = append(vs, other)
		}
	}
	switch len(vs) {
	case len(old):
	case 0:
		c.entries.Invalidate(key)
	default:
		c.entries.Set(key, vs)
	}
}
