package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Walk reads a directory tree. hashed is told of each file that has been read; it
// may be nil. What is neither file, directory nor link is an error, and so is a
// link that leads out.
func Walk(ctx context.Context, dir string, hashed func(Entry)) (*Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var entries []Entry
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case name == ".":
			return nil
		case len(entries) == MaxEntries:
			return fmt.Errorf("%s has more than %d entries; pack it, as with tar", dir, MaxEntries)
		}
		e, err := entryOf(ctx, root, name, d)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		entries = append(entries, e)
		if e.Type == File && hashed != nil {
			hashed(e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return New(entries)
}

func entryOf(ctx context.Context, root *os.Root, name string, d fs.DirEntry) (Entry, error) {
	st, err := d.Info()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Path: name, Mode: Mode(st.Mode().Perm())}
	switch st.Mode().Type() {
	case fs.ModeDir:
		e.Type = Dir
	case fs.ModeSymlink:
		e.Type, e.Mode = Link, 0
		if e.Target, err = root.Readlink(name); err == nil {
			err = checkTarget(name, e.Target)
		}
	case 0:
		e.Type = File
		e.Size, e.SHA256, err = digest(ctx, root, name)
	default:
		err = fmt.Errorf("it is neither file, directory nor link, but %s", st.Mode().Type())
	}
	return e, err
}

func digest(ctx context.Context, root *os.Root, name string) (n int64, sum string, err error) {
	f, err := root.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err = io.Copy(h, reader{ctx, f})
	if err != nil || n == 0 {
		return n, "", err
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(b)
}
