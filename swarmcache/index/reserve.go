package index

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"

	"shatabdi/swarmcache"
)

// The reserve is space that the catalogue keeps to itself on a disk that fills:
// others may write there to the last byte, and then nothing could be forgotten to make
// room, and nobody could open the catalogue again. It is lent for that, and never for
// what grows.
const (
	reserveFile = "RESERVE"
	reserveSize = 2 * roomToEdit
	// With less than nearlyFull the reserve is taken, while there is ample space for it.
	nearlyFull = 8 << 30
	ample      = reserveSize + roomToPut + roomToEdit
	// leftover is what is not taken back, for what is written to memtables' logs.
	leftover = memTable / 2
	// writeTime bounds the wait for what badger writes behind a write: a table takes it
	// a tenth of a second, and it may look for a second after its start what there is to do.
	writeTime = 3 * time.Second
)

// borrowed is haveRoom for what ends in more room than there was: with the reserve,
// where nothing else is left. Then after is to be called after the write, with the
// index that goes on writing; nil: none does.
func borrowed(dir string) (after func(*Index), err error) {
	none := func(*Index) {}
	if _, err = haveRoom(dir, roomToEdit); !errors.Is(err, swarmcache.ErrNoSpace) || os.Remove(filepath.Join(dir, reserveFile)) != nil {
		return none, err
	}
	if _, err = haveRoom(dir, roomToEdit); err != nil {
		takeBack(dir, nil)
		return none, err
	}
	return func(x *Index) { takeBack(dir, x) }, nil
}

// takeBack takes what was lent, as far as it is there.
func takeBack(dir string, x *Index) {
	left := int64(leftover)
	if x != nil && !x.atRest() {
		left = roomToEdit
	}
	if free, err := haveRoom(dir, roomToEdit+left); err == nil {
		_ = reserve(dir, min(reserveSize, free-left))
	}
}

// reserved reports whether there is a reserve.
func reserved(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, reserveFile))
	return err == nil
}

// atRest waits until badger has written tables of the memtables that were full, and has
// made fewer of those where they are too many; false: it has not.
func (x *Index) atRest() bool {
	for end := time.Now().Add(writeTime); ; time.Sleep(5 * time.Millisecond) {
		files, err := os.ReadDir(x.dir)
		full := -1 // beside the one that is written to
		for _, f := range files {
			if strings.HasSuffix(f.Name(), ".mem") {
				full++
			}
		}
		if err == nil && full <= 0 && !slices.ContainsFunc(x.db.Levels(), func(l badger.LevelInfo) bool { return l.Score >= 1 }) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// reserve sees to it that n bytes are taken. It fails with ENOSPC where they are not
// there, and otherwise where the file system cannot promise space: there is no reserve.
func reserve(dir string, n int64) error {
	f, err := os.OpenFile(filepath.Join(dir, reserveFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for err = syscall.EINTR; err == syscall.EINTR; {
		err = syscall.Fallocate(int(f.Fd()), 0, 0, n)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// haveRoom fails with ErrNoSpace where a write that needs so much may not be made.
// Otherwise done is to be called after the write.
func (x *Index) haveRoom(room int64) (done func(), err error) {
	x.lending.RLock()
	free, err := haveRoom(x.dir, room)
	if err == nil && x.reserves && !x.settled.Load() && free < nearlyFull && free >= ample {
		x.settled.Store(!errors.Is(reserve(x.dir, reserveSize), syscall.ENOSPC))
	}
	owed := x.owed && room <= roomToEdit
	if err == nil && !owed {
		return x.lending.RUnlock, nil
	}
	x.lending.RUnlock()
	if room > roomToEdit {
		return nil, err
	}
	x.lending.Lock() // nobody else may count on what is lent
	had := x.owed || reserved(x.dir)
	_, err = borrowed(x.dir)
	x.owed = had && !reserved(x.dir)
	if err != nil {
		x.lending.Unlock()
		return nil, err
	}
	x.settled.Store(false)
	return x.pay, nil
}

// pay takes back what is owed to the reserve after a write. Others may have taken it
// meanwhile: then it is owed until there is room.
func (x *Index) pay() {
	if x.owed {
		takeBack(x.dir, x)
		x.owed = !reserved(x.dir)
	}
	x.lending.Unlock()
}
