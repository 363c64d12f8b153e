package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
)

// content is an origin of "hello".
func content(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/list":
			fmt.Fprintf(w, "# a manifest\nhttp://%s/a\nhttp://%[1]s/b\n", r.Host)
			return
		case "/secret":
			if r.Header.Get("Authorization") != "Bearer hunter2" {
				w.WriteHeader(401)
				return
			}
		}
		io.WriteString(w, "hello")
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const sumOfHello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

// order is body as JSON.
func order(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// until asks for a download until it is in that state.
func (n *node) until(id, state string) (d api.Download) {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		d = api.Download{}
		n.ask("GET", "/api/v1/downloads/"+id, "", 200, &d)
		if d.State == state {
			return d
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("not %s: %+v", state, d)
		}
	}
}

func TestDownloads(t *testing.T) {
	n, origin := newNode(t, 0), content(t)
	to := filepath.Join(n.files, "hello")
	var d api.Download
	n.ask("POST", "/api/v1/downloads", order(api.DownloadOrder{URL: origin + "/a", Destination: to, SHA256: strings.ToUpper(sumOfHello), Priority: "high"}), 201, &d)
	d = n.until(d.ID, "done")
	if b, err := os.ReadFile(to); err != nil || string(b) != "hello" || d.Bytes != 5 || d.Total == nil || *d.Total != 5 || d.Destination != to || d.Ended.IsZero() {
		t.Errorf("%q, %v: %+v", b, err, d)
	}
	n.ask("POST", "/api/v1/downloads/"+d.ID+"/pause", "", 409, nil)
	n.ask("POST", "/api/v1/downloads/"+d.ID+"/resume", "", 409, nil)

	// Credentials are used, and shown to nobody.
	n.ask("POST", "/api/v1/downloads", order(api.DownloadOrder{URL: origin + "/secret", Headers: map[string]string{"authorization": "Bearer hunter2"}}), 201, &d)
	n.until(d.ID, "done")
	if w := n.ask("GET", "/api/v1/downloads", "", 200, nil); strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("%s", w.Body)
	}

	var page api.Downloads
	n.ask("GET", "/api/v1/downloads?limit=1", "", 200, &page)
	if len(page.Downloads) != 1 || page.Downloads[0].Destination != to || page.Next == "" {
		t.Errorf("%+v", page)
	}
	cursor := page.Next
	page = api.Downloads{}
	n.ask("GET", "/api/v1/downloads?limit=1&cursor="+cursor, "", 200, &page)
	if len(page.Downloads) != 1 || page.Downloads[0].ID != d.ID || page.Next != "" {
		t.Errorf("%+v", page)
	}

	n.ask("DELETE", "/api/v1/downloads/"+d.ID, "", 204, nil)
	n.ask("GET", "/api/v1/downloads/"+d.ID, "", 404, nil)
	n.ask("DELETE", "/api/v1/downloads/"+d.ID, "", 404, nil)
	n.ask("PATCH", "/api/v1/downloads/"+d.ID, `{"limit":"5 a second"}`, 404, nil)
}

