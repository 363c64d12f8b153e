// Package content makes the bytes that the scenarios download: any size, any
// offset at the speed of a copy, and no two blocks alike, so that a byte in the
// wrong place never goes unnoticed.
package content

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// blockLen is the unit of generation. Blocks share their random tail and differ
// in a head that holds the seed and the block's number.
const (
	blockLen = 64 << 10
	headLen  = 16
)

var tail = sync.OnceValue(func() []byte {
	b := make([]byte, blockLen)
	rand.NewChaCha8([32]byte{'s', 'h', 'a', 't', 'a', 'b', 'd', 'i'}).Read(b) // never fails
	return b
})

// Object is Size bytes that follow from Seed.
type Object struct {
	Seed uint64
	Size int64
}

// ReadAt is an io.ReaderAt.
func (o Object) ReadAt(p []byte, off int64) (n int, err error) {
	if off >= o.Size {
		return 0, io.EOF
	}
	if int64(len(p)) > o.Size-off {
		p, err = p[:o.Size-off], io.EOF
	}
	var head [headLen]byte
	for n < len(p) {
		at := off + int64(n)
		block, in := at/blockLen, at%blockLen
		if in < headLen {
			binary.LittleEndian.PutUint64(head[:], o.Seed)
			binary.LittleEndian.PutUint64(head[8:], uint64(block)+1)
			n += copy(p[n:], head[in:])
			continue
		}
		n += copy(p[n:], tail()[in:])
	}
	return n, err
}

// Reader reads the object from its start.
func (o Object) Reader() *io.SectionReader { return io.NewSectionReader(o, 0, o.Size) }

// SHA256 is the digest of the whole object, in hex. It reads all of it.
func (o Object) SHA256() string {
	h := sha256.New()
	io.Copy(h, o.Reader()) // neither side fails
	return hex.EncodeToString(h.Sum(nil))
}

// File writes the object into dir and returns its path. A file of the right
// size is taken for the right file.
func (o Object) File(dir string) (string, error) {
	path := filepath.Join(dir, fmt.Sprintf("%d-%d.bin", o.Seed, o.Size))
	if fi, err := os.Stat(path); err == nil && fi.Size() == o.Size {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // fails once renamed
	defer f.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, o.Reader(), make([]byte, 1<<20)); err != nil {
		return "", err
	}
	if err := f.Chmod(0o644); err != nil {
		return "", err
	}
	return path, os.Rename(f.Name(), path)
}
