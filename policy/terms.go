package policy

import (
	"net/http"
	"strings"
	"time"

	"shatabdi/policy/httpheader"
)

// terms are what a response says to this cache, whichever field says it.
type terms struct {
	httpheader.CacheControl
	lifetime time.Duration // freshness lifetime (RFC 9111 §4.2.1)
	explicit bool          // lifetime is somebody's word, not a guess
	refused  string        // why it must not be stored; "" if it may
}

// terms reads a response. The fields in their order of precedence:
// X-Accel-Expires where it is obeyed, CDN-Cache-Control, Cache-Control, Expires,
// cache_valid, Last-Modified.
func (c *Caching) terms(s *Stored) (t terms) {
	cc, targeted := c.control(s.Header)
	t.CacheControl = cc
	if c.AccelExpires && c.accelExpires(s, &t) {
		return t
	}
	switch valid, configured := c.validFor(s.Status); {
	case t.SMaxAge.Present:
		t.lifetime, t.explicit = t.SMaxAge.Value, true
	case t.MaxAge.Present:
		t.lifetime, t.explicit = t.MaxAge.Value, true
	case len(s.Header["Expires"]) > 0 && !targeted && c.Ignore&IgnoreExpires == 0:
		t.lifetime, t.explicit = expiresIn(s), true
	case configured && valid == 0:
		t.explicit, t.refused = true, NotValid
	case configured:
		t.lifetime, t.explicit = sinceArrival(s, valid), true
	case heuristicallyCacheable(s.Status) || t.Public:
		t.lifetime = heuristicLifetime(s, targeted)
	}
	return t
}

// control reads the field that speaks to this cache. A valid CDN-Cache-Control
// takes the place of Cache-Control and Expires (RFC 9213 §2.2).
func (c *Caching) control(h http.Header) (cc httpheader.CacheControl, targeted bool) {
	if lines := h["Cdn-Cache-Control"]; len(lines) > 0 && !c.Untargeted {
		cc, targeted = httpheader.ParseTargeted(lines)
	}
	if !targeted && c.Ignore&IgnoreCacheControl == 0 {
		cc = httpheader.ParseCacheControl(h["Cache-Control"])
	}
	unqualify(&cc.NoCache, &cc.NoCacheFields)
	unqualify(&cc.Private, &cc.PrivateFields)
	return cc, targeted
}

// unqualify takes a directive about fields for one about the whole response where
// the response could not stand without them.
func unqualify(whole *bool, fields *httpheader.FieldList) {
	if *fields != "" && !separable(*fields) {
		*whole, *fields = true, ""
	}
}

// separable reports whether a response without these fields is still the same
// response: what describes its body or its caching cannot be left out.
func separable(fields httpheader.FieldList) bool {
	for name := range fields.All() {
		if endToEnd(name) || name == "Etag" || name == "Last-Modified" || name == "Location" {
			return false
		}
	}
	return true
}

// accelExpires applies X-Accel-Expires, if it can be read: seconds from arrival,
// "@" and Unix seconds, or 0 for not at all. It lifts what Cache-Control forbids
// and leaves its other directives alone, as nginx does.
func (c *Caching) accelExpires(s *Stored, t *terms) bool {
	value, ok := single(s.Header, "X-Accel-Expires")
	if !ok || c.Ignore&IgnoreAccelExpires != 0 {
		return false
	}
	at, absolute := strings.CutPrefix(value, "@")
	d, ok := httpheader.ParseDelta(at)
	switch {
	case !ok:
		return false
	case absolute:
		t.lifetime = max(0, time.Unix(int64(d/time.Second), 0).Sub(dateOf(s)))
	case d == 0:
		t.explicit, t.refused = true, NotAccelExpires
		return true
	default:
		t.lifetime = sinceArrival(s, d)
	}
	t.explicit = true
	t.NoStore, t.NoCache, t.Private = false, false, false
	return true
}

// sinceArrival is the freshness lifetime of what is to be fresh for d from its
// arrival on, however old it was then.
func sinceArrival(s *Stored, d time.Duration) time.Duration {
	return add(ageAtArrival(s), d)
}

// mustAsk reports whether s must not be used without asking the origin, fresh or
// not: for what it says (RFC 9111 §4), or because it was invalidated (§4.4).
// Without permission to store there is none to use either: a 304 or another node
// may have brought the directive.
func (t *terms) mustAsk(s *Stored) bool {
	return t.NoCache || t.NoStore && !t.liftsNoStore(s.Status) || t.Private || s.Invalid ||
		hasAny(s.Header, t.NoCacheFields) || hasAny(s.Header, t.PrivateFields)
}

// forbidsStale reports whether s must not be served stale, whoever permits it
// (RFC 9111 §4.2.4); s-maxage implies proxy-revalidate (§5.2.2.10).
func (t *terms) forbidsStale(s *Stored) bool {
	return t.MustRevalidate || t.ProxyRevalidate || t.SMaxAge.Present || t.mustAsk(s)
}

// liftsNoStore: must-understand is for caches like us, no-store for those that
// do not know it (RFC 9111 §5.2.2.3).
func (t *terms) liftsNoStore(status int) bool {
	return t.MustUnderstand && !t.Malformed && understood(status)
}

// hasAny reports whether h has one of the fields: those that a response withholds
// are not stored, see ForStorage, but a stored one may be older than that.
func hasAny(h http.Header, fields httpheader.FieldList) bool {
	for name := range fields.All() {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return false
}
