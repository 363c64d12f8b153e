package api_test

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache/api"
)

// put streams a body.
func (n *node) put(query, body string, want int, out any) *httptest.ResponseRecorder {
	n.t.Helper()
	return n.ask("POST", "/api/v1/uploads"+query, body, want, out, "Content-Type", "application/octet-stream")
}

func TestUpload(t *testing.T) {
	n := newNode(t, 0)
	var u api.Upload
	n.put("?name=a+b.txt", "hello", 201, &u)
	url := "http://objects.shatabdi/" + sumOfHello + "/a%20b.txt"
	if u.URL != url || u.Address != "shatabdi://"+sumOfHello+"/a%20b.txt" || u.SHA256 != sumOfHello || u.Length != 5 || !u.Pinned || !u.Published {
		t.Errorf("%+v", u)
	}
	var o api.ObjectDetail
	n.ask("GET", "/api/v1/objects/"+string(u.Object), "", 200, &o)
	if !o.Complete || !o.Pinned || o.URL != url || o.Response.Header["Content-Type"][0] != "text/plain; charset=utf-8" {
		t.Errorf("%+v", o)
	}

	// A file, in an allowed directory.
	file := filepath.Join(n.files, "c.txt")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c api.Upload
	n.ask("POST", "/api/v1/uploads?unpinned=true", order(api.UploadOrder{Path: file}), 201, &c)
	if !strings.HasSuffix(c.URL, sumOfHello+"/c.txt") || c.Object == u.Object || c.Pinned {
		t.Errorf("%+v", c)
	}
	n.ask("POST", "/api/v1/uploads", order(api.UploadOrder{Path: file, Name: "a b.txt"}), 201, &c)
	if c.Object != u.Object {
		t.Errorf("the same bytes and name: %+v, %+v", c, u)
	}

	// The directory is away: it is here, and told later.
	n.dir.SetAvailable(false)
	n.put("?name=away", "hello", 201, &c)
	if c.Published {
		t.Errorf("%+v", c)
	}
}

func TestUploadsRefused(t *testing.T) {
	n := newNode(t, 0)
	n.rules.Rules = []policy.Rule{{Host: "other.test", Route: "pass"}}
	fifo := filepath.Join(n.files, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(n.files, "link")); err != nil {
		t.Fatal(err)
	}
	n.put("", "hello", 422, nil)
	n.put("?name=a%2Fb", "hello", 422, nil)
	n.put("?name=..", "hello", 422, nil)
	n.put("?name=a%0A", "hello", 422, nil)
	n.put("?name=empty", "", 422, nil)
	n.put("?name=a&unknown=b", "hello", 422, nil)
	for body, want := range map[string]int{
		`{}`: 403, `{"path":"/etc/passwd"}`: 403, `{"path":"` + fifo + `"}`: 422, `{"path":"` + n.files + `/none"}`: 422,
		`{"path":"` + n.files + `/link"}`: 0, `{"path":"x","what":"y"}`: 422, `{`: 422,
	} {
		if want == 0 { // whatever it is called, it is not read
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", "/api/v1/uploads", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			n.handler.ServeHTTP(w, r)
			if b, _ := io.ReadAll(w.Body); w.Code < 400 {
				t.Errorf("a link that leads out: %d %s", w.Code, b)
			}
			continue
		}
		n.ask("POST", "/api/v1/uploads", body, want, nil)
	}
	n.ask("POST", "/api/v1/uploads?name=a", "hello", 415, nil, "Content-Type", "text/plain")
	n.ask("POST", "/api/v1/uploads?name=a", "hello", 403, nil, "Content-Type", "application/octet-stream", "Origin", "http://evil.test")
	if s := n.cache.Stats(); s.Objects != 0 {
		t.Errorf("%+v", s)
	}
}

// A file is put at its address, if what its client demands holds.
func TestUploadToItsPlace(t *testing.T) {
	n := newNode(t, 0)
	put := func(name, body string, want int, fields ...string) (u api.Upload) {
		t.Helper()
		var out any
		if want < 300 {
			out = &u
		}
		w := n.ask("PUT", "/api/v1/uploads/"+sumOfHello+"/"+name, body, want, out, append([]string{"Content-Type", "application/octet-stream"}, fields...)...)
		if tag := w.Header().Get("ETag"); want < 300 && tag != `"`+sumOfHello+`"` {
			t.Errorf("ETag %s", tag)
		}
		return u
	}
	put("f", "other", 422)
	put("f", "", 422)
	put("f", "hello", 412, "If-Match", "*")
	put("f", "hello", 400, "Content-Range", "bytes 0-4/10")
	put("f", "hello", 415, "Content-Type", "text/plain")
	put("a%2Fb", "hello", 422)
	if s := n.cache.Stats(); s.Objects != 0 {
		t.Errorf("%+v", s)
	}
	u := put("a%20b", "hello", 201, "If-None-Match", "*")
	if u.Address != "shatabdi://"+sumOfHello+"/a%20b" || !u.Pinned || !u.Published {
		t.Errorf("%+v", u)
	}
	put("a%20b", "hello", 412, "If-None-Match", "*")
	put("a%20b", "hello", 200, "If-Match", `"x", "`+sumOfHello+`"`)
	if u := put("c?unpinned=true", "hello", 201); u.Pinned {
		t.Errorf("%+v", u)
	}
	n.dir.SetAvailable(false)
	put("d", "hello", 503, "If-None-Match", "*")
	put("d", "hello", 201)
}
