package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
)

const etag = `"v1"`

// body makes a body of n bytes.
func body(n int) string {
	b := make([]byte, n)
	(&counting{uint32(n)}).Read(b)
	return string(b)
}

// store is an origin with one object, which counts its requests.
type store struct {
	url string

	mu       sync.Mutex
	body     string
	header   http.Header
	handler  http.HandlerFunc // instead of the object
	requests []*http.Request
}

// newStore serves b with max-age, an entity tag and ranges.
func newStore(t *testing.T, b string) *store {
	s := &store{body: b, header: http.Header{
		"Cache-Control": {"max-age=60"}, "Etag": {etag}, "Content-Type": {"application/octet-stream"},
	}}
	s.url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Clone(t.Context()))
		b, handler := s.body, s.handler
		for name, lines := range s.header {
			w.Header()[name] = lines
		}
		s.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(b))
	})
	return s
}

func (s *store) set(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header.Set(name, value)
}

func (s *store) becomes(body, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = body
	s.header.Set("Etag", etag)
}

func (s *store) answers(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

// took returns the requests since the last time.
func (s *store) took() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests
	s.requests = nil
	return r
}

// want checks an answer: its status, body, nginx's word, and that Cache-Status
// parses and holds the given parameters.
func wantAnswer(t *testing.T, res *http.Response, got string, status int, body, word string, params ...string) {
	t.Helper()
	if res.StatusCode != status || got != body {
		t.Errorf("got %s with %d bytes, want %d with %d", res.Status, len(got), status, len(body))
	}
	if w := res.Header.Get("X-Cache-Status"); w != word {
		t.Errorf("X-Cache-Status %q, want %q", w, word)
	}
	field := strings.Join(res.Header["Cache-Status"], ", ")
	if _, err := httpsfv.UnmarshalList([]string{field}); err != nil || !strings.HasPrefix(field, "n1") {
		t.Errorf("Cache-Status %q: %v", field, err)
	}
	for _, p := range params {
		if !strings.Contains(field+";", "; "+p+";") && !strings.Contains(field+";", ";"+p+";") {
			t.Errorf("Cache-Status %q lacks %q", field, p)
		}
	}
	if v := res.Header.Get("Via"); v != "1.1 n1" {
		t.Errorf("Via %q", v)
	}
}

func TestSmallPassesWithoutTheDirectory(t *testing.T) {
	c, o := newFake(t), newStore(t, body(999))
	n := startCached(t, c, Config{})
	for range 2 {
		res, got := n.get(o.url + "/small")
		wantAnswer(t, res, got, 200, o.body, "MISS", "fwd=uri-miss", "fwd-status=200", "detail=small")
		c.wantCalls("local")
	}
	if len(o.took()) != 2 {
		t.Error("not one request each")
	}
}

func TestLargeIsFilledFromTheOneGetAndHitAfter(t *testing.T) {
	c, o := newFake(t), newStore(t, body(100_000))
	n := startCached(t, c, Config{})
	res, got := n.get(o.url + "/large")
	wantAnswer(t, res, got, 200, o.body, "MISS", "fwd=uri-miss", "fwd-status=200", "stored")
	c.wantCalls("local; fill 100000 body ranges=true")
	if res.ContentLength != 100_000 || res.Header.Get("Etag") != etag || res.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("head %v", res.Header)
	}
	if len(o.took()) != 1 {
		t.Error("not one GET")
	}

	res, got = n.get(o.url + "/large")
	wantAnswer(t, res, got, 200, o.body, "HIT", "hit")
	if age, err := strconv.Atoi(res.Header.Get("Age")); err != nil || age > 30 {
		t.Errorf("Age %q", res.Header.Get("Age"))
	}
	c.wantCalls("local")
	if len(o.took()) != 0 {
		t.Error("a hit asked the origin")
	}
	eventually(t, "counted", func() bool {
		return n.metric("shatabdi_requests_total", "outcome=miss") == 1 && n.metric("shatabdi_requests_total", "outcome=hit", "source=local") == 1
	})
}

func TestLoserOfTheRaceJoins(t *testing.T) {
	c, o := newFake(t), newStore(t, body(50_000))
	c.joined = c.growing(swarmcache.Version{Length: 50_000})
	c.joined.grow([]byte(o.body))
	var sent atomic.Int64
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "50000")
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		<-r.Context().Done() // the loser closes the connection unread
		k, _ := io.WriteString(w, o.body)
		sent.Add(int64(k))
	})
	n := startCached(t, c, Config{})
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "MISS", "collapsed")
	eventually(t, "counted as collapsed", func() bool { return n.metric("shatabdi_requests_total", "outcome=collapsed") == 1 })
}

