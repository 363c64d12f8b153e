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
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

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
// memory first makes the marks of its key past, then takes it from the disk; who puts
// one there, or brings one back, looks at the mark in the end.
type disk struct {
	Store
	c      *Cache
	run    string // this one
	heard  func() bool
	log    *slog.Logger
	marks  swarmcache.Epochs
	queue  chan *Object
	queued atomic.Int64 // bytes of bodies in the queue

	mu    sync.Mutex // orders changes; Cache.mu is taken under it, never the other way round
	loose bool       // something was deleted and not flushed yet; guarded by mu

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
		Store: cfg.Store, c: c, run: rand.Text(), heard: cfg.Heard, log: cfg.Logger, queue: make(chan *Object, 4<<10),
		hits:    count("small_disk_hits_total", "Small objects that came back from the disk into memory."),
		written: count("small_disk_written_total", "Small objects that were written to the disk."),
		dropped: count("small_disk_dropped_total", "Small objects that were not written to the disk, as too many came."),
		refused: count("small_disk_errors_total", "Small objects that could not be written to the disk: it is full, say."),
	}
	if d.heard == nil {
		d.heard = func() bool { return true }
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

// pass makes the marks of key past, and returns the present one.
func (d *disk) pass(key policy.Key) swarmcache.Mark {
	d.marks.Mark(key).Advance()
	return d.marks.Mark(key)
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

// find brings back into memory what answers a request. Where nothing does it may be
// one of the other variants.
func (d *disk) find(key policy.Key, h http.Header, rules *policy.Caching, other bool) (o *Object, selected bool) {
	mark := d.marks.Mark(key)
	vs := d.shelf(key)
	if len(vs) == 0 {
		return nil, false
	}
	stored := make([]policy.Stored, len(vs))
	for i, v := range vs {
		stored[i] = v.Version.Stored
	}
	i := rules.Select(h, stored)
	switch selected = i >= 0; {
	case selected:
	case other:
		i = len(vs) - 1
	default:
		return nil, false
	}
	o, err := d.read(vs[i])
	if err != nil {
		if !errors.Is(err, swarmcache.ErrNotFound) {
			d.log.Warn("a small object on the disk is damaged, and removed", "key", key, "error", err)
		}
		d.drop(key, false, func(v variant) bool { return v.Body == vs[i].Body })
		return nil, false
	}
	o.mark = mark
	if o = d.c.comesBack(o); o == nil {
		return nil, false
	}
	d.hits.Inc()
	return o, selected
}

func (d *disk) read(v variant) (*Object, error) {
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
	if v.Run != d.run && !d.heard() {
		v.Version.Stored.Invalid = true // it may have been purged: ask its origin
	}
	o := newObject(d.c, v.Version)
	o.data, o.kept = body, v.Body
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
	turned, err := d.writeShelf(o)
	if err != nil {
		d.refused.Inc()
		d.log.Debug("a small object is not kept on the disk", "key", o.version.Key, "error", err)
		d.dropVariant(o)
	}
	if !turned {
		return
	}
	// What is in memory is wanted, and may lie among what goes next.
	for _, vs := range d.c.entries.All() {
		for _, o := range vs {
			if !o.Complete() {
				continue
			}
			o.aged.Store(true)
			if again, err := d.writeShelf(o); again || err != nil {
				return
			}
		}
	}
}

// writeShelf puts o on its shelf, with its body if that is not there.
func (d *disk) writeShelf(o *Object) (turned bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.c.holds(o) && o.mark.Past() { // removed or replaced, and not only evicted
		return false, nil
	}
	key, s := o.version.Key, o.stored.Load()
	values := map[string][]byte{}
	if o.kept == "" || o.aged.Swap(false) {
		name := rand.Text()
		if len(o.data) > 0 {
			values[string(bodyKey(name))] = o.data
		}
		o.kept = name
	}
	vs := slices.DeleteFunc(d.shelf(key), func(v variant) bool { return policy.SameVariant(s, &v.Version.Stored) })
	if len(vs) >= maxVariants {
		vs = vs[1:]
	}
	vs = append(vs, variant{Version: o.Version(), Body: o.kept, Sum: crc32.Checksum(o.data, castagnoli), Run: d.run})
	shelf, err := json.Marshal(vs)
	if err != nil {
		return false, err
	}
	values[string(shelfKey(key))] = shelf
	if turned, err = d.Put(values); err != nil {
		o.kept = ""
		return turned, err
	}
	d.written.Inc()
	return turned, nil
}

// dropVariant takes from the disk what selects the same as o.
func (d *disk) dropVariant(o *Object) {
	s := o.stored.Load()
	d.drop(o.version.Key, false, func(v variant) bool { return policy.SameVariant(s, &v.Version.Stored) })
}

// drop takes variants of a key from the disk, and tells how many there were. Make the
// marks of the key past before.
func (d *disk) drop(key policy.Key, flush bool, goes func(variant) bool) (had int) {
	d.mu.Lock()
	defer d.mu.Unlock()
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
	case len(rest) == 0 || !d.putShelf(key, rest):
		keys = append(keys, shelfKey(key))
	}
	d.loose = !flush
	if err := d.Delete(flush, keys...); err != nil {
		d.log.Error("small objects on the disk cannot be removed; none is used any more", "error", err)
	}
	return len(vs) - len(rest)
}

func (d *disk) putShelf(key policy.Key, vs []variant) bool {
	shelf, err := json.Marshal(vs)
	if err == nil {
		_, err = d.Put(map[string][]byte{string(shelfKey(key)): shelf})
	}
	return err == nil
}

// clear forgets everything. Make all marks past before.
func (d *disk) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.Clear(); err != nil {
		d.log.Error("small objects on the disk cannot be removed; none is used any more", "error", err)
	}
}
