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
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

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
	Now    func() time.Time // this machine's clock; nil: time.Now
	Logger *slog.Logger     // nil: silent
}

// Cache holds small objects, several variants to a key. A nil one holds none.
type Cache struct {
	size    int64
	entries *otter.Cache[policy.Key, *variants]
	coming  atomic.Int64 // bytes of bodies on their way

	mu sync.Mutex // orders changes of entries; finding needs no lock

	disk *disk // nil: none
}

// New returns an empty cache.
func New(cfg Config) *Cache {
	c := &Cache{size: cfg.Size}
	evictions := prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "shatabdi", Name: "small_evictions_total",
		Help: "Keys whose small objects made room for others.",
	})
	c.entries = otter.Must(&otter.Options[policy.Key, *variants]{
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
	vs, _ := c.entries.GetIfPresent(key)
	if c.disk != nil && !vs.current() {
		vs = c.disk.look(key)
	}
	switch {
	case vs == nil || len(vs.here)+len(vs.behind) == 0:
		return nil, false
	case len(vs.here) == 1 && len(vs.behind) == 0:
		return vs.here[0], rules.SelectedBy(*vs.here[0].stored.Load(), h)
	}
	i := rules.Select(h, vs.stored())
	switch selected = i >= 0; {
	case selected:
	case len(vs.here) > 0:
		i = len(vs.here) - 1
	default:
		i = len(vs.behind) - 1
	}
	if i < len(vs.here) {
		return vs.here[i], selected
	}
	o = c.disk.bring(vs, vs.behind[i-len(vs.here)])
	return o, selected && o != nil
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

// settle lets o weigh what it weighs, now that it is whole.
func (c *Cache) settle(o *Object) {
	if c.weigh(o) && c.disk != nil {
		c.disk.save(o)
	}
}

// Forget removes everything that key selects, and tells how many objects that were.
// Advance the marks of key before, lest what is on its way is stored after.
func (c *Cache) Forget(key policy.Key) (had int) {
	if c == nil {
		return 0
	}
	had = c.forget(key)
	if c.disk != nil {
		had = max(had, c.disk.drop(key, true, func(variant) bool { return true }, func() { c.forget(key) }))
	}
	return had
}

func (c *Cache) forget(key policy.Key) (had int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if vs, here := c.entries.Invalidate(key); here {
		had = len(vs.here)
	}
	c.passLocked(key)
	return had
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
	c.entries.InvalidateAll()
	if c.disk != nil {
		c.disk.marks.AdvanceAll()
	}
}

// remove removes o, whatever it has become meanwhile: what came back from the disk, or
// has taken its place.
func (c *Cache) remove(o *Object) {
	key, s := o.version.Key, o.stored.Load()
	fromMemory := func() {
		c.removeHere(key, func(other *Object) bool {
			return other.version.ID == o.version.ID || policy.SameVariant(s, other.stored.Load())
		})
	}
	fromMemory()
	if c.disk != nil {
		c.disk.drop(key, false, func(v variant) bool {
			return o.was(v) || policy.SameVariant(s, &v.Version.Stored)
		}, fromMemory)
	}
}