// Paused, changed, resumed, canceled.
func TestDownloadSteered(t *testing.T) {
	n := newNode(t, 0)
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		select {
		case <-release:
			io.WriteString(w, "world")
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	to := filepath.Join(n.files, "a")
	var d api.Download
	n.ask("POST", "/api/v1/downloads", order(api.DownloadOrder{URL: s.URL, Destination: to}), 201, &d)
	path := "/api/v1/downloads/" + d.ID
	n.until(d.ID, "running")
	n.ask("POST", "/api/v1/downloads", order(api.DownloadOrder{URL: s.URL, Destination: to}), 409, nil)
	n.ask("POST", path+"/pause", "", 200, &d)
	if d.State != "paused" {
		t.Errorf("%+v", d)
	}
	n.ask("PATCH", path, `{"limit":"7000 a second","priority":"low"}`, 200, &d)
	if d.Limit != 7000 || d.Priority != "low" {
		t.Errorf("%+v", d)
	}
	n.ask("PATCH", path, `{"limit_bytes_per_second":0,"priority":"default"}`, 200, &d)
	n.ask("PATCH", path, `{"limit":"free","limit_bytes_per_second":0}`, 422, nil)
	n.ask("POST", path+"/resume", "", 200, &d)
	close(release)
	n.until(d.ID, "done")
	if b, err := os.ReadFile(to); err != nil || string(b) != "helloworld" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestDownloadsRefused(t *testing.T) {
	n, origin := newNode(t, 0), content(t)
	if err := os.WriteFile(filepath.Join(n.files, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		body string
		want int
		says string
	}{
		{`{}`, 422, "url"},
		{`{"url":"ftp://x/y"}`, 422, "body.url"},
		{`{"url":"/x"}`, 422, "body.url"},
		{`{"url":"http://user:pass@x/y"}`, 422, "without a user"},
		{`{"url":"http://x/y","sha256":"123"}`, 422, "body.sha256"},
		{`{"url":"http://x/y","limit":"fast"}`, 422, "body.limit"},
		{`{"url":"http://x/y","priority":"urgent"}`, 422, "body.priority"},
		{`{"url":"http://x/y","destintion":"/tmp/x"}`, 422, "destintion"},
		{`{"url":"http://x/y","headers":{"Range":"bytes=0-1"}}`, 422, "body.headers.Range"},
		{`{"url":"http://x/y","headers":{"Host":"z"}}`, 422, "body.headers.Host"},
		{`{"url":"http://x/y","headers":{"A b":"z"}}`, 422, "body.headers"},
		{`{"url":"http://x/y","headers":{"A":"z\r\nB: c"}}`, 422, "body.headers.A"},
		{order(api.DownloadOrder{URL: origin, Destination: "/etc/passwd"}), 403, "not in a directory that is allowed"},
		{order(api.DownloadOrder{URL: origin, Destination: n.files + "/../x"}), 403, "not in a directory that is allowed"},
		{order(api.DownloadOrder{URL: origin, Destination: n.files + "/taken"}), 409, "exists"},
		{order(api.DownloadOrder{URL: origin, Destination: n.files + "/none/x"}), 422, "no such file or directory"},
	} {
		if w := n.ask("POST", "/api/v1/downloads", tt.body, tt.want, nil); !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s: no %q in %s", tt.body, tt.says, w.Body)
		}
	}
	n.ask("POST", "/api/v1/downloads", order(api.DownloadOrder{URL: origin}), 403, nil, "Origin", "http://evil.test")
	var page api.Downloads
	if n.ask("GET", "/api/v1/downloads", "", 200, &page); len(page.Downloads) != 0 {
		t.Errorf("%+v", page)
	}
	// A wrong digest: told, and nothing is left.
	var d api.Download
	n.ask("POST", "/api/v1/downloads", order(api.DownloadOrder{URL: origin, Destination: n.files + "/x", SHA256: strings.Repeat("0", 64)}), 201, &d)
	if d = n.until(d.ID, "failed"); !strings.Contains(d.Error, sumOfHello) {
		t.Errorf("%+v", d)
	}
	if left, _ := os.ReadDir(n.files); len(left) != 1 {
		t.Errorf("%v", left)
	}
}

func TestWarmups(t *testing.T) {
	n, origin := newNode(t, 0), content(t)
	var w api.Warmup
	n.ask("POST", "/api/v1/warmups", order(api.WarmupOrder{URLs: []string{origin + "/c", "http://127.0.0.1:1/d"}, Manifest: origin + "/list"}), 201, &w)
	n.ask("GET", "/api/v1/warmups/"+w.ID+"?wait_seconds=20", "", 200, &w) // until it is over, and no longer
	if w.State != "partial" || w.Objects != 4 || w.Done != 3 || w.Failed != 1 || w.Bytes != 15 || len(w.Failures) != 1 || w.Failures[0].URL != "http://127.0.0.1:1/d" {
		t.Errorf("%+v", w)
	}
	var all api.Warmups
	n.ask("GET", "/api/v1/warmups", "", 200, &all)
	if len(all.Warmups) != 1 || all.Warmups[0].ID != w.ID {
		t.Errorf("%+v", all)
	}
	n.ask("GET", "/api/v1/warmups/"+strings.Repeat("0", 20), "", 404, nil)

	// Page by page, with the jobs of several nodes among them.
	n.cluster.jobs = []swarmcache.Job{{ID: strings.Repeat("f", 20)}, {ID: strings.Repeat("0", 20)}}
	var seen []string
	for next := ""; ; {
		var page api.Warmups
		n.ask("GET", "/api/v1/warmups?limit=1"+next, "", 200, &page)
		if len(page.Warmups) != 1 {
			t.Fatalf("%+v", page)
		}
		seen = append(seen, page.Warmups[0].ID)
		if page.Next == "" {
			break
		}
		next = "&cursor=" + page.Next
	}
	if want := []string{strings.Repeat("0", 20), w.ID, strings.Repeat("f", 20)}; !slices.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
	n.ask("POST", "/api/v1/warmups", `{}`, 422, nil)
	n.ask("POST", "/api/v1/warmups", `{"urls":["x"]}`, 422, nil)
	n.ask("POST", "/api/v1/warmups", order(api.WarmupOrder{Manifest: "http://127.0.0.1:1/"}), 502, nil)
}
