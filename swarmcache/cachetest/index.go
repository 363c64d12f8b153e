package cachetest

import (
	"bytes"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Index is a catalogue in memory, for tests of what uses one. What a real one
// keeps on disk it keeps across Close and Reopen.
type Index struct {
	mu       sync.Mutex // guards everything below
	closed   bool
	records  map[swarmcache.ObjectID]swarmcache.Record
	current  map[policy.Key]swarmcache.ObjectID
	settings map[string][]byte
	writes   int
	fail     error
}

var _ swarmcache.Index = (*Index)(nil)

// NewIndex returns an empty catalogue.
func NewIndex() *Index {
	return &Index{
		records:  map[swarmcache.ObjectID]swarmcache.Record{},
		current:  map[policy.Key]swarmcache.ObjectID{},
		settings: map[string][]byte{},
	}
}

// Reopen makes a closed catalogue usable again, as after a restart.
func (x *Index) Reopen() *Index {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = false
	return x
}

// Fail makes every write return err and change nothing; nil ends that.
func (x *Index) Fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail = err
}

// Writes counts the writes that succeeded.
func (x *Index) Writes() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.writes
}

// Put records r. As in the real body, a record without Hashes leaves those
// that stand.
func (x *Index) Put(r swarmcache.Record) error {
	return x.write(func() {
		r = cloneRecord(r)
		if len(r.Hashes) == 0 {
			r.Hashes = x.records[r.Version.ID].Hashes
		}
		x.records[r.Version.ID] = r
	})
}

// Get returns the record of id.
func (x *Index) Get(id swarmcache.ObjectID) (r swarmcache.Record, err error) {
	err = x.read(func() (ok bool) {
		r, ok = x.records[id]
		r = cloneRecord(r)
		return ok
	})
	return r, err
}

// Summary is Get without the Hashes.
func (x *Index) Summary(id swarmcache.ObjectID) (swarmcache.Record, error) {
	r, err := x.Get(id)
	r.Hashes = nil
	return r, err
}

// Current returns the id that key selects.
func (x *Index) Current(key policy.Key) (id swarmcache.ObjectID, err error) {
	err = x.read(func() (ok bool) {
		id, ok = x.current[key]
		return ok
	})
	return id, err
}

// SetCurrent makes id what key selects; an empty id forgets the key.
func (x *Index) SetCurrent(key policy.Key, id swarmcache.ObjectID) error {
	return x.write(func() {
		if id == "" {
			delete(x.current, key)
			return
		}
		x.current[key] = id
	})
}

// Delete forgets id, and its key if the key still selects it.
func (x *Index) Delete(id swarmcache.ObjectID) error {
	return x.write(func() {
		key := x.records[id].Version.Key
		if _, ok := x.records[id]; ok && x.current[key] == id {
			delete(x.current, key)
		}
		delete(x.records, id)
	})
}

// Each calls f for every record, without Hashes, in the order of their ids. f
// may use the index.
func (x *Index) Each(f func(swarmcache.Record) bool) error {
	var all []swarmcache.Record
	err := x.read(func() bool {
		for _, id := range slices.Sorted(maps.Keys(x.records)) {
			r := x.records[id]
			r.Hashes = nil
			all = append(all, cloneRecord(r))
		}
		return true
	})
	for _, r := range all {
		if !f(r) {
			break
		}
	}
	return err
}

// Setting returns a value that SetSetting wrote.
func (x *Index) Setting(name string) (value []byte, err error) {
	err = x.read(func() (ok bool) {
		value, ok = x.settings[name]
		value = bytes.Clone(value)
		return ok
	})
	return value, err
}

// SetSetting keeps a small value.
func (x *Index) SetSetting(name string, value []byte) error {
	return x.write(func() { x.settings[name] = bytes.Clone(value) })
}

// Close makes every method but Reopen fail with fs.ErrClosed.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	return nil
}

func (x *Index) read(f func() bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return fs.ErrClosed
	}
	if !f() {
		return swarmcache.ErrNotFound
	}
	return nil
}

func (x *Index) write(f func()) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return fs.ErrClosed
	}
	if x.fail != nil {
		return x.fail
	}
	f()
	x.writes++
	return nil
}

// cloneRecord copies what a caller could change behind the catalogue's back.
func cloneRecord(r swarmcache.Record) swarmcache.Record {
	r.Pieces = bytes.Clone(r.Pieces)
	r.Hashes = bytes.Clone(r.Hashes)
	r.Version.Stored.Header = r.Version.Stored.Header.Clone()
	r.Version.Stored.Selecting = r.Version.Stored.Selecting.Clone()
	return r
}
