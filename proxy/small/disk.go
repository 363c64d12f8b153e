package small

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Store keeps values on the disk, for as long as it has room for them.
type Store interface {
	// Get returns swarmcache.ErrNotFound for what is not there, or cannot be read.
	Get(key []byte) ([]byte, error)
	// Put keeps values, all or none. turned tells that half of what is kept is old now,
	// and goes next: what is still wanted should be put again.
	Put(values map[string][]byte) (turned bool, err error)
	// Delete and Clear forget; for good when they return, if flush says so.
	Delete(flush bool, keys ...[]byte) error
	Clear() error
	Taken() int64
}

// disk is what is behind the memory. Under each cache key lies a shelf, which lists
// the variants, and each body has a key of its own.
//
// Nothing is found there that was forgotten or replaced: who takes an object out of
// memory first makes the marks of its key past, then takes it from the disk, then makes
// them past again and takes out of memory what has come back meanwhile; who puts one
// there, or has looked what there is, looks at the mark in the end.
type disk struct {
	Store
	c      *Cache
	run    string // this one
	heard  func() bool
	now    func() time.Time
	log    *slog.Logger
	marks  swarmcache.Epochs
	queue  chan *Object
	queued atomic.Int64 // bytes of bodies in the queue
	bodies singleflight.Group

	mu    sync.Mutex   // orders changes; Cache.mu is taken under it, never the other way round
	loose bool         // something was deleted and not flushed yet; guarded by mu
	turns atomic.Int64 // how often what was kept has become old; changed under mu
	again int64        // for how many of them what is wanted was put again; Run's

	hits                      prometheus.Counter
	written, dropped, refused prometheus.Counter
}

// variant is an object on the disk.
type variant struct {
	Version swarmcache.Version `json:"version"`
	Body    string             `json:"body"` // its key
	Sum     uint32             `json:"sum"`  // CRC-32C of it
	Run     string             `json:"run"`  // in which it came
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newDisk(c *Cache, cfg Config) *disk {
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "shatabdi", Name: name, Help: help})
	}
	d := &disk{
		Store: cfg.Store, c: c, run: rand.Text(), heard: cfg.Heard, now: cfg.Now, log: cfg.Logger, queue: make(chan *Object, 4<<10),
		hits:    count("small_disk_hits_total", "Small objects that came back from the disk into memory."),
		written: count("small_disk_written_total", "Small objects that were written to the disk."),
		dropped: count("small_disk_dropped_total", "Small objects that were not written to the disk, as too many came."),
		refused: count("small_disk_errors_total", "Small objects that could not be written to the disk: it is full, say."),
	}
	if d.heard == nil {
		d.heard = func() bool { return true }
	}
	if d.now == nil {
		d.now = time.Now
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(d.hits, d.written, d.dropped, d.refused,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Namespace: "shatabdi", Name: "small_disk_bytes", Help: "Bytes of disk that small objects take.",
			}, func() float64 { return float64(d.Taken()) }))
	}
	return d
}

func shelfKey(key policy.Key) []byte {
	sum := sha256.Sum256([]byte(key))
	return append([]byte("k/"), sum[:]...)
}

func bodyKey(name string) []byte { return []byte("b/" + name) }

// shelf is what lies under a cache key, the latest last.
func (d *disk) shelf(key policy.Key) (vs []variant) {
	b, err := d.Get(shelfKey(key))
	if err != nil {
		return nil
	}
	if err := json.Unmarshal(b, &vs); err != nil {
		d.log.Warn("what small objects are on the disk cannot be read", "key", key, "error", err)
		return nil
	}
	return vs
}

// look notes what of key is on the disk only.
func (d *disk) look(key policy.Key) *variants {
	mark := d.marks.Mark(key)
	shelf := d.shelf(key)
	if _, here := d.c.entries.GetIfPresent(key); !here && len(shelf) == 0 {
		return nil
	}
	return d.c.look(key, shelf, mark)
}

// bring brings v, which lay behind what saw has, back into memory. Many may want that at
// once, and it is read once. nil: it is not there any more, or there is no space.
func (d *disk) bring(saw *variants, v variant) *Object {
	o, _, _ := d.bodies.Do(v.Body, func() (any, error) {
		key := v.Version.Key
		if e, ok := d.c.entries.GetEntryQuietly(key); ok {
			if o := e.Value.same(&v.Version.Stored); o != nil { // the one before brought it
				return o, nil
			}
		}
		if !d.c.Reserve(v.Version.Length) {
			return (*Object)(nil), nil
		}
		defer d.c.Release(v.Version.Length)
		o, err := d.read(v)
		if err != nil {
			if !errors.Is(err, swarmcache.ErrNotFound) {
				d.log.Warn("a small object on the disk is damaged, and removed", "key", key, "error", err)
			}
			d.drop(key, false, func(other variant) bool { return other.Body == v.Body }, nothing)
			d.c.pass(key)
			return (*Object)(nil), nil
		}
		if o = d.c.comesBack(o, saw, v); o != nil {
			d.hits.Inc()
		}
		return o, nil
	})
	return o.(*Object)
}

func (d *disk) read(v variant) (*Object, error) {
	turn := d.turns.Load()
	body := []byte{}
	if v.Version.Length > 0 {
		var err error
		if body, err = d.Get(bodyKey(v.Body)); err != nil {
			return nil, err
		}
	}
	if int64(len(body)) != v.Version.Length || crc32.Checksum(body, castagnoli) != v.Sum {
		return nil, fmt.Errorf("%d bytes are not the %d that were written", len(body), v.Version.Length)
	}
	switch {
	case v.Run != d.run && !d.heard(), // it may have been purged
		v.Version.Stored.ResponseTime.After(d.now()): // the clock was set back: it has no age
		v.Version.Stored.Invalid = true // ask its origin
	}
	o := newObject(d.c, v.Version)
	o.data, o.kept, o.turn = body, v.Body, turn
	o.done.Store(true)
	return o, nil
}