func TestExpectedLargeTakesTheClaim(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	res, got := n.get(o.url + "/a.iso")
	wantAnswer(t, res, got, 200, o.body, "MISS", "stored")
	c.wantCalls("local; claim; fill 5000 body ranges=true")
	if c.open != 0 {
		t.Error("the claim was not released")
	}
}

func TestClaimIsReleasedWhateverTheAnswer(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"small":     func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") },
		"not found": http.NotFound,
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		c, o := newFake(t), newStore(t, "")
		o.answers(answer)
		n := startCached(t, c, Config{})
		n.get(o.url + "/a.iso")
		c.wantCalls("local; claim")
		if c.open != 0 {
			t.Errorf("%s: the claim was not released", name)
		}
	}
}

func TestOthersWaitForTheClaimerAndFindItsFill(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	u, _ := url.Parse(o.url + "/a.iso")
	c.claims = []error{&swarmcache.ClaimedError{Holder: "other"}}
	c.claimed = func() {
		obj := c.growing(swarmcache.Version{
			Key: policy.KeyOf(u, policy.KeyRule{}), Length: 5000,
			Stored: policy.Stored{Status: 200, Header: http.Header{"Cache-Control": {"max-age=60"}}, RequestTime: time.Now(), ResponseTime: time.Now()},
		})
		obj.grow([]byte(o.body)[:100])
		time.AfterFunc(10*time.Millisecond, func() { obj.grow([]byte(o.body)[100:]) })
		c.mu.Lock()
		c.cluster[obj.ver.Key] = obj
		c.mu.Unlock()
	}
	res, got := n.get(u.String())
	wantAnswer(t, res, got, 200, o.body, "MISS", "fwd=uri-miss", "collapsed")
	c.wantCalls("local; claim; lookup")
	if len(o.took()) != 0 {
		t.Error("the origin was asked")
	}
}

// Those who waited for another's first GET all ask the directory in the same
// moment. Whom it does not answer at once asks again, and not the origin.
func TestOthersAskAgainWhatTheClaimerOpened(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	u, _ := url.Parse(o.url + "/a.iso")
	c.silent, c.claims = 2, []error{&swarmcache.ClaimedError{Holder: "other"}}
	obj := c.growing(swarmcache.Version{
		Key: policy.KeyOf(u, policy.KeyRule{}), Length: 5000,
		Stored: policy.Stored{Status: 200, Header: http.Header{"Cache-Control": {"max-age=60"}}, RequestTime: time.Now(), ResponseTime: time.Now()},
	})
	obj.grow([]byte(o.body))
	c.cluster[obj.ver.Key] = obj
	if res, got := n.get(u.String()); res.StatusCode != 200 || got != o.body {
		t.Errorf("%d with %d bytes", res.StatusCode, len(got))
	}
	c.wantCalls("local; claim; lookup; lookup; lookup")
	if len(o.took()) != 0 {
		t.Error("the origin was asked")
	}
}

func TestClaimRoundsAreBounded(t *testing.T) {
	c, o := newFake(t), newStore(t, "small")
	taken := &swarmcache.ClaimedError{Holder: "other"}
	c.claims = []error{taken, taken, taken, taken, taken, taken}
	n := startCached(t, c, Config{})
	res, got := n.get(o.url + "/a.iso")
	wantAnswer(t, res, got, 200, "small", "MISS", "detail=small")
	c.wantCalls("local; claim; lookup; claim; lookup; claim; lookup")
	// What was small before is not worth a claim.
	n.get(o.url + "/a.iso")
	c.wantCalls("local")
}

func TestCacheFailuresAreNotTheClients(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	c.lookup, c.claims, c.fill = errAway, []error{errAway}, swarmcache.ErrNoSpace
	n := startCached(t, c, Config{})
	res, got := n.get(o.url + "/a.iso")
	wantAnswer(t, res, got, 200, o.body, "MISS", "detail=unavailable")
	c.wantCalls("local; claim; fill 5000 body ranges=true")
	res, got = n.get(o.url+"/b", "Range: bytes=10-19")
	wantAnswer(t, res, got, 206, o.body[10:20], "MISS", "detail=unavailable")
	if n.metric("shatabdi_cache_degraded_total") != 3 {
		t.Errorf("%v failures counted", n.metric("shatabdi_cache_degraded_total"))
	}
	if len(o.took()) != 2 {
		t.Error("not one request each")
	}
}

