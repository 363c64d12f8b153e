package policy

import (
	"testing"
	"time"
)

// RFC 9111 §5.2.1, request directives, and §5.2.2, response directives, where
// they decide about serving; about storing they do in rfc9111_3_storing_test.go.

func TestRequestDirectives(t *testing.T) {
	gzip := minute("Vary", "Accept-Encoding")
	gzip.Selecting = header("Accept-Encoding", "gzip, br")
	const s = time.Second
	std.decides(t, []decision{
		{"§5.2.1.1: max-age met", ask("max-age=30"), minute(), 30 * s, Serve, ReasonFresh},
		{"§5.2.1.1: max-age not met", ask("max-age=30"), minute(), 31 * s, Revalidate, ReasonRequest},
		{"§5.2.1.1: max-age not met by what was old on arrival", ask("max-age=600"), cc("max-age=3600", "Age", "1800"), 0, Revalidate, ReasonRequest},
		{"§5.2.1.1: max-age=0", ask("max-age=0"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.1: invalid", ask("max-age=x"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.1: twice", ask("max-age=30, max-age=40"), minute(), 1 * s, Revalidate, ReasonRequest},
		{"§5.2.1.1: negative", ask("max-age=-1"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.1: in quotes", ask(`max-age="30"`), minute(), 31 * s, Revalidate, ReasonRequest},
		{"§5.2.1.1: huge", ask("max-age=99999999999999999999"), minute(), 30 * s, Serve, ReasonFresh},
		{"§5.2: names in any case", ask("MAX-AGE=30"), minute(), 31 * s, Revalidate, ReasonRequest},
		{"§5.2.1.1: without validator the whole", ask("max-age=0"), stored("Cache-Control", "max-age=60"), 0, Fetch, ReasonRequest},

		{"§5.2.1.2: max-stale", ask("max-stale=30"), minute(), 90 * s, Serve, ReasonMaxStale},
		{"§5.2.1.2: max-stale exceeded", ask("max-stale=30"), minute(), 91 * s, Revalidate, ReasonStale},
		{"§5.2.1.2: max-stale without limit", ask("max-stale"), minute(), 1000 * time.Hour, Serve, ReasonMaxStale},
		{"§5.2.1.2: of what was old on arrival", ask("max-stale=1000"), cc("max-age=1500", "Age", "2000"), 0, Serve, ReasonMaxStale},
		{"§5.2.1.2: negative", ask("max-stale=-1"), minute(), 61 * s, Revalidate, ReasonStale},
		{"§5.2.1.2: in quotes", ask(`max-stale="30"`), minute(), 90 * s, Serve, ReasonMaxStale},
		{"§5.2.1.2: invalid", ask("max-stale=x"), minute(), 61 * s, Revalidate, ReasonStale},
		{"§5.2.1.2: with max-age", ask("max-stale, max-age=70"), minute(), 70 * s, Serve, ReasonMaxStale},
		{"§5.2.1.2: with max-age not met", ask("max-stale, max-age=70"), minute(), 71 * s, Revalidate, ReasonStale},
		{"§5.2.1.2: with no-cache", ask("max-stale, no-cache"), minute(), 61 * s, Revalidate, ReasonStale},
		{"§5.2.1.2: with min-fresh", ask("max-stale, min-fresh=1"), minute(), 61 * s, Revalidate, ReasonStale},

		{"§5.2.1.3: min-fresh met", ask("min-fresh=30"), minute(), 30 * s, Serve, ReasonFresh},
		{"§5.2.1.3: min-fresh not met", ask("min-fresh=30"), minute(), 31 * s, Revalidate, ReasonRequest},
		{"§5.2.1.3: min-fresh not met by what was old on arrival", ask("min-fresh=1000"), cc("max-age=1500", "Age", "1000"), 0, Revalidate, ReasonRequest},
		{"§5.2.1.3: negative", ask("min-fresh=-1"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.3: huge", ask("min-fresh=99999999999999999999"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.3: in quotes", ask(`min-fresh="30"`), minute(), 30 * s, Serve, ReasonFresh},
		{"§5.2.1.3: invalid", ask("min-fresh=x"), minute(), 0, Revalidate, ReasonRequest},

		{"§5.2.1.4: no-cache", ask("no-cache"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.4: names no fields in a request", ask(`no-cache="X"`), minute(), 0, Revalidate, ReasonRequest},
		{"§5.4: Pragma", get("Pragma", "no-cache"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.4: Pragma beside Cache-Control", get("Pragma", "no-cache", "Cache-Control", "x"), minute(), 0, Serve, ReasonFresh},
		{"§5.4: another Pragma", get("Pragma", "x"), minute(), 0, Serve, ReasonFresh},
		{"§5.2.1.5: no-store forbids storing, not serving", ask("no-store"), minute(), 0, Serve, ReasonFresh},
		{"§5.2.1.6: no-transform is not about caches", ask("no-transform"), minute(), 0, Serve, ReasonFresh},

		{"§5.2.1.7: only-if-cached, fresh", ask("only-if-cached"), minute(), 0, Serve, ReasonFresh},
		{"§5.2.1.7: only-if-cached, stale", ask("only-if-cached"), minute(), time.Hour, Refuse, ReasonStale},
		{"§5.2.1.7: only-if-cached, stale but accepted", ask("only-if-cached, max-stale"), minute(), time.Hour, Serve, ReasonMaxStale},
		{"§5.2.1.7: only-if-cached, not fresh enough", ask("only-if-cached, max-age=0"), minute(), 0, Refuse, ReasonRequest},
		{"§5.2.1.7: only-if-cached, other variant", ask("only-if-cached"), gzip, 0, Refuse, ReasonVaryMiss},
		{"§5.2.3: unknown directives", ask("foo, bar=1"), minute(), 0, Serve, ReasonFresh},
		{"§5.2: directives of responses mean nothing", ask("private, must-revalidate, s-maxage=0, stale-while-revalidate=0"), minute(), 0, Serve, ReasonFresh},
	})
}

func TestResponseDirectives(t *testing.T) {
	const s = time.Second
	std.decides(t, []decision{
		{"§5.2.2.2: must-revalidate, fresh", get(), minute("Cache-Control", "must-revalidate"), 0, Serve, ReasonFresh},
		{"§5.2.2.2: must-revalidate, stale", ask("max-stale"), minute("Cache-Control", "must-revalidate"), time.Hour, Revalidate, ReasonStale},
		{"§5.2.2.3: must-understand lifts no-store", get(), cc("must-understand, no-store, max-age=60"), 0, Serve, ReasonFresh},
		{"§5.2.2.3: not for what is not understood", get(), with(cc("must-understand, no-store, max-age=60"), 299), 0, Revalidate, ReasonStale},
		{"§5.2.2.4: no-cache", get(), minute("Cache-Control", "no-cache"), 0, Revalidate, ReasonStale},
		{"§5.2.2.4: no-cache in any case", get(), minute("Cache-Control", "No-CaChE"), 0, Revalidate, ReasonStale},
		{"§5.2.2.4: no-cache, whatever the request accepts", ask("max-stale"), minute("Cache-Control", "no-cache"), time.Hour, Revalidate, ReasonStale},
		{"§5.2.2.4: no-cache of fields that are not there", get(), minute("Cache-Control", `no-cache="X"`), 0, Serve, ReasonFresh},
		{"§5.2.2.4: no-cache of fields that are", get(), minute("Cache-Control", `no-cache="X"`, "X", "1"), 0, Revalidate, ReasonStale},
		{"§5.2.2.4: no-cache of fields, and of the whole", get(), minute("Cache-Control", `no-cache="X", no-cache`), 0, Revalidate, ReasonStale},
		{"§5.2.2.4: no-cache of what cannot be left out", get(), minute("Cache-Control", `no-cache="Content-Encoding"`), 0, Revalidate, ReasonStale},
		{"§5.2.2.7: private fields that are not there", get(), minute("Cache-Control", `private="X"`), 0, Serve, ReasonFresh},
		{"§5.2.2.7: private fields that are", get(), minute("Cache-Control", `private="X"`, "X", "1"), 0, Revalidate, ReasonStale},
		{"§5.2.2.8: proxy-revalidate", ask("max-stale"), minute("Cache-Control", "proxy-revalidate"), time.Hour, Revalidate, ReasonStale},
		{"§5.2.2.10: s-maxage", ask("max-stale"), minute("Cache-Control", "s-maxage=1"), time.Hour, Revalidate, ReasonStale},
		{"§5.2.2.10: s-maxage that cannot be read", ask("max-stale"), minute("Cache-Control", "s-maxage=x"), time.Hour, Revalidate, ReasonStale},
		{"§5.2.2.6: no-transform is not about caches", get(), minute("Cache-Control", "no-transform"), 0, Serve, ReasonFresh},
		{"§5.2.3: unknown directives", get(), cc(`foobar, max-age=60, community="UCI"`), 59 * s, Serve, ReasonFresh},
		{"§5.2: directives of requests mean nothing", get(), minute("Cache-Control", "only-if-cached, min-fresh=600, max-stale"), 30 * s, Serve, ReasonFresh},
		{"§5.2: nor do they permit anything", get(), minute("Cache-Control", "max-stale"), time.Hour, Revalidate, ReasonStale},
	})
}
