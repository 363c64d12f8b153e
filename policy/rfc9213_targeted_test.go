package policy

import (
	"testing"
	"time"
)

// RFC 9213, CDN-Cache-Control.

func cdn(value string, more ...string) Stored {
	return stored(append([]string{"Cdn-Cache-Control", value, "Etag", `"x"`}, more...)...)
}

func TestTargetedFreshness(t *testing.T) {
	const s = time.Second
	std.decides(t, []decision{
		{"§2.2: max-age", get(), cdn("max-age=3600"), 3599 * s, Serve, ReasonFresh},
		{"§2.2: Age counts", get(), cdn("max-age=3600", "Age", "7200"), 0, Revalidate, ReasonStale},
		{"§2.2: max-age=0", get(), cdn("max-age=0"), 0, Revalidate, ReasonStale},
		{"§2.2: an extension beside it", get(), cdn("foobar, max-age=3600"), 0, Serve, ReasonFresh},
		{"§2.2: before Expires", get(), cdn("max-age=3600", "Expires", at(-time.Hour)), 0, Serve, ReasonFresh},
		{"§2.2: before an invalid Expires", get(), cdn("max-age=3600", "Expires", "0"), 0, Serve, ReasonFresh},
		{"§2.2: before a later Expires", get(), cdn("max-age=0", "Expires", at(time.Hour)), 0, Revalidate, ReasonStale},
		{"§2.2: before a shorter Cache-Control", get(), cdn("max-age=3600", "Cache-Control", "max-age=1"), 60 * s, Serve, ReasonFresh},
		{"§2.2: before a longer Cache-Control", get(), cdn("max-age=1", "Cache-Control", "max-age=3600"), 60 * s, Revalidate, ReasonStale},
		{"§2.2: before Cache-Control's no-cache", get(), cdn("max-age=60", "Cache-Control", "no-cache"), 0, Serve, ReasonFresh},
		{"§2.2: before Cache-Control's no-store", get(), cdn("max-age=60", "Cache-Control", "no-store"), 0, Serve, ReasonFresh},
		{"§2.2: no-cache", get(), cdn("no-cache", "Cache-Control", "max-age=3600"), 0, Revalidate, ReasonStale},
		{"§2.2: no-cache makes max-age inoperative", get(), cdn("max-age=60, no-cache"), 0, Revalidate, ReasonStale},
		{"§2.2: must-revalidate", ask("max-stale"), cdn("max-age=60, must-revalidate"), 90 * s, Revalidate, ReasonStale},
		{"§2.2: its must-revalidate, not Cache-Control's", ask("max-stale"), cdn("max-age=60", "Cache-Control", "must-revalidate"), 90 * s, Serve, ReasonMaxStale},
		{"§2.2: stale-while-revalidate", get(), cdn("max-age=60, stale-while-revalidate=60"), 90 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"§2.2: a value without freshness leaves a guess", get(), cdn("none", "Last-Modified", at(-time.Hour), "Expires", "0"), 0, Serve, ReasonFresh},
		{"§2.1: invalid is as if it were not there", get(), cdn("max-age=3600, &&&", "Cache-Control", "max-age=1"), 60 * s, Revalidate, ReasonStale},
		{"§2.1: empty is as if it were not there", get(), cdn("", "Cache-Control", "max-age=3600"), 60 * s, Serve, ReasonFresh},
		{"§2.1: a value of the wrong type is stale", get(), cdn(`max-age="3600"`, "Cache-Control", "max-age=3600"), 0, Revalidate, ReasonStale},
		{"§2.1: keys in upper case are invalid", get(), cdn("MaX-aGe=3600"), 0, Revalidate, ReasonStale},
		{"§2.2: a field that targets others", get(), stored("Etag", `"x"`, "Other-Cache-Control", "max-age=60"), 0, Revalidate, ReasonStale},
		{"§2.2: in a request it means nothing", get("Cdn-Cache-Control", "no-cache"), minute(), 0, Serve, ReasonFresh},
	})
	(&Caching{Untargeted: true}).decides(t, []decision{
		{"operator: off", get(), cdn("max-age=3600", "Cache-Control", "max-age=1"), 60 * s, Revalidate, ReasonStale},
		{"operator: off", get(), cdn("no-cache", "Cache-Control", "max-age=3600"), 60 * s, Serve, ReasonFresh},
	})
	(&Caching{Ignore: IgnoreCacheControl | IgnoreExpires}).decides(t, []decision{
		{"operator: it is not Cache-Control that is ignored", get(), cdn("max-age=3600", "Cache-Control", "max-age=1"), 60 * s, Serve, ReasonFresh},
	})
}

func TestTargetedStoring(t *testing.T) {
	bearer := get("Authorization", "Bearer x")
	std.stores(t, []storing{
		{"§2.2: private", get(), cdn("private", "Cache-Control", "max-age=60"), StoreOptions{}, NotPrivate},
		{"§2.2: no-store", get(), cdn("no-store", "Cache-Control", "max-age=60"), StoreOptions{}, NotNoStore},
		{"§3.1: although no other cache may", get(), cdn("max-age=60", "Cache-Control", "no-store"), StoreOptions{}, ""},
		{"§3.1: a value that says nothing is enough", get(), cdn("none", "Cache-Control", "no-store"), StoreOptions{}, ""},
		{"§2.1: invalid is as if it were not there", get(), cdn("max-age=60, &", "Cache-Control", "no-store"), StoreOptions{}, NotNoStore},
		{"§2.1: empty is as if it were not there", get(), cdn("", "Cache-Control", "no-store"), StoreOptions{}, NotNoStore},
		{"RFC 9111 §3.5: freshness is no permission", bearer, cdn("max-age=60"), StoreOptions{}, NotAuthorization},
		{"RFC 9111 §3.5: public is", bearer, cdn("max-age=60, public"), StoreOptions{}, ""},
		{"RFC 9111 §3.5: Cache-Control's public is not heard", bearer, cdn("max-age=60", "Cache-Control", "public"), StoreOptions{}, NotAuthorization},
		{"RFC 9111 §7.3: Set-Cookie", get(), cdn("max-age=60", "Set-Cookie", "a=b"), StoreOptions{}, NotSetCookie},
	})
}