func TestColdRangeOpensAFillAndServesTheRange(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	key := keyOf(o.url + "/x")
	go func() { // the fill's own fetching
		for {
			c.mu.Lock()
			obj := c.objects[key]
			c.mu.Unlock()
			if obj != nil {
				obj.grow([]byte(o.body)[:4000])
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	res, got := n.get(o.url+"/x", "Range: bytes=1000-1999")
	wantAnswer(t, res, got, 206, o.body[1000:2000], "MISS", "fwd-status=206")
	c.wantCalls("local; fill 5000 nil ranges=true")
	if cr := res.Header.Get("Content-Range"); cr != "bytes 1000-1999/5000" {
		t.Errorf("Content-Range %q", cr)
	}
	obj := c.objects[key]
	if fmt.Sprint(obj.reads) != "[1000-2000]" {
		t.Errorf("wanted %v, want only the range", obj.reads)
	}
	if s := obj.ver.Stored; s.Status != 200 || s.Header.Get("Content-Range") != "" || obj.ver.Validator != etag {
		t.Errorf("stored as %+v", obj.ver)
	}
}

func keyOf(u string) policy.Key {
	parsed, err := url.Parse(u)
	if err != nil {
		panic(err)
	}
	return policy.KeyOf(parsed, policy.KeyRule{})
}

func TestRangesThatPassThrough(t *testing.T) {
	o := newStore(t, body(5000))
	for _, tt := range []struct {
		name   string
		fields []string
		path   string
		etag   string
		calls  string
	}{
		{"several", []string{"Range: bytes=0-9,20-29"}, "/x", etag, "local"},
		{"weak validator", []string{"Range: bytes=0-9"}, "/x", `W/"v1"`, "local"},
		{"signed by header", []string{"Range: bytes=0-9", "Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;range;x-amz-date, Signature=ff"}, "/x", etag, ""},
		{"signed by query", []string{"Range: bytes=0-9"}, "/x?X-Amz-SignedHeaders=host%3Brange&X-Amz-Signature=ff", etag, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newFake(t)
			n := startCached(t, c, Config{})
			o.set("Etag", tt.etag)
			res, _ := n.get(o.url+tt.path, tt.fields...)
			sent := o.took()
			want, _, _ := strings.Cut(strings.TrimPrefix(tt.fields[0], "Range: "), "\r")
			if res.StatusCode != 206 || len(sent) != 1 || sent[0].Header.Get("Range") != want {
				t.Errorf("got %s; the origin saw %d requests", res.Status, len(sent))
			}
			c.wantCalls(tt.calls)
		})
	}
}

func TestHead(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	res, got := n.do(request(t, "HEAD", o.url+"/x.iso"))
	wantAnswer(t, res, got, 200, "", "MISS", "detail=method")
	if res.ContentLength != 5000 || len(o.took()) != 1 {
		t.Errorf("cold HEAD: length %d", res.ContentLength)
	}
	n.get(o.url + "/x.iso")
	o.took()
	res, got = n.do(request(t, "HEAD", o.url+"/x.iso"))
	wantAnswer(t, res, got, 200, "", "HIT", "hit")
	if res.ContentLength != 5000 || len(o.took()) != 0 {
		t.Errorf("warm HEAD: length %d", res.ContentLength)
	}
	// A stale object is neither revalidated nor lost by a HEAD.
	c.objects[keyOf(o.url+"/x.iso")].ver.Stored.ResponseTime = time.Now().Add(-time.Hour)
	c.took()
	res, _ = n.do(request(t, "HEAD", o.url+"/x.iso"))
	if sent := o.took(); len(sent) != 1 || sent[0].Method != "HEAD" || sent[0].Header.Get("If-None-Match") != "" || res.ContentLength != 5000 {
		t.Errorf("stale HEAD: %v", sent)
	}
	if calls := c.took(); strings.Contains(calls, "withdraw") {
		t.Error(calls)
	}
}

// stale makes a proxy with o's object stored an hour ago.
func stale(t *testing.T, o *store) (*node, *fakeCache) {
	c := newFake(t)
	n := startCached(t, c, Config{})
	n.get(o.url + "/x")
	obj := c.objects[keyOf(o.url+"/x")]
	eventually(t, "complete", obj.Complete)
	obj.ver.Stored.ResponseTime = time.Now().Add(-time.Hour)
	obj.ver.Stored.RequestTime = obj.ver.Stored.ResponseTime
	obj.ver.Stored.Header.Set("Date", obj.ver.Stored.ResponseTime.UTC().Format(http.TimeFormat))
	c.took()
	o.took()
	return n, c
}

func TestRevalidated(t *testing.T) {
	o := newStore(t, body(5000))
	n, c := stale(t, o)
	o.set("X-New", "1")
	// The client's own conditions are about its own copy.
	res, got := n.get(o.url+"/x", "If-None-Match: \"other\"", "Range: bytes=1-9")
	wantAnswer(t, res, got, 206, o.body[1:10], "REVALIDATED", "fwd=stale", "fwd-status=304")
	c.wantCalls("local; refresh")
	if sent := o.took(); len(sent) != 1 || sent[0].Header.Get("If-None-Match") != etag || sent[0].Header.Get("Range") != "" {
		t.Errorf("the origin saw %v", sent)
	}
	if res.Header.Get("X-New") != "1" {
		t.Error("the head is not freshened (RFC 9111 §4.3.4)")
	}
	res, got = n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "HIT")
	if len(o.took()) != 0 {
		t.Error("not fresh after revalidation")
	}
	eventually(t, "counted", func() bool { return n.metric("shatabdi_requests_total", "outcome=revalidated") == 1 })
}

func TestRevalidationWithPermissionWithdrawn(t *testing.T) {
	o := newStore(t, body(5000))
	n, c := stale(t, o)
	o.set("Cache-Control", "private")
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "REVALIDATED")
	c.wantCalls("local; withdraw")
}

