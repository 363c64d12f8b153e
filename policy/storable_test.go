package policy

import (
	"net/http"
	"net/url"
	"testing"
)

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func mustURL(t failer, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// get is a GET of http://origin.test/f.iso with these fields.
func get(fields ...string) Request {
	return Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "origin.test", Path: "/f.iso"}, Header: header(fields...)}
}

func getURL(t failer, s string) Request {
	return Request{Method: "GET", URL: mustURL(t, s), Header: http.Header{}}
}

func with(s Stored, status int) Stored { s.Status = status; return s }

func TestStorable(t *testing.T) {
	fresh := []string{"Cache-Control", "max-age=60", "Etag", `"x"`}
	plus := func(fields ...string) Stored { return stored(append(fresh[:len(fresh):len(fresh)], fields...)...) }
	method := func(m string) Request { r := get(); r.Method = m; return r }
	withBody := get()
	withBody.HasBody = true
	userinfo := getURL(t, "http://me:secret@origin.test/f.iso")
	presigned := getURL(t, "http://s3.test/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=abc")
	azure := getURL(t, "http://blob.test/b/k?sv=2020&SIG=abc")
	both := getURL(t, "http://s3.test/b/k?X-Amz-Signature=abc")
	both.Header = header("Authorization", "Bearer x")
	public, shared, partial := StoreOptions{Public: true}, StoreOptions{SharedQuery: true}, StoreOptions{Partial: true}

	for _, tc := range []struct {
		clause string
		req    Request
		resp   Stored
		o      StoreOptions
		want   string // reason; "" storable
	}{
		{"RFC 9111 §3: GET, 200, explicit freshness", get(), stored("Cache-Control", "max-age=60"), StoreOptions{}, ""},
		{"RFC 9111 §3: method", method("HEAD"), plus(), StoreOptions{}, NotMethod},
		{"RFC 9111 §3: method", method("POST"), plus(), StoreOptions{}, NotMethod},
		{"RFC 9110 §9.3.1: GET with content", withBody, plus(), StoreOptions{}, NotContent},
		{"RFC 9111 §3: only 200 in the swarm", get(), with(plus(), 404), StoreOptions{}, NotStatus},
		{"RFC 9111 §3: only 200 in the swarm", get(), with(plus(), 203), StoreOptions{}, NotStatus},
		{"RFC 9111 §3: a 304 is no object", get(), with(plus(), 304), StoreOptions{}, NotStatus},
		{"RFC 9111 §3.3: 206 unasked", get(), with(plus("Content-Range", "bytes 0-1/9"), 206), StoreOptions{}, NotStatus},
		{"RFC 9111 §3.3: 206 opens a fill", get(), with(plus("Content-Range", "bytes 0-1/9"), 206), partial, ""},
		{"RFC 9111 §3.3: 206 without the whole length", get(), with(plus("Content-Range", "bytes 0-1/*"), 206), partial, NotPartial},
		{"RFC 9110 §15.3.7.2: multipart", get(), with(plus("Content-Type", "multipart/byteranges; boundary=x"), 206), partial, NotPartial},
		{"RFC 9111 §3.4: 206 with a weak validator", get(), with(stored("Cache-Control", "max-age=60", "Etag", `W/"x"`, "Content-Range", "bytes 0-1/9"), 206), partial, NotPartial},

		{"RFC 9111 §5.2.1.5: request no-store", get("Cache-Control", "no-store"), plus(), public, NotRequestNoStore},
		{"RFC 9111 §5.2.2.5: no-store", get(), plus("Cache-Control", "no-store"), public, NotNoStore},
		{"RFC 9111 §5.2.2.5: no-store with a typing error", get(), plus("Cache-Control", "no-store;"), public, NotNoStore},
		{"RFC 9111 §5.2.2.7: private", get(), plus("Cache-Control", "private"), public, NotPrivate},
		{"RFC 9111 §5.2.2.7: private with fields", get(), plus("Cache-Control", `private="X-User"`), public, NotPrivate},
		{"RFC 9111 §5.2.2.3: must-understand does not lift no-store here", get(), plus("Cache-Control", "must-understand, no-store"), StoreOptions{}, NotNoStore},

		{"RFC 9111 §3.5: Authorization", get("Authorization", "Bearer x"), plus(), StoreOptions{}, NotAuthorization},
		{"RFC 9111 §3.5: public", get("Authorization", "Bearer x"), plus("Cache-Control", "public"), StoreOptions{}, ""},
		{"RFC 9111 §3.5: s-maxage", get("Authorization", "Bearer x"), plus("Cache-Control", "s-maxage=9"), StoreOptions{}, ""},
		{"RFC 9111 §3.5: must-revalidate", get("Authorization", "Bearer x"), plus("Cache-Control", "must-revalidate"), StoreOptions{}, ""},
		{"RFC 9111 §3.5: proxy-revalidate is not among them", get("Authorization", "Bearer x"), plus("Cache-Control", "proxy-revalidate"), StoreOptions{}, NotAuthorization},
		{"RFC 9111 §3.5: a malformed permission is none", get("Authorization", "Bearer x"), plus("Cache-Control", "public;x"), StoreOptions{}, NotAuthorization},
		{"RFC 9111 §3.5: a malformed permission is none", get("Authorization", "Bearer x"), plus("Cache-Control", "s-maxage=x"), StoreOptions{}, NotAuthorization},
		{"RFC 9111 §3.5: a malformed permission is none", get("Authorization", "Bearer x"), plus("Cache-Control", "must-revalidate;"), StoreOptions{}, NotAuthorization},
		{"RFC 9111 §3.5: must-revalidate permits no cookie beside it", get("Authorization", "x", "Cookie", "sid=1"), plus("Cache-Control", "must-revalidate"), StoreOptions{}, NotCookie},
		{"RFC 9111 §3.5: must-revalidate permits no signed URL beside it", both, plus("Cache-Control", "must-revalidate"), StoreOptions{}, NotSignedQuery},
		{"operator: public", get("Authorization", "Bearer x"), plus(), public, ""},
		{"userinfo is an authorization", userinfo, plus(), StoreOptions{}, NotAuthorization},

		{"cookie in the request", get("Cookie", "sid=1"), plus(), StoreOptions{}, NotCookie},
		{"cookie in the request: must-revalidate is §3.5's only", get("Cookie", "sid=1"), plus("Cache-Control", "must-revalidate"), StoreOptions{}, NotCookie},
		{"cookie in the request, public", get("Cookie", "sid=1"), plus("Cache-Control", "public"), StoreOptions{}, ""},
		{"cookie in the request, operator: public", get("Cookie", "sid=1"), plus(), public, ""},
		{"presigned", presigned, plus(), StoreOptions{}, NotSignedQuery},
		{"presigned, names in any case", azure, plus(), StoreOptions{}, NotSignedQuery},
		{"presigned, public", presigned, plus("Cache-Control", "public"), StoreOptions{}, ""},
		{"presigned, operator: public", presigned, plus(), public, ""},
		{"presigned, signature not in the key", presigned, plus(), shared, ""},
		{"signature not in the key permits no Authorization", get("Authorization", "x"), plus(), shared, NotAuthorization},

		{"RFC 9111 §7.3: Set-Cookie", get(), plus("Set-Cookie", "a=b"), StoreOptions{}, NotSetCookie},
		{"RFC 9111 §7.3: Set-Cookie, s-maxage is not enough", get(), plus("Set-Cookie", "a=b", "Cache-Control", "s-maxage=9"), StoreOptions{}, NotSetCookie},
		{"RFC 9111 §7.3: Set-Cookie, public", get(), plus("Set-Cookie", "a=b", "Cache-Control", "public"), StoreOptions{}, ""},

		{"RFC 9111 §4.1: Vary", get("Accept-Encoding", "gzip"), plus("Vary", "Accept-Encoding"), StoreOptions{}, ""},
		{"RFC 9111 §4.1: Vary *", get(), plus("Vary", "*"), public, NotVary},
		{"RFC 9111 §4.1: Vary * on a second line", get(), plus("Vary", "Accept", "Vary", "*"), public, NotVary},
		{"RFC 9110 §12.5.5: malformed Vary", get(), plus("Vary", "Accept Encoding"), public, NotVary},
		{"Vary: Cookie", get(), plus("Vary", "Cookie"), StoreOptions{}, NotVaryCredentials},
		{"Vary: Cookie, public, without one", get(), plus("Vary", "Cookie", "Cache-Control", "public"), StoreOptions{}, ""},
		{"Vary: Cookie, public, with one: it would be stored", get("Cookie", "a=b"), plus("Vary", "Cookie", "Cache-Control", "public"), StoreOptions{}, NotVaryCredentials},
		{"Vary: Authorization, operator: public, with one", get("Authorization", "x"), plus("Vary", "authorization"), public, NotVaryCredentials},

		{"RFC 9111 §4.2.2: validator only", get(), stored("Etag", `"x"`), StoreOptions{}, ""},
		{"RFC 9111 §4.2.2: Last-Modified only", get(), stored("Last-Modified", at(-1e12)), StoreOptions{}, ""},
		{"RFC 9111 §5.2.2.4: no-cache with a validator", get(), plus("Cache-Control", "no-cache"), StoreOptions{}, ""},
		{"RFC 9111 §5.2.2.4: no-cache without", get(), stored("Cache-Control", "no-cache, max-age=60"), StoreOptions{}, NotReusable},
		{"nothing to go by", get(), stored(), StoreOptions{}, NotReusable},
		{"stale on arrival, no validator", get(), stored("Cache-Control", "max-age=60", "Age", "60"), StoreOptions{}, NotReusable},
		{"stale on arrival, validator", get(), plus("Age", "60"), StoreOptions{}, ""},
		{"RFC 9110 §8.8.3: an entity tag without quotes is none", get(), stored("Etag", "x"), StoreOptions{}, NotReusable},
	} {
		ok, reason := Storable(tc.req, tc.resp, tc.o)
		if reason != tc.want || ok != (tc.want == "") {
			t.Errorf("%s: got %v %q, want %q", tc.clause, ok, reason, tc.want)
		}
	}
}

