package policy

import (
	"net/http"
	"strings"
	"time"

	"shatabdi/policy/httpheader"
)

// Action is what to do with a request.
type Action int

const (
	Bypass     Action = iota // forward it, without touching the cache
	Serve                    // answer with what is stored
	Revalidate               // ask the origin whether what is stored still stands
	Fetch                    // ask the origin for the whole
	Refuse                   // 504: only-if-cached, and nothing will do (RFC 9111 §5.2.1.7)
)

func (a Action) String() string {
	return [...]string{"bypass", "serve", "revalidate", "fetch", "refuse"}[a]
}

// Reasons of a Verdict. Those for going to the origin are the tokens of
// Cache-Status "fwd" (RFC 9211 §2.2).
const (
	ReasonFresh    = "fresh"     // served
	ReasonMaxStale = "max-stale" // served stale, as the request allows
	ReasonMethod   = "method"    // the method cannot be answered from a cache
	ReasonBypass   = "bypass"    // the request has content, or asks for another protocol
	ReasonURIMiss  = "uri-miss"  // nothing stored
	ReasonVaryMiss = "vary-miss" // stored for other request fields
	ReasonStale    = "stale"     // stored, but stale or not to be used unasked
	ReasonRequest  = "request"   // stored and fresh, but the request wants it fresher
)

// Verdict is what Decide says.
type Verdict struct {
	Action   Action
	Reason   string        // one of the Reason constants
	Age      time.Duration // current age of what is stored
	FreshFor time.Duration // freshness left; negative when stale
	// Conditional holds If-None-Match and If-Modified-Since for Revalidate. They
	// take the place of the client's own conditions.
	Conditional http.Header
}

// Decide says what to do with a request when stored (nil: nothing) is what its
// key selects (RFC 9111 §4). The Range of a request plays no part: the verdict
// is about the whole. A HEAD may be answered from a stored GET.
func Decide(req Request, stored *Stored, now time.Time) Verdict {
	if reason := uncacheable(req); reason == ReasonMethod {
		return Verdict{Action: Bypass, Reason: ReasonMethod}
	} else if reason != "" {
		return Verdict{Action: Bypass, Reason: ReasonBypass}
	}
	wish := httpheader.ParseRequestControl(req.Header["Cache-Control"])
	v := decide(&req, &wish, stored, now)
	if wish.OnlyIfCached && v.Action != Serve {
		v.Action, v.Conditional = Refuse, nil
	}
	return v
}

func decide(req *Request, wish *httpheader.RequestControl, stored *Stored, now time.Time) Verdict {
	switch {
	case stored == nil || stored.Status != http.StatusOK:
		return Verdict{Action: Fetch, Reason: ReasonURIMiss}
	case !SelectedBy(*stored, req.Header):
		return Verdict{Action: Fetch, Reason: ReasonVaryMiss}
	}
	cc := httpheader.ParseResponseControl(stored.Header["Cache-Control"])
	lifetime, _ := freshnessLifetime(stored, &cc)
	v := Verdict{Age: currentAge(stored, now)}
	v.FreshFor = lifetime - v.Age

	// Without permission to store there is none to serve either: a 304 or another
	// node may have brought the directive.
	fresh := v.FreshFor > 0 && !cc.NoCache && !cc.NoStore && !cc.Private
	switch {
	case fresh && !wantsFresher(req, wish, &v):
		v.Action, v.Reason = Serve, ReasonFresh
		return v
	case fresh:
		v.Reason = ReasonRequest
	case acceptsStale(req, wish, &cc, &v):
		v.Action, v.Reason = Serve, ReasonMaxStale
		return v
	default:
		v.Reason = ReasonStale
	}
	v.Action = Revalidate
	if v.Conditional = conditional(stored); v.Conditional == nil {
		v.Action = Fetch
	}
	return v
}

// wantsFresher applies what a request may ask beyond freshness (RFC 9111
// §5.2.1). An argument that cannot be read asks for the most.
func wantsFresher(req *Request, wish *httpheader.RequestControl, v *Verdict) bool {
	switch {
	case wish.NoCache, wish.MaxAge.Present && v.Age > wish.MaxAge.Value:
		return true
	case wish.MaxAge.Present && wish.MaxAge.Value == 0:
		return true // how clients that know no better say no-cache; the age may still be 0
	case wish.MinFresh.Present && (!wish.MinFresh.Valid || v.FreshFor < wish.MinFresh.Value):
		return true
	}
	return pragmaNoCache(req.Header)
}

// acceptsStale applies max-stale, unless the response forbids it (RFC 9111
// §4.2.4, §5.2.1.2; s-maxage implies proxy-revalidate, §5.2.2.10).
func acceptsStale(req *Request, wish *httpheader.RequestControl, cc *httpheader.ResponseControl, v *Verdict) bool {
	switch {
	case !wish.MaxStale.Valid || wantsFresherThanStale(req, wish, v):
		return false
	case cc.NoCache, cc.NoStore, cc.Private, cc.MustRevalidate, cc.ProxyRevalidate, cc.SMaxAge.Present:
		return false
	}
	return -v.FreshFor <= wish.MaxStale.Value
}

func wantsFresherThanStale(req *Request, wish *httpheader.RequestControl, v *Verdict) bool {
	return wish.MinFresh.Present || wantsFresher(req, wish, v)
}

// pragmaNoCache is the HTTP/1.0 way to say no-cache; it counts only where there
// is no Cache-Control (RFC 9111 §5.4).
func pragmaNoCache(h http.Header) bool {
	if len(h["Pragma"]) == 0 || len(h["Cache-Control"]) > 0 {
		return false
	}
	return httpheader.ParseRequestControl(h["Pragma"]).NoCache
}

// uncacheable says why a request goes past the cache whatever is stored, "" if
// it does not.
func uncacheable(req Request) string {
	switch {
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return ReasonMethod
	case req.HasBody:
		return "content"
	case len(req.Header["Upgrade"]) > 0 && !onlyH2C(req.Header["Upgrade"]):
		return "upgrade"
	}
	return ""
}

// onlyH2C: the offer of HTTP/2 changes nothing about the answer.
func onlyH2C(lines []string) bool {
	return len(lines) == 1 && strings.EqualFold(strings.Trim(lines[0], " \t"), "h2c")
}
