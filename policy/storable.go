package policy

import (
	"net/http"

	"shatabdi/policy/httpheader"
)

// StoreOptions are what the request and the response do not say themselves.
type StoreOptions struct {
	// Partial: a 206 will do, because it opens a fill of the whole object.
	Partial bool
	// AnyStatus: not only a 200 will do, because the status is stored and served too.
	AnyStatus bool
	// Public: the operator says that what was fetched with credentials is for all.
	Public bool
	// Probe: it is given only to who could have it from the origin, which must be able
	// to say so: by a strong validator. It comes with Public.
	Probe bool
	// SharedQuery: the credentials of a signed URL are not in the key.
	SharedQuery bool
	// Uses is how often the key was asked for, this request included; 0: nobody
	// counts, and min_uses has no meaning.
	Uses int
}

// Why a response is not storable.
const (
	NotMethod          = "method"           // not the response to a GET
	NotContent         = "content"          // the request had content
	NotStatus          = "status"           // of a status that will not do
	NotPartial         = "partial"          // a 206 without a strong validator or the whole length, or not of what was asked for
	NotUnderstood      = "must-understand"  // RFC 9111 §5.2.2.3
	NotNoStore         = "no-store"         // RFC 9111 §5.2.2.5
	NotRequestNoStore  = "request-no-store" // RFC 9111 §5.2.1.5
	NotPrivate         = "private"          // RFC 9111 §5.2.2.7
	NotAuthorization   = "authorization"    // RFC 9111 §3.5
	NotCookie          = "cookie"           // fetched with a cookie
	NotSignedQuery     = "signed-query"     // fetched by a URL that is a capability
	NotSetCookie       = "set-cookie"       // RFC 9111 §7.3
	NotVary            = "vary"             // RFC 9111 §4.1: varies on what cannot be compared
	NotVaryCredentials = "vary-credentials" // varies on a cookie or an authorization
	NotReusable        = "not-reusable"     // neither fresh nor to be validated

	NotValid        = "cache_valid"     // a rule gives such a status no time
	NotNoCache      = "no_cache"        // a rule says so
	NotMinUses      = "cache_min_uses"  // not asked for often enough yet
	NotProbed       = "auth-probe"      // a rule has the origin asked about it, by a validator that it has not
	NotAccelExpires = "x-accel-expires" // X-Accel-Expires: 0
)

// HitForMiss reports whether a response that was not storable for that reason
// tells that the next one will not be either: then requests for the key should
// not wait for each other. Other reasons lie with this request alone.
func HitForMiss(reason string) bool {
	switch reason {
	case "", NotMethod, NotContent, NotPartial, NotRequestNoStore, NotAuthorization, NotCookie, NotMinUses:
		return false
	}
	return true
}

// Storable reports whether a shared cache may store resp, the response to req
// (RFC 9111 §3), and if not, why: one of the Not constants. In doubt it may not.
//
// resp.Header must be as received: ForStorage takes away the Set-Cookie that
// forbids storing, and the fields that are for one user only.
func (c *Caching) Storable(req Request, resp Stored, o StoreOptions) (ok bool, reason string) {
	reason = c.notStorable(&req, &resp, o)
	return reason == "", reason
}

func (c *Caching) notStorable(req *Request, resp *Stored, o StoreOptions) string {
	switch {
	case req.Method != http.MethodGet:
		return NotMethod
	case req.HasBody:
		return NotContent
	}
	t := c.terms(resp)
	if reason := notStatus(req, resp, &t, o); reason != "" {
		return reason
	}
	switch {
	case o.Probe && (resp.Status != http.StatusOK && resp.Status != http.StatusPartialContent || StrongValidator(resp.Header, dateOf(resp)) == ""):
		return NotProbed
	case httpheader.ParseCacheControl(req.Header["Cache-Control"]).NoStore:
		return NotRequestNoStore
	case t.NoStore && !t.liftsNoStore(resp.Status):
		return NotNoStore
	case t.Private:
		return NotPrivate
	case t.refused != "":
		return t.refused
	case anyTrue(c.NoCache, req, resp):
		return NotNoCache
	case 0 < o.Uses && o.Uses < c.MinUses:
		return NotMinUses
	}
	if reason := c.notShared(req, resp, &t, o); reason != "" {
		return reason
	}
	if !hasValidator(resp) && !t.usefulUnasked(resp) {
		return NotReusable
	}
	return ""
}

