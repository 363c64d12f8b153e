//go:build e2e && linux

// Package fulldisk tests the catalogue on a disk that is full, which needs root.
package fulldisk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/index"
)

// On a disk that others have filled to its last byte the catalogue forgets, with what it
// has kept to itself for that, until badger has made a table of what it had in memory:
// that writes through maps of files, and is killed where the disk has no room. It is also
// closed there, and opened again.
func TestCatalogueForgetsOnAFullDisk(t *testing.T) {
	disk := smallDisk(t)
	dir := filepath.Join(disk, "index")
	open := func() *index.Index {
		x, err := index.Open(index.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x, kept := open(), cachetest.NewRecord(1, 1)
	if err := x.Put(kept); err != nil {
		t.Fatal(err)
	}
	write := func() {
		if err := x.SetSetting("a", make([]byte, 3<<10)); err != nil {
			t.Fatal(err)
		}
	}
	newest := func() string { // memtable's log
		all, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
		return slices.Max(append(all, ""))
	}
	writes := func() (n int) { // until another memtable begins
		for was := newest(); newest() == was; n++ {
			write()
		}
		return n
	}
	writes()
	for range writes() - 20 {
		write()
	}
	fillUp(t, disk)
	if n := writes(); n > 30 {
		t.Errorf("%d writes on a full disk: the memtable was said to be full after 20", n)
	}
	fillUp(t, disk)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	fillUp(t, disk)
	x = open()
	t.Cleanup(func() { x.Close() }) // before the disk goes
	if _, err := x.Get(kept.Version.ID); err != nil {
		t.Error(err)
	}
}

// Where others take what the reserve has lent, it is kept again once there is room.
func TestReserveComesBack(t *testing.T) {
	disk := smallDisk(t)
	dir := filepath.Join(disk, "index")
	x, err := index.Open(index.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	forget := func() error { return x.Delete("none") }
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "RESERVE"), 8<<20); err != nil { // the rest is others'
		t.Fatal(err)
	}
	fillUp(t, disk)
	if err := forget(); !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Errorf("%v with too small a reserve, want ErrNoSpace", err)
	}
	others := filepath.Join(disk, "others")
	st, err := os.Stat(others)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(others, st.Size()-(16<<20)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := forget(); err != nil {
			t.Error(err)
		}
		fillUp(t, disk)
	}
}

// smallDisk is one of 128 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("disk", disk, "tmpfs", 0, "size=128m"); err != nil {
		t.Fatalf("mount a tmpfs, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// fillUp has others take what is left of a disk, to the last byte.
func fillUp(t *testing.T, disk string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(disk, "others"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
