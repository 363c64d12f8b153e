package policy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Route is what the rules make of a request.
type Route struct {
	Kind RouteKind
	// Reason says why Kind is not swarm although no rule says so: "method",
	// "content", "upgrade" (to another protocol) or "scheme"; else "rule" or "default".
	Reason string
	// Rule is the index of the rule that decided Kind, -1 for none.
	Rule int

	Key Key // empty for URLs that are not http or https
	// Rekeyed: the rules make the key another than that of the URL.
	Rekeyed bool
	// FetchURL is where to fetch from: the request's URL, by https if a rule
	// upgrades it, without fragment and userinfo. A fresh copy.
	FetchURL *url.URL

	Threshold   int64 // bytes; smaller bodies pass through
	Streams     int   // parallel origin streams for one object
	ExpectLarge bool  // worth a claim before the first GET
	// Store goes to Storable, with Partial and AnyStatus as the caller needs them.
	Store StoreOptions
	// Cache decides about storing and serving. For what is stored under a rule with
	// conditions on the response, take that of AtResponse.
	Cache Caching

	subject subject
	sourced bool // of a scheme beyond HTTP: whoever asks there names an object
}

// Route applies the rules to a request. Settings that depend on the response are
// provisional: where a rule on content type or size may yet say swarm, the route
// is swarm, so that the cache is asked; AtResponse settles it.
func (r *Rules) Route(req Request) Route {
	rt := Route{subject: subjectOf(req), FetchURL: fetchURL(req.URL)}
	early := r.early(&rt.subject)
	if early.upgrade {
		upgradeToHTTPS(rt.FetchURL)
	}
	rt.sourced = slices.Contains(r.Schemes, rt.FetchURL.Scheme)
	known := isWeb(rt.FetchURL) || rt.sourced
	if known {
		rt.Key = KeyOf(rt.FetchURL, early.key)
		rt.Rekeyed = early.upgrade || !early.key.isZero()
		rt.Store.SharedQuery = sharedQuery(rt.FetchURL, early.key)
	}
	r.settle(&rt)

	if rt.Kind == Swarm {
		if reason := uncacheable(req); reason != "" {
			rt.Kind, rt.Reason, rt.Rule = Pass, reason, -1
		} else if !known {
			rt.Kind, rt.Reason, rt.Rule = Pass, "scheme", -1
		}
	}
	if rt.Kind == Swarm {
		rt.ExpectLarge = early.expectLarge(req, rt)
	}
	return rt
}

// AtResponse settles rt when the head of the response is here. length is that of
// the whole body in bytes (for a 206, from Content-Range), -1 when not told. Only
// responses that could be stored are looked at; a route never becomes deny here.
func (r *Rules) AtResponse(rt Route, status int, h http.Header, length int64) Route {
	if rt.Kind != Swarm || neverStored(status) && status != http.StatusPartialContent {
		return rt
	}
	rt.subject.response = true
	rt.subject.contentType = h.Get("Content-Type")
	rt.subject.length = length
	r.settle(&rt)
	return rt
}

// settle sets what may depend on the response, as far as the subject is known.
func (r *Rules) settle(rt *Route) {
	rt.Kind, rt.Reason, rt.Rule = "", "", -1
	rt.Threshold, rt.Streams, rt.Store.Public, rt.Store.Probe = 0, 0, false, false
	rt.Cache = Caching{Authentic: rt.FetchURL != nil && rt.FetchURL.Scheme == "https"}
	var s switches
	mayBeSwarm := -1
	for i := range r.Rules {
		rule := &r.Rules[i]
		yes, maybe := rule.matches(&rt.subject)
		if maybe && rule.Route == Swarm && rt.Kind == "" && mayBeSwarm < 0 {
			mayBeSwarm = i
		}
		if !yes {
			continue
		}
		if rt.Kind == "" && rule.Route != "" {
			rt.Kind, rt.Reason, rt.Rule = rule.Route, "rule", i
		}
		if rt.Threshold == 0 {
			rt.Threshold = int64(rule.Threshold)
		}
		if rt.Streams == 0 {
			rt.Streams = rule.Streams
		}
		rt.Store.Probe = rt.Store.Probe || rule.Auth == Probe
		rt.Store.Public = rt.Store.Public || rule.Public || rt.Store.Probe
		rt.Cache.settle(rule)
		s.settle(rule)
	}
	rt.Cache.BackgroundUpdate, rt.Cache.AccelExpires, rt.Cache.Untargeted = is(s.background, false), is(s.accel, false), !is(s.cdn, true)
	if rt.Kind == "" {
		rt.Kind, rt.Reason = first(r.Default.Route, Swarm), "default"
	}
	if rt.Kind == Pass && mayBeSwarm >= 0 {
		rt.Kind, rt.Reason, rt.Rule = Swarm, "rule", mayBeSwarm
	}
	rt.Threshold = first(rt.Threshold, int64(r.Default.Threshold), int64(DefaultThreshold))
	rt.Streams = first(rt.Streams, r.Default.Streams, DefaultStreams)
}

