package policy_test

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"shatabdi/policy"
)

// toy is a cache of heads: it shows who asks what, in which order.
type toy struct {
	rules  policy.Rules
	now    time.Time
	stored map[policy.Key][]policy.Stored
	origin func(http.Header) policy.Stored // status 0: it cannot be reached
}

func (t *toy) answer(req policy.Request) string {
	route := t.rules.Route(req)
	c, variants := &route.Cache, t.stored[route.Key]
	var stored *policy.Stored
	switch i := c.Select(req.Header, variants); {
	case i >= 0:
		stored = &variants[i]
	case len(variants) > 0:
		stored = &variants[0] // tells Decide that it is a vary-miss
	}
	v := c.Decide(req, stored, t.now)
	switch v.Action {
	case policy.Serve:
		return say(v.CacheStatus())
	case policy.ServeAndRevalidate: // in a goroutine of its own, one for each object
		t.settle(req, route, v, stored, t.origin(asking(policy.Background(stored), v)))
		return say(v.CacheStatus())
	case policy.Refuse:
		return "504"
	case policy.Bypass:
		return say(v.Forwarded(policy.TakeAnswer, t.origin(req.Header).Status))
	}
	answer := t.origin(asking(req.Header.Clone(), v))
	return say(v.Forwarded(t.settle(req, route, v, stored, answer), answer.Status))
}

// asking is h with the verdict's conditions.
func asking(h http.Header, v policy.Verdict) http.Header {
	for name, lines := range v.Conditional {
		h[name] = lines
	}
	return h
}

// settle does with what is stored what the origin's answer asks for.
func (t *toy) settle(req policy.Request, route policy.Route, v policy.Verdict, stored *policy.Stored, answer policy.Stored) policy.Answer {
	c := &route.Cache
	if answer.Status == 0 {
		if c.StaleOn(policy.Unreachable, req, stored, t.now) {
			return policy.TakeStale
		}
		return policy.TakeAnswer // a 502
	}
	a := c.Answered(v, req, stored, answer, t.now)
	switch a {
	case policy.Freshen:
		*stored = c.Freshened(*stored, answer)
	case policy.TakeAnswer:
		ok, _ := c.Storable(req, answer, route.Store)
		if stored != nil && v.Reason != policy.ReasonVaryMiss && (ok || policy.Supersedes(answer.Status)) {
			stored.Invalid = true
		}
		if ok {
			answer.Selecting, _ = c.Selecting(req.Header, answer.Header["Vary"])
			answer.Header = c.ForStorage(answer.Header)
			t.stored[route.Key] = append(t.stored[route.Key], answer)
		}
	}
	return a
}

func say(s policy.CacheStatus) string {
	if s.Hit {
		return fmt.Sprintf("%s; hit; ttl=%.0f", s.Word, s.TTL.Seconds())
	}
	return fmt.Sprintf("%s; fwd=%s; fwd-status=%d", s.Word, s.Fwd, s.FwdStatus)
}

func Example() {
	t := &toy{now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), stored: map[policy.Key][]policy.Stored{}}
	away := false
	t.origin = func(h http.Header) policy.Stored {
		s := policy.Stored{Status: 200, RequestTime: t.now, ResponseTime: t.now, Header: http.Header{
			"Cache-Control": {"max-age=60, stale-while-revalidate=30, stale-if-error=3600"}, "Etag": {`"1"`}, "Vary": {"Accept-Language"},
		}}
		switch {
		case away:
			return policy.Stored{}
		case h.Get("If-None-Match") == `"1"`:
			s.Status = 304
		}
		return s
	}
	get := func(language string) {
		u := &url.URL{Scheme: "http", Host: "origin.test", Path: "/"}
		fmt.Println(t.answer(policy.Request{Method: "GET", URL: u, Header: http.Header{"Accept-Language": {language}}}))
	}
	get("de, en;q=0.5")
	get("en;q=0.500,DE")
	get("fr")
	t.now = t.now.Add(70 * time.Second)
	get("fr")
	get("fr")
	t.now = t.now.Add(100 * time.Second)
	get("fr")
	away = true
	t.now = t.now.Add(100 * time.Second)
	get("fr")
	get("it")
	// Output:
	// MISS; fwd=uri-miss; fwd-status=200
	// HIT; hit; ttl=60
	// MISS; fwd=vary-miss; fwd-status=200
	// UPDATING; hit; ttl=-10
	// HIT; hit; ttl=60
	// REVALIDATED; fwd=stale; fwd-status=304
	// STALE; hit; ttl=-40
	// MISS; fwd=vary-miss; fwd-status=0
}
