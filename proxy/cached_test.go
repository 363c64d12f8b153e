package proxy

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// The tests of this file run the proxy on the real cache, alone on its node:
// what the fake allows must be what the cache does.

// disk is what survives a restart of a node.
type disk struct {
	dir       string
	index     swarmcache.Index
	directory *cachetest.Directories
}

func newDisk(t testing.TB) *disk {
	return &disk{t.TempDir(), cachetest.NewIndex(), cachetest.NewDirectory()}
}

// open opens the cache that is on the disk, with size bytes for objects; 0: any number.
func (d *disk) open(t testing.TB, size int64) *swarmcache.Cache {
	t.Helper()
	self := swarmcache.Node{ID: "node-1"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: d.dir, Index: d.index, Directory: d.directory.Node(self), Node: self, Size: size,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// startReal runs a proxy on a real cache with a threshold of 256 KiB. stop ends
// both; it is called at the end of the test anyway.
func startReal(t *testing.T, d *disk, with ...func(*Config)) (n *node, stop func()) {
	t.Helper()
	c := d.open(t, 0)
	rules := &policy.Rules{Default: policy.Defaults{Threshold: 256 * policy.KiB}}
	cfg := Config{Cache: c, Rules: func() *policy.Rules { return rules }}
	for _, f := range with {
		f(&cfg)
	}
	return start(t, cfg, origin.Config{}), func() { c.Close() }
}

// sum reads a body through n and returns its digest and length.
func (n *node) sum(url string, fields ...string) (res *http.Response, digest string) {
	n.t.Helper()
	res, err := n.client().Do(request(n.t, "GET", url, fields...))
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, res.Body); err != nil {
		n.t.Errorf("%s: %v", url, err)
	}
	return res, fmt.Sprintf("%x", h.Sum(nil))
}

func digest(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// sent sums the bodies that an origin's handler sends.
type sent struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (s sent) Write(b []byte) (int, error) {
	n, err := s.ResponseWriter.Write(b)
	s.n.Add(int64(n))
	return n, err
}

const large = 8 << 20

func TestRealMissThenHit(t *testing.T) {
	o := newStore(t, body(large))
	d := newDisk(t)
	n, _ := startReal(t, d)
	res, got := n.sum(o.url + "/x.bin")
	if got != digest(o.body) || res.Header.Get("X-Cache-Status") != "MISS" {
		t.Errorf("cold: %s, %s", res.Header.Get("X-Cache-Status"), res.Header.Get("Cache-Status"))
	}
	n.whole(o.url + "/x.bin")
	o.took()
	for _, fields := range [][]string{nil, {"Range: bytes=1000000-1999999"}} {
		res, got = n.sum(o.url+"/x.bin", fields...)
		want := o.body
		if fields != nil {
			want = want[1_000_000:2_000_000]
		}
		if got != digest(want) || res.Header.Get("X-Cache-Status") != "HIT" {
			t.Errorf("warm %v: %s %s", fields, res.Status, res.Header.Get("X-Cache-Status"))
		}
	}
	for _, r := range o.took() {
		t.Errorf("the origin was asked for what is here: %s %s", r.Method, r.Header)
	}
}

// RFC 9530 §3 and §4: the digest of the whole representation, for who asks.
func TestReprDigest(t *testing.T) {
	o := newStore(t, body(large))
	n, _ := startReal(t, newDisk(t))
	url := o.url + "/x.bin"
	n.sum(url)
	n.whole(url)
	sum := sha256.Sum256([]byte(o.body))
	want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	eventually(t, "the digest is known", func() bool {
		res, _ := n.sum(url, "Want-Repr-Digest: sha-256=1")
		return res.Header.Get("Repr-Digest") == want
	})
	for fields, want := range map[string]string{
		"Accept: */*": "",
		"Want-Repr-Digest: sha-512=10, sha-256=3":       want,
		"Want-Repr-Digest: sha-512=10, sha-256=0":       "", // §4: not acceptable
		"Want-Repr-Digest: sha-512=10":                  "",
		"Want-Repr-Digest: sha-256":                     "", // not an integer
		"Want-Repr-Digest: sha-256=10=":                 "", // not a dictionary
		"Want-Repr-Digest: sha-256=11":                  "", // out of range
		"Want-Repr-Digest: sha-256=1\nRange: bytes=1-2": want,
	} {
		res, _ := n.sum(url, strings.Split(fields, "\n")...)
		if got := res.Header.Get("Repr-Digest"); got != want || res.Header.Get("X-Cache-Status") != "HIT" {
			t.Errorf("%q: %q, want %q (%s)", fields, got, want, res.Header.Get("X-Cache-Status"))
		}
	}
}

// whole waits until the object is complete on the node.
func (n *node) whole(u string) {
	n.t.Helper()
	eventually(n.t, "the object is whole", func() bool {
		obj, err := n.cache.Local(keyOf(u), nil)
		if err != nil {
			return false
		}
		defer obj.Close()
		return obj.Complete()
	})
}

func TestRealManyClientsOneDownload(t *testing.T) {
	var out atomic.Int64
	o := newStore(t, body(large))
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(sent{w, &out}, r, "", time.Time{}, strings.NewReader(o.body))
	})
	n, _ := startReal(t, newDisk(t))
	want := digest(o.body)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, got := n.sum(o.url + "/x.bin"); got != want {
				t.Error("wrong bytes")
			}
		})
	}
	wg.Wait()
	if got := float64(out.Load()) / large; got > 1.05 {
		t.Errorf("the origin sent %.2f of the object", got)
	}
}