func TestClientNoCacheRevalidates(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	n.get(o.url + "/x")
	o.took()
	res, got := n.get(o.url+"/x", "Cache-Control: no-cache")
	wantAnswer(t, res, got, 200, o.body, "REVALIDATED", "fwd=request")
	if sent := o.took(); len(sent) != 1 || sent[0].Header.Get("If-None-Match") != etag {
		t.Error("not a revalidation")
	}
}

func TestChangedObjectIsANewVersion(t *testing.T) {
	o := newStore(t, body(5000))
	n, c := stale(t, o)
	o.becomes(body(6000), `"v2"`)
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "EXPIRED", "fwd=stale", "fwd-status=200", "stored")
	c.wantCalls("local; fill 6000 body ranges=true")
	if v := c.objects[keyOf(o.url+"/x")].ver; v.Validator != `"v2"` || res.Header.Get("Etag") != `"v2"` {
		t.Errorf("validator %s", v.Validator)
	}
}

func TestAnswersThatEndAStoredObject(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		calls  string
	}{
		{"small now", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "tiny") }, 200, "local; withdraw"},
		{"no-store now", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			io.WriteString(w, body(5000))
		}, 200, "local; withdraw"},
		{"not found", http.NotFound, 404, "local; withdraw"},
		{"gone", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(410) }, 410, "local; withdraw"},
		{"moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/y", http.StatusMovedPermanently) }, 301, "local; withdraw"},
		{"server error", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }, 503, "local"},
		{"forbidden", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }, 403, "local"},
		{"no answer", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, 502, "local"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newStore(t, body(5000))
			n, c := stale(t, o)
			o.answers(tt.answer)
			res, _ := n.get(o.url + "/x")
			if res.StatusCode != tt.status {
				t.Errorf("got %s, want %d", res.Status, tt.status)
			}
			c.wantCalls(tt.calls)
		})
	}
}

func TestNotModifiedAboutSomethingElse(t *testing.T) {
	o := newStore(t, body(5000))
	n, c := stale(t, o)
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v3"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("Content-Length", "5000")
		io.WriteString(w, o.body)
	})
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "EXPIRED", "stored")
	c.wantCalls("local; fill 5000 body ranges=false")
	if len(o.took()) != 2 {
		t.Error("want the revalidation and one GET")
	}
}

func TestNotStoredButPassed(t *testing.T) {
	for _, tt := range []struct{ name, field, request, detail string }{
		{"no-store", "Cache-Control: no-store", "", "no-store"},
		{"private", "Cache-Control: private", "", "private"},
		{"authorization", "Cache-Control: max-age=60", "Authorization: Bearer x", "authorization"},
		{"cookie", "Cache-Control: max-age=60", "Cookie: a=b", "cookie"},
		{"vary on everything", "Vary: *", "", "vary"},
	} {
		c, o := newFake(t), newStore(t, body(5000))
		name, value, _ := strings.Cut(tt.field, ": ")
		o.set(name, value)
		n := startCached(t, c, Config{})
		var fields []string
		if tt.request != "" {
			fields = []string{tt.request}
		}
		res, got := n.get(o.url+"/x", fields...)
		wantAnswer(t, res, got, 200, o.body, "MISS", "detail="+tt.detail)
		c.wantCalls("local")
	}
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	o := newStore(t, body(5000))
	n, c := stale(t, o)
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("fail") {
			w.WriteHeader(500)
		}
	})
	n.do(request(t, "POST", o.url+"/x?fail"))
	c.wantCalls("")
	n.do(request(t, "PUT", o.url+"/x"))
	c.wantCalls("local; withdraw")
	n.do(request(t, "DELETE", o.url+"/elsewhere"))
	eventually(t, "withdrawn in the cluster", func() bool { return strings.Contains(c.took(), "withdraw") })
}

