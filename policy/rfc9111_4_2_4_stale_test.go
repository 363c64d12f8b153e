package policy

import (
	"testing"
	"time"
)

// RFC 9111 §4.2.4, serving stale responses.

func TestStaleOn(t *testing.T) {
	const s = time.Second
	lax := &Caching{UseStale: Unreachable | Updating | Status503 | Status404}
	vary := minute("Vary", "Accept")
	for _, tc := range []struct {
		clause string
		c      *Caching
		f      Failures
		req    Request
		stored Stored
		after  time.Duration
		want   bool
	}{
		{"§4.2.4: disconnected, no permission", std, Unreachable, get(), minute(), 90 * s, false},
		{"§4.2.4: an error, no permission", std, Status503, get(), minute(), 90 * s, false},
		{"§4.2.4: the operator's permission", lax, Unreachable, get(), minute(), 90 * s, true},
		{"§4.2.4: the operator's permission", lax, Status503, get(), minute(), 90 * s, true},
		{"§4.2.4: the operator's permission, for this failure", lax, Status500, get(), minute(), 90 * s, false},
		{"§4.2.4: the operator's permission, for this failure", lax, TimedOut, get(), minute(), 90 * s, false},
		{"§4.2.4: the operator's permission is for HEAD too", lax, Status503, withMethod(get(), "HEAD"), minute(), 90 * s, true},
		{"§4.2.4: and for other statuses", lax, Status503, get(), with(minute(), 404), 90 * s, true},
		{"nothing happened", lax, 0, get(), minute(), 90 * s, false},
		{"no need of permission while fresh", lax, Unreachable, get(), minute(), 30 * s, true},

		{"§5.2.2.2: must-revalidate", lax, Unreachable, get(), minute("Cache-Control", "must-revalidate"), 90 * s, false},
		{"§5.2.2.8: proxy-revalidate", lax, Unreachable, get(), minute("Cache-Control", "proxy-revalidate"), 90 * s, false},
		{"§5.2.2.10: s-maxage", lax, Unreachable, get(), cc("s-maxage=2"), 90 * s, false},
		{"§5.2.2.4: no-cache", lax, Unreachable, get(), minute("Cache-Control", "no-cache"), 90 * s, false},
		{"§5.2.2.5: no-store", lax, Unreachable, get(), minute("Cache-Control", "no-store"), 90 * s, false},
		{"§5.2.2.7: private", lax, Unreachable, get(), minute("Cache-Control", "private"), 90 * s, false},
		{"§4.4: invalidated", lax, Unreachable, get(), invalid(minute()), 30 * s, false},
		{"§4.1: not selected", lax, Unreachable, get("Accept", "a"), vary, 90 * s, false},
		{"§4: another method", lax, Unreachable, withMethod(get(), "POST"), minute(), 90 * s, false},

		{"§5.2.1.4: the request's no-cache", lax, Unreachable, ask("no-cache"), minute(), 90 * s, false},
		{"§5.4: Pragma", lax, Unreachable, get("Pragma", "no-cache"), minute(), 90 * s, false},
		{"§5.2.1.1: max-age asks for a fresh one", lax, Unreachable, ask("max-age=3600"), minute(), 90 * s, false},
		{"§5.2.1.1: unless max-stale", lax, Unreachable, ask("max-age=3600, max-stale"), minute(), 90 * s, true},
		{"§5.2.1.1: max-age not met", lax, Unreachable, ask("max-age=80, max-stale"), minute(), 90 * s, false},
		{"§5.2.1.3: min-fresh", lax, Unreachable, ask("min-fresh=1"), minute(), 90 * s, false},

		{"RFC 5861 §4: stale-if-error", std, Status500, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, true},
		{"RFC 5861 §4: no longer", std, Status500, get(), minute("Cache-Control", "stale-if-error=30"), 91 * s, false},
		{"RFC 5861 §4: 502", std, Status502, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, true},
		{"RFC 5861 §4: 503", std, Status503, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, true},
		{"RFC 5861 §4: 504", std, Status504, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, true},
		{"RFC 5861 §4: what would be a 502", std, Unreachable, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, true},
		{"RFC 5861 §4: what would be a 502", std, InvalidAnswer, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, true},
		{"RFC 5861 §4: what would be a 504", std, TimedOut, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, true},
		{"RFC 5861 §4: a 404 is no error", std, Status404, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, false},
		{"RFC 5861 §4: nor is a 429", std, Status429, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, false},
		{"RFC 5861 §4: nor an update", std, Updating, get(), minute("Cache-Control", "stale-if-error=30"), 90 * s, false},
		{"RFC 5861 §4: in the request", std, Status500, ask("stale-if-error=30"), minute(), 90 * s, true},
		{"RFC 5861 §4: in the request, no longer", std, Status500, ask("stale-if-error=30"), minute(), 91 * s, false},
		{"RFC 5861 §4: in the request, against must-revalidate", std, Status500, ask("stale-if-error=30"), minute("Cache-Control", "must-revalidate"), 90 * s, false},
		{"RFC 5861 §4: an invalid value permits nothing", std, Status500, get(), minute("Cache-Control", "stale-if-error=x"), 60 * s, false},
		{"RFC 5861 §4: nor does one without", std, Status500, ask("stale-if-error"), minute("Cache-Control", "stale-if-error"), 60 * s, false},
		{"§5.2.2.10: s-maxage beats it", std, Status500, get(), cc("s-maxage=60, stale-if-error=30"), 90 * s, false},

		{"RFC 5861 §3: while another asks", std, Updating, get(), minute("Cache-Control", "stale-while-revalidate=30"), 89 * s, true},
		{"RFC 5861 §3: no longer", std, Updating, get(), minute("Cache-Control", "stale-while-revalidate=30"), 90 * s, false},
		{"RFC 5861 §3: is not for errors", std, Status500, get(), minute("Cache-Control", "stale-while-revalidate=30"), 89 * s, false},
	} {
		if got := tc.c.StaleOn(tc.f, tc.req, &tc.stored, t0.Add(tc.after)); got != tc.want {
			t.Errorf("%s: got %v", tc.clause, got)
		}
	}
	if lax.StaleOn(Unreachable, get(), nil, t0) {
		t.Error("served what is not there")
	}
}

func TestFailureOf(t *testing.T) {
	for status, want := range map[int]string{
		500: "http_500", 502: "http_502", 503: "http_503", 504: "http_504", 403: "http_403", 404: "http_404", 429: "http_429",
		200: "", 304: "", 401: "", 501: "", 505: "",
	} {
		if got, _ := FailureOf(status).MarshalText(); string(got) != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}