func TestRealColdRangeFillsItsOwnSpans(t *testing.T) {
	var out atomic.Int64
	o := newStore(t, body(64<<20))
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(sent{w, &out}, r, "", time.Time{}, strings.NewReader(o.body))
	})
	n, _ := startReal(t, newDisk(t))
	res, got := n.sum(o.url+"/x.bin", "Range: bytes=40000000-40000999")
	if res.StatusCode != 206 || got != digest(o.body[40_000_000:40_001_000]) {
		t.Errorf("got %s", res.Status)
	}
	if out.Load() > 16<<20 {
		t.Errorf("%d bytes fetched for a range of 1000", out.Load())
	}
}

func TestRealHitAfterRestart(t *testing.T) {
	o, d := newStore(t, body(large)), newDisk(t)
	n, stop := startReal(t, d)
	n.sum(o.url + "/x.bin")
	eventually(t, "the catalogue says complete", func() bool {
		id, err := d.index.Current(keyOf(o.url + "/x.bin"))
		if err != nil {
			return false
		}
		rec, err := d.index.Get(id)
		return err == nil && rec.Complete
	})
	stop()
	o.took()
	n, _ = startReal(t, d)
	res, got := n.sum(o.url + "/x.bin")
	if got != digest(o.body) || res.Header.Get("X-Cache-Status") != "HIT" || len(o.took()) != 0 {
		t.Errorf("after a restart: %s", res.Header.Get("X-Cache-Status"))
	}
}

func TestRealOriginDiesInMidBody(t *testing.T) {
	o := newStore(t, body(large))
	var first atomic.Bool
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if !first.Swap(true) {
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", fmt.Sprint(large))
			io.WriteString(w, o.body[:large/2])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(o.body))
	})
	n, _ := startReal(t, newDisk(t))
	if _, got := n.sum(o.url + "/x.bin"); got != digest(o.body) {
		t.Error("the client did not get the right bytes")
	}
}

func TestRealRevalidation(t *testing.T) {
	o := newStore(t, body(large))
	n, _ := startReal(t, newDisk(t))
	n.sum(o.url + "/x.bin")
	n.whole(o.url + "/x.bin")
	for range 2 {
		res, got := n.sum(o.url+"/x.bin", "Cache-Control: no-cache")
		if got != digest(o.body) || res.Header.Get("X-Cache-Status") != "REVALIDATED" {
			t.Errorf("got %s", res.Header.Get("X-Cache-Status"))
		}
	}
	o.becomes(body(large+1), `"v2"`)
	res, got := n.sum(o.url+"/x.bin", "Cache-Control: no-cache")
	if got != digest(o.body) || res.Header.Get("X-Cache-Status") != "EXPIRED" || res.Header.Get("Etag") != `"v2"` {
		t.Errorf("a changed object: %s with %s", res.Header.Get("X-Cache-Status"), res.Header.Get("Etag"))
	}
	n.do(request(t, "PUT", o.url+"/x.bin"))
	o.becomes(body(large+2), `"v3"`)
	res, got = n.sum(o.url + "/x.bin")
	if got != digest(o.body) || res.Header.Get("X-Cache-Status") != "MISS" {
		t.Errorf("after a PUT: %s", res.Header.Get("X-Cache-Status"))
	}
}