func TestUnknownLengthIsSpooled(t *testing.T) {
	for _, tt := range []struct {
		name        string
		size        int
		http10, cut bool
		spool       error
		calls       string
	}{
		{"large", 600_000, false, false, nil, "local; spool; commit 600000 at least 1000"},
		{"small enough for memory", 5000, false, false, nil, "local; spool; commit 5000 at least 1000"},
		{"below the threshold", 999, false, false, nil, "local; spool; abort"},
		{"cut short", 600_000, false, true, nil, "local; spool; abort"},
		{"ends with the connection", 600_000, true, false, nil, "local"},
		{"disk full", 600_000, false, false, swarmcache.ErrNoSpace, "local; spool; abort"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, want := newFake(t), body(tt.size)
			c.spool = tt.spool
			at := raw(t, func(w *wire) {
				if _, err := http.ReadRequest(w.r); err != nil {
					return
				}
				head, chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", true
				if tt.http10 {
					head, chunked = "HTTP/1.0 200 OK", false
				}
				w.send("%s\r\nEtag: %s\r\nCache-Control: max-age=60\r\n\r\n", head, etag)
				for rest := want; rest != ""; {
					k := min(len(rest), 50_000)
					if chunked {
						w.send("%x\r\n%s\r\n", k, rest[:k])
					} else {
						w.send("%s", rest[:k])
					}
					rest = rest[k:]
				}
				if chunked && !tt.cut {
					w.send("0\r\n\r\n")
				}
			})
			n := startCached(t, c, Config{})
			res, err := n.client().Get("http://" + at + "/x")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if (err != nil) != tt.cut || !tt.cut && string(got) != want {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			eventually(t, "the request ends", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
			n.work.Wait()
			c.wantCalls(tt.calls)
			if strings.Contains(tt.calls, "commit") {
				res, got := n.get("http://" + at + "/x")
				wantAnswer(t, res, got, 200, want, "HIT")
			}
		})
	}
}

// broken is a proxy whose cache has an object that stops growing after have bytes.
func broken(t *testing.T, o *store, have int, err error) (*node, *fakeCache) {
	c := newFake(t)
	n := startCached(t, c, Config{})
	obj := c.growing(swarmcache.Version{
		Key: keyOf(o.url + "/x"), Length: int64(len(o.body)), Validator: etag,
		Stored: policy.Stored{Status: 200, Header: http.Header{"Cache-Control": {"max-age=60"}, "Etag": {etag}, "Content-Type": {"a/b"}}, RequestTime: time.Now(), ResponseTime: time.Now()},
	})
	obj.grow([]byte(o.body)[:have])
	obj.err = err
	c.put(obj)
	return n, c
}

func TestBrokenFillIsContinuedFromTheOrigin(t *testing.T) {
	o := newStore(t, body(200_000))
	n, _ := broken(t, o, 70_000, swarmcache.ErrFillEnded)
	res, got := n.get(o.url + "/x")
	if got != o.body || res.ContentLength != 200_000 {
		t.Errorf("got %d bytes of %d", len(got), res.ContentLength)
	}
	sent := o.took()
	if len(sent) != 1 || sent[0].Header.Get("Range") != "bytes=70000-199999" || sent[0].Header.Get("If-Range") != etag {
		t.Errorf("the origin saw %v", sent)
	}
	if n.metric("shatabdi_resumes_total", "result=continued") != 1 {
		t.Error("not counted")
	}
	eventually(t, "the bytes from the origin are told apart", func() bool {
		return n.metric("shatabdi_client_bytes_total", "source=origin") == 130_000
	})
}

// An origin that has no ranges gives all of it once more; the client gets what it lacks.
func TestBrokenFillIsContinuedWithoutRanges(t *testing.T) {
	o := newStore(t, body(200_000))
	n, _ := broken(t, o, 70_000, swarmcache.ErrFillEnded)
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "200000")
		io.WriteString(w, o.body)
	})
	if _, got := n.get(o.url + "/x"); got != o.body {
		t.Errorf("got %d bytes", len(got))
	}
	if _, got := n.get(o.url+"/x", "Range: bytes=60000-89999"); got != o.body[60_000:90_000] {
		t.Errorf("got %d bytes", len(got))
	}
	if n.metric("shatabdi_resumes_total", "result=continued") != 2 {
		t.Error("not counted")
	}
}

