package testorigin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"shatabdi/e2e/content"
)

type answer struct {
	*http.Response
	body []byte
	err  error // of the body
}

func get(t *testing.T, url string, header ...string) answer {
	t.Helper()
	req, _ := http.NewRequest("GET", url, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	c := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, b, err}
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func TestOrders(t *testing.T) {
	const size = "/size=200KiB/"
	right := content.Object{Seed: 1, Size: 200 << 10}.SHA256()
	for _, c := range []struct {
		name, path string
		header     []string
		ok         func(a answer) bool
	}{
		{"good", size + "f", nil, func(a answer) bool {
			return a.StatusCode == 200 && sum(a.body) == right && a.Header.Get("ETag") != "" && a.Header.Get("Last-Modified") != ""
		}},
		{"range", size + "f", []string{"Range", "bytes=100-199"}, func(a answer) bool {
			return a.StatusCode == 206 && len(a.body) == 100 && a.Header.Get("Content-Range") == "bytes 100-199/204800"
		}},
		{"range ignored", size + "norange/f", []string{"Range", "bytes=100-199"}, func(a answer) bool {
			return a.StatusCode == 200 && sum(a.body) == right
		}},
		{"no validator", size + "novalidator/f", nil, func(a answer) bool {
			return sum(a.body) == right && a.Header.Get("ETag")+a.Header.Get("Last-Modified") == ""
		}},
		{"weak", size + "weak/f", nil, func(a answer) bool { return a.Header.Get("ETag")[:2] == "W/" }},
		{"no length", size + "nolength/f", nil, func(a answer) bool { return a.ContentLength == -1 && sum(a.body) == right }},
		{"gzip", size + "gzip/f", nil, func(a answer) bool { return a.Header.Get("Content-Encoding") == "gzip" && a.err == nil }},
		{"status", "/status=503/f", nil, func(a answer) bool { return a.StatusCode == 503 }},
		{"dies", size + "die=100KiB/f", nil, func(a answer) bool { return a.err != nil && len(a.body) == 100<<10 }},
		{"sends more", size + "long=10/f", nil, func(a answer) bool { return sum(a.body) == right }},
		{"empty", "/size=0/f", nil, func(a answer) bool { return a.StatusCode == 200 && len(a.body) == 0 }},
		{"span of another tag", size + "spantag/f", []string{"Range", "bytes=0-9", "If-Range", `"1-204800"`},
			func(a answer) bool { return a.StatusCode == 206 && a.Header.Get("ETag") == `"another"` }},
		{"span of another place", size + "spanshift/f", []string{"Range", "bytes=0-9"},
			func(a answer) bool { return a.Header.Get("Content-Range") == "bytes 10-9/204800" }},
		{"typing error", "/sise=1/f", nil, func(a answer) bool { return a.StatusCode == 400 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(New(0))
			defer srv.Close()
			if a := get(t, srv.URL+c.path, c.header...); !c.ok(a) {
				t.Errorf("%s, %d bytes, err %v, header %v", a.Status, len(a.body), a.err, a.Header)
			}
		})
	}
}

func TestObjectsChange(t *testing.T) {
	srv := httptest.NewServer(New(0))
	defer srv.Close()
	tag := func(path string) string { return get(t, srv.URL+path).Header.Get("ETag") }
	body := func(path string) string { return sum(get(t, srv.URL+path).body) }

	// twice asks two times for the same and tells whether the answers are alike.
	twice := func(of func(string) string, path string) bool { first := of(path); return first == of(path) }
	if twice(body, "/change=1MiB/f") {
		t.Error("change=: the second response is that of the first")
	}
	if twice(tag, "/tags=2/f") {
		t.Error("tags=: both servers have one tag")
	}
	if p := "/contents=2/f"; twice(body, p) || !twice(tag, p) {
		t.Error("contents=: want two contents under one tag")
	}
	before := body("/f")
	resp, err := http.Post(srv.URL+"/_/change/f", "", nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if body("/f") == before {
		t.Error("POST /_/change/f changed nothing")
	}
}

func TestStatsCountRequestsAndBytes(t *testing.T) {
	srv := httptest.NewServer(New(0))
	defer srv.Close()
	get(t, srv.URL+"/size=1000/f")
	get(t, srv.URL+"/size=1000/f", "Range", "bytes=0-9")
	var stats map[string]Counts
	if err := json.Unmarshal(get(t, srv.URL+"/_/stats").body, &stats); err != nil {
		t.Fatal(err)
	}
	if got, want := stats["/size=1000/f"], (Counts{Requests: 2, Ranges: 1, Bytes: 1010}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}
