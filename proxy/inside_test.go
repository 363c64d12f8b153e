package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"shatabdi/proxy/origin"
)

// traced is download.Traced.
type traced interface {
	Sources() (local, peers, origin int64)
	Object() string
	Stored() bool
}

// A request of this daemon itself is answered as a client's is.
func TestRoundTrip(t *testing.T) {
	body := strings.Repeat("x", 5000)
	o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			io.WriteString(w, body)
		case "/short": // it promises more than it sends
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "12345")
		case "/torn": // of unknown length, and it breaks off
			io.WriteString(w, "12345")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/hangs":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/moved":
			http.Redirect(w, r, "/large", http.StatusFound)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c := newFake(t)
	n := startCached(t, c, Config{})
	client := &http.Client{Transport: n.Proxy}
	get := func(path string) (*http.Response, string, error) {
		t.Helper()
		res, err := client.Get(o + path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res, string(b), err
	}
	res, got, err := get("/moved") // and from there to /large
	if err != nil || res.StatusCode != 200 || got != body || res.ContentLength != int64(len(body)) || res.Header.Get("Via") == "" {
		t.Errorf("%+v %d bytes, %v", res, len(got), err)
	}
	if !strings.Contains(c.took(), "fill") {
		t.Error("it did not go through the cache")
	}
	res, got, err = get("/large")
	b := res.Body.(traced)
	if local, peers, from := b.Sources(); err != nil || got != body || !b.Stored() || local != int64(len(body)) || peers+from != 0 || b.Object() == "" {
		t.Errorf("a hit: %d bytes, %v, stored %v, sources %d %d %d, object %q", len(got), err, b.Stored(), local, peers, from, b.Object())
	}
	for _, path := range []string{"/short", "/torn"} {
		if _, got, err := get(path); err == nil || got != "12345" {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if res, _, err := get("/nothing"); err != nil || res.StatusCode != 204 {
		t.Errorf("%v, %v", res, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", o+"/hangs", nil)
	res, err = client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	res.Body.Close()
	if _, err := client.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before: %v", err)
	}
}

// What the proxy refuses, it refuses.
func TestRoundTripRefused(t *testing.T) {
	n := start(t, Config{}, origin.Config{})
	res, err := (&http.Client{Transport: n.Proxy}).Get("http://169.254.169.254/latest")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 403 || !strings.Contains(string(b), "--allow-destination") {
		t.Errorf("%s: %s", res.Status, b)
	}
}