// notStatus accepts a 200, a 206 if asked to, and any other final status that
// does not concern this request alone, if the caller can serve it and there is a
// word about caching it (RFC 9111 §3).
func notStatus(req *Request, resp *Stored, t *terms, o StoreOptions) string {
	switch status := resp.Status; {
	case status == http.StatusPartialContent && o.Partial:
		return notPart(req, resp)
	case status == http.StatusOK:
	case !o.AnyStatus || neverStored(status):
		return NotStatus
	case t.MustUnderstand && !understood(status):
		return NotUnderstood
	case !t.explicit && !t.Public && !heuristicallyCacheable(status):
		return NotStatus
	}
	return ""
}

// notPart accepts one part that was asked for, of a whole whose length and strong
// validator are known (RFC 9111 §3.3).
func notPart(req *Request, resp *Stored) string {
	part, ok := contentRange(resp.Header)
	if !ok || part.Length < 0 || StrongValidator(resp.Header, dateOf(resp)) == "" {
		return NotPartial
	}
	field, _ := single(req.Header, "Range")
	asked, _ := httpheader.ParseRange(field)
	for _, r := range asked.Resolve(part.Length) {
		if r.From == part.Range.From {
			return ""
		}
	}
	return NotPartial
}

// notShared asks for permission where a response may be meant for one user only.
func (c *Caching) notShared(req *Request, resp *Stored, t *terms, o StoreOptions) string {
	public := t.Public || o.Public
	shared := public || t.SMaxAge.Valid
	switch {
	case shared:
	case authorized(req) && !(t.MustRevalidate && !t.Malformed): // RFC 9111 §3.5
		return NotAuthorization
	case len(req.Header["Cookie"]) > 0:
		return NotCookie
	case bySignedURL(req, o):
		return NotSignedQuery
	}
	if len(resp.Header["Set-Cookie"])+len(resp.Header["Set-Cookie2"]) > 0 && !public && c.Ignore&IgnoreSetCookie == 0 {
		return NotSetCookie
	}
	if c.Ignore&IgnoreVary != 0 {
		return ""
	}
	return notComparable(req, resp, shared)
}

// notComparable looks at Vary. A value that is a credential is never stored, not
// even to compare with.
func notComparable(req *Request, resp *Stored, shared bool) string {
	vary := resp.Header["Vary"]
	if len(vary) == 0 {
		return ""
	}
	fields, ok := httpheader.ParseVary(vary)
	if !ok {
		return NotVary
	}
	for _, name := range fields {
		if isCredential(name) && (!shared || len(req.Header[name]) > 0) {
			return NotVaryCredentials
		}
	}
	return ""
}

// Shares reports whether the answer to such a request may be for others too, so
// that they may wait for it, and it for one of theirs.
func Shares(req Request, o StoreOptions) bool {
	return (o.Public || !withCredentials(&req, o)) && !httpheader.ParseCacheControl(req.Header["Cache-Control"]).NoStore
}

func isCredential(field string) bool {
	switch field {
	case "Authorization", "Cookie", "Cookie2", "Proxy-Authorization":
		return true
	}
	return false
}

// authorized counts userinfo, from which clients make an Authorization.
func authorized(req *Request) bool {
	return len(req.Header["Authorization"]) > 0 || req.URL != nil && req.URL.User != nil
}

func bySignedURL(req *Request, o StoreOptions) bool {
	return !o.SharedQuery && req.URL != nil && Signed(req.URL.RawQuery)
}

// withCredentials reports whether the answer to req may be meant for one user only.
func withCredentials(req *Request, o StoreOptions) bool {
	return authorized(req) || len(req.Header["Cookie"]) > 0 || bySignedURL(req, o)
}

// usefulUnasked reports whether resp, which has just arrived, can be an answer
// without the origin's confirmation: while it is fresh, or may be served stale.
func (t *terms) usefulUnasked(resp *Stored) bool {
	useful := t.lifetime
	if !t.forbidsStale(resp) {
		useful = add(useful, max(t.StaleWhileRevalidate.Value, t.StaleIfError.Value))
	}
	return !t.NoCache && useful > currentAge(resp, resp.ResponseTime)
}
