package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/index"
)

// wants checks that err speaks to people: with a message, a hint and a code.
func wants(t *testing.T, err error, code int, parts ...string) {
	t.Helper()
	ce := (*cliError)(nil)
	if !errors.As(err, &ce) {
		t.Fatalf("%v; want an error with a hint", err)
	}
	if ce.code != code || ce.hint == "" {
		t.Errorf("exit code %d, hint %q", ce.code, ce.hint)
	}
	for _, part := range parts {
		if !strings.Contains(ce.Error()+"\n"+ce.hint, part) {
			t.Errorf("%v\n%s\nlacks %q", ce, ce.hint, part)
		}
	}
}

func TestDataDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "data")
	d, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi, err)
	}
	if n, err := readFormat(path); err != nil || n != dataFormat {
		t.Errorf("format %d, %v", n, err)
	}
	_, err = openDataDir(path)
	wants(t, err, exitFailure, fmt.Sprintf("locked by another process (pid %d)", os.Getpid()), "--data-dir")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = openDataDir(path); err != nil {
		t.Fatal(err)
	}
	d.Close()
}

func TestDataDirOfNewerVersionIsLeftUntouched(t *testing.T) {
	for content, want := range map[string]string{
		"3\n":    "has format 3, written by a newer version",
		"soon":   "no format number",
		"":       "no format number",
		"-1":     "no format number",
		"1\n2\n": "no format number",
	} {
		path := t.TempDir()
		name := filepath.Join(path, "VERSION")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openDataDir(path)
		wants(t, err, exitFailure, want)
		entries, _ := os.ReadDir(path)
		if b, _ := os.ReadFile(name); len(entries) != 1 || string(b) != content {
			t.Errorf("%q: the directory was changed: %v, %q", content, entries, b)
		}
	}
}

// An older format is migrated, also when that was broken off before, and loses
// nothing of what the catalogue holds.
func TestDataDirOfOlderVersionIsMigrated(t *testing.T) {
	path := t.TempDir()
	version := filepath.Join(path, "VERSION")
	open := func() *index.Index {
		x, err := index.Open(index.Options{Dir: filepath.Join(path, "index")})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	purges := func() (n int) {
		x := open()
		defer x.Close()
		for i := range 32 {
			b, err := x.Setting(fmt.Sprintf("purges/%02d", i))
			var sheet []swarmcache.Purge
			if err == nil && json.Unmarshal(b, &sheet) == nil {
				n += len(sheet)
			}
		}
		if r, err := x.Get("object"); err != nil || !r.Complete {
			t.Errorf("the object is lost: %v", err)
		}
		return n
	}
	x := open()
	old := []byte(`{"obeyed":[{"id":"1","key":"a","at":"2026-11-01T00:00:00Z"},{"id":"2","key":"b","at":"2026-11-02T00:00:00Z"}],"touch":"2026-11-02T00:00:00Z"}`)
	err := errors.Join(x.SetSetting("purges", old), x.Put(swarmcache.Record{Version: swarmcache.Version{ID: "object", Key: "c"}, Complete: true}), x.Close())
	if err != nil {
		t.Fatal(err)
	}
	for _, begun := range []string{"1\n", "1\n", ""} { // "": from before there was a VERSION
		os.Remove(version)
		if begun != "" {
			if err := os.WriteFile(version, []byte(begun), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d, err := openDataDir(path)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		if n, err := readFormat(path); n != dataFormat || err != nil {
			t.Errorf("format %d, %v", n, err)
		}
		if n := purges(); n != 2 {
			t.Errorf("%d purges are remembered", n)
		}
	}
	// A step that fails leaves the format as it was.
	os.WriteFile(version, []byte("1\n"), 0o600)
	os.WriteFile(filepath.Join(path, "index", "MANIFEST"), []byte("nothing"), 0o600)
	_, err = openDataDir(path)
	wants(t, err, exitFailure, "is damaged", "remove")
	if n, err := readFormat(path); n != 1 || err != nil {
		t.Errorf("format %d, %v", n, err)
	}
}

func TestDataDirThatCannotBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openDataDir(path)
	wants(t, err, exitFailure, "no directory", "--data-dir")
	_, err = openDataDir(filepath.Join(path, "below"))
	wants(t, err, exitFailure, "no directory", "--data-dir")

	// Root may write everywhere, so these are told rather than met.
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES: "not writable",
		syscall.EROFS:  "not writable",
		syscall.ENOSPC: "disk is full",
		syscall.EIO:    "input/output error",
	} {
		wants(t, explainDataDir(&fs.PathError{Op: "mkdir", Path: "/x", Err: errno}, "/x"), exitFailure, want, "--data-dir")
	}
}
