package policy

import (
	"net/http"

	"shatabdi/policy/httpheader"
)

// StoreOptions are what the request and the response do not say themselves.
type StoreOptions struct {
	// Partial: a 206 will do, because it opens a fill of the whole object.
	Partial bool
	// Public: the operator says that what was fetched with credentials is for all.
	Public bool
	// SharedQuery: the credentials of a signed URL are not in the key.
	SharedQuery bool
}

// Why a response is not storable.
const (
	NotMethod          = "method"           // not the response to a GET
	NotContent         = "content"          // the request had content
	NotStatus          = "status"           // neither 200 nor a 206 that will do
	NotPartial         = "partial"          // a 206 without a strong validator or the whole length
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
)

// Storable reports whether a shared cache may store resp, the response to req
// (RFC 9111 §3), and if not, why: one of the Not constants. In doubt it may not.
//
// resp.Header must be as received: ForStorage takes away the Set-Cookie that
// forbids storing. must-understand does not lift no-store here, as §5.2.2.3
// would allow.
func Storable(req Request, resp Stored, o StoreOptions) (ok bool, reason string) {
	reason = notStorable(&req, &resp, o)
	return reason == "", reason
}

func notStorable(req *Request, resp *Stored, o StoreOptions) string {
	switch {
	case req.Method != http.MethodGet:
		return NotMethod
	case req.HasBody:
		return NotContent
	}
	if reason := notWhole(resp, o); reason != "" {
		return reason
	}
	cc := httpheader.ParseResponseControl(resp.Header["Cache-Control"])
	switch {
	case httpheader.ParseRequestControl(req.Header["Cache-Control"]).NoStore:
		return NotRequestNoStore
	case cc.NoStore:
		return NotNoStore
	case cc.Private:
		return NotPrivate
	}
	if reason := notShared(req, resp, &cc, o); reason != "" {
		return reason
	}
	if !hasValidator(resp) && !freshOnArrival(resp, &cc) {
		return NotReusable
	}
	return ""
}

// notWhole accepts a 200, and a 206 if asked to: one part of a whole whose
// length and strong validator are known (RFC 9111 §3.3).
func notWhole(resp *Stored, o StoreOptions) string {
	switch {
	case resp.Status == http.StatusOK:
		return ""
	case resp.Status != http.StatusPartialContent || !o.Partial:
		return NotStatus
	}
	value, ok := single(resp.Header, "Content-Range")
	part, valid := httpheader.ParseContentRange(value)
	if !ok || !valid || part.Length < 0 || part.Range.Len() <= 0 || StrongValidator(resp.Header, dateOf(resp)) == "" {
		return NotPartial
	}
	return ""
}

// notShared asks for permission where a response may be meant for one user only.
func notShared(req *Request, resp *Stored, cc *httpheader.ResponseControl, o StoreOptions) string {
	public := cc.Public || o.Public
	shared := public || cc.SMaxAge.Valid
	switch {
	case shared:
	case authorized(req) && !(cc.MustRevalidate && !cc.Malformed): // RFC 9111 §3.5
		return NotAuthorization
	case len(req.Header["Cookie"]) > 0:
		return NotCookie
	case bySignedURL(req, o):
		return NotSignedQuery
	}
	if len(resp.Header["Set-Cookie"])+len(resp.Header["Set-Cookie2"]) > 0 && !public {
		return NotSetCookie
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
	return !o.SharedQuery && req.URL != nil && signed(req.URL.RawQuery)
}

// withCredentials reports whether the answer to req may be meant for one user only.
func withCredentials(req *Request, o StoreOptions) bool {
	return authorized(req) || len(req.Header["Cookie"]) > 0 || bySignedURL(req, o)
}

func freshOnArrival(resp *Stored, cc *httpheader.ResponseControl) bool {
	lifetime, _ := freshnessLifetime(resp, cc)
	return !cc.NoCache && lifetime > currentAge(resp, resp.ResponseTime)
}
