package policy

import (
	"testing"
	"time"
)

// RFC 9111 §3, §3.5 and what of §5.2 and §7.3 decides about storing.

func TestStoring(t *testing.T) {
	partial, any := StoreOptions{Partial: true}, StoreOptions{AnyStatus: true}
	std.stores(t, []storing{
		{"§3: GET, 200, explicit freshness", get(), stored("Cache-Control", "max-age=60"), StoreOptions{}, ""},
		{"§3: method", withMethod(get(), "HEAD"), minute(), StoreOptions{}, NotMethod},
		{"§3: method", withMethod(get(), "POST"), minute(), StoreOptions{}, NotMethod},
		{"RFC 9110 §9.3.1: GET with content", withContent(get()), minute(), StoreOptions{}, NotContent},

		{"§3: only a 200 will do", get(), with(minute(), 404), StoreOptions{}, NotStatus},
		{"§3: only a 200 will do", get(), with(minute(), 203), partial, NotStatus},
		{"§3: any final status with explicit freshness", get(), with(minute(), 204), any, ""},
		{"§3: any final status with explicit freshness", get(), with(minute(), 302), any, ""},
		{"§3: any final status with explicit freshness", get(), with(minute(), 307), any, ""},
		{"§3: any final status with explicit freshness", get(), with(minute(), 403), any, ""},
		{"§3: any final status with explicit freshness", get(), with(minute(), 503), any, ""},
		{"§3: any final status with explicit freshness, known or not", get(), with(minute(), 299), any, ""},
		{"§3: any final status with explicit freshness, known or not", get(), with(minute(), 599), any, ""},
		{"§3: Expires is explicit", get(), with(stored("Expires", at(time.Hour)), 302), any, ""},
		{"§3: s-maxage is explicit", get(), with(cc("s-maxage=9"), 302), any, ""},
		{"§3: public is enough, with something to go by", get(), with(cc("public"), 302), any, ""},
		{"§3: a status cacheable by default", get(), with(stored("Last-Modified", at(-time.Hour)), 301), any, ""},
		{"§3: a status cacheable by default", get(), with(stored("Last-Modified", at(-time.Hour)), 410), any, ""},
		{"§3: a status cacheable by default", get(), with(stored("Last-Modified", at(-time.Hour)), 308), any, ""},
		{"§3: a status cacheable by default", get(), with(stored("Last-Modified", at(-time.Hour)), 404), any, ""},
		{"§3: any final status with explicit freshness", get(), with(minute(), 308), any, ""},
		{"§3: any final status with explicit freshness", get(), with(minute(), 500), any, ""},
		{"RFC 7725 §3: 451 too", get(), with(stored("Last-Modified", at(-time.Hour)), 451), any, ""},
		{"§3: another status without a word", get(), with(stored("Last-Modified", at(-time.Hour)), 302), any, NotStatus},
		{"§3: another status without a word", get(), with(stored("Etag", `"x"`), 201), any, NotStatus},
		{"§3: another status without a word", get(), with(stored("Etag", `"x"`), 599), any, NotStatus},
		{"§3: an interim response is not final", get(), with(minute(), 103), any, NotStatus},
		{"§3: a 304 is no object", get(), with(minute(), 304), any, NotStatus},
		{"§3: a 206 is a part", get(), with(minute(), 206), any, NotStatus},
		{"RFC 6585 §3", get(), with(minute(), 428), any, NotStatus},
		{"RFC 6585 §4", get(), with(minute(), 429), any, NotStatus},
		{"RFC 6585 §5", get(), with(minute(), 431), any, NotStatus},
		{"RFC 6585 §6", get(), with(minute(), 511), any, NotStatus},
		{"RFC 9110 §15.5.2: a challenge is for who was challenged", get(), with(minute(), 401), any, NotStatus},
		{"RFC 9110 §15.5.13: the failure of this request's condition", get(), with(minute(), 412), any, NotStatus},
		{"RFC 9110 §15.5.17: the failure of this request's range", get(), with(minute(), 416), any, NotStatus},

		{"§5.2.2.3: must-understand lifts no-store", get(), cc("must-understand, no-store, max-age=60"), StoreOptions{}, ""},
		{"§5.2.2.3: for a status that is understood", get(), with(cc("must-understand, no-store, max-age=60"), 404), any, ""},
		{"§5.2.2.3: not for another", get(), with(cc("must-understand, no-store, max-age=60"), 299), any, NotUnderstood},
		{"§5.2.2.3: nor without no-store", get(), with(cc("must-understand, max-age=60"), 299), any, NotUnderstood},
		{"§5.2.2.3: a malformed permission is none", get(), cc("must-understand;, no-store, max-age=60"), StoreOptions{}, NotNoStore},
		{"§5.2.2.3: the request's no-store stands", ask("no-store"), cc("must-understand, no-store, max-age=60"), StoreOptions{}, NotRequestNoStore},

		{"§5.2.1.5: request no-store", ask("no-store"), minute(), StoreOptions{Public: true}, NotRequestNoStore},
		{"§5.2.2.5: no-store", get(), minute("Cache-Control", "no-store"), StoreOptions{Public: true}, NotNoStore},
		{"§5.2.2.5: no-store in any case", get(), minute("Cache-Control", "nO-StOrE"), StoreOptions{}, NotNoStore},
		{"§5.2.2.5: no-store with a typing error", get(), minute("Cache-Control", "no-store;"), StoreOptions{Public: true}, NotNoStore},
		{"§5.2.2.7: private", get(), minute("Cache-Control", "private"), StoreOptions{Public: true}, NotPrivate},
		{"§5.2.2.7: private beats public", get(), cc("public, private, max-age=60"), StoreOptions{}, NotPrivate},
		{"§5.2.2.7: private fields leave the rest", get(), minute("Cache-Control", `private="X-User"`), StoreOptions{}, ""},
		{"§5.2.2.7: unless the rest is nothing without them", get(), minute("Cache-Control", `private="content-type"`), StoreOptions{}, NotPrivate},
		{"§5.2.2.7: unless the rest is nothing without them", get(), minute("Cache-Control", `private="X-User, ETag"`), StoreOptions{}, NotPrivate},
		{"§5.2.2.7: an unreadable list is the whole", get(), minute("Cache-Control", `private="X User"`), StoreOptions{}, NotPrivate},
		{"§5.2.2.4: no-cache of fields leaves the rest", get(), cc(`no-cache="X", max-age=60`), StoreOptions{}, ""},

		{"§3: validator only", get(), stored("Etag", `"x"`), StoreOptions{}, ""},
		{"§3: Last-Modified only", get(), stored("Last-Modified", at(-1e12)), StoreOptions{}, ""},
		{"§5.2.2.4: no-cache with a validator", get(), minute("Cache-Control", "no-cache"), StoreOptions{}, ""},
		{"§5.2.2.4: no-cache without", get(), stored("Cache-Control", "no-cache, max-age=60"), StoreOptions{}, NotReusable},
		{"§3: nothing to go by", get(), stored(), StoreOptions{}, NotReusable},
		{"§3: stale on arrival, no validator", get(), stored("Cache-Control", "max-age=60", "Age", "60"), StoreOptions{}, NotReusable},
		{"§3: stale on arrival, validator", get(), minute("Age", "60"), StoreOptions{}, ""},
		{"RFC 5861 §3: stale on arrival, of use all the same", get(), stored("Cache-Control", "max-age=0, stale-while-revalidate=60"), StoreOptions{}, ""},
		{"RFC 5861 §4: stale on arrival, of use all the same", get(), stored("Cache-Control", "max-age=0, stale-if-error=60"), StoreOptions{}, ""},
		{"RFC 5861: but not where staleness is forbidden", get(), stored("Cache-Control", "max-age=0, stale-if-error=60, must-revalidate"), StoreOptions{}, NotReusable},
		{"RFC 9110 §8.8.3: an entity tag without quotes is none", get(), stored("Etag", "x"), StoreOptions{}, NotReusable},
	})
}