func TestRealUnknownLength(t *testing.T) {
	o := newStore(t, body(large))
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		for rest := o.body; rest != ""; rest = rest[min(len(rest), 1<<20):] {
			io.WriteString(w, rest[:min(len(rest), 1<<20)])
			http.NewResponseController(w).Flush()
		}
	})
	n, _ := startReal(t, newDisk(t))
	if _, got := n.sum(o.url + "/x"); got != digest(o.body) {
		t.Error("wrong bytes")
	}
	n.whole(o.url + "/x")
	o.took()
	res, got := n.sum(o.url + "/x")
	if got != digest(o.body) || res.Header.Get("X-Cache-Status") != "HIT" || len(o.took()) != 0 {
		t.Errorf("then: %s", res.Header.Get("X-Cache-Status"))
	}
}

func TestRealDirectoryAway(t *testing.T) {
	o, d := newStore(t, body(large)), newDisk(t)
	d.directory.SetAvailable(false)
	n, _ := startReal(t, d)
	for _, word := range []string{"MISS", "HIT"} {
		res, got := n.sum(o.url + "/x.bin")
		if got != digest(o.body) || res.Header.Get("X-Cache-Status") != word {
			t.Errorf("want %s: %s", word, res.Header.Get("Cache-Status"))
		}
		n.whole(o.url + "/x.bin")
	}
	if len(o.took()) != 1 {
		t.Error("not one GET")
	}
}

func TestRealNoSpace(t *testing.T) {
	o, d := newStore(t, body(large)), newDisk(t)
	n := start(t, Config{Cache: d.open(t, 1<<20)}, origin.Config{})
	if _, got := n.sum(o.url + "/x"); got != digest(o.body) {
		t.Error("a full cache costs the client its bytes")
	}
}

// A cookie in the response is one client's: no cache may give it, or the body
// that came with it, to another (RFC 6265 §7, RFC 9111 §7.3).
func TestRealSetCookieIsNotShared(t *testing.T) {
	body := strings.Repeat("x", 512<<10)
	var gets atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Set-Cookie", fmt.Sprintf("session=%d", gets.Add(1)))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	})
	n, _ := startReal(t, newDisk(t))
	for i := range int64(2) {
		res, got := n.sum(url + "/file.bin")
		if got != digest(body) {
			t.Errorf("download %d: wrong bytes", i)
		}
		if want := fmt.Sprintf("session=%d", i+1); res.Header.Get("Set-Cookie") != want {
			t.Errorf("download %d: cookie %q, want %q", i, res.Header.Get("Set-Cookie"), want)
		}
	}
	if gets.Load() != 2 {
		t.Errorf("%d requests at the origin, want 2", gets.Load())
	}
}

// A client with a cookie revalidates: the object stays for the others.
func TestRealCookieDoesNotFlush(t *testing.T) {
	body := strings.Repeat("x", 512<<10)
	var whole atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Cache-Control", "no-cache") // stored, and asked about every time
		if r.Header.Get("If-None-Match") == "" {
			whole.Add(1)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	})
	n, _ := startReal(t, newDisk(t))
	n.sum(url + "/file.bin")
	n.whole(url + "/file.bin")
	for _, fields := range [][]string{{"Cookie: a=b"}, {"Authorization: Basic eDp5"}, nil} {
		if _, got := n.sum(url+"/file.bin", fields...); got != digest(body) {
			t.Errorf("%v: wrong bytes", fields)
		}
	}
	if whole.Load() != 1 {
		t.Errorf("the origin sent the whole %d times, want once", whole.Load())
	}
}
