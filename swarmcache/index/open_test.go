package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

func contains(err error, part string) bool { return err != nil && strings.Contains(err.Error(), part) }

func TestOpenOfLockedDirectory(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	_, err := Open(Options{Dir: dir})
	if !errors.Is(err, ErrLocked) || !contains(err, dir) || !contains(err, fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("second Open: %v, want ErrLocked naming directory and process", err)
	}
	must(t, x.Put(cachetest.NewRecord(1, 1))) // the first one is not disturbed
	must(t, x.Close())
	open(t, dir)
}

func TestOpenOfOtherFormat(t *testing.T) {
	for found, says := range map[uint16]string{Format + 1: "newer", 0: "format 0"} {
		t.Run(fmt.Sprint(found), func(t *testing.T) {
			dir := t.TempDir()
			x := open(t, dir)
			must(t, x.Put(cachetest.NewRecord(1, 1000)))
			must(t, x.Close())
			patch(t, filepath.Join(dir, "MANIFEST"), func(b []byte) []byte {
				binary.BigEndian.PutUint16(b[4:], found)
				return b
			})

			before := snapshot(t, dir)
			_, err := Open(Options{Dir: dir})
			var format *FormatError
			if !errors.As(err, &format) || format.Found != int(found) || format.Want != Format || !contains(err, says) {
				t.Errorf("Open: %v, want a FormatError that says %q", err, says)
			}
			if after := snapshot(t, dir); after != before {
				t.Errorf("directory was touched:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

func TestOpenOfDamagedCatalogue(t *testing.T) {
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b[len(b)/3] ^= 0xff; return b }
	for _, c := range []struct {
		name, files string
		patch       func([]byte) []byte // nil: remove
	}{
		{"manifest empty", "MANIFEST", func([]byte) []byte { return nil }},
		{"manifest is something else", "MANIFEST", func([]byte) []byte { return []byte("hello, hello") }},
		{"manifest of a newer badger", "MANIFEST", func(b []byte) []byte { b[7]++; return b }},
		{"manifest with a flipped byte", "MANIFEST", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"manifest gone", "MANIFEST", nil},
		{"table gone", "*.sst", nil},
		{"table cut short", "*.sst", cut},
		{"table with a flipped byte", "*.sst", flip},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			x := open(t, dir)
			fillIndex(t, x, 100)
			must(t, x.Close())
			files, _ := filepath.Glob(filepath.Join(dir, c.files))
			if len(files) == 0 {
				t.Fatalf("no %s to damage", c.files)
			}
			for _, f := range files {
				patch(t, f, c.patch)
			}
			before := snapshot(t, dir)
			_, err := Open(Options{Dir: dir})
			if !errors.Is(err, ErrDamaged) || !contains(err, dir) {
				t.Errorf("Open: %v, want ErrDamaged naming the directory", err)
			}
			for line := range strings.Lines(before) {
				if name, _, _ := strings.Cut(line, " "); strings.HasSuffix(name, ".sst") && !exists(filepath.Join(dir, name)) {
					t.Errorf("%s was removed", name)
				}
			}
		})
	}
}

func TestEmptyLogsOfACrashAreNoHindrance(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	r := cachetest.NewRecord(1, 1000)
	must(t, x.Put(r))
	must(t, x.Close())
	for _, name := range []string{"000007.vlog", "00007.mem"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	x = open(t, dir)
	if got, err := x.Get(r.Version.ID); err != nil || string(got.Hashes) != string(r.Hashes) {
		t.Errorf("Get: %d bytes of hashes, %v", len(got.Hashes), err)
	}
}

func TestDamagedHashesAreNotReturned(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	r := cachetest.NewRecord(1, 5000)
	must(t, x.Put(r))
	must(t, x.Close())
	logs, _ := filepath.Glob(filepath.Join(dir, "*.vlog"))
	for _, f := range logs {
		patch(t, f, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
	x = open(t, dir)
	if _, err := x.Get(r.Version.ID); !errors.Is(err, ErrDamaged) {
		t.Fatalf("Get: %v, want ErrDamaged", err)
	}
	must(t, x.Put(r)) // writes them anew
	if _, err := x.Get(r.Version.ID); err != nil {
		t.Error(err)
	}
}

func TestOpenOfUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := Open(Options{Dir: file}); !errors.Is(err, syscall.ENOTDIR) || !contains(err, file) {
		t.Errorf("Open of a file: %v, want ENOTDIR", err)
	}
	if _, err := Open(Options{Dir: filepath.Join(file, "index")}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("Open under a file: %v, want ENOTDIR", err)
	}
}

func TestNoRoomIsAnErrorBeforeItIsASIGBUS(t *testing.T) {
	if _, err := haveRoom(t.TempDir(), 1); err != nil {
		t.Fatal(err)
	}
	_, err := haveRoom("/", 1<<62)
	if !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Errorf("haveRoom(4 EiB): %v, want ErrNoSpace", err)
	}
}

// What is taken back may be less than there was; it grows again.
func TestReserveIsAllocated(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int64{1 << 20, 3 << 20, 3 << 20} {
		must(t, reserve(dir, n))
		var st syscall.Stat_t
		must(t, syscall.Stat(filepath.Join(dir, reserveFile), &st))
		if st.Blocks*512 < n {
			t.Errorf("%d bytes are taken of %d", st.Blocks*512, n)
		}
	}
	takeBack, err := borrowed(dir)
	must(t, err)
	takeBack(nil)
	if _, err := os.Stat(filepath.Join(dir, reserveFile)); err != nil {
		t.Errorf("it is lent where there is room: %v", err)
	}
}

// patch replaces a file's bytes, or removes it.
func patch(t *testing.T, name string, f func([]byte) []byte) {
	t.Helper()
	if f == nil {
		must(t, os.Remove(name))
		return
	}
	b, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, f(b), 0o600))
}

// snapshot tells of every file its name, size and time of change.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		fmt.Fprintln(&s, e.Name(), info.Size(), info.ModTime())
	}
	return s.String()
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