// The question to ask after a 304: has the origin taken its permission back?
func TestStorableWithoutARequestJudgesTheResponseAlone(t *testing.T) {
	for want, s := range map[string]Stored{
		"":                 stored("Etag", `"x"`, "Vary", "Accept"),
		NotNoStore:         stored("Etag", `"x"`, "Cache-Control", "no-store"),
		NotPrivate:         stored("Etag", `"x"`, "Cache-Control", "private"),
		NotVaryCredentials: stored("Etag", `"x"`, "Vary", "Cookie"),
	} {
		if _, reason := Storable(Request{Method: "GET"}, s, StoreOptions{}); reason != want {
			t.Errorf("%v: got %q, want %q", s.Header, reason, want)
		}
	}
}

func TestForStorage(t *testing.T) {
	in := header("Connection", "close, X-Hop, cache-control, Content-Encoding", "X-Hop", "1", "Keep-Alive", "5",
		"Proxy-Authenticate", "Basic", "Transfer-Encoding", "chunked", "Trailer", "X", "Upgrade", "h2c", "Te", "x",
		"Proxy-Connection", "close", "Set-Cookie", "a=b", "Cache-Control", "no-cache", "Content-Encoding", "gzip",
		"Etag", `"x"`, "X-Other", "kept")
	out := ForStorage(in)
	want := header("Cache-Control", "no-cache", "Content-Encoding", "gzip", "Etag", `"x"`, "X-Other", "kept")
	if len(out) != len(want) {
		t.Errorf("RFC 9111 §3.1: got %v, want %v", out, want)
	}
	for name := range want {
		if out.Get(name) != want.Get(name) {
			t.Errorf("RFC 9111 §3.1: %s: got %q, want %q", name, out.Get(name), want.Get(name))
		}
	}
	out.Set("Etag", "changed")
	if in.Get("Etag") != `"x"` || in.Get("Set-Cookie") == "" {
		t.Error("the original changed")
	}
	if got := ForStorage(nil); got == nil {
		t.Error("nil header: want an empty one that can be written to")
	}
}

