package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// parts is the directory in a tree where files are until they have their places.
const parts = ".shatabdi.parts"

// Tree is a directory that a set is unpacked in. What is there and is no part of
// the set is left alone, what is there and has the right bytes stays.
type Tree struct {
	dir  string
	root *os.Root
	m    *Manifest
	have map[string]string // where each content is that is there
	here map[string]bool   // paths that have the right content
}

// Open makes the directories of a set in dir, which is made too, and looks at what
// is there. Nothing is written through a link that is there already.
func Open(ctx context.Context, dir string, m *Manifest) (*Tree, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &Tree{dir, root, m, map[string]string{}, map[string]bool{}}
	if err := t.look(ctx); err != nil {
		root.Close()
		return nil, err
	}
	return t, nil
}

func (t *Tree) look(ctx context.Context) error {
	if err := t.mkdir(parts); err != nil {
		return err
	}
	for _, e := range t.m.Entries {
		switch e.Type {
		case Dir:
			if err := t.mkdir(e.Path); err != nil {
				return err
			}
		case File:
			if err := t.compare(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tree) mkdir(name string) error {
	err := t.root.Mkdir(name, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if st, err := t.root.Lstat(name); err != nil || !st.IsDir() {
		return fmt.Errorf("%s is there already, and is no directory", filepath.Join(t.dir, name))
	}
	return t.root.Chmod(name, 0o700) // until Finish
}

// compare finds out whether a file is there already. Another one makes room later.
func (t *Tree) compare(ctx context.Context, e Entry) error {
	st, err := t.root.Lstat(e.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is there already, and is no file", filepath.Join(t.dir, e.Path))
	case st.Size() != e.Size:
		return nil
	}
	if _, sum, err := digest(ctx, t.root, e.Path); err != nil || sum != e.SHA256 {
		return err
	}
	t.here[e.Path] = true
	if e.Size > 0 {
		t.have[e.SHA256] = e.Path
	}
	return nil
}

// Wanted are the files that are to be got, each content once, into Part.
func (t *Tree) Wanted() (files []Entry) {
	for _, e := range t.m.Files() {
		_, err := t.root.Lstat(partOf(e))
		if t.have[e.SHA256] == "" && err != nil {
			files = append(files, e)
		}
	}
	return files
}

// Part is where the bytes of a file go, verified.
func (t *Tree) Part(e Entry) string { return filepath.Join(t.dir, partOf(e)) }

func partOf(e Entry) string { return path.Join(parts, e.SHA256) }

// Finish puts everything into its place, once all that was wanted is there.
func (t *Tree) Finish() error {
	for _, e := range t.m.Entries {
		var err error
		switch e.Type {
		case Link:
			err = t.link(e)
		case File:
			if err = t.place(e); err == nil {
				err = t.root.Chmod(e.Path, fs.FileMode(e.Mode))
			}
		}
		if err != nil {
			return err
		}
	}
	for i := len(t.m.Entries) - 1; i >= 0; i-- { // from the leaves: one may not be writable
		if e := t.m.Entries[i]; e.Type == Dir {
			if err := t.root.Chmod(e.Path, fs.FileMode(e.Mode)); err != nil {
				return err
			}
		}
	}
	return t.root.RemoveAll(parts)
}

// place gives a file its bytes: what was got, or those of another file of the set.
func (t *Tree) place(e Entry) error {
	if t.here[e.Path] {
		return nil
	}
	from, got := t.have[e.SHA256], partOf(e)
	if e.Size > 0 && from == "" {
		t.have[e.SHA256] = e.Path
		return t.root.Rename(got, e.Path)
	}
	temp := path.Join(parts, "copy")
	if err := t.copy(temp, from); err != nil {
		return err
	}
	return t.root.Rename(temp, e.Path)
}

// copy makes a file of the bytes of another one; of none if that is empty.
func (t *Tree) copy(to, from string) error {
	w, err := t.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	var r io.Reader = strings.NewReader("")
	if from != "" {
		f, err := t.root.Open(from)
		if err != nil {
			w.Close()
			return err
		}
		defer f.Close()
		r = f
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

func (t *Tree) link(e Entry) error {
	if there, err := t.root.Readlink(e.Path); err == nil {
		if there == e.Target {
			return nil
		}
		if err := t.root.Remove(e.Path); err != nil {
			return err
		}
	}
	return t.root.Symlink(e.Target, e.Path)
}

// Close ends the work. What was got stays for another run.
func (t *Tree) Close() error {
	t.root.Remove(parts) // unless something is there
	return t.root.Close()
}
