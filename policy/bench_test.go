package policy

import (
	"testing"
	"time"
)

var sink any

func BenchmarkDecide(b *testing.B) {
	plain := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Last-Modified", at(-time.Hour))
	varied := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Vary", "Accept-Encoding")
	varied.Selecting = header("Accept-Encoding", "gzip, deflate, br")
	heuristic := stored("Last-Modified", at(-1000*time.Hour))
	req := get("Accept-Encoding", "gzip, deflate, br", "Range", "bytes=0-", "User-Agent", "Wget/1.24")
	for _, bm := range []struct {
		name  string
		s     Stored
		after time.Duration
	}{{"fresh", plain, time.Minute}, {"varied", varied, time.Minute}, {"heuristic", heuristic, time.Minute}, {"stale", plain, 2 * time.Hour}} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			now := t0.Add(bm.after)
			var v Verdict
			for b.Loop() {
				v = Decide(req, &bm.s, now)
			}
			sink = v
		})
	}
}

func BenchmarkStorable(b *testing.B) {
	req := getURL(b, "http://o.test/pool/a.iso?version=12&arch=amd64")
	resp := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Last-Modified", at(-time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		if ok, reason := Storable(req, resp, StoreOptions{}); !ok {
			b.Fatal(reason)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	rules := &Rules{Rules: []Rule{
		{Host: "*.example.org", Route: Pass}, {Path: "/**/dist/*.iso", Threshold: MiB}, {Host: "o.test", Upgrade: "https"},
	}}
	req := getURL(b, "http://o.test/pool/dist/a.iso?version=12&arch=amd64")
	b.ReportAllocs()
	for b.Loop() {
		sink = rules.Route(req)
	}
}

// TestDecideOnAHitAllocatesNothing: it stands on the path of every request.
func TestDecideOnAHitAllocatesNothing(t *testing.T) {
	s := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Age", "10")
	req := get("Accept-Encoding", "gzip", "Cache-Control", "max-age=600")
	now := t0.Add(time.Minute)
	if n := testing.AllocsPerRun(100, func() {
		if v := Decide(req, &s, now); v.Action != Serve {
			t.Fatal(v)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if ok, reason := Storable(req, s, StoreOptions{}); !ok {
			t.Fatal(reason)
		}
	}); n != 0 {
		t.Errorf("Storable: %v allocations", n)
	}
}
