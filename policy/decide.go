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
	Bypass             Action = iota // forward it, without touching the cache
	Serve                            // answer with what is stored
	Revalidate                       // ask the origin whether what is stored still stands
	Fetch                            // ask the origin for the whole
	Refuse                           // 504: only-if-cached, and nothing will do (RFC 9111 §5.2.1.7)
	ServeAndRevalidate               // answer with what is stored, and ask the origin behind the client's back (RFC 5861 §3)
)

func (a Action) String() string {
	return [...]string{"bypass", "serve", "revalidate", "fetch", "refuse", "serve-and-revalidate"}[a]
}

// Reasons of a Verdict. Those for going to the origin are the tokens of
// Cache-Status "fwd" (RFC 9211 §2.2).
const (
	ReasonFresh           = "fresh"                  // served
	ReasonMaxStale        = "max-stale"              // served stale, as the request allows
	ReasonWhileRevalidate = "stale-while-revalidate" // served stale, as the response allows
	ReasonUpdating        = "updating"               // served stale, as the operator allows

	ReasonMethod   = "method"    // the method cannot be answered from a cache
	ReasonBypass   = "bypass"    // the request has content or asks for another protocol, or a rule says so
	ReasonURIMiss  = "uri-miss"  // nothing stored
	ReasonVaryMiss = "vary-miss" // stored for other request fields
	ReasonStale    = "stale"     // stored, but stale or not to be used unasked
	ReasonRequest  = "request"   // stored and fresh, but the request wants it fresher
	ReasonPartial  = "partial"   // stored, but not the whole
)

// Verdict is what Decide says.
type Verdict struct {
	Action   Action
	Reason   string        // one of the Reason constants
	Age      time.Duration // current age of what is stored
	FreshFor time.Duration // freshness left; negative when stale
	// Conditional holds If-None-Match and If-Modified-Since for Revalidate and
	// ServeAndRevalidate. They take the place of the client's own conditions. With
	// ServeAndRevalidate it is nil when there is no validator: fetch the whole.
	Conditional http.Header
}

// Served reports whether the client gets what is stored, at once.
func (v *Verdict) Served() bool { return v.Action == Serve || v.Action == ServeAndRevalidate }

// AskFirst has the client wait where the origin would be asked behind its back,
// without its credentials, which it wants to see.
func (v *Verdict) AskFirst() {
	if v.Action != ServeAndRevalidate {
		return
	}
	v.Action, v.Reason = Revalidate, ReasonStale
	if v.Conditional == nil {
		v.Action = Fetch
	}
}

// Decide says what to do with a request when stored (nil: nothing) is what its
// key selects (RFC 9111 §4). The Range of a request plays no part: the verdict
// is about the whole. A HEAD may be answered from a stored GET.
//
// Whoever gets ServeAndRevalidate sends Background's request, one at a time for
// each object however many clients come, without the client's credentials.
func (c *Caching) Decide(req Request, stored *Stored, now time.Time) Verdict {
	switch uncacheable(req) {
	case "":
	case ReasonMethod:
		return Verdict{Action: Bypass, Reason: ReasonMethod}
	default:
		return Verdict{Action: Bypass, Reason: ReasonBypass}
	}
	w := wishesOf(req.Header)
	v := c.decide(&req, &w, stored, now)
	if w.OnlyIfCached && !v.Served() {
		v.Action, v.Conditional = Refuse, nil
	}
	return v
}

func (c *Caching) decide(req *Request, w *wishes, stored *Stored, now time.Time) Verdict {
	switch {
	case anyTrue(c.Bypass, req, nil):
		return Verdict{Action: Fetch, Reason: ReasonBypass}
	case stored == nil || neverStored(stored.Status):
		return Verdict{Action: Fetch, Reason: missOf(stored)}
	case !c.SelectedBy(*stored, req.Header):
		return Verdict{Action: Fetch, Reason: ReasonVaryMiss}
	}
	t := c.terms(stored)
	v := Verdict{Age: currentAge(stored, now)}
	v.FreshFor = t.lifetime - v.Age

	fresh := v.FreshFor > 0 && !t.mustAsk(stored)
	switch {
	case fresh && !w.fresher(&v, t.Immutable && c.Authentic):
		v.Action, v.Reason = Serve, ReasonFresh
		return v
	case fresh:
		v.Reason = ReasonRequest
	case t.forbidsStale(stored):
		v.Reason = ReasonStale
	case w.acceptStale(&v):
		v.Action, v.Reason = Serve, ReasonMaxStale
		return v
	case c.staleWhileAsking(&t, w, &v):
		v.Action, v.Conditional = ServeAndRevalidate, conditional(stored)
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

// missOf: a part alone answers nothing here (RFC 9111 §3.3); parts become answers
// by PartOf.
func missOf(stored *Stored) string {
	if stored != nil && stored.Status == http.StatusPartialContent {
		return ReasonPartial
	}
	return ReasonURIMiss
}

// staleWhileAsking reports whether the client gets what is stale now, and a
// revalidation happens behind its back.
func (c *Caching) staleWhileAsking(t *terms, w *wishes, v *Verdict) bool {
	switch {
	case w.noStale(v):
		return false
	case -v.FreshFor < t.StaleWhileRevalidate.Value:
		v.Reason = ReasonWhileRevalidate
		return true
	case c.BackgroundUpdate && c.UseStale&Updating != 0:
		v.Reason = ReasonUpdating
		return true
	}
	return false
}

// wishes are what a request says about the age of the answer (RFC 9111 §5.2.1).
type wishes struct{ httpheader.CacheControl }

func wishesOf(h http.Header) wishes {
	w := wishes{httpheader.ParseCacheControl(h["Cache-Control"])}
	// A request's no-cache names no fields. Pragma is the HTTP/1.0 way to say it,
	// and counts only where there is no Cache-Control (§5.4).
	w.NoCache = w.NoCache || w.NoCacheFields != ""
	if len(h["Pragma"]) > 0 && len(h["Cache-Control"]) == 0 {
		w.NoCache = httpheader.ParseCacheControl(h["Pragma"]).NoCache
	}
	return w
}

// fresher reports whether a fresh response is not fresh enough. An argument that
// cannot be read asks for the most.
func (w *wishes) fresher(v *Verdict, immutable bool) bool {
	switch {
	case w.NoCache:
		return true
	case w.MaxAge.Present && w.MaxAge.Value == 0:
		// How clients that know no better say no-cache; the age may still be 0. It is
		// also what a browser's reload sends, which need not be asked about what
		// cannot have changed (RFC 8246 §2).
		if !immutable || !w.MaxAge.Valid {
			return true
		}
	case w.MaxAge.Present && v.Age > w.MaxAge.Value:
		return true
	}
	return w.MinFresh.Present && (!w.MinFresh.Valid || v.FreshFor < w.MinFresh.Value)
}

// acceptStale applies max-stale (§5.2.1.2).
func (w *wishes) acceptStale(v *Verdict) bool {
	return w.MaxStale.Valid && !w.MinFresh.Present && !w.fresher(v, false) && -v.FreshFor <= w.MaxStale.Value
}

// noStale reports whether the request does not want a stale response, although
// the response or the operator allows it: also with max-age, which without
// max-stale asks for a fresh one (§5.2.1.1).
func (w *wishes) noStale(v *Verdict) bool {
	return w.MinFresh.Present || w.MaxAge.Present && !w.MaxStale.Present || w.fresher(v, false)
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
