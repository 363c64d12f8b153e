package policy

import (
	"testing"
	"time"
)

var sink any

func BenchmarkDecide(b *testing.B) {
	plain := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Last-Modified", at(-time.Hour))
	varied := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Vary", "Accept-Encoding")
	varied.Selecting, _ = Selecting(header("Accept-Encoding", "gzip, deflate, br"), varied.Header["Vary"])
	heuristic := stored("Last-Modified", at(-1000*time.Hour))
	targeted := stored("Cache-Control", "no-store", "Cdn-Cache-Control", "max-age=3600, stale-while-revalidate=60", "Etag", `"x"`)
	nginx := &Caching{Valid: []Validity{validity("200 302 10m"), validity("404 1m")}, UseStale: Unreachable | Updating, AccelExpires: true,
		Bypass: []Predicate{predicate("$cookie_nocache"), predicate("$arg_nocache")}}
	req := get("Accept-Encoding", "gzip, deflate, br", "Range", "bytes=0-", "User-Agent", "Wget/1.24", "Cookie", "a=b; c=d")
	for _, bm := range []struct {
		name  string
		c     *Caching
		s     Stored
		after time.Duration
	}{
		{"fresh", std, plain, time.Minute}, {"varied", std, varied, time.Minute}, {"heuristic", std, heuristic, time.Minute},
		{"targeted", std, targeted, time.Minute}, {"nginx", nginx, stored("Etag", `"x"`), time.Minute}, {"stale", std, plain, 2 * time.Hour},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			now := t0.Add(bm.after)
			var v Verdict
			for b.Loop() {
				v = bm.c.Decide(req, &bm.s, now)
			}
			sink = v
		})
	}
}

func BenchmarkSelectOfTen(b *testing.B) {
	var all []Stored
	for _, l := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		s := stored("Vary", "Accept-Language")
		s.Selecting, _ = Selecting(header("Accept-Language", l+", en;q=0.5"), s.Header["Vary"])
		all = append(all, s)
	}
	req := header("Accept-Language", "j,en;q=0.5")
	b.ReportAllocs()
	for b.Loop() {
		if std.Select(req, all) != 9 {
			b.Fatal("another")
		}
	}
}

func BenchmarkRespond(b *testing.B) {
	s := stored("Etag", `"x"`, "Last-Modified", at(-time.Hour))
	for name, req := range map[string]Request{
		"plain": get(), "conditional": get("If-None-Match", `"y", "x"`), "range": get("Range", "bytes=5-9", "If-Range", `"x"`),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = Respond(req, &s, 100)
			}
		})
	}
}

func BenchmarkStorable(b *testing.B) {
	req := getURL(b, "http://o.test/pool/a.iso?version=12&arch=amd64")
	resp := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Last-Modified", at(-time.Hour))
	b.ReportAllocs()
	for b.Loop() {
		if ok, reason := std.Storable(req, resp, StoreOptions{}); !ok {
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

// TestDecisionsOnAHitAllocateNothing: they stand on the path of every request.
func TestDecisionsOnAHitAllocateNothing(t *testing.T) {
	s := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Age", "10", "Cdn-Cache-Control", "max-age=3600")
	varied := stored("Cache-Control", "max-age=3600", "Vary", "accept-encoding", "Etag", `"x"`)
	req := ask("max-age=600", "Accept-Encoding", "gzip, deflate, BR;q=0.5", "Cookie", "a=b; c=d")
	varied.Selecting, _ = Selecting(req.Header, varied.Header["Vary"])
	shared := get()
	rules := &Caching{Valid: []Validity{validity("any 1h")}, Bypass: []Predicate{predicate("$cookie_nocache"), predicate("$http_x_a$arg_b")}}
	now := t0.Add(time.Minute)
	// Vary itself is read into a list: 1 allocation, and another for its lower case.
	for name, tc := range map[string]struct {
		most float64
		f    func() bool
	}{
		"Decide":          {0, func() bool { v := std.Decide(req, &s, now); return v.Action == Serve }},
		"Decide by rules": {0, func() bool { v := rules.Decide(req, &s, now); return v.Action == Serve }},
		"Decide, Vary":    {2, func() bool { v := std.Decide(req, &varied, now); return v.Action == Serve }},
		"Storable":        {0, func() bool { ok, _ := std.Storable(shared, s, StoreOptions{}); return ok }},
		"StaleOn":         {0, func() bool { return !std.StaleOn(Unreachable, req, &s, now.Add(9*time.Hour)) }},
		"Respond":         {0, func() bool { return Respond(req, &s, 100).Status == 200 }},
		"CacheStatus":     {0, func() bool { v := Verdict{Action: Serve}; return v.CacheStatus().Hit }},
	} {
		if !tc.f() {
			t.Errorf("%s: another verdict", name)
		}
		if n := testing.AllocsPerRun(100, func() { tc.f() }); n > tc.most {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkHit is all that a hit asks of policy.
func BenchmarkHit(b *testing.B) {
	rules := &Rules{Rules: []Rule{
		{Host: "*.example.org", Route: Pass}, {Path: "/**/dist/*.iso", Threshold: MiB}, {Host: "o.test", Upgrade: "https"},
	}}
	req := getURL(b, "http://o.test/pool/dist/a.iso?version=12&arch=amd64")
	req.Header = header("User-Agent", "Wget/1.24", "Accept", "*/*", "Accept-Encoding", "identity", "Connection", "Keep-Alive")
	s := stored("Cache-Control", "public, max-age=3600", "Etag", `"x"`, "Last-Modified", at(-time.Hour), "Content-Type", "application/octet-stream")
	now := t0.Add(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		rt := rules.Route(req)
		rt = rules.AtResponse(rt, s.Status, s.Header, 1<<30)
		v := rt.Cache.Decide(req, &s, now)
		if Respond(req, &s, 1<<30).Status != 200 || v.Action != Serve {
			b.Fatal(v)
		}
		sink = v.CacheStatus()
	}
}