func TestBrokenRangeIsContinuedToItsEnd(t *testing.T) {
	o := newStore(t, body(200_000))
	n, _ := broken(t, o, 70_000, io.ErrUnexpectedEOF)
	res, got := n.get(o.url+"/x", "Range: bytes=60000-89999")
	if got != o.body[60_000:90_000] || res.StatusCode != 206 {
		t.Errorf("got %d bytes", len(got))
	}
	if sent := o.took(); len(sent) != 1 || sent[0].Header.Get("Range") != "bytes=70000-89999" {
		t.Errorf("the origin saw %v", sent)
	}
}

// What cannot be continued with the very same version is cut off, not mixed.
func TestBrokenFillIsNeverMixed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(o *store, c *fakeCache)
	}{
		{"changed", func(o *store, _ *fakeCache) { o.becomes(body(200_000), `"v2"`) }},
		{"another validator in the 206", func(o *store, _ *fakeCache) {
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", `"v2"`)
				w.Header().Set("Content-Range", "bytes 70000-199999/200000")
				w.WriteHeader(206)
			})
		}},
		{"another range", func(o *store, _ *fakeCache) {
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Range", "bytes 70001-199999/200000")
				w.WriteHeader(206)
			})
		}},
		{"another coding", func(o *store, _ *fakeCache) {
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				w.Header().Set("Content-Range", "bytes 70000-199999/200000")
				w.WriteHeader(206)
			})
		}},
		{"no ranges, and no length", func(o *store, _ *fakeCache) {
			o.answers(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, o.body) })
		}},
		{"no ranges, and another validator", func(o *store, _ *fakeCache) {
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Etag", `"v2"`)
				w.Header().Set("Content-Length", "200000")
				io.WriteString(w, o.body)
			})
		}},
		{"no ranges, and another length", func(o *store, _ *fakeCache) {
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "199999")
				io.WriteString(w, o.body[1:])
			})
		}},
		{"no strong validator", func(o *store, c *fakeCache) {
			for _, obj := range c.objects {
				obj.ver.Validator = ""
			}
		}},
		{"dies again and again", func(o *store, _ *fakeCache) {
			o.answers(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newStore(t, body(200_000))
			want := o.body
			n, c := broken(t, o, 70_000, swarmcache.ErrFillEnded)
			tt.change(o, c)
			res, err := n.client().Get(o.url + "/x")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil || string(got) != want[:70_000] {
				t.Errorf("got %d bytes, %v: want the 70000 right ones and a broken end", len(got), err)
			}
			eventually(t, "counted", func() bool {
				return n.metric("shatabdi_request_errors_total", "type=http_response_incomplete") == 1
			})
		})
	}
}

func TestFillThatNeverBeganGoesToTheOrigin(t *testing.T) {
	o := newStore(t, body(200_000))
	n, c := broken(t, o, 0, swarmcache.ErrFillEnded)
	o.becomes(body(300), `"v2"`)
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "MISS", "detail=unavailable")
	if res.Header.Get("Etag") != `"v2"` || res.Header.Get("Age") != "" {
		t.Errorf("the heads are mixed: %v", res.Header)
	}
	c.wantCalls("local; lookup")
}

func TestFillOutlivesTheClient(t *testing.T) {
	c, o := newFake(t), newStore(t, body(300_000))
	half, rest := make(chan struct{}), make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "300000")
		io.WriteString(w, o.body[:100_000])
		http.NewResponseController(w).Flush()
		close(half)
		<-rest
		io.WriteString(w, o.body[100_000:])
	})
	n := startCached(t, c, Config{})
	w := n.dial()
	w.send("GET %s/x HTTP/1.1\r\nHost: x\r\n\r\n", o.url)
	w.head()
	<-half
	w.Close()
	eventually(t, "the request ends", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
	close(rest)
	eventually(t, "the fill ends", func() bool { return c.objects[keyOf(o.url+"/x")].size() == 300_000 })
	if n.metric("shatabdi_request_errors_total", "type=canceled") != 1 {
		t.Error("not counted as canceled")
	}
}

func TestGrowingObjectServesBeforeItIsWhole(t *testing.T) {
	c, o := newFake(t), newStore(t, body(300_000))
	rest := make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "300000")
		io.WriteString(w, o.body[:1000])
		http.NewResponseController(w).Flush()
		<-rest
		io.WriteString(w, o.body[1000:])
	})
	n := startCached(t, c, Config{})
	res, err := n.client().Get(o.url + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, 1000)
	if _, err := io.ReadFull(res.Body, got); err != nil {
		t.Fatal(err)
	}
	close(rest)
	tail, err := io.ReadAll(res.Body)
	if err != nil || string(got)+string(tail) != o.body {
		t.Errorf("%v, %d bytes", err, len(got)+len(tail))
	}
}

