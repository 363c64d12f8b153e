// Package dataset is the format of a directory tree as a set of objects: a
// manifest, and each file by its content, so that versions of a set share what
// did not change.
//
// It promises: the same tree has the same manifest, byte by byte; and a manifest
// that Parse takes leads nowhere out of the directory it is unpacked in. Getting
// the files is left to the caller.
package dataset

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Suffix ends the name of a manifest, FileName is that of each file's object:
// what a file is called in the tree is no part of its address.
const (
	Suffix   = ".dataset"
	FileName = "file"
)

const (
	format  = "shatabdi dataset"
	version = 1
)

// MaxEntries bounds a set: each file is an object of its own, and more of them are
// better packed. MaxManifest bounds its manifest, in bytes.
const (
	MaxEntries  = 10_000
	MaxManifest = 16 << 20
)

// Manifest tells what a set consists of.
type Manifest struct {
	Format  string  `json:"format"`
	Version int     `json:"version"`
	Entries []Entry `json:"entries"` // by path
}

// Entry is a file, a directory or a symbolic link. Directories are listed all, the
// empty ones too.
type Entry struct {
	Path   string `json:"path"` // with slashes, relative to the top
	Type   Type   `json:"type"`
	Mode   Mode   `json:"mode,omitempty"`   // of files and directories
	Size   int64  `json:"size,omitempty"`   // of files
	SHA256 string `json:"sha256,omitempty"` // of files that are not empty
	Target string `json:"target,omitempty"` // of links: relative, and inside the set
}

// Type of an entry.
type Type string

// The types of entries.
const (
	File Type = "file"
	Dir  Type = "dir"
	Link Type = "link"
)

// Mode are permissions, written as in chmod.
type Mode uint32

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(m)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > uint64(fs.ModePerm) {
		return fmt.Errorf("%q are no permissions", text)
	}
	*m = Mode(n)
	return nil
}

// New returns the manifest of a set.
func New(entries []Entry) (*Manifest, error) {
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	m := &Manifest{format, version, entries}
	return m, m.check()
}

// Encode returns m as it is stored.
func (m *Manifest) Encode() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		panic(err) // texts and numbers
	}
	return b.Bytes()
}

// Parse reads a manifest, and takes none that Encode would write in another way.
func Parse(b []byte) (*Manifest, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil || head.Format != format {
		return nil, errors.New("it is no manifest of a dataset")
	}
	if head.Version != version {
		return nil, fmt.Errorf("it is a dataset of version %d; this program knows version %d", head.Version, version)
	}
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("the manifest: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(m.Encode(), b) {
		return nil, errors.New("the manifest is not written as it has to be")
	}
	return &m, nil
}

// Files are the files that have an object, each content once.
func (m *Manifest) Files() (files []Entry) {
	known := map[string]bool{}
	for _, e := range m.Entries {
		if e.SHA256 != "" && !known[e.SHA256] {
			known[e.SHA256] = true
			files = append(files, e)
		}
	}
	return files
}

// check finds what makes no set, or leads out of it.
func (m *Manifest) check() error {
	if len(m.Entries) > MaxEntries {
		return fmt.Errorf("%d entries; a dataset has at most %d, and what has more is better packed", len(m.Entries), MaxEntries)
	}
	dirs := map[string]bool{".": true}
	for i, e := range m.Entries {
		bad := func(text string) error { return fmt.Errorf("the entry %q: %s", e.Path, text) }
		switch {
		case i > 0 && m.Entries[i-1].Path >= e.Path:
			return bad("it is not in its place, or there twice")
		case !fs.ValidPath(e.Path) || e.Path == "." || strings.ContainsAny(e.Path, "\x00\\") || !filepath.IsLocal(filepath.FromSlash(e.Path)):
			return bad("its path leads out, or is not clean")
		case e.Path == parts || strings.HasPrefix(e.Path, parts+"/"):
			return bad("this name is needed to unpack the set")
		case !dirs[path.Dir(e.Path)]:
			return bad("it lies in no directory of the set")
		}
		if err := e.check(); err != nil {
			return bad(err.Error())
		}
		dirs[e.Path] = e.Type == Dir
	}
	return nil
}

func (e Entry) check() error {
	switch e.Type {
	case File:
		digest, err := hex.DecodeString(e.SHA256)
		hashed := err == nil && len(digest) == 32 && strings.ToLower(e.SHA256) == e.SHA256
		if e.Size < 0 || e.Size > 0 && !hashed || e.Size == 0 && e.SHA256 != "" || e.Target != "" {
			return errors.New("a file has a size, and a digest unless it is empty")
		}
	case Dir:
		if e.Size != 0 || e.SHA256 != "" || e.Target != "" {
			return errors.New("a directory has a mode only")
		}
	case Link:
		if e.Size != 0 || e.SHA256 != "" || e.Mode != 0 || e.Target == "" {
			return errors.New("a link has a target only")
		}
		return checkTarget(e.Path, e.Target)
	default:
		return fmt.Errorf("its type %q is not known", e.Type)
	}
	return nil
}

// checkTarget refuses a link that leads out of the set.
func checkTarget(at, target string) error {
	to := path.Join(path.Dir(at), target)
	if path.IsAbs(target) || strings.ContainsAny(target, "\x00\\") || to != "." && !fs.ValidPath(to) {
		return fmt.Errorf("it is a link that leads out, to %s", target)
	}
	return nil
}
