package swarmcache

import (
	"io"
	"io/fs"
	"os"
)

// Files is the file system under a cache's directory, as far as the cache changes
// it. Tests put one in its place whose steps fail.
type Files interface {
	MkdirAll(dir string) error
	Create(path string) (Body, error) // that must not be there yet
	Open(path string) (Body, error)   // for reading and writing
	Rename(from, to string) error
	Remove(path string) error
}

// Body is an open file.
type Body interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Name() string
	Fd() uintptr
}

// osFiles is the real one.
type osFiles struct{}

func (osFiles) MkdirAll(dir string) error      { return os.MkdirAll(dir, 0o700) }
func (osFiles) Open(path string) (Body, error) { return openOS(path, os.O_RDWR) }
func (osFiles) Create(path string) (Body, error) {
	return openOS(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}
func (osFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (osFiles) Remove(path string) error     { return os.Remove(path) }

func openOS(path string, flag int) (Body, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err // not a Body that holds nil
	}
	return f, nil
}