func TestStoredObjectAnswersRangesAndConditions(t *testing.T) {
	for _, complete := range []bool{true, false} {
		t.Run(fmt.Sprintf("complete=%v", complete), func(t *testing.T) {
			o := newStore(t, body(5000))
			n, c := broken(t, o, 5000, nil)
			obj := c.objects[keyOf(o.url+"/x")]
			obj.ver.Stored.Header.Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
			if !complete { // all bytes are there to read, and it does not know
				obj.data = append(obj.data, 'x')
			}
			for _, tt := range []struct {
				fields []string
				status int
				body   string
				reads  string
			}{
				{[]string{"Range: bytes=0-0"}, 206, o.body[:1], "[0-1]"},
				{[]string{"Range: bytes=100-199"}, 206, o.body[100:200], "[100-200]"},
				{[]string{"Range: bytes=4990-"}, 206, o.body[4990:], "[4990-5000]"},
				{[]string{"Range: bytes=-10"}, 206, o.body[4990:], "[4990-5000]"},
				{[]string{"Range: bytes=5000-"}, 416, "", "[]"},
				{[]string{"Range: bytes=0-9", "If-Range: " + etag}, 206, o.body[:10], "[0-10]"},
				{[]string{"Range: bytes=0-9", `If-Range: "old"`}, 200, o.body, "[0-5000]"},
				{[]string{"Range: lines=1-2"}, 200, o.body, "[0-5000]"}, // another unit is ignored
				{[]string{"If-None-Match: " + etag}, 304, "", "[]"},
				{[]string{`If-None-Match: "old"`}, 200, o.body, "[0-5000]"},
				{[]string{"If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT"}, 304, "", "[]"},
				{[]string{"If-Match: " + etag, "Range: bytes=0-9"}, 206, o.body[:10], "[0-10]"},
			} {
				obj.reads = nil
				res, got := n.get(o.url+"/x", tt.fields...)
				if res.StatusCode != tt.status || tt.body != "" && got != tt.body {
					t.Errorf("%v: got %s with %d bytes, want %d", tt.fields, res.Status, len(got), tt.status)
				}
				if !complete && fmt.Sprint(obj.reads) != tt.reads {
					t.Errorf("%v: wanted %v, want %v", tt.fields, obj.reads, tt.reads)
				}
			}
			if len(o.took()) != 0 {
				t.Error("the origin was asked")
			}

			obj.reads = nil
			res, got := n.get(o.url+"/x", "Range: bytes=0-9,100-109")
			_, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
			if err != nil || res.StatusCode != 206 {
				t.Fatalf("%s %v: %v", res.Status, res.Header, err)
			}
			parts := multipart.NewReader(strings.NewReader(got), params["boundary"])
			for _, want := range []string{o.body[:10], o.body[100:110]} {
				part, err := parts.NextPart()
				if err != nil {
					t.Fatal(err)
				}
				if b, _ := io.ReadAll(part); string(b) != want {
					t.Errorf("part %q", b)
				}
			}
			if !complete && fmt.Sprint(obj.reads) != "[0-10 100-110]" {
				t.Errorf("several ranges: wanted %v", obj.reads)
			}
		})
	}
}

// ServeContent reads several ranges in a goroutine, which must end with us.
func TestClientGoneWhileSeveralRangesAreAwaited(t *testing.T) {
	o := newStore(t, body(200_000))
	n, c := broken(t, o, 1000, nil) // grows no more
	w := n.dial()
	w.send("GET %s/x HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,1000-199999\r\n\r\n", o.url)
	w.head()
	w.Close()
	eventually(t, "the request ends", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
	c.objects[keyOf(o.url+"/x")].grow([]byte(o.body)[1000:])
	if n.metric("shatabdi_request_errors_total", "type=canceled") != 1 {
		t.Error("not counted as canceled")
	}
}

// RFC 9111 §4.3.2: these speak of the origin's state.
func TestPreconditionsThatFailHereAskTheOrigin(t *testing.T) {
	o := newStore(t, body(5000))
	n, c := broken(t, o, 5000, nil)
	o.becomes(body(6000), `"v2"`)
	c.took()
	res, got := n.get(o.url+"/x", `If-Match: "v2"`)
	wantAnswer(t, res, got, 200, o.body, "BYPASS", "fwd=request")
	res, _ = n.get(o.url+"/x", "If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT")
	if len(o.took()) != 2 || res.Header.Get("X-Cache-Status") != "BYPASS" {
		t.Error("the origin was not asked")
	}
}

func TestCodedObjectKeepsItsLength(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	o.set("Content-Encoding", "gzip")
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5000")
		io.WriteString(w, o.body)
	})
	n := startCached(t, c, Config{})
	for _, word := range []string{"MISS", "HIT"} {
		res, got := n.get(o.url + "/x")
		wantAnswer(t, res, got, 200, o.body, word)
		if res.ContentLength != 5000 || res.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: length %d, coding %q", word, res.ContentLength, res.Header.Get("Content-Encoding"))
		}
	}
}

