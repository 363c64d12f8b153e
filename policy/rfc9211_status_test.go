package policy

import (
	"testing"
	"time"
)

// RFC 9211 §2, Cache-Status.

func TestCacheStatus(t *testing.T) {
	const s = time.Second
	swr := minute("Cache-Control", "stale-while-revalidate=60")
	lax := &Caching{UseStale: Updating, BackgroundUpdate: true}
	for _, tc := range []struct {
		clause string
		c      *Caching
		req    Request
		stored Stored
		after  time.Duration
		want   CacheStatus
	}{
		{"§2.1: hit", std, get(), minute(), 20 * s, CacheStatus{Hit: true, TTL: 40 * s, Word: "HIT"}},
		{"§2.4: ttl is negative when stale", std, ask("max-stale"), minute(), 70 * s, CacheStatus{Hit: true, TTL: -10 * s, Word: "STALE", Detail: "max-stale"}},
		{"§2.1: stale while revalidating is a hit", std, get(), swr, 70 * s, CacheStatus{Hit: true, TTL: -10 * s, Word: "UPDATING", Detail: "stale-while-revalidate"}},
		{"nginx: updating", lax, get(), minute(), 70 * s, CacheStatus{Hit: true, TTL: -10 * s, Word: "UPDATING", Detail: "updating"}},
	} {
		v := tc.c.Decide(tc.req, &tc.stored, t0.Add(tc.after))
		if got := v.CacheStatus(); !v.Served() || got != tc.want {
			t.Errorf("%s: %v: got %+v, want %+v", tc.clause, v.Action, got, tc.want)
		}
	}
}

func TestForwardedCacheStatus(t *testing.T) {
	vary := minute("Vary", "Accept")
	late, gone := t0.Add(90*time.Second), (*Stored)(nil)
	fresh, part := minute(), with(minute(), 206)
	rule := &Caching{Bypass: []Predicate{predicate("$http_x")}}
	for _, tc := range []struct {
		clause string
		c      *Caching
		req    Request
		stored *Stored
		now    time.Time
		answer Answer
		status int
		want   CacheStatus
	}{
		{"§2.2: bypass", rule, get("X", "1"), &fresh, t0, TakeAnswer, 200, CacheStatus{Fwd: "bypass", FwdStatus: 200, Word: "BYPASS"}},
		{"§2.2: bypass of a request with content", std, withContent(get()), &fresh, t0, TakeAnswer, 200, CacheStatus{Fwd: "bypass", FwdStatus: 200, Word: "BYPASS"}},
		{"§2.2: method", std, withMethod(get(), "POST"), &fresh, t0, TakeAnswer, 201, CacheStatus{Fwd: "method", FwdStatus: 201, Word: "BYPASS"}},
		{"§2.2: uri-miss", std, get(), gone, t0, TakeAnswer, 200, CacheStatus{Fwd: "uri-miss", FwdStatus: 200, Word: "MISS"}},
		{"§2.2: vary-miss", std, get("Accept", "a"), &vary, t0, TakeAnswer, 200, CacheStatus{Fwd: "vary-miss", FwdStatus: 200, Word: "MISS"}},
		{"§2.2: partial", std, get(), &part, t0, TakeAnswer, 200, CacheStatus{Fwd: "partial", FwdStatus: 200, Word: "MISS"}},
		{"§2.2: request", std, ask("no-cache"), &fresh, t0, TakeAnswer, 200, CacheStatus{Fwd: "request", FwdStatus: 200, Word: "EXPIRED"}},
		{"§2.2: stale", std, get(), &fresh, late, TakeAnswer, 200, CacheStatus{Fwd: "stale", FwdStatus: 200, Word: "EXPIRED"}},
		{"§2.3: fwd-status of a validation", std, get(), &fresh, late, Freshen, 304, CacheStatus{Fwd: "stale", FwdStatus: 304, Word: "REVALIDATED"}},
		{"§2.3: fwd-status of an error that the client does not see", std, get(), &fresh, late, TakeStale, 503, CacheStatus{Fwd: "stale", FwdStatus: 503, Word: "STALE", Detail: "stale-if-error"}},
		{"§2.1: stale because the origin is away is a hit", std, get(), &fresh, late, TakeStale, 0, CacheStatus{Hit: true, TTL: -30 * time.Second, Word: "STALE", Detail: "stale-if-error"}},
	} {
		v := tc.c.Decide(tc.req, tc.stored, tc.now)
		if got := v.Forwarded(tc.answer, tc.status); v.Served() || got != tc.want {
			t.Errorf("%s: %v: got %+v, want %+v", tc.clause, v.Action, got, tc.want)
		}
	}
}
