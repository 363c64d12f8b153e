package download

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrOutside: a path is in none of the directories that are allowed.
var ErrOutside = errors.New("not in a directory that is allowed")

// Within finds the directory of dirs that path is in, and opens it so that no
// link leads out of it. rel is the path inside.
func Within(dirs []string, path string) (root *os.Root, rel string, err error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, "", fmt.Errorf("%w: %s is not an absolute path, cleaned of dots", ErrOutside, path)
	}
	for _, dir := range dirs {
		rel, ok := strings.CutPrefix(path, strings.TrimSuffix(filepath.Clean(dir), "/")+"/")
		if !ok || rel == "" {
			continue
		}
		root, err := os.OpenRoot(dir)
		return root, rel, err
	}
	return nil, "", fmt.Errorf("%w: %s", ErrOutside, path)
}

// file is a destination in the making: a temporary one beside it, which takes its
// name when it is whole.
type file struct {
	root *os.Root
	name string // in root
	temp string
	f    *os.File

	// When it is whole.
	inode  uint64
	length int64
}

// newFile begins a file at path, where nothing may be.
func newFile(dirs []string, path string) (*file, error) {
	root, name, err := Within(dirs, path)
	if err != nil {
		return nil, err
	}
	d := &file{root: root, name: name}
	if _, err = root.Lstat(name); err == nil {
		err = &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	} else if errors.Is(err, fs.ErrNotExist) {
		dir, base := filepath.Split(name)
		d.temp = dir + "." + base[:min(len(base), 200)] + "." + rand.Text()[:8] + ".part"
		d.f, err = root.OpenFile(d.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return d, nil
}

func (d *file) Write(b []byte) (int, error) { return d.f.Write(b) }

// Restart implements Sink.
func (d *file) Restart() error {
	_, err := d.f.Seek(0, io.SeekStart)
	return errors.Join(err, d.f.Truncate(0))
}

// room tells early that n more bytes will not fit.
func (d *file) room(n int64) error {
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(d.f.Fd()), &s); err != nil {
		return nil // it will turn out
	}
	if free := int64(s.Bavail) * int64(s.Bsize); free < n {
		return fmt.Errorf("%d bytes are to come, and %d are free: %w", n, free, syscall.ENOSPC)
	}
	return nil
}

// whole notes what file it is, for who finds it later under its name.
func (d *file) whole() {
	info, err := d.f.Stat()
	if err != nil {
		return
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		d.inode, d.length = uint64(s.Ino), info.Size()
	}
}

// commit flushes the file and gives it its name, unless that was taken meanwhile.
// In any case the temporary name is gone.
func (d *file) commit() error {
	defer d.abort()
	if err := d.f.Sync(); err != nil {
		return err
	}
	err := d.root.Link(d.temp, d.name)
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if err != nil { // not every file system has links
		if _, there := d.root.Lstat(d.name); there == nil {
			return &fs.PathError{Op: "create", Path: d.name, Err: fs.ErrExist}
		}
		if err := d.root.Rename(d.temp, d.name); err != nil {
			return err
		}
	}
	dir, err := d.root.Open(filepath.Dir(d.name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// abort leaves nothing behind. It may follow commit.
func (d *file) abort() {
	d.f.Close()
	d.root.Remove(d.temp)
	d.root.Close()
}

// nothing is the sink of what only the cache is to keep.
type nothing struct{}

func (nothing) Write(b []byte) (int, error) { return len(b), nil }
func (nothing) Restart() error              { return nil }
