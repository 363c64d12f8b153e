package policy

import (
	"testing"
	"time"
)

// RFC 9111 §3.1, storing fields, and §3.2, updating them.

func TestForStorage(t *testing.T) {
	in := header("Connection", "close, X-Hop, cache-control, Content-Encoding, cdn-cache-control", "X-Hop", "1", "Keep-Alive", "5",
		"Proxy-Authenticate", "Basic", "Proxy-Authorization", "x", "Proxy-Authentication-Info", "x",
		"Transfer-Encoding", "chunked", "Trailer", "X", "Upgrade", "h2c", "Te", "x",
		"Proxy-Connection", "close", "Set-Cookie", "a=b", "Set-Cookie2", "a=b", "Cache-Control", "no-cache", "Content-Encoding", "gzip",
		"Etag", `"x"`, "X-Other", "kept", "Cdn-Cache-Control", "no-store", "Www-Authenticate", "Basic", "X-Accel-Expires", "5")
	want := header("Cache-Control", "no-cache", "Content-Encoding", "gzip", "Etag", `"x"`, "X-Other", "kept",
		"Cdn-Cache-Control", "no-store", "Www-Authenticate", "Basic", "X-Accel-Expires", "5")
	out := std.ForStorage(in)
	if len(out) != len(want) {
		t.Errorf("§3.1: got %v, want %v", out, want)
	}
	for name := range want {
		equalHeader(t, "§3.1", out, map[string]string{name: want.Get(name)})
	}
	out.Set("Etag", "changed")
	if in.Get("Etag") != `"x"` || in.Get("Set-Cookie") == "" {
		t.Error("the original changed")
	}
	if got := std.ForStorage(nil); got == nil {
		t.Error("nil header: want an empty one that can be written to")
	}
}

func TestFieldsThatAResponseWithholds(t *testing.T) {
	for _, tc := range []struct {
		clause string
		c      *Caching
		fields []string
		kept   map[string]string
	}{
		{"§5.2.2.4: no-cache", std, []string{"Cache-Control", `no-cache="a, B", max-age=9`}, map[string]string{"A": "", "B": "", "C": "3"}},
		{"§5.2.2.7: private", std, []string{"Cache-Control", `private="a"`, "Cache-Control", "private=b"}, map[string]string{"A": "", "B": "", "C": "3"}},
		{"§5.2.2.4: unqualified, the whole is validated", std, []string{"Cache-Control", "no-cache"}, map[string]string{"A": "1", "B": "2", "C": "3"}},
		{"§5.2.2.4: what cannot be left out is validated with the whole", std, []string{"Cache-Control", `no-cache="a, vary"`}, map[string]string{"A": "1", "B": "2", "C": "3"}},
		{"RFC 9213 §2.2: the targeted field decides", std, []string{"Cache-Control", `private="a"`, "Cdn-Cache-Control", `private="b"`}, map[string]string{"A": "1", "B": "", "C": "3"}},
		{"operator: Cache-Control ignored", &Caching{Ignore: IgnoreCacheControl}, []string{"Cache-Control", `private="a"`}, map[string]string{"A": "1", "B": "2", "C": "3"}},
	} {
		h := header(append([]string{"A", "1", "B", "2", "C", "3"}, tc.fields...)...)
		equalHeader(t, tc.clause, tc.c.ForStorage(h), tc.kept)
	}
}

