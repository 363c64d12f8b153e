package policy

import (
	"maps"
	"testing"
	"time"
)

// RFC 9111 §4, constructing responses from caches.

func TestConstructing(t *testing.T) {
	gzip := minute("Vary", "Accept-Encoding")
	gzip.Selecting = header("Accept-Encoding", "gzip, br")
	std.decides(t, []decision{
		{"§4: fresh", get(), minute(), 59 * time.Second, Serve, ReasonFresh},
		{"§4.2: as old as the lifetime is stale", get(), minute(), 60 * time.Second, Revalidate, ReasonStale},
		{"§4: HEAD from a stored GET", withMethod(get(), "HEAD"), minute(), 0, Serve, ReasonFresh},
		{"RFC 9110 §14.2: Range plays no part", get("Range", "bytes=0-1"), minute(), 0, Serve, ReasonFresh},
		{"§4: stale without validator", get(), stored("Cache-Control", "max-age=60"), time.Hour, Fetch, ReasonStale},
		{"§4: other methods", withMethod(get(), "POST"), minute(), 0, Bypass, ReasonMethod},
		{"§4: other methods", withMethod(get(), "OPTIONS"), minute(), 0, Bypass, ReasonMethod},
		{"§4: methods are case-sensitive", withMethod(get(), "get"), minute(), 0, Bypass, ReasonMethod},
		{"RFC 9110 §9.3.1: GET with content", withContent(get()), minute(), 0, Bypass, ReasonBypass},
		{"RFC 9110 §7.8: Upgrade", get("Upgrade", "websocket"), minute(), 0, Bypass, ReasonBypass},
		{"RFC 9110 §7.8: Upgrade to h2c changes no answer", get("Upgrade", "h2c"), minute(), 0, Serve, ReasonFresh},
		{"§3.5: Authorization forbids storing, not serving", get("Authorization", "x"), minute(), 0, Serve, ReasonFresh},
		{"§4: a request with a cookie", get("Cookie", "a=b"), minute(), 0, Serve, ReasonFresh},

		{"§4: any stored status", get(), with(minute(), 404), 0, Serve, ReasonFresh},
		{"§4: any stored status", get(), with(minute(), 204), 0, Serve, ReasonFresh},
		{"§4: any stored status", get(), with(minute(), 301), 0, Serve, ReasonFresh},
		{"§4: any stored status", get(), with(minute(), 599), 0, Serve, ReasonFresh},
		{"RFC 9110 §13.2.1: an error is not asked about", get(), with(minute(), 404), time.Hour, Fetch, ReasonStale},
		{"§4: a 304 is no answer", get(), with(minute(), 304), 0, Fetch, ReasonURIMiss},
		{"RFC 6585 §4: nor is what must not be stored", get(), with(minute(), 429), 0, Fetch, ReasonURIMiss},
		{"§3: no-store came later", get(), minute("Cache-Control", "no-store"), 0, Revalidate, ReasonStale},
		{"§3: private came later", get(), minute("Cache-Control", "private"), 0, Revalidate, ReasonStale},
		{"§4.4: invalidated", get(), invalid(minute()), 0, Revalidate, ReasonStale},
		{"§4.4: invalidated, whatever the request accepts", ask("max-stale"), invalid(minute()), 0, Revalidate, ReasonStale},

		{"§4.1: selected", get("Accept-Encoding", "gzip,br"), gzip, 0, Serve, ReasonFresh},
		{"§4.1: not selected", get("Accept-Encoding", "gzip"), gzip, 0, Fetch, ReasonVaryMiss},
		{"§4.1: not selected without the field", get(), gzip, 0, Fetch, ReasonVaryMiss},
		{"§4.1: Vary *", get(), minute("Vary", "*"), 0, Fetch, ReasonVaryMiss},
	})
}

func TestConstructingFromNothing(t *testing.T) {
	if v := std.Decide(get(), nil, t0); v.Action != Fetch || v.Reason != ReasonURIMiss {
		t.Errorf("got %+v", v)
	}
	if v := std.Decide(ask("only-if-cached"), nil, t0); v.Action != Refuse {
		t.Errorf("§5.2.1.7: got %+v", v)
	}
	if v := std.Decide(Request{Method: "GET"}, nil, t0); v.Action != Fetch {
		t.Errorf("without URL and header: got %+v", v)
	}
}

func TestVerdictTellsAgeAndFreshness(t *testing.T) {
	s := minute("Age", "10")
	if v := std.Decide(get(), &s, t0.Add(20*time.Second)); v.Age != 30*time.Second || v.FreshFor != 30*time.Second {
		t.Errorf("fresh: %+v", v)
	}
	if v := std.Decide(get(), &s, t0.Add(80*time.Second)); v.Age != 90*time.Second || v.FreshFor != -30*time.Second {
		t.Errorf("stale: %+v", v)
	}
}

// RFC 9111 §4.3.1, sending a validation request.

func TestConditional(t *testing.T) {
	lm := at(-time.Hour)
	for _, tc := range []struct {
		clause string
		s      Stored
		want   map[string]string
	}{
		{"§4.3.1: both", stored("Etag", `"x"`, "Last-Modified", lm), map[string]string{"If-None-Match": `"x"`, "If-Modified-Since": lm}},
		{"§4.3.1: weak tags too", stored("Etag", `W/"x"`), map[string]string{"If-None-Match": `W/"x"`}},
		{"§4.3.1: the date verbatim", stored("Last-Modified", "Sunday, 06-Nov-94 08:49:37 GMT"), map[string]string{"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}},
		{"two tags are none", stored("Etag", `"x"`, "Etag", `"y"`, "Last-Modified", lm), map[string]string{"If-Modified-Since": lm}},
		{"a tag without quotes is none", stored("Etag", "x", "Last-Modified", lm), map[string]string{"If-Modified-Since": lm}},
	} {
		got := std.Decide(ask("no-cache"), &tc.s, t0).Conditional
		flat := map[string]string{}
		for name := range got {
			flat[name] = got.Get(name)
		}
		if !maps.Equal(flat, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.clause, flat, tc.want)
		}
	}
}

// RFC 9111 §4.3.1: a request of our own has the fields that Vary names, the
// validators of the verdict, and nothing else of a client.
func TestBackgroundRequest(t *testing.T) {
	s := minute("Vary", "Accept, Accept-Language", "Last-Modified", at(-time.Hour))
	s.Selecting, _ = Selecting(header("Accept", "a/b", "Cookie", "a=b", "Authorization", "x", "Range", "bytes=0-1"), s.Header["Vary"])
	got := Background(&s)
	equalHeader(t, "§4.3.1", got, map[string]string{"Accept": "a/b"})
	if len(got) != 1 {
		t.Errorf("§4.3.1: got %v", got)
	}
	got.Set("Accept", "changed")
	if s.Selecting.Get("Accept") != "a/b" {
		t.Error("what is stored changed")
	}
	if got := Background(&Stored{Status: 200}); got == nil || len(got) != 0 {
		t.Errorf("no Vary: got %v", got)
	}
}
