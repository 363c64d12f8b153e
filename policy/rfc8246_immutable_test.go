package policy

import (
	"testing"
	"time"
)

// RFC 8246 §2, immutable.

func TestImmutable(t *testing.T) {
	const s = time.Second
	immutable := minute("Cache-Control", "immutable")
	rows := []decision{
		{"§2: a reload need not ask", ask("max-age=0"), immutable, 30 * s, Serve, ReasonFresh},
		{"§2: an argument has no meaning", ask("max-age=0"), minute("Cache-Control", "immutable=1"), 30 * s, Serve, ReasonFresh},
		{"§2.1: a signal that validation is necessary", ask("no-cache"), immutable, 30 * s, Revalidate, ReasonRequest},
		{"§2.1: a signal that validation is necessary", get("Pragma", "no-cache"), immutable, 30 * s, Revalidate, ReasonRequest},
		{"§2.1: beside a reload", ask("max-age=0, no-cache"), immutable, 30 * s, Revalidate, ReasonRequest},
		{"§2: a wish that is no reload", ask("max-age=10"), immutable, 30 * s, Revalidate, ReasonRequest},
		{"§2: a wish that cannot be read", ask("max-age=x"), immutable, 30 * s, Revalidate, ReasonRequest},
		{"§2: only while fresh", ask("max-age=0"), immutable, 60 * s, Revalidate, ReasonStale},
		{"§2: without freshness it says nothing", get(), cc("immutable"), 0, Revalidate, ReasonStale},
		{"§2: in a request it has no effect", ask("max-age=0, immutable"), minute(), 30 * s, Revalidate, ReasonRequest},
	}
	(&Caching{Authentic: true}).decides(t, rows)
	std.decides(t, []decision{
		{"§3: not where a forger could say it", ask("max-age=0"), immutable, 30 * s, Revalidate, ReasonRequest},
	})
}