// save has o written, soon. If too many wait it is not; then nothing of its variant
// may stay that is older.
func (d *disk) save(o *Object) {
	if d.queued.Add(o.weight) <= d.c.size/4 {
		select {
		case d.queue <- o:
			return
		default:
		}
	}
	d.queued.Add(-o.weight)
	d.dropped.Inc()
	d.dropVariant(o)
}

// Run writes to the disk what comes into memory, until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	if c == nil || c.disk == nil {
		return nil
	}
	for {
		select {
		case o := <-c.disk.queue:
			c.disk.write(o)
		case <-ctx.Done():
			for { // what is here already
				select {
				case o := <-c.disk.queue:
					c.disk.write(o)
				default:
					return nil
				}
			}
		}
	}
}

func (d *disk) write(o *Object) {
	defer d.queued.Add(-o.weight)
	if err := d.writeShelf(o); err != nil {
		d.refused.Inc()
		d.log.Debug("a small object is not kept on the disk", "key", o.version.Key, "error", err)
		d.dropVariant(o)
	}
	if !d.turned() {
		return
	}
	// What is in memory is wanted, and may lie among what goes next.
	for _, vs := range d.c.entries.All() {
		for _, o := range vs.here {
			if !o.Complete() {
				continue
			}
			if err := d.writeShelf(o); err != nil || d.turned() {
				return
			}
		}
	}
}

// turned reports whether what was kept has become old since it was last asked.
func (d *disk) turned() bool {
	was := d.again
	d.again = d.turns.Load()
	return d.again != was
}

// writeShelf puts o on its shelf, with its body if that is not there, or old.
func (d *disk) writeShelf(o *Object) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.c.present(o)
	if now == nil { // removed or replaced, and not only evicted
		d.dropLocked(o.version.Key, false, o.was, nothing)
		return nil
	}
	o = now
	key, s := o.version.Key, o.stored.Load()
	values, name := map[string][]byte{}, o.kept
	if name == "" || o.turn != d.turns.Load() {
		name = rand.Text()
		if len(o.data) > 0 {
			values[string(bodyKey(name))] = o.data
		}
	}
	vs := slices.DeleteFunc(d.shelf(key), func(v variant) bool { return policy.SameVariant(s, &v.Version.Stored) })
	if len(vs) >= maxVariants {
		vs = vs[1:]
	}
	v := o.version
	v.Stored = *s
	vs = append(vs, variant{Version: v, Body: name, Sum: crc32.Checksum(o.data, castagnoli), Run: d.run})
	o.kept = ""
	if err := d.putLocked(key, vs, values); err != nil {
		return err
	}
	o.kept, o.turn = name, d.turns.Load()
	d.written.Inc()
	d.c.lookAgain(o)
	return nil
}

// putLocked puts a shelf, and values with it.
func (d *disk) putLocked(key policy.Key, vs []variant, values map[string][]byte) error {
	shelf, err := json.Marshal(vs)
	if err != nil {
		return err
	}
	values[string(shelfKey(key))] = shelf
	turned, err := d.Put(values)
	if turned {
		d.turns.Add(1)
	}
	return err
}

// was reports whether v is o, as it is on the disk.
func (o *Object) was(v variant) bool { return v.Version.ID == o.version.ID }

// dropVariant takes from the disk what selects the same as o.
func (d *disk) dropVariant(o *Object) {
	s := o.stored.Load()
	d.drop(o.version.Key, false, func(v variant) bool { return policy.SameVariant(s, &v.Version.Stored) }, nothing)
}

// drop takes variants of a key from the disk, and tells how many there were. Make the
// marks of the key past before, and take from memory afterwards what came back until
// then: nothing does while after is called.
func (d *disk) drop(key policy.Key, flush bool, goes func(variant) bool, after func()) (had int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dropLocked(key, flush, goes, after)
}

func nothing() {}

func (d *disk) dropLocked(key policy.Key, flush bool, goes func(variant) bool, after func()) (had int) {
	vs := d.shelf(key)
	var keys [][]byte
	rest := slices.DeleteFunc(slices.Clone(vs), func(v variant) bool {
		if !goes(v) {
			return false
		}
		keys = append(keys, bodyKey(v.Body))
		return true
	})
	switch {
	case len(rest) == len(vs) && !(flush && d.loose):
		return 0
	case len(rest) == 0 || d.putLocked(key, rest, map[string][]byte{}) != nil:
		keys = append(keys, shelfKey(key))
	}
	d.loose = !flush
	if err := d.Delete(flush, keys...); err != nil {
		d.log.Error("small objects on the disk cannot be removed; none is used any more", "error", err)
	}
	if e, ok := d.c.entries.GetEntryQuietly(key); ok {
		e.Value.unkept()
	}
	d.c.pass(key)
	after()
	return len(vs) - len(rest)
}

// clear forgets everything. Make all marks past before.
func (d *disk) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.Clear(); err != nil {
		d.log.Error("small objects on the disk cannot be removed; none is used any more", "error", err)
	}
	d.c.forgetAll() // what came back meanwhile
}

// unkept notes that the bodies of those that are here may be gone from the disk. It
// needs disk.mu.
func (vs *variants) unkept() {
	for _, o := range vs.here {
		o.kept = ""
	}
}