func TestFreshened(t *testing.T) {
	old := minute("Age", "50", "Content-Length", "9", "Content-Type", "a/b", "Content-Encoding", "gzip",
		"X-Old", "kept", "Vary", "Accept", "Content-Md5", "old", "X-Frame-Options", "deny")
	old.Selecting, old.Invalid = header("Accept", "a"), true
	later := t0.Add(time.Hour)
	h304 := header("Cache-Control", `max-age=120, private="X-Mine"`, "Content-Length", "0", "Content-Type", "c/d", "Content-Encoding", "br",
		"Connection", "X-Hop", "X-Hop", "1", "Set-Cookie", "a=b", "X-New", "1", "X-Mine", "1", "Etag", `W/"x"`, "Content-Range", "bytes 0-1/9",
		"Content-Md5", "new", "X-Frame-Options", "sameorigin", "Vary", "accept")
	got := std.Freshened(old, by(h304, later.Add(-time.Second), later))
	equalHeader(t, "§3.2", got.Header, map[string]string{
		"Cache-Control": `max-age=120, private="X-Mine"`, // replaced
		"X-Old":         "kept",                          // what the 304 leaves out stays
		"X-New":         "1",                             // added
		"Content-Type":  "c/d",                           // Content-* means nothing
		"Content-Md5":   "new", "X-Frame-Options": "sameorigin",
		"Content-Length": "9", "Content-Encoding": "gzip", "Content-Range": "", "Etag": `"x"`, // belong to the bytes
		"Vary":  "Accept",                                             // Selecting still fits
		"Age":   "",                                                   // told of the old exchange
		"Date":  at(time.Hour),                                        // RFC 9110 §6.6.1
		"X-Hop": "", "Set-Cookie": "", "Connection": "", "X-Mine": "", // §3.1
		"Last-Modified": "", "Expires": "", // never there
	})
	if age := CurrentAge(got, later); age != time.Second {
		t.Errorf("§4.3.4: age %v, want the response delay of a second", age)
	}
	if v := std.Decide(get("Accept", "a"), &got, later.Add(118*time.Second)); v.Action != Serve {
		t.Errorf("§4.3.4: not fresh again, or still invalid: %+v", v)
	}
	if old.Header.Get("Age") != "50" || old.Header.Get("Cache-Control") != "max-age=60" || !old.ResponseTime.Equal(t0) || !old.Invalid {
		t.Error("old changed")
	}
	withdrawn := std.Freshened(old, by(header("Cache-Control", "no-store"), later, later))
	if ok, reason := std.Storable(get(), withdrawn, StoreOptions{}); ok || reason != NotNoStore {
		t.Errorf("a 304 can take the permission back: %v %q", ok, reason)
	}
	withheld := std.Freshened(minute("X-User", "me"), by(header("Cache-Control", `no-cache="x-user", max-age=60`), later, later))
	equalHeader(t, "§5.2.2.4: a field that a 304 withholds is no longer used", withheld.Header, map[string]string{"X-User": ""})
}

func TestConnectionLists(t *testing.T) {
	for line, lists := range map[string]bool{"close": false, "Keep-Alive": false, "Cookie": true, "close, Accept": true} {
		if ListsFields(header("Connection", line)) != lists {
			t.Errorf("RFC 9110 §7.6.1: %q: want %v", line, lists)
		}
	}
	h := header("Connection", "X-Hop, cache-control, Vary")
	if KeepEndToEnd(h); len(h["Connection"]) != 1 || h.Get("Connection") != "X-Hop" {
		t.Errorf("RFC 9110 §7.6.1: kept %v", h)
	}
}

func TestWithPrivate(t *testing.T) {
	fresh := header("Etag", `"x"`, "X-A", "1")
	got := WithPrivate(fresh, header("Set-Cookie", "a=b", "X-A", "2", "Content-Encoding", "gzip"))
	equalHeader(t, "§3.1", got, map[string]string{"Set-Cookie": "a=b", "X-A": "1", "Content-Encoding": "", "Etag": `"x"`})
	if fresh.Get("Set-Cookie") != "" {
		t.Error("what others get has changed")
	}
}

func TestShares(t *testing.T) {
	for name, tc := range map[string]struct {
		req  Request
		o    StoreOptions
		want bool
	}{
		"nothing":               {get(), StoreOptions{}, true},
		"no-cache":              {ask("no-cache"), StoreOptions{}, true},
		"no-store":              {ask("no-store"), StoreOptions{Public: true}, false},
		"authorization":         {get("Authorization", "x"), StoreOptions{}, false},
		"authorization, public": {get("Authorization", "x"), StoreOptions{Public: true}, true},
		"cookie":                {get("Cookie", "a=b"), StoreOptions{}, false},
	} {
		if Shares(tc.req, tc.o) != tc.want {
			t.Errorf("%s: want %v", name, tc.want)
		}
	}
}
