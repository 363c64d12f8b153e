package index

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"shatabdi/swarmcache"
)

// BodiesFormat is Format for bodies: neither opens what belongs to the other.
const BodiesFormat = 101

const (
	// bodyTable is memTable where there are keys only, and two catalogues.
	bodyTable = 1 << 20
	// bodyInTree leaves all values to the log: the tree is read whole when it is opened.
	bodyInTree = 128
	// bodyLogFile bounds one file of the value log; a value may have half of it.
	bodyLogFile = 16 << 20
)

// BodiesOptions say where bodies are.
type BodiesOptions struct {
	Dir    string       // made if it is missing; nothing else may live there
	Size   int64        // bytes that may be taken there
	Free   int64        // bytes that must stay free on the disk
	Token  string       // of whom they are: what somebody else left there is removed
	Logger *slog.Logger // nil: silent
}

// Bodies keeps values on the disk, in a bounded space. It is for what can be had
// again: it loses what is old to make room, and in a power cut what is new. But what
// was deleted stays deleted.
//
// They are two catalogues, a young one that is written to and the one before it. When
// the young one has taken half of the space, it becomes the old one, whose files go
// whole: nothing is collected, and what a key was given before costs no more than that.
type Bodies struct {
	o BodiesOptions

	writing sync.Mutex // held by who puts or clears; taken first
	written int64      // to the young one; guarded by writing

	going sync.WaitGroup // what is removed while others go on; it needs writing

	mu     sync.RWMutex // guards the fields below, which change with both held
	number int          // of the young one; its directory's name
	young  *Index       // nil: closed, or it could not be opened
	old    *Index       // may be nil
}

// OpenBodies opens what is there, or begins anew. A *FormatError tells that another
// version of this program wrote it: nothing was touched. What is damaged is removed,
// and the log says so.
func OpenBodies(o BodiesOptions) (*Bodies, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Bodies{o: o}
	numbers, err := b.generations()
	if err != nil {
		return nil, fmt.Errorf("open bodies: %w", err)
	}
	for _, n := range numbers {
		var format *FormatError
		if err := check(b.dir(n), BodiesFormat); errors.As(err, &format) {
			return nil, fmt.Errorf("open bodies: %w", err)
		}
	}
	if token, err := os.ReadFile(b.tokenFile()); err != nil || string(token) != o.Token {
		numbers = nil
	}
	if err := b.keep(numbers); err != nil {
		return nil, fmt.Errorf("open bodies: %w", err)
	}
	return b, nil
}

func (b *Bodies) dir(n int) string  { return filepath.Join(b.o.Dir, strconv.Itoa(n)) }
func (b *Bodies) tokenFile() string { return filepath.Join(b.o.Dir, "TOKEN") }

