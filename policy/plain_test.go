package policy

import (
	"testing"
	"time"
)

// What callers without rules get: nothing that they could not do.
func TestPlainDecide(t *testing.T) {
	plain.decides(t, []decision{
		{"fresh", get(), minute(), 0, Serve, ReasonFresh},
		{"no ServeAndRevalidate", get(), minute("Cache-Control", "stale-while-revalidate=60"), 70 * time.Second, Revalidate, ReasonStale},
		{"no other status", get(), with(minute(), 404), 0, Fetch, ReasonURIMiss},
		{"fields that need validation: the whole does", get(), minute("Cache-Control", `no-cache="X"`), 0, Revalidate, ReasonStale},
		{"fields that are private: the whole is", get(), minute("Cache-Control", `private="X"`), 0, Revalidate, ReasonStale},
		{"no CDN-Cache-Control", get(), cdn("max-age=60", "Cache-Control", "no-cache"), 0, Revalidate, ReasonStale},
	})
	s := minute()
	if got, want := Decide(get(), &s, t0), plain.Decide(get(), &s, t0); got.Action != want.Action {
		t.Errorf("got %v", got)
	}
}

func TestPlainStorable(t *testing.T) {
	for want, s := range map[string]Stored{
		"": minute(), NotPrivate: minute("Cache-Control", `private="X"`), NotStatus: with(minute(), 404),
	} {
		if ok, reason := Storable(get(), s, StoreOptions{AnyStatus: true}); reason != want || ok != (want == "") {
			t.Errorf("got %q, want %q", reason, want)
		}
	}
	if h := ForStorage(header("Cache-Control", `no-cache="X"`, "X", "1", "Set-Cookie", "a=b")); h.Get("X") != "1" || h.Get("Set-Cookie") != "" {
		t.Errorf("stored %v", h)
	}
}

func TestPlainValidation(t *testing.T) {
	later := t0.Add(time.Hour)
	if !Confirms(minute(), header("Etag", `"x"`)) || Confirms(minute(), header("Etag", `"y"`)) {
		t.Error("Confirms")
	}
	s := Freshened(minute(), header("Cache-Control", "max-age=9"), later, later)
	if v := Decide(get(), &s, later.Add(8*time.Second)); v.Action != Serve {
		t.Errorf("Freshened: %+v", v)
	}
}