func TestModePassTurnsCachingOff(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	mode := "cache"
	n := startCached(t, c, Config{Mode: func() string { return mode }})
	n.get(o.url + "/x.iso")
	c.took()
	mode = "pass"
	res, got := n.get(o.url + "/x.iso")
	if got != o.body || res.Header.Get("Cache-Status") != "" { // of no cache
		t.Errorf("%d bytes, %v", len(got), res.Header)
	}
	c.wantCalls("")
	if len(o.took()) != 2 {
		t.Error("the cache answered")
	}
}

func TestRoutes(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+r.RequestURI)
	}))
	defer secure.Close()
	pool := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	rules := &policy.Rules{Rules: []policy.Rule{
		{Path: "/denied", Route: policy.Deny},
		{Path: "/secure", Upgrade: "https"},
		{Path: "/passed", Route: policy.Pass},
	}}
	n := start(t, Config{Rules: func() *policy.Rules { return rules }}, origin.Config{
		TLS: &tls.Config{RootCAs: pool}, AllowDestinations: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	c := newFake(t)
	n.cache = c
	at := strings.Replace(secure.URL, "https:", "http:", 1)

	res, got := n.get(at + "/denied")
	wantFailure(t, res, got, 403, "http_request_denied")
	_, got = n.get(at + "/secure?q")
	if got != strings.TrimPrefix(at, "http://")+"/secure?q" {
		t.Errorf("upgraded request: %q", got)
	}
	c.took()
	n.get(at + "/passed")
	c.wantCalls("")
}

func TestOnlyIfCached(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	res, got := n.get(o.url+"/x.iso", "Cache-Control: only-if-cached")
	if res.StatusCode != 504 || len(o.took()) != 0 {
		t.Errorf("got %s %q (RFC 9111 §5.2.1.7)", res.Status, got)
	}
	c.wantCalls("local; lookup")
}

func TestVariantsAreNotMixed(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	o.set("Vary", "Accept-Encoding")
	n := startCached(t, c, Config{})
	n.get(o.url+"/x", "Accept-Encoding: br")
	res, _ := n.get(o.url+"/x", "Accept-Encoding: br")
	if res.Header.Get("X-Cache-Status") != "HIT" {
		t.Error("the same variant is no hit")
	}
	o.took()
	res, got := n.get(o.url+"/x", "Accept-Encoding: zstd")
	wantAnswer(t, res, got, 200, o.body, "MISS", "fwd=vary-miss")
	if len(o.took()) != 1 {
		t.Error("the origin was not asked")
	}
}

func TestSharedQueryIsNotPublished(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{}, policy.Rule{Path: "/**", Key: policy.KeyRule{IgnoreQuery: true}})
	res, got := n.get(o.url + "/x?X-Amz-Signature=secret")
	wantAnswer(t, res, got, 200, o.body, "MISS", "stored")
	for key, obj := range c.objects {
		if strings.Contains(string(key)+obj.ver.URL, "secret") {
			t.Errorf("key %s, URL %s", key, obj.ver.URL)
		}
	}
}

func TestSeenForgetsTheOldest(t *testing.T) {
	s := newSeen()
	s.note("first", largeKind)
	for i := range 2 * seenMax {
		s.note(policy.Key(fmt.Sprint(i)), smallKind)
	}
	if s.use("first").what != unknownKind {
		t.Error("remembers too much")
	}
	if at := s.use(policy.Key(fmt.Sprint(2*seenMax - 1))); at.what != smallKind || at.uses != 1 {
		t.Error("forgets too much")
	}
	if len(s.young)+len(s.old) > 2*seenMax {
		t.Error("grows")
	}
}

func TestBodyIsNotTouchedBeforeTheVerdict(t *testing.T) {
	c := newFake(t)
	c.fill = errors.New("no")
	want := body(5000)
	at := raw(t, func(w *wire) {
		w.head()
		w.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nEtag: %s\r\n\r\n%s", etag, want)
	})
	n := startCached(t, c, Config{})
	if _, got := n.get("http://" + at + "/x"); !bytes.Equal([]byte(got), []byte(want)) {
		t.Error("bytes are missing after a fill that could not be opened")
	}
}
