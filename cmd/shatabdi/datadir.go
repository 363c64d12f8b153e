package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/index"
)

// dataFormat is the format of everything under the data directory. A change
// that an older program would misread raises it, and comes with a migration.
const dataFormat = 2

// migrations make the next format of one, by its number. Each may be broken off at
// any point, by a crash or a full disk, and be done again: VERSION changes after it.
var migrations = map[int]func(path string) error{1: migratePurges}

// migratePurges: the purges that were obeyed stand on sheets, no longer in one value.
func migratePurges(path string) error {
	dir := filepath.Join(path, "index")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	x, err := index.Open(index.Options{Dir: dir})
	if err != nil {
		return explainIndex(err, path)
	}
	if err := errors.Join(swarmcache.MigratePurges(x), x.Close()); err != nil {
		return fmt.Errorf("migrate data directory %s: %w", path, err)
	}
	return nil
}

// dataDir is the daemon's directory, held by this process alone.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir creates path where needed, locks it and brings it to this program's
// format. A directory of a newer format, or in use by another process, is left
// untouched.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	// Looked at before the first write, and again under the lock.
	if _, err := readFormat(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, explainDataDir(err, path)
	}
	d := &dataDir{path: path}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	if err := d.migrate(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close gives the directory free.
func (d *dataDir) Close() error {
	// The lock file stays: removing it would let two processes lock two files.
	return d.lock.Close()
}

func (d *dataDir) acquire() error {
	f, err := os.OpenFile(filepath.Join(d.path, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return explainDataDir(err, d.path)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock data directory %s: %w", d.path, err)
		}
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		return failure("stop that process, or choose another directory with --data-dir",
			"data directory %s is locked by another process (pid %s)", d.path, orUnknown(string(holder[:n])))
	}
	d.lock = f
	if err := writeAt(f, fmt.Sprintf("%d\n", os.Getpid())); err != nil {
		f.Close()
		return explainDataDir(err, d.path)
	}
	return nil
}

// migrate brings the directory to the format of now, step by step. One without
// VERSION is new, unless it has a catalogue.
func (d *dataDir) migrate() error {
	format, err := readFormat(d.path)
	if err != nil {
		return err
	}
	if format == 0 {
		if _, err := os.Stat(filepath.Join(d.path, "index")); err != nil {
			return d.stamp(dataFormat)
		}
		format = 1
	}
	for ; format < dataFormat; format++ {
		if err := migrations[format](d.path); err != nil {
			return err
		}
		if err := d.stamp(format + 1); err != nil {
			return err
		}
	}
	return nil
}

// stamp writes VERSION.
func (d *dataDir) stamp(format int) error {
	name := filepath.Join(d.path, "VERSION")
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return explainDataDir(err, d.path)
	}
	defer f.Close()
	if err := errors.Join(writeAt(f, fmt.Sprintf("%d\n", format)), f.Sync(), os.Rename(name+".new", name)); err != nil {
		return explainDataDir(err, d.path)
	}
	return nil
}

// readFormat returns the format of the directory, 0 if it has none yet.
func readFormat(path string) (int, error) {
	b, err := os.ReadFile(filepath.Join(path, "VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, explainDataDir(err, path)
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil || n < 1 {
		return 0, failure("is it the right one? choose another with --data-dir",
			"data directory %s: its VERSION file holds no format number", path)
	}
	if n > dataFormat {
		return 0, failure("run the newer program, or choose another directory with --data-dir; nothing was changed",
			"data directory %s has format %d, written by a newer version; this one knows formats up to %d", path, n, dataFormat)
	}
	return n, nil
}

func explainDataDir(err error, path string) error {
	const other = "choose another directory with --data-dir"
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return failure(fmt.Sprintf("run as a user who may write there (uid %d may not), or %s", os.Geteuid(), other),
			"data directory %s is not writable: %w", path, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return failure(other, "data directory %s: a part of the path is no directory", path)
	case errors.Is(err, syscall.ENOSPC):
		return failure("make room, or "+other, "data directory %s: the disk is full", path)
	}
	return failure(other, "data directory %s: %w", path, err)
}

func writeAt(f *os.File, text string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

func orUnknown(pid string) string {
	if pid = strings.TrimSpace(pid); pid != "" {
		return pid
	}
	return "unknown"
}
