package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shatabdi/swarmcache/layout"
)

// content is n bytes that no other seed has.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// ask sends a request through s.
func ask(t *testing.T, s *Sources, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Header.Set(name, value)
	}
	res, err := s.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: after %d bytes: %v", method, url, len(b), err)
	}
	return res, string(b)
}

// isOrigin checks that url answers as an HTTP origin with ranges and a strong
// validator does.
func isOrigin(t *testing.T, s *Sources, url string, want []byte) {
	t.Helper()
	res, got := ask(t, s, "GET", url)
	tag := res.Header.Get("Etag")
	if res.StatusCode != 200 || got != string(want) || res.ContentLength != int64(len(want)) || tag == "" || res.Header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("GET %s: %d, %d bytes of %d, %v", url, res.StatusCode, len(got), len(want), res.Header)
	}
	if res, got := ask(t, s, "HEAD", url); res.StatusCode != 200 || got != "" || res.ContentLength != int64(len(want)) || res.Header.Get("Etag") != tag {
		t.Errorf("HEAD %s: %d, %v", url, res.StatusCode, res.Header)
	}
	n := len(want)
	for _, r := range []struct{ from, to int }{{0, 1}, {n / 3, n / 2}, {n - 1, n}, {0, n}} {
		res, got := ask(t, s, "GET", url, fmt.Sprintf("Range: bytes=%d-%d", r.from, r.to-1), "If-Range: "+tag)
		if res.StatusCode != 206 || got != string(want[r.from:r.to]) || res.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", r.from, r.to-1, n) {
			t.Errorf("GET %s %d-%d: %d, %d bytes, %v", url, r.from, r.to, res.StatusCode, len(got), res.Header)
		}
	}
	if res, got := ask(t, s, "GET", url, "Range: bytes=1-2", `If-Range: "another"`); res.StatusCode != 200 || got != string(want) {
		t.Errorf("If-Range of another version: %d, %d bytes", res.StatusCode, len(got))
	}
	if res, got := ask(t, s, "GET", url, "If-None-Match: "+tag); res.StatusCode != 304 || got != "" {
		t.Errorf("If-None-Match: %d", res.StatusCode)
	}
	if res, _ := ask(t, s, "GET", url, fmt.Sprintf("Range: bytes=%d-", n)); res.StatusCode != 416 {
		t.Errorf("a range behind the end: %d", res.StatusCode)
	}
	if res, _ := ask(t, s, "POST", url); res.StatusCode != 405 {
		t.Errorf("POST: %d", res.StatusCode)
	}
}

// refuses checks that url is answered with that status and a text about want.
func refuses(t *testing.T, s *Sources, url string, status int, want string) {
	t.Helper()
	res, got := ask(t, s, "GET", url)
	if res.StatusCode != status || !strings.Contains(got, want) || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("GET %s: %d %q; want %d and %q", url, res.StatusCode, got, status, want)
	}
}

// old makes a file look as if nobody had written to it for long. Its inode's time
// is of now, so it takes as long as settled.
func old(t *testing.T, f files, u string) {
	t.Helper()
	at, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if i, err := f.Stat(t.Context(), at); err != nil || i.Validator != "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a file never settles")
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	name, want := filepath.Join(dir, "sub", "a b.bin"), content(1, 100_000)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(name, want, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "c.txt"), []byte("c"), 0o644))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out")))
	must(t, os.Symlink("sub/a b.bin", filepath.Join(dir, "in")))
	s := New(Config{Directories: []string{dir}})
	at := "file://" + dir + "/sub/a%20b.bin"

	// Just written it has no validator: a second writing might not show.
	if res, got := ask(t, s, "GET", at); res.StatusCode != 200 || got != string(want) || res.Header.Get("Etag") != "" {
		t.Errorf("%d, %d bytes, %v", res.StatusCode, len(got), res.Header)
	}
	old(t, files{[]string{dir}}, at)
	isOrigin(t, s, at, want)
	isOrigin(t, s, "file://"+dir+"/in", want)

	refuses(t, s, "file:///etc/passwd", 403, "in no directory that this node may read")
	refuses(t, s, "file://"+dir+"/../x", 403, "in no directory that this node may read")
	refuses(t, s, "file://"+dir+"/none", 404, "there is no "+dir+"/none on this node")
	refuses(t, s, "file://"+dir+"/sub", 404, "no regular file")
	refuses(t, s, "file://elsewhere"+dir+"/c.txt", 400, "want file:///PATH")
	if res, _ := ask(t, s, "GET", "file://"+dir+"/out"); res.StatusCode == 200 {
		t.Error("a link leads out")
	}
	refuses(t, New(Config{}), at, 403, "sources.file.directories")

	items, err := s.List(t.Context(), "file://"+dir+"/")
	if err != nil || len(items) != 2 || items[1].Name != "sub/a b.bin" || items[1].URL != at || items[1].Length != int64(len(want)) {
		t.Errorf("%+v, %v", items, err)
	}
	if items, err := s.List(t.Context(), at); items != nil || err != nil {
		t.Errorf("a file is itself: %v, %v", items, err)
	}
}

