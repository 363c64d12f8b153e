package policy

import (
	"net/http"
	"time"
)

// plain is Caching without rules, for a caller that answers with whole 200s only,
// revalidates before it answers, and gives the client that asked what it stored:
// no ServeAndRevalidate, no other status, and a directive about some fields counts
// for the whole response. Nor does CDN-Cache-Control count, which no rule could
// turn off there.
var plain = &Caching{plain: true, Untargeted: true}

// Decide is Caching.Decide for such a caller.
func Decide(req Request, stored *Stored, now time.Time) Verdict {
	return plain.Decide(req, stored, now)
}

// Storable is Caching.Storable for such a caller.
func Storable(req Request, resp Stored, o StoreOptions) (ok bool, reason string) {
	o.AnyStatus = false
	return plain.Storable(req, resp, o)
}

// ForStorage is Caching.ForStorage for such a caller.
func ForStorage(h http.Header) http.Header { return plain.ForStorage(h) }

// Confirms is Caching.Confirms for such a caller.
func Confirms(old Stored, h304 http.Header) bool { return plain.Confirms(old, h304) }

// Freshened is Caching.Freshened for such a caller.
func Freshened(old Stored, h304 http.Header, requestTime, responseTime time.Time) Stored {
	return plain.Freshened(old, h304, requestTime, responseTime)
}