func TestStoringForAuthenticatedRequests(t *testing.T) {
	bearer := get("Authorization", "Bearer x")
	public := StoreOptions{Public: true}
	std.stores(t, []storing{
		{"§3.5: Authorization", bearer, minute(), StoreOptions{}, NotAuthorization},
		{"§3.5: explicit freshness is no permission", bearer, stored("Expires", at(time.Hour)), StoreOptions{}, NotAuthorization},
		{"§3.5: public", bearer, minute("Cache-Control", "public"), StoreOptions{}, ""},
		{"§3.5: s-maxage", bearer, minute("Cache-Control", "s-maxage=9"), StoreOptions{}, ""},
		{"§3.5: must-revalidate", bearer, minute("Cache-Control", "must-revalidate"), StoreOptions{}, ""},
		{"§3.5: proxy-revalidate is not among them", bearer, minute("Cache-Control", "proxy-revalidate"), StoreOptions{}, NotAuthorization},
		{"§3.5: a malformed permission is none", bearer, minute("Cache-Control", "public;x"), StoreOptions{}, NotAuthorization},
		{"§3.5: a malformed permission is none", bearer, minute("Cache-Control", "s-maxage=x"), StoreOptions{}, NotAuthorization},
		{"§3.5: a malformed permission is none", bearer, minute("Cache-Control", "must-revalidate;"), StoreOptions{}, NotAuthorization},
		{"§3.5: must-revalidate permits no cookie beside it", get("Authorization", "x", "Cookie", "sid=1"), minute("Cache-Control", "must-revalidate"), StoreOptions{}, NotCookie},
		{"operator: public", bearer, minute(), public, ""},
		{"userinfo is an authorization", getURL(t, "http://me:secret@origin.test/f.iso"), minute(), StoreOptions{}, NotAuthorization},

		{"cookie in the request", get("Cookie", "sid=1"), minute(), StoreOptions{}, NotCookie},
		{"cookie in the request: must-revalidate is §3.5's only", get("Cookie", "sid=1"), minute("Cache-Control", "must-revalidate"), StoreOptions{}, NotCookie},
		{"cookie in the request, public", get("Cookie", "sid=1"), minute("Cache-Control", "public"), StoreOptions{}, ""},
		{"cookie in the request, operator: public", get("Cookie", "sid=1"), minute(), public, ""},

		{"§7.3: Set-Cookie", get(), minute("Set-Cookie", "a=b"), StoreOptions{}, NotSetCookie},
		{"§7.3: Set-Cookie2", get(), minute("Set-Cookie2", "a=b"), StoreOptions{}, NotSetCookie},
		{"§7.3: Set-Cookie, s-maxage is not enough", get(), minute("Set-Cookie", "a=b", "Cache-Control", "s-maxage=9"), StoreOptions{}, NotSetCookie},
		{"§7.3: Set-Cookie, public", get(), minute("Set-Cookie", "a=b", "Cache-Control", "public"), StoreOptions{}, ""},
	})
}