// A file that is written to while it is read ends there: no byte of the new one is
// taken for one of the old.
func TestFileChangesWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.bin")
	must(t, os.WriteFile(name, content(1, 1<<20), 0o644))
	f := files{[]string{dir}}
	u := &url.URL{Scheme: "file", Path: name}
	old(t, f, u.String())
	i, err := f.Stat(t.Context(), u)
	must(t, err)
	body, err := f.Open(t.Context(), u, i, layout.Range{To: i.Length})
	must(t, err)
	defer body.Close()
	first := make([]byte, 1000)
	_, err = io.ReadFull(body, first)
	must(t, err)
	w, err := os.OpenFile(name, os.O_WRONLY, 0)
	must(t, err)
	_, err = w.WriteAt(content(2, 1<<20), 0)
	must(t, err)
	must(t, w.Close())
	if rest, err := io.ReadAll(body); !errors.Is(err, ErrChanged) || len(rest) > 0 || !bytes.Equal(first, content(1, 1000)) {
		t.Errorf("%d bytes of another version, %v", len(rest), err)
	}
	if _, err := f.Open(t.Context(), u, i, layout.Range{To: 1}); !errors.Is(err, ErrChanged) {
		t.Errorf("opened again: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A version that is never the same twice is not served at all.
func TestOneThatChangesAllTheTime(t *testing.T) {
	s := New(Config{})
	s.byScheme["x"] = restless{}
	refuses(t, s, "x://y/z", 503, "changes all the time")
}

type restless struct{}

func (restless) Stat(context.Context, *url.URL) (Info, error) { return Info{Length: 5}, nil }
func (restless) Open(context.Context, *url.URL, Info, layout.Range) (io.ReadCloser, error) {
	return nil, ErrChanged
}

// The example answers as its comment says.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	want := content(3, 300_000)
	must(t, os.MkdirAll(filepath.Join(dir, "d"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "d", "a.bin"), want, 0o644))
	script, err := filepath.Abs("../../configs/source-command.sh")
	must(t, err)
	short := filepath.Join(t.TempDir(), "short.sh")
	must(t, os.WriteFile(short, []byte("#!/bin/sh\nread -r q\ncase $q in *stat*) echo '{\"length\":9}';; *) echo '{}'; printf abc;; esac\n"), 0o755))
	s := New(Config{Commands: map[string]string{
		"local": script + " " + dir, "none": "/nonexistent", "mute": "/bin/true", "bad": "/bin/echo hello", "short": short,
	}})
	isOrigin(t, s, "local://d/a.bin", want)
	refuses(t, s, "local://d/none", 404, "there is no d/none")
	refuses(t, s, "local://d/../../x", 403, "leads out")
	refuses(t, s, "none://x/y", 502, "does not start")
	refuses(t, s, "mute://x/y", 502, "gives no answer")
	refuses(t, s, "bad://x/y", 502, "a line of JSON")
	items, err := s.List(t.Context(), "local://d/")
	if err != nil || len(items) != 1 || items[0].URL != "local://d/a.bin" || items[0].Name != "a.bin" {
		t.Errorf("%+v, %v", items, err)
	}

	// Fewer bytes than promised are an error, and not the end.
	req, err := http.NewRequestWithContext(t.Context(), "GET", "short://x/y", nil)
	must(t, err)
	res, err := s.RoundTrip(req)
	must(t, err)
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "abc" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", b, err)
	}
}
