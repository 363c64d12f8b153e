package policy

import (
	"testing"
	"time"
)

// RFC 5861 §3, stale-while-revalidate; §4, stale-if-error, is in
// rfc9111_4_2_4_stale_test.go, because it waits for a failure.

func TestStaleWhileRevalidate(t *testing.T) {
	const s = time.Second
	swr := func(more ...string) Stored {
		return minute(append([]string{"Cache-Control", "stale-while-revalidate=30"}, more...)...)
	}
	std.decides(t, []decision{
		{"§3: fresh", get(), swr(), 59 * s, Serve, ReasonFresh},
		{"§3: just stale", get(), swr(), 60 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"§3: up to the indicated number", get(), swr(), 89 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"§3: no longer", get(), swr(), 90 * s, Revalidate, ReasonStale},
		{"§3: HEAD", withMethod(get(), "HEAD"), swr(), 60 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"§3: without a validator", get(), stored("Cache-Control", "max-age=60, stale-while-revalidate=30"), 60 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"§3: from the beginning", get(), stored("Cache-Control", "max-age=0, stale-while-revalidate=30"), 0, ServeAndRevalidate, ReasonWhileRevalidate},
		{"§3: an invalid value permits nothing", get(), minute("Cache-Control", "stale-while-revalidate=x"), 60 * s, Revalidate, ReasonStale},
		{"§3: two that differ permit nothing", get(), swr("Cache-Control", "stale-while-revalidate=31"), 60 * s, Revalidate, ReasonStale},
		{"§3: of a guessed freshness too", get(), stored("Last-Modified", at(-600*s), "Cache-Control", "stale-while-revalidate=30"), 60 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"§3: of other statuses too", get(), with(stored("Cache-Control", "max-age=60, stale-while-revalidate=30"), 404), 60 * s, ServeAndRevalidate, ReasonWhileRevalidate},

		{"RFC 9111 §4.2.4: must-revalidate", get(), swr("Cache-Control", "must-revalidate"), 60 * s, Revalidate, ReasonStale},
		{"RFC 9111 §4.2.4: proxy-revalidate", get(), swr("Cache-Control", "proxy-revalidate"), 60 * s, Revalidate, ReasonStale},
		{"RFC 9111 §5.2.2.10: s-maxage", get(), cc("s-maxage=60, stale-while-revalidate=30"), 60 * s, Revalidate, ReasonStale},
		{"RFC 9111 §5.2.2.4: no-cache", get(), swr("Cache-Control", "no-cache"), 60 * s, Revalidate, ReasonStale},
		{"RFC 9111 §4.4: invalidated", get(), invalid(swr()), 60 * s, Revalidate, ReasonStale},

		{"RFC 9111 §5.2.1.4: the request's no-cache", ask("no-cache"), swr(), 60 * s, Revalidate, ReasonStale},
		{"RFC 9111 §5.2.1.1: max-age asks for a fresh one", ask("max-age=3600"), swr(), 60 * s, Revalidate, ReasonStale},
		{"RFC 9111 §5.2.1.2: max-stale needs no background", ask("max-stale"), swr(), 60 * s, Serve, ReasonMaxStale},
		{"RFC 9111 §5.2.1.2: max-stale that is too small", ask("max-stale=5"), swr(), 70 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"RFC 9111 §5.2.1.3: min-fresh", ask("min-fresh=1"), swr(), 60 * s, Revalidate, ReasonStale},
		{"RFC 9111 §5.2.1.7: only-if-cached", ask("only-if-cached"), swr(), 60 * s, ServeAndRevalidate, ReasonWhileRevalidate},
	})
}