// generations lists those that are there, the latest last.
func (b *Bodies) generations() (numbers []int, err error) {
	entries, err := os.ReadDir(b.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// keep opens the last two of those generations and removes all others.
func (b *Bodies) keep(numbers []int) error {
	numbers = numbers[max(0, len(numbers)-2):]
	all, err := b.generations()
	if err != nil {
		return err
	}
	for _, n := range all {
		if !slices.Contains(numbers, n) {
			if err := os.RemoveAll(b.dir(n)); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(b.o.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(b.tokenFile(), []byte(b.o.Token), 0o600); err != nil {
		return err
	}
	if len(numbers) > 0 {
		b.number = numbers[len(numbers)-1]
	}
	if len(numbers) > 1 {
		if b.old, err = b.open(numbers[0]); err != nil {
			return err
		}
	}
	if b.young, err = b.open(b.number); err != nil {
		return errors.Join(err, b.closeLocked())
	}
	b.written = diskBytes(b.dir(b.number))
	return nil
}

func (b *Bodies) open(n int) (*Index, error) {
	o := Options{Dir: b.dir(n), Logger: b.o.Logger, unsynced: true, bodies: true}
	x, err := Open(o)
	if errors.Is(err, ErrDamaged) {
		b.o.Logger.Error("small objects on the disk are damaged and removed; they come again from their origins", "error", err)
		if err := os.RemoveAll(o.Dir); err != nil {
			return nil, err
		}
		x, err = Open(o)
	}
	return x, err
}

// Get returns what stands under key, or swarmcache.ErrNotFound. A value that cannot
// be read is one that is not there.
func (b *Bodies) Get(key []byte) (value []byte, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, x := range []*Index{b.young, b.old} {
		if x == nil {
			continue
		}
		err := x.view("read a body", func(txn *badger.Txn) error {
			value, err = get(txn, key)
			return err
		})
		if err == nil {
			return value, nil
		}
		if !errors.Is(err, swarmcache.ErrNotFound) {
			b.o.Logger.Warn("a small object on the disk cannot be read", "error", err)
			break // what the other one has is from before
		}
	}
	return nil, swarmcache.ErrNotFound
}

// Put keeps values, all or none. turned tells that the young ones have become the old
// ones. It does not flush.
func (b *Bodies) Put(values map[string][]byte) (turned bool, err error) {
	var n int64
	for key, value := range values {
		n += int64(len(key) + len(value))
	}
	if n > bodyLogFile/2 || n > b.o.Size/4 {
		return false, fmt.Errorf("keep %d bytes: %w", n, swarmcache.ErrNoSpace)
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	if b.written+n > b.o.Size/2 {
		if err := b.turn(); err != nil {
			return false, err
		}
		turned = true
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.young == nil {
		return false, fs.ErrClosed
	}
	err = b.young.update(b.o.Free+roomToPut+n, "keep a body", func(txn *badger.Txn) error {
		for key, value := range values {
			if err := txn.Set([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		b.written += n
	}
	return turned, err
}

// turn makes the young generation the old one. It needs writing.
func (b *Bodies) turn() error {
	young, err := b.open(b.number + 1)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if b.young == nil {
		b.mu.Unlock()
		return errors.Join(fs.ErrClosed, young.Close())
	}
	old, dir := b.old, b.dir(b.number-1)
	b.old, b.young, b.written = b.young, young, 0
	b.number++
	b.mu.Unlock()
	if old == nil {
		return nil
	}
	b.going.Wait() // one at a time
	b.going.Go(func() {
		if err := errors.Join(old.Close(), os.RemoveAll(dir)); err != nil {
			b.o.Logger.Warn("old small objects are not removed from the disk", "dir", dir, "error", err)
		}
	})
	return nil
}

// Delete forgets keys; for good when it returns, if flush says so. Where that cannot
// be written, everything goes.
func (b *Bodies) Delete(flush bool, keys ...[]byte) error {
	err := b.delete(flush, keys)
	if err != nil {
		b.o.Logger.Warn("a small object cannot be removed from the disk, so all go", "error", err)
		err = b.Clear()
	}
	return err
}

func (b *Bodies) delete(flush bool, keys [][]byte) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, x := range []*Index{b.young, b.old} {
		if x == nil {
			continue
		}
		err := x.update(roomToEdit, "forget a body", func(txn *badger.Txn) error {
			for _, key := range keys {
				if err := txn.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil && flush {
			err = x.db.Sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Clear removes everything. If it fails nothing is kept any more, and what is left
// there is not opened again.
func (b *Bodies) Clear() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.going.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	err := errors.Join(os.RemoveAll(b.tokenFile()), b.closeLocked())
	numbers, listing := b.generations()
	err = errors.Join(err, listing)
	for _, n := range numbers {
		err = errors.Join(err, os.RemoveAll(b.dir(n)))
	}
	if err == nil {
		b.number++
		err = b.keep(nil)
	}
	return err
}

// Taken is how many bytes of disk are taken.
func (b *Bodies) Taken() (n int64) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for n1 := b.number; n1 >= 0 && n1 >= b.number-1; n1-- {
		n += diskBytes(b.dir(n1))
	}
	return n
}

// Close releases the directory. What is asked for then is not found.
func (b *Bodies) Close() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.going.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closeLocked()
}

func (b *Bodies) closeLocked() (err error) {
	for _, x := range []*Index{b.young, b.old} {
		if x != nil {
			err = errors.Join(err, x.Close())
		}
	}
	b.young, b.old = nil, nil
	return err
}

// RemoveBodies removes what OpenBodies made. Nothing is there: no error. What else
// lies there stays.
func RemoveBodies(dir string) error {
	b := &Bodies{o: BodiesOptions{Dir: dir}}
	numbers, err := b.generations()
	for _, n := range numbers {
		err = errors.Join(err, os.RemoveAll(b.dir(n)))
	}
	err = errors.Join(err, os.RemoveAll(b.tokenFile()))
	if err == nil {
		err = os.Remove(dir)
	}
	if errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "not empty") {
		return nil
	}
	return err
}
