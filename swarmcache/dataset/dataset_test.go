package dataset

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes a tree with all there can be.
func plant(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.bin": "aaaa", "d/b.bin": "bb", "d/e/again.bin": "aaaa", "nothing": ""} {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	must(t, os.Symlink("../a.bin", filepath.Join(dir, "d", "link")))
	must(t, os.Chmod(filepath.Join(dir, "a.bin"), 0o750))
	must(t, os.Chmod(filepath.Join(dir, "d"), 0o555))
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "d"), 0o755) })
	return dir
}

// unpack gets what is wanted from the tree at from.
func unpack(t *testing.T, from, to string, m *Manifest) (got []string) {
	t.Helper()
	tree, err := Open(t.Context(), to, m)
	must(t, err)
	defer tree.Close()
	for _, e := range tree.Wanted() {
		b, err := os.ReadFile(filepath.Join(from, e.Path))
		must(t, err)
		must(t, os.WriteFile(tree.Part(e), b, 0o600))
		got = append(got, e.Path)
	}
	must(t, tree.Finish())
	return got
}

func TestThereAndBack(t *testing.T) {
	from, to := plant(t), filepath.Join(t.TempDir(), "x", "y")
	var hashed int
	m, err := Walk(t.Context(), from, func(Entry) { hashed++ })
	must(t, err)
	if len(m.Entries) != 8 || len(m.Files()) != 2 || hashed != 4 {
		t.Errorf("%d files, %s", hashed, m.Encode())
	}
	parsed, err := Parse(m.Encode())
	must(t, err)
	if got := unpack(t, from, to, parsed); len(got) != 2 {
		t.Errorf("it wanted %v", got)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(to, "d"), 0o755) })
	again, err := Walk(t.Context(), to, nil)
	if err != nil || !bytes.Equal(again.Encode(), m.Encode()) {
		t.Errorf("%v: it became %s", err, again.Encode())
	}
	if got := unpack(t, from, to, m); len(got) != 0 {
		t.Errorf("the second time it wanted %v", got)
	}
}

// Another version over the first one: what is the same stays, what is not goes,
// what is no part of it is left alone.
func TestAnotherVersion(t *testing.T) {
	from, to := plant(t), t.TempDir()
	m, err := Walk(t.Context(), from, nil)
	must(t, err)
	unpack(t, from, to, m)
	must(t, os.WriteFile(filepath.Join(to, "mine"), []byte("mine"), 0o644))
	must(t, os.WriteFile(filepath.Join(from, "a.bin"), []byte("AAAA"), 0o644))
	must(t, os.Remove(filepath.Join(from, "d", "link")))
	must(t, os.Symlink("b.bin", filepath.Join(from, "d", "link")))
	m, err = Walk(t.Context(), from, nil)
	must(t, err)
	if got := unpack(t, from, to, m); len(got) != 1 || got[0] != "a.bin" {
		t.Errorf("it wanted %v", got)
	}
	for name, want := range map[string]string{"a.bin": "AAAA", "d/e/again.bin": "aaaa", "d/link": "bb", "mine": "mine"} {
		if b, err := os.ReadFile(filepath.Join(to, name)); string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	os.Chmod(filepath.Join(to, "d"), 0o755)
}

// What was got is not wanted again when the work goes on.
func TestItGoesOn(t *testing.T) {
	from, to := plant(t), t.TempDir()
	m, err := Walk(t.Context(), from, nil)
	must(t, err)
	tree, err := Open(t.Context(), to, m)
	must(t, err)
	must(t, os.WriteFile(tree.Part(tree.Wanted()[0]), []byte("aaaa"), 0o600))
	must(t, tree.Close())
	if got := unpack(t, from, to, m); len(got) != 1 || got[0] != "d/b.bin" {
		t.Errorf("it wanted %v", got)
	}
	os.Chmod(filepath.Join(to, "d"), 0o755)
}

func TestWhatIsNoSet(t *testing.T) {
	for what, plant := range map[string]func(dir string) error{
		"a link that leads out, to /etc/passwd":  func(dir string) error { return os.Symlink("/etc/passwd", dir+"/l") },
		"a link that leads out, to ../x":         func(dir string) error { return os.Symlink("../x", dir+"/l") },
		"it is neither file, directory nor link": func(dir string) error { return syscall.Mkfifo(dir+"/p", 0o600) },
		"this name is needed to unpack the set":  func(dir string) error { return os.Mkdir(dir+"/"+parts, 0o700) },
		"its path leads out, or is not clean":    func(dir string) error { return os.WriteFile(dir+`/a\b`, nil, 0o600) },
	} {
		dir := t.TempDir()
		must(t, plant(dir))
		if m, err := Walk(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, %v; want %q", m, err, what)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	file := func(path string) string {
		return fmt.Sprintf(`{"path":%q,"type":"file","mode":"0644","size":5,"sha256":%q}`, path, sum)
	}
	dir := func(path string) string { return fmt.Sprintf(`{"path":%q,"type":"dir","mode":"0755"}`, path) }
	link := func(path, target string) string {
		return fmt.Sprintf(`{"path":%q,"type":"link","target":%q}`, path, target)
	}
	whole := func(entries ...string) string {
		return `{"format":"shatabdi dataset","version":1,"entries":[` + strings.Join(entries, ",") + "]}\n"
	}
	if _, err := Parse([]byte(whole(dir("d"), file("d/f"), link("d/l", "f")))); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":   "no manifest",
		"{}": "no manifest",
		`{"format":"shatabdi dataset","version":2}`:              "knows version 1",
		whole(file("../x")):                                      "leads out",
		whole(file("/x")):                                        "leads out",
		whole(file("a/../b")):                                    "leads out",
		whole(file("a//b")):                                      "leads out",
		whole(file("d/f")):                                       "no directory of the set",
		whole(link("d", "e"), file("d/f")):                       "no directory of the set",
		whole(file("d"), file("d/f")):                            "no directory of the set",
		whole(link("l", "/etc")):                                 "leads out",
		whole(link("l", "a/../../b")):                            "leads out",
		whole(file("b"), file("a")):                              "not in its place",
		whole(file("a"), file("a")):                              "not in its place",
		whole(`{"path":"a","type":"pipe"}`):                      "not known",
		whole(`{"path":"a","type":"file","size":5}`):             "has a size, and a digest",
		whole(`{"path":"a","type":"file","mode":"4755"}`):        "no permissions",
		whole(`{"path":"a","type":"file","uid":0}`):              "unknown field",
		strings.Replace(whole(file("a")), ",", ", ", 1):          "not written as it has to be",
		strings.Replace(whole(file("a")), sum, sum[:62]+"zz", 1): "has a size, and a digest",
	} {
		if m, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", text, m, err, want)
		}
	}
}

// Nothing is written through a link that stands in the way.
func TestALinkInTheWay(t *testing.T) {
	from, outside := plant(t), t.TempDir()
	m, err := Walk(t.Context(), from, nil)
	must(t, err)
	to := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(to, "d")))
	if _, err := Open(t.Context(), to, m); err == nil || !strings.Contains(err.Error(), "is no directory") {
		t.Error(err)
	}
	to = t.TempDir()
	must(t, os.Symlink(filepath.Join(outside, "a.bin"), filepath.Join(to, "a.bin")))
	if _, err := Open(t.Context(), to, m); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Error(err)
	}
	if names, _ := fs.Glob(os.DirFS(outside), "*"); len(names) != 0 {
		t.Errorf("%v outside", names)
	}
}