func TestStoringBySignedURL(t *testing.T) {
	presigned := getURL(t, "http://s3.test/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=abc")
	azure := getURL(t, "http://blob.test/b/k?sv=2020&SIG=abc")
	both := getURL(t, "http://s3.test/b/k?X-Amz-Signature=abc")
	both.Header = header("Authorization", "Bearer x")
	shared := StoreOptions{SharedQuery: true}
	std.stores(t, []storing{
		{"presigned", presigned, minute(), StoreOptions{}, NotSignedQuery},
		{"presigned, names in any case", azure, minute(), StoreOptions{}, NotSignedQuery},
		{"presigned, public", presigned, minute("Cache-Control", "public"), StoreOptions{}, ""},
		{"presigned, operator: public", presigned, minute(), StoreOptions{Public: true}, ""},
		{"presigned, signature not in the key", presigned, minute(), shared, ""},
		{"signature not in the key permits no Authorization", get("Authorization", "x"), minute(), shared, NotAuthorization},
		{"§3.5: must-revalidate permits no signed URL beside it", both, minute("Cache-Control", "must-revalidate"), StoreOptions{}, NotSignedQuery},
	})
}

// The question to ask after a 304: has the origin taken its permission back?
func TestStorableWithoutARequestJudgesTheResponseAlone(t *testing.T) {
	for want, s := range map[string]Stored{
		"":                 stored("Etag", `"x"`, "Vary", "Accept"),
		NotNoStore:         cc("no-store"),
		NotPrivate:         cc("private"),
		NotVaryCredentials: stored("Etag", `"x"`, "Vary", "Cookie"),
	} {
		if _, reason := std.Storable(Request{Method: "GET"}, s, StoreOptions{}); reason != want {
			t.Errorf("%v: got %q, want %q", s.Header, reason, want)
		}
	}
}

// What was not storable because of this request says nothing about the next.
func TestHitForMiss(t *testing.T) {
	for reason, want := range map[string]bool{
		NotNoStore: true, NotPrivate: true, NotSetCookie: true, NotVary: true, NotReusable: true, NotStatus: true, NotAccelExpires: true,
		"": false, NotAuthorization: false, NotCookie: false, NotRequestNoStore: false, NotMethod: false, NotMinUses: false,
	} {
		if got := HitForMiss(reason); got != want {
			t.Errorf("%q: %v", reason, got)
		}
	}
}
