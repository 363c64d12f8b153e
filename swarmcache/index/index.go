// Package index keeps the catalogue of a node's objects in badger. It is the
// only package that knows badger; swarmcache says what an index must do.
//
// Every write is one transaction, flushed to the disk before its method returns.
// The catalogue is small: about 1 KiB an object, and the piece hashes beside it,
// which only Get reads.
package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// What is kept, by the first letters of its key. A change of these or of what
// they hold needs a new Format.
const (
	recordPrefix  = "o/" // + object id: the Record without its Hashes, JSON
	hashesPrefix  = "h/" // + object id: the Record's Hashes
	currentPrefix = "k/" // + SHA-256 of the cache key: the object id it selects
	settingPrefix = "s/" // + name
)

// Index is the catalogue of one node; see swarmcache.Index.
type Index struct {
	db  *badger.DB
	dir string
	log *slog.Logger

	collectEvery time.Duration
	metrics      *metrics
	unlock       func() error
	reserves     bool         // it keeps a reserve
	settled      atomic.Bool  // that is whole, or not to be had
	owed         bool         // it was lent, and others took it; guarded by lending
	lending      sync.RWMutex // held while something is written, alone while that is lent

	mu     sync.Mutex // guards closed, and users against growing once it is set
	closed bool
	users  sync.WaitGroup // badger panics when it is closed under a transaction
}

var _ swarmcache.Index = (*Index)(nil)

// Put records an object. Hashes belong to the id for good: a record without
// them leaves those that stand, so what Each gave may be put back, and equal
// ones are not written again.
func (x *Index) Put(r swarmcache.Record) error {
	id, hashes := r.Version.ID, r.Hashes
	if id == "" {
		return errors.New("put record: no object id")
	}
	r.Hashes = nil
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("put record %s: %w", id, err)
	}
	return x.update(roomToPut, "put record "+string(id), func(txn *badger.Txn) error {
		if len(hashes) > 0 {
			stored, err := get(txn, hashesKey(id))
			if err != nil && !errors.Is(err, swarmcache.ErrNotFound) {
				x.log.Warn("stored piece hashes are unreadable, written anew", "object", id, "error", err)
			}
			if !bytes.Equal(stored, hashes) {
				if err := txn.Set(hashesKey(id), hashes); err != nil {
					return err
				}
			}
		}
		return txn.Set(recordKey(id), value)
	})
}

// Get returns the record of id with its hashes. ErrDamaged: something stands
// there that cannot be read.
func (x *Index) Get(id swarmcache.ObjectID) (swarmcache.Record, error) {
	return x.get(id, func(txn *badger.Txn, r *swarmcache.Record) (err error) {
		r.Hashes, err = get(txn, hashesKey(id))
		if errors.Is(err, swarmcache.ErrNotFound) {
			return nil
		}
		return err
	})
}

// Summary is Get without the hashes: what reads those of many objects has the kernel
// keep all of the value log in memory.
func (x *Index) Summary(id swarmcache.ObjectID) (swarmcache.Record, error) {
	return x.get(id, func(*badger.Txn, *swarmcache.Record) error { return nil })
}

// get returns the record of id with what more reads into it.
func (x *Index) get(id swarmcache.ObjectID, more func(*badger.Txn, *swarmcache.Record) error) (r swarmcache.Record, err error) {
	err = x.view("get record "+string(id), func(txn *badger.Txn) error {
		value, err := get(txn, recordKey(id))
		if err != nil {
			return err
		}
		if r, err = decode(id, value); err != nil {
			return err
		}
		return more(txn, &r)
	})
	if err != nil {
		return swarmcache.Record{}, err
	}
	return r, nil
}

// Current returns the id that key selects.
func (x *Index) Current(key policy.Key) (id swarmcache.ObjectID, err error) {
	err = x.view("look up key", func(txn *badger.Txn) error {
		value, err := get(txn, currentKey(key))
		id = swarmcache.ObjectID(value)
		return err
	})
	return id, err
}

// SetCurrent makes id what key selects; an empty id forgets the key.
func (x *Index) SetCurrent(key policy.Key, id swarmcache.ObjectID) error {
	return x.update(roomToEdit, "set what a key selects", func(txn *badger.Txn) error {
		if id == "" {
			return txn.Delete(currentKey(key))
		}
		return txn.Set(currentKey(key), []byte(id))
	})
}