// settle takes from a rule what no rule before it has set.
func (c *Caching) settle(r *Rule) {
	if c.Valid == nil {
		c.Valid = r.CacheValid
	}
	if c.Ignore == 0 {
		c.Ignore = union(r.IgnoreHeaders)
	}
	if c.Bypass == nil {
		c.Bypass = r.CacheBypass
	}
	if c.NoCache == nil {
		c.NoCache = r.NoCache
	}
	if c.MinUses == 0 {
		c.MinUses = r.CacheMinUses
	}
	if c.UseStale == 0 {
		c.UseStale = union(r.CacheUseStale)
	}
}

// switches can be set to false too.
type switches struct{ background, accel, cdn *bool }

func (s *switches) settle(r *Rule) {
	s.background = first(s.background, r.CacheBackgroundUpdate)
	s.accel = first(s.accel, r.XAccelExpires)
	s.cdn = first(s.cdn, r.CDNCacheControl)
}

func is(b *bool, unset bool) bool {
	if b == nil {
		return unset
	}
	return *b
}

// first returns the first of vs that is set.
func first[T comparable](vs ...T) (v T) {
	for _, v = range vs {
		var unset T
		if v != unset {
			break
		}
	}
	return v
}

// early is what the rules say about sending the request.
type early struct {
	upgrade bool
	key     KeyRule
	large   *bool
}

func (r *Rules) early(s *subject) (e early) {
	for i := range r.Rules {
		rule := &r.Rules[i]
		if yes, _ := rule.matches(s); !yes {
			continue
		}
		e.upgrade = e.upgrade || rule.Upgrade == "https"
		if e.key.isZero() {
			e.key = rule.Key
		}
		if e.large == nil {
			e.large = rule.ExpectLarge
		}
	}
	return e
}

// expectLarge is the rule's word, or else a guess. A request with credentials is
// not worth a claim by guess: if its response turns out private, those who
// waited for the claim waited for nothing, one after the other.
func (e early) expectLarge(req Request, rt Route) bool {
	switch {
	case e.large != nil:
		return *e.large
	case !rt.Store.Public && withCredentials(&req, rt.Store):
		return false
	case rt.sourced:
		return true
	}
	return rt.Threshold <= 1 || looksLarge(rt.subject.path)
}

func subjectOf(req Request) subject {
	s := subject{method: req.Method}
	if u := req.URL; u != nil {
		scheme := lowerASCII(u.Scheme)
		s.host, s.port, s.path = lowerASCII(u.Hostname()), first(u.Port(), defaultPort(scheme)), first(u.Path, "/")
	}
	return s
}

func fetchURL(u *url.URL) *url.URL {
	if u == nil {
		return &url.URL{}
	}
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	c.Scheme = lowerASCII(c.Scheme)
	c.RawQuery = rawQuery(u)
	return &c
}

// upgradeToHTTPS turns http into https. A port that is spelled out stays, unless
// it is http's own.
func upgradeToHTTPS(u *url.URL) {
	if u.Scheme != "http" {
		return
	}
	if port := u.Port(); port == "" || port == "80" {
		u.Host = strings.TrimSuffix(strings.TrimSuffix(u.Host, port), ":")
	}
	u.Scheme = "https"
}

func isWeb(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Opaque == ""
}

// sharedQuery reports whether the key leaves the credentials of a signed URL
// out: by that the operator says that what they open is for everybody.
func sharedQuery(u *url.URL, k KeyRule) bool {
	if k.isZero() || !Signed(rawQuery(u)) {
		return false
	}
	kept, _ := keyQuery(u, k)
	return !Signed(kept)
}
