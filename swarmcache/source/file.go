package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/layout"
)

// files are those of this machine, below the directories that are allowed:
// file:///path. One with a slash at its end stands for all files below it.
type files struct{ dirs []string }

// settled is how long a file must have been left alone for its times to tell
// versions apart: a clock ticks, and two writes may fall between two ticks.
const settled = 2 * time.Second

func (f files) Stat(_ context.Context, u *url.URL) (Info, error) {
	file, err := f.open(u)
	if err != nil {
		return Info{}, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return Info{}, err
	}
	i := Info{Length: st.Size(), Modified: st.ModTime(), ContentType: mime.TypeByExtension(path.Ext(u.Path))}
	if stamp, changed := stampOf(st); time.Since(changed) >= settled {
		i.Validator = stamp
	}
	return i, nil
}

func (f files) Open(_ context.Context, u *url.URL, i Info, r layout.Range) (io.ReadCloser, error) {
	file, err := f.open(u)
	if err != nil {
		return nil, err
	}
	st, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	stamp, _ := stampOf(st)
	if i.Validator != "" && stamp != i.Validator || st.Size() != i.Length || !st.ModTime().Equal(i.Modified) {
		file.Close()
		return nil, ErrChanged
	}
	return &fileBody{file, stamp, r}, nil
}

// fileBody reads a range of a file for as long as nobody writes to it.
type fileBody struct {
	*os.File
	stamp string
	rest  layout.Range
}

func (b *fileBody) Read(buf []byte) (int, error) {
	if b.rest.Len() == 0 {
		return 0, io.EOF
	}
	n, err := b.ReadAt(buf[:min(int64(len(buf)), b.rest.Len())], b.rest.From)
	if err != nil && err != io.EOF {
		return 0, err
	}
	st, err := b.Stat() // after the bytes: they are of what it tells of
	if err != nil {
		return 0, err
	}
	if stamp, _ := stampOf(st); stamp != b.stamp || n == 0 {
		return 0, ErrChanged
	}
	b.rest.From += int64(n)
	return n, nil
}

// stampOf tells two versions of a file apart, and when it last changed. The time
// of its inode is in it: nobody can set that back.
func stampOf(st fs.FileInfo) (stamp string, changed time.Time) {
	sys := st.Sys().(*syscall.Stat_t)
	changed = time.Unix(sys.Ctim.Unix())
	facts, err := json.Marshal([]any{sys.Ino, st.Size(), st.ModTime().UnixNano(), changed.UnixNano()})
	if err != nil {
		panic(err) // numbers
	}
	sum := sha256.Sum256(facts)
	return hex.EncodeToString(sum[:16]), changed
}

// List walks a directory. Links and what is no regular file are left out.
func (f files) List(ctx context.Context, u *url.URL) (items []Item, err error) {
	if !strings.HasSuffix(u.Path, "/") {
		return nil, nil
	}
	root, rel, err := f.within(u, "file") // of the directory itself, which may be one of those allowed
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir := filepath.Dir(rel)
	err = fs.WalkDir(root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return explainFile(u, err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(items) > MaxItems:
			return errMany()
		case !d.Type().IsRegular():
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return explainFile(u, err)
		}
		below, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		at := *u
		at.Path, at.RawPath = u.Path+below, ""
		items = append(items, Item{URL: at.String(), Name: below, Length: st.Size()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (f files) open(u *url.URL) (*os.File, error) {
	root, rel, err := f.within(u, "")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, explainFile(u, err)
	}
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		file.Close()
		return nil, notFound("%s is no regular file", u.Path)
	}
	return file, nil
}

func (f files) within(u *url.URL, below string) (*os.Root, string, error) {
	if u.Host != "" && u.Host != "localhost" || u.RawQuery != "" {
		return nil, "", malformed("want file:///PATH")
	}
	root, rel, err := download.Within(f.dirs, u.Path+below)
	if err != nil {
		return nil, "", explainFile(u, err)
	}
	return root, rel, nil
}

func explainFile(u *url.URL, err error) error {
	switch {
	case errors.Is(err, download.ErrOutside):
		return forbidden("its operator can allow one: sources.file.directories", "%s is in no directory that this node may read files from", u.Path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return notFound("there is no %s on this node", u.Path)
	case errors.Is(err, fs.ErrPermission):
		return forbidden("", "the daemon may not read %s", u.Path)
	}
	return err
}
