package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/proxy/small"
	"shatabdi/swarmcache"
)

// benchmark downloads path again and again, directly or through a proxy.
func benchmark(b *testing.B, size int, cached, direct bool, fields ...string) {
	data := []byte(body(size))
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Etag", etag)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Write(data)
	}))
	defer o.Close()
	cfg := Config{Origin: origin.New(origin.Config{AllowDestinations: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})}
	defer cfg.Origin.Close()
	if cached {
		cfg.Cache = newDisk(b).open(b, 0)
	}
	p, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	s := httptest.NewUnstartedServer(nil)
	s.Config = p.Server()
	s.Start()
	defer s.Close()
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	if !direct {
		u, _ := url.Parse(s.URL)
		tr.Proxy = http.ProxyURL(u)
	}
	get := func(fields ...string) (word string, n int64) {
		req, _ := http.NewRequest("GET", o.URL+"/x.bin", nil)
		for i := 0; i+1 < len(fields); i += 2 {
			req.Header.Set(fields[i], fields[i+1])
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		n, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.Header.Get("X-Cache-Status"), n
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if word, _ := get(); word == "HIT" || direct || !cached || size < 4<<20 {
			break
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		_, n := get(fields...)
		b.SetBytes(n)
	}
}

func BenchmarkSmallDirect(b *testing.B) { benchmark(b, 1000, false, true) }
func BenchmarkSmallPassed(b *testing.B) { benchmark(b, 1000, true, false) }
func BenchmarkLargeDirect(b *testing.B) { benchmark(b, 64<<20, false, true) }
func BenchmarkLargePassed(b *testing.B) { benchmark(b, 64<<20, false, false) }
func BenchmarkLargeHit(b *testing.B)    { benchmark(b, 64<<20, true, false) }
func BenchmarkRangeHit(b *testing.B) {
	benchmark(b, 64<<20, true, false, "Range", "bytes=1000000-1000999")
}

// smallHit is a proxy with one small object, and a request that it answers.
func smallHit(b *testing.B) (*Proxy, *http.Request) {
	p, err := New(Config{Cache: newDisk(b).open(b, 0), Small: small.New(small.Config{Size: 64 << 20}), Origin: origin.New(origin.Config{})})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Close)
	r := httptest.NewRequest("GET", "http://origin.test/some/path/to/small.css?v=1", nil)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header = http.Header{"User-Agent": {"curl/8.0"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip, br"}}
	stored := policy.Stored{Status: 200, RequestTime: time.Now(), ResponseTime: time.Now(), Header: http.Header{
		"Cache-Control": {"max-age=3600"}, "Etag": {etag}, "Content-Type": {"text/css"}, "Vary": {"Accept-Encoding"},
		"Date": {time.Now().UTC().Format(http.TimeFormat)}, "Server": {"nginx"},
	}}
	stored.Selecting, _ = policy.Selecting(r.Header, stored.Header["Vary"])
	key := keyOf(r.URL.String())
	if err := p.small.Put(swarmcache.Version{Key: key, Stored: stored, Validator: etag}, []byte(body(10_000)), p.cache.Mark(key)); err != nil {
		b.Fatal(err)
	}
	return p, r
}

// reportCPU tells what an operation costs also where the machine has other work.
func reportCPU(b *testing.B) (report func()) {
	spent := func() (t time.Duration) {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := spent()
	return func() { b.ReportMetric(float64(spent()-before)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkSmallDecision is from a request to the verdict that a stored object
// answers it: the aim is 5 microseconds.
func BenchmarkSmallDecision(b *testing.B) {
	p, r := smallHit(b)
	req := policy.Request{Method: r.Method, URL: r.URL, Header: r.Header}
	defer reportCPU(b)()
	b.ReportAllocs()
	for b.Loop() {
		route := p.rules().Route(req)
		o, ok := p.small.Find(route.Key, req.Header, &route.Cache)
		if !ok {
			b.Fatal("a miss")
		}
		ver := o.Version()
		route = p.rules().AtResponse(route, ver.Stored.Status, ver.Stored.Header, ver.Length)
		if d := route.Cache.Decide(req, &ver.Stored, p.cfg.Now()); d.Action != policy.Serve {
			b.Fatal(d)
		}
	}
}

// BenchmarkLargeDecision is the same of a large object, and must not know how large.
func BenchmarkLargeDecision(b *testing.B) {
	for _, size := range []int{64 << 10, 16 << 20} {
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			p, r := largeHit(b, size)
			req := policy.Request{Method: r.Method, URL: r.URL, Header: r.Header}
			defer reportCPU(b)()
			b.ReportAllocs()
			for b.Loop() {
				route := p.rules().Route(req)
				o, err := p.cache.Local(route.Key, nil)
				if err != nil {
					b.Fatal(err)
				}
				ver := o.Version()
				route = p.rules().AtResponse(route, ver.Stored.Status, ver.Stored.Header, ver.Length)
				if d := route.Cache.Decide(req, &ver.Stored, p.cfg.Now()); d.Action != policy.Serve {
					b.Fatal(d)
				}
				o.Close()
			}
		})
	}
}

// largeHit is a proxy with one large object, and a request that it answers.
func largeHit(b *testing.B, size int) (*Proxy, *http.Request) {
	data := []byte(body(size))
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Etag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	b.Cleanup(o.Close)
	client := origin.New(origin.Config{AllowDestinations: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	b.Cleanup(client.Close)
	rules := &policy.Rules{Default: policy.Defaults{Threshold: 1}}
	p, err := New(Config{Cache: newDisk(b).open(b, 0), Origin: client, Rules: func() *policy.Rules { return rules }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Close)
	r := httptest.NewRequest("GET", o.URL+"/some/path/to/large.bin", nil)
	r.RemoteAddr = "127.0.0.1:1"
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		w := nowhere{http.Header{}}
		p.ServeHTTP(w, r.Clone(b.Context()))
		if w.header.Get("X-Cache-Status") == "HIT" {
			return p, r
		}
		if time.Now().After(end) {
			b.Fatal(w.header)
		}
	}
}

// BenchmarkSmallHit is all that the proxy does for a hit, without a network.
func BenchmarkSmallHit(b *testing.B) {
	p, r := smallHit(b)
	w := nowhere{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		p.ServeHTTP(w, r)
		if w.header.Get("X-Cache-Status") != "HIT" {
			b.Fatal(w.header)
		}
	}
}
