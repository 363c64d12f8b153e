package index

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

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
	// leftover is what is not taken back, for what badger writes behind a write.
	leftover = memTable / 2
)

// borrowed is haveRoom for what ends in more room than there was: with the reserve,
// where nothing else is left. Then takeBack is to be called after the write.
func borrowed(dir string) (takeBack func(), err error) {
	none := func() {}
	if _, err = haveRoom(dir, roomToEdit); !errors.Is(err, swarmcache.ErrNoSpace) || os.Remove(filepath.Join(dir, reserveFile)) != nil {
		return none, err
	}
	takeBack = func() {
		if free, err := haveRoom(dir, roomToEdit+leftover); err == nil {
			reserve(dir, min(reserveSize, free-leftover))
		}
	}
	if _, err = haveRoom(dir, roomToEdit); err != nil {
		takeBack()
		return none, err
	}
	return takeBack, nil
}

// reserve sees to it that n bytes are taken. Where the file system cannot promise space
// there is no reserve.
func reserve(dir string, n int64) {
	f, err := os.OpenFile(filepath.Join(dir, reserveFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if syscall.Fallocate(int(f.Fd()), 0, 0, n) != nil {
		os.Remove(f.Name())
	}
}

// haveRoom fails with ErrNoSpace where a write that needs so much may not be made.
// Otherwise done is to be called after the write.
func (x *Index) haveRoom(room int64) (done func(), err error) {
	x.lending.RLock()
	free, err := haveRoom(x.dir, room)
	if err == nil && x.reserves && free < nearlyFull && free >= ample {
		reserve(x.dir, reserveSize)
	}
	if err == nil {
		return x.lending.RUnlock, nil
	}
	x.lending.RUnlock()
	if room > roomToEdit {
		return nil, err
	}
	x.lending.Lock() // nobody else may count on what is lent
	takeBack, err := borrowed(x.dir)
	if err != nil {
		x.lending.Unlock()
		return nil, err
	}
	return func() { takeBack(); x.lending.Unlock() }, nil
}