// Delete forgets id, and its key if the key still selects it. An id that is not
// there is no error. The key of a damaged record is not known: it goes on
// selecting an id that Get does not find.
func (x *Index) Delete(id swarmcache.ObjectID) error {
	return x.update(roomToEdit, "delete record "+string(id), func(txn *badger.Txn) error {
		value, err := get(txn, recordKey(id))
		if errors.Is(err, swarmcache.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = x.deselect(txn, id, value)
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		return errors.Join(txn.Delete(recordKey(id)), txn.Delete(hashesKey(id)))
	})
}

// deselect forgets the key of a record if it selects id.
func (x *Index) deselect(txn *badger.Txn, id swarmcache.ObjectID, record []byte) error {
	r, err := decode(id, record)
	if err != nil {
		return err
	}
	selected, err := get(txn, currentKey(r.Version.Key))
	if errors.Is(err, swarmcache.ErrNotFound) || err == nil && string(selected) != string(id) {
		return nil
	}
	if err != nil {
		return err
	}
	return txn.Delete(currentKey(r.Version.Key))
}

// Each calls f for every record, without its Hashes: they are most of the
// catalogue's bytes, and who lists does not want them. It shows the catalogue as
// it stood at the call; f may use the index. A damaged record is logged and
// skipped.
func (x *Index) Each(f func(swarmcache.Record) bool) error {
	return x.view("list records", func(txn *badger.Txn) error {
		// Records lie in the tree itself; badger's prefetching starts a goroutine
		// for each, which costs more than the read.
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(recordPrefix)})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			id := swarmcache.ObjectID(it.Item().Key()[len(recordPrefix):])
			var r swarmcache.Record
			err := read(it.Item(), func(value []byte) (err error) {
				r, err = decode(id, value)
				return err
			})
			if err != nil {
				x.log.Error("record skipped", "object", id, "error", err)
				continue
			}
			if !f(r) {
				return nil
			}
		}
		return nil
	})
}

// Setting returns a value that SetSetting wrote.
func (x *Index) Setting(name string) (value []byte, err error) {
	err = x.view("read setting "+name, func(txn *badger.Txn) error {
		value, err = get(txn, []byte(settingPrefix+name))
		return err
	})
	return value, err
}

// SetSetting keeps a small value.
func (x *Index) SetSetting(name string, value []byte) error {
	return x.update(roomToEdit, "write setting "+name, func(txn *badger.Txn) error {
		return txn.Set([]byte(settingPrefix+name), value)
	})
}

// Close waits for the methods that are running and releases the directory.
// After it every method fails with fs.ErrClosed. It must not be called from
// within Each.
func (x *Index) Close() error {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return nil
	}
	x.closed = true
	x.mu.Unlock()
	x.users.Wait()

	x.metrics.unregister()
	after, _ := borrowed(x.dir) // what was written last becomes a table
	err := x.db.Close()
	if after(nil); x.owed {
		takeBack(x.dir, nil)
	}
	if err := errors.Join(err, x.unlock()); err != nil {
		return fmt.Errorf("close index %s: %w", x.dir, err)
	}
	return nil
}

// enter keeps the database open until leave.
func (x *Index) enter() (leave func(), err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, fs.ErrClosed
	}
	x.users.Add(1)
	return x.users.Done, nil
}

func (x *Index) view(op string, f func(*badger.Txn) error) error {
	leave, err := x.enter()
	if err == nil {
		defer leave()
		err = x.db.View(f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// update runs f in a transaction and again when another one got between: of
// those that collide one always wins, so this ends.
func (x *Index) update(room int64, op string, f func(*badger.Txn) error) error {
	leave, err := x.enter()
	if err == nil {
		defer leave()
		var done func()
		if done, err = x.haveRoom(room); err == nil {
			defer done()
		}
	}
	start := time.Now()
	for err == nil {
		if err = x.db.Update(f); err == nil {
			x.metrics.writes.Observe(time.Since(start).Seconds())
			return nil
		}
		if errors.Is(err, badger.ErrConflict) {
			err = nil
		}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// get returns a copy of what stands under key, or ErrNotFound.
func get(txn *badger.Txn, key []byte) (value []byte, err error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, swarmcache.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	err = read(item, func(b []byte) error {
		value = bytes.Clone(b)
		return nil
	})
	return value, err
}

// read lends f an item's value. What badger cannot read, as its checksum does
// not match or its file is cut, badger logs and lends as nothing.
func read(item *badger.Item, f func([]byte) error) error {
	return item.Value(func(b []byte) error {
		if len(b) == 0 && item.ValueSize() > 0 {
			return fmt.Errorf("%w: value of %q is unreadable", ErrDamaged, item.Key())
		}
		return f(b)
	})
}

func decode(id swarmcache.ObjectID, value []byte) (r swarmcache.Record, err error) {
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("%w: record %s: %w", ErrDamaged, id, err)
	}
	if r.Version.ID != id {
		return r, fmt.Errorf("%w: record %s holds object %q", ErrDamaged, id, r.Version.ID)
	}
	return r, nil
}

func recordKey(id swarmcache.ObjectID) []byte { return []byte(recordPrefix + id) }
func hashesKey(id swarmcache.ObjectID) []byte { return []byte(hashesPrefix + id) }

// currentKey is of fixed size: a cache key may be longer than badger's keys can be.
func currentKey(key policy.Key) []byte {
	sum := sha256.Sum256([]byte(key))
	return append([]byte(currentPrefix), sum[:]...)
}