func TestWhole(t *testing.T) {
	part := with(stored("Content-Range", "bytes 5-9/100", "Content-Length", "5", "Etag", `"x"`), 206)
	whole, length, ok := Whole(part)
	if !ok || length != 100 || whole.Status != 200 || whole.Header.Get("Content-Length") != "100" ||
		whole.Header.Get("Content-Range") != "" || whole.Header.Get("Etag") != `"x"` {
		t.Errorf("RFC 9111 §3.4: got %+v %d %v", whole, length, ok)
	}
	if part.Header.Get("Content-Range") == "" {
		t.Error("the part changed")
	}
	for _, tc := range []struct {
		s      Stored
		length int64
		ok     bool
	}{
		{stored("Content-Length", "7"), 7, true},
		{stored(), -1, true},
		{stored("Content-Length", "7", "Content-Length", "8"), -1, true},
		{stored("Content-Length", "-7"), -1, true},
		{stored("Content-Length", "+7"), -1, true},
		{with(stored("Content-Range", "bytes 5-9/*"), 206), -1, false},
		{with(stored(), 206), -1, false},
		{with(stored("Content-Range", "bytes */7"), 416), -1, false},
	} {
		if _, length, ok := Whole(tc.s); length != tc.length || ok != tc.ok {
			t.Errorf("%d %v: got %d %v, want %d %v", tc.s.Status, tc.s.Header, length, ok, tc.length, tc.ok)
		}
	}
}

func TestInvalidates(t *testing.T) {
	for _, tc := range []struct {
		method string
		status int
		want   bool
	}{
		{"PUT", 200, true}, {"POST", 201, true}, {"DELETE", 204, true}, {"PATCH", 303, true}, {"FOO", 200, true},
		{"PUT", 404, false}, {"DELETE", 500, false}, {"PUT", 100, false},
		{"GET", 200, false}, {"HEAD", 200, false}, {"OPTIONS", 200, false}, {"TRACE", 200, false}, {"PROPFIND", 207, false},
	} {
		if got := Invalidates(tc.method, tc.status); got != tc.want {
			t.Errorf("RFC 9111 §4.4: %s %d: got %v", tc.method, tc.status, got)
		}
	}
}
