package policy

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	type row struct {
		clause string
		req    Request
		stored Stored
		after  time.Duration // since it arrived
		action Action
		reason string
	}
	minute := func(more ...string) Stored {
		return stored(append([]string{"Cache-Control", "max-age=60", "Etag", `"x"`}, more...)...)
	}
	withMethod := func(m string) Request { r := get(); r.Method = m; return r }
	withBody := get()
	withBody.HasBody = true
	gzip := minute("Vary", "Accept-Encoding")
	gzip.Selecting = header("Accept-Encoding", "gzip, br")
	ask := func(cc string) Request { return get("Cache-Control", cc) }

	for _, tc := range []row{
		{"§4: fresh", get(), minute(), 59 * time.Second, Serve, ReasonFresh},
		{"§4.2: as old as the lifetime is stale", get(), minute(), 60 * time.Second, Revalidate, ReasonStale},
		{"§4: HEAD from a stored GET", withMethod("HEAD"), minute(), 0, Serve, ReasonFresh},
		{"RFC 9110 §14.2: Range plays no part", get("Range", "bytes=0-1"), minute(), 0, Serve, ReasonFresh},
		{"§4: stale without validator", get(), stored("Cache-Control", "max-age=60"), time.Hour, Fetch, ReasonStale},
		{"§4: other methods", withMethod("POST"), minute(), 0, Bypass, ReasonMethod},
		{"§4: other methods", withMethod("OPTIONS"), minute(), 0, Bypass, ReasonMethod},
		{"§4: methods are case-sensitive", withMethod("get"), minute(), 0, Bypass, ReasonMethod},
		{"RFC 9110 §9.3.1: GET with content", withBody, minute(), 0, Bypass, ReasonBypass},
		{"RFC 9110 §7.8: Upgrade", get("Upgrade", "websocket"), minute(), 0, Bypass, ReasonBypass},
		{"RFC 9110 §7.8: Upgrade to h2c changes no answer", get("Upgrade", "h2c"), minute(), 0, Serve, ReasonFresh},
		{"§3.5: Authorization forbids storing, not serving", get("Authorization", "x"), minute(), 0, Serve, ReasonFresh},
		{"another status is not ours", get(), with(minute(), 404), 0, Fetch, ReasonURIMiss},

		{"§5.2.2.4: no-cache", get(), minute("Cache-Control", "no-cache"), 0, Revalidate, ReasonStale},
		{"§5.2.2.4: no-cache with fields", get(), minute("Cache-Control", `no-cache="X"`), 0, Revalidate, ReasonStale},
		{"§3: no-store came later", get(), minute("Cache-Control", "no-store"), 0, Revalidate, ReasonStale},
		{"§3: private came later", get(), minute("Cache-Control", "private"), 0, Revalidate, ReasonStale},
		{"§4.2.2: heuristic", get(), stored("Last-Modified", at(-10*time.Hour)), 59 * time.Minute, Serve, ReasonFresh},
		{"§4.2.2: heuristic ends", get(), stored("Last-Modified", at(-10*time.Hour)), time.Hour, Revalidate, ReasonStale},
		{"§4.2.2: nothing explicit, an entity tag", get(), stored("Etag", `"x"`), 0, Revalidate, ReasonStale},

		{"§5.2.1.4: no-cache", ask("no-cache"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.4: Pragma", get("Pragma", "no-cache"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.4: Pragma beside Cache-Control", get("Pragma", "no-cache", "Cache-Control", "x"), minute(), 0, Serve, ReasonFresh},
		{"§5.4: another Pragma", get("Pragma", "x"), minute(), 0, Serve, ReasonFresh},
		{"§5.2.1.1: max-age met", ask("max-age=30"), minute(), 30 * time.Second, Serve, ReasonFresh},
		{"§5.2.1.1: max-age not met", ask("max-age=30"), minute(), 31 * time.Second, Revalidate, ReasonRequest},
		{"§5.2.1.1: max-age=0", ask("max-age=0"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.1: invalid", ask("max-age=x"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.3: min-fresh met", ask("min-fresh=30"), minute(), 30 * time.Second, Serve, ReasonFresh},
		{"§5.2.1.3: min-fresh not met", ask("min-fresh=30"), minute(), 31 * time.Second, Revalidate, ReasonRequest},
		{"§5.2.1.3: invalid", ask("min-fresh=x"), minute(), 0, Revalidate, ReasonRequest},
		{"§5.2.1.5: no-store forbids storing, not serving", ask("no-store"), minute(), 0, Serve, ReasonFresh},

		{"§5.2.1.2: max-stale", ask("max-stale=30"), minute(), 90 * time.Second, Serve, ReasonMaxStale},
		{"§5.2.1.2: max-stale exceeded", ask("max-stale=30"), minute(), 91 * time.Second, Revalidate, ReasonStale},
		{"§5.2.1.2: max-stale without limit", ask("max-stale"), minute(), 1000 * time.Hour, Serve, ReasonMaxStale},
		{"§5.2.1.2: invalid", ask("max-stale=x"), minute(), 61 * time.Second, Revalidate, ReasonStale},
		{"§5.2.1.2: with max-age", ask("max-stale, max-age=70"), minute(), 70 * time.Second, Serve, ReasonMaxStale},
		{"§5.2.1.2: with max-age not met", ask("max-stale, max-age=70"), minute(), 71 * time.Second, Revalidate, ReasonStale},
		{"§5.2.1.2: with no-cache", ask("max-stale, no-cache"), minute(), 61 * time.Second, Revalidate, ReasonStale},
		{"§4.2.4: must-revalidate", ask("max-stale"), minute("Cache-Control", "must-revalidate"), time.Hour, Revalidate, ReasonStale},
		{"§4.2.4: proxy-revalidate", ask("max-stale"), minute("Cache-Control", "proxy-revalidate"), time.Hour, Revalidate, ReasonStale},
		{"§5.2.2.10: s-maxage", ask("max-stale"), minute("Cache-Control", "s-maxage=1"), time.Hour, Revalidate, ReasonStale},
		{"§4.2.4: no-cache", ask("max-stale"), minute("Cache-Control", "no-cache"), time.Hour, Revalidate, ReasonStale},

		{"§5.2.1.7: only-if-cached, fresh", ask("only-if-cached"), minute(), 0, Serve, ReasonFresh},
		{"§5.2.1.7: only-if-cached, stale", ask("only-if-cached"), minute(), time.Hour, Refuse, ReasonStale},
		{"§5.2.1.7: only-if-cached, stale but accepted", ask("only-if-cached, max-stale"), minute(), time.Hour, Serve, ReasonMaxStale},
		{"§5.2.1.7: only-if-cached, other variant", get("Cache-Control", "only-if-cached"), gzip, 0, Refuse, ReasonVaryMiss},

		{"§4.1: selected", get("Accept-Encoding", "gzip,br"), gzip, 0, Serve, ReasonFresh},
		{"§4.1: not selected", get("Accept-Encoding", "gzip"), gzip, 0, Fetch, ReasonVaryMiss},
		{"§4.1: not selected without the field", get(), gzip, 0, Fetch, ReasonVaryMiss},
		{"§4.1: Vary *", get(), minute("Vary", "*"), 0, Fetch, ReasonVaryMiss},
	} {
		got := Decide(tc.req, &tc.stored, t0.Add(tc.after))
		if got.Action != tc.action || got.Reason != tc.reason {
			t.Errorf("RFC 9111 %s: got %v (%s), want %v (%s)", tc.clause, got.Action, got.Reason, tc.action, tc.reason)
		}
		if (got.Conditional != nil) != (got.Action == Revalidate) {
			t.Errorf("RFC 9111 %s: %v with %v", tc.clause, got.Action, got.Conditional)
		}
	}
}

func TestDecideNothingStored(t *testing.T) {
	if v := Decide(get(), nil, t0); v.Action != Fetch || v.Reason != ReasonURIMiss {
		t.Errorf("got %+v", v)
	}
	if v := Decide(get("Cache-Control", "only-if-cached"), nil, t0); v.Action != Refuse {
		t.Errorf("RFC 9111 §5.2.1.7: got %+v", v)
	}
	if v := Decide(Request{Method: "GET"}, nil, t0); v.Action != Fetch {
		t.Errorf("without URL and header: got %+v", v)
	}
}

func TestVerdictTellsAgeAndFreshness(t *testing.T) {
	s := stored("Cache-Control", "max-age=60", "Age", "10", "Etag", `"x"`)
	if v := Decide(get(), &s, t0.Add(20*time.Second)); v.Age != 30*time.Second || v.FreshFor != 30*time.Second {
		t.Errorf("fresh: %+v", v)
	}
	if v := Decide(get(), &s, t0.Add(80*time.Second)); v.Age != 90*time.Second || v.FreshFor != -30*time.Second {
		t.Errorf("stale: %+v", v)
	}
}

func TestConditional(t *testing.T) {
	lm := at(-time.Hour)
	for _, tc := range []struct {
		clause string
		s      Stored
		want   map[string]string
	}{
		{"RFC 9111 §4.3.1: both", stored("Etag", `"x"`, "Last-Modified", lm), map[string]string{"If-None-Match": `"x"`, "If-Modified-Since": lm}},
		{"RFC 9111 §4.3.1: weak tags too", stored("Etag", `W/"x"`), map[string]string{"If-None-Match": `W/"x"`}},
		{"RFC 9111 §4.3.1: the date verbatim", stored("Last-Modified", "Sunday, 06-Nov-94 08:49:37 GMT"), map[string]string{"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}},
		{"two tags are none", stored("Etag", `"x"`, "Etag", `"y"`, "Last-Modified", lm), map[string]string{"If-Modified-Since": lm}},
	} {
		got := Decide(get("Cache-Control", "no-cache"), &tc.s, t0).Conditional
		flat := map[string]string{}
		for name := range got {
			flat[name] = got.Get(name)
		}
		if !maps.Equal(flat, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.clause, flat, tc.want)
		}
	}
}

func TestSelecting(t *testing.T) {
	req := header("Accept-Encoding", " gzip ,br", "Accept-Encoding", "zstd", "User-Agent", "a,b  c", "X-Empty", "")
	sel, ok := Selecting(req, []string{"accept-encoding, User-Agent", "X-Empty, X-Absent"})
	if !ok {
		t.Fatal("not ok")
	}
	for name, want := range map[string][]string{
		"Accept-Encoding": {"gzip, br, zstd"}, // §4.1: white space and lines mean nothing
		"User-Agent":      {"a,b  c"},         // no list: as it is
		"X-Empty":         {""},               // present
		"X-Absent":        nil,
	} {
		if got := sel[name]; !slices.Equal(got, want) {
			t.Errorf("RFC 9111 §4.1: %s: got %q, want %q", name, got, want)
		}
	}
	if sel, ok := Selecting(req, nil); sel != nil || !ok {
		t.Errorf("without Vary: %v %v", sel, ok)
	}
	if _, ok := Selecting(req, []string{"*"}); ok {
		t.Error("RFC 9111 §4.1: Vary * selects nothing")
	}
}

func TestSelectedBy(t *testing.T) {
	for _, tc := range []struct {
		clause     string
		vary       string
		then, now_ []string
		want       bool
	}{
		{"equal", "Accept", []string{"Accept", "a, b"}, []string{"Accept", "a, b"}, true},
		{"white space", "Accept", []string{"Accept", "a, b"}, []string{"Accept", "a ,b"}, true},
		{"lines", "Accept", []string{"Accept", "a, b"}, []string{"Accept", "a", "Accept", "b"}, true},
		{"order is not ours to judge", "Accept", []string{"Accept", "a, b"}, []string{"Accept", "b, a"}, false},
		{"absent then and now", "Accept", nil, nil, true},
		{"absent then", "Accept", nil, []string{"Accept", "a"}, false},
		{"absent is not empty", "Accept", nil, []string{"Accept", ""}, false},
		{"quoted strings are left alone", "Accept", []string{"Accept", `a;x="1,2"`}, []string{"Accept", `a;x="1, 2"`}, false},
		{"one of two differs", "Accept, X-A", []string{"Accept", "a", "X-A", "1"}, []string{"Accept", "a", "X-A", "2"}, false},
		{"fields that Vary does not name", "Accept", []string{"X-A", "1"}, []string{"X-A", "2"}, true},
	} {
		s := stored("Vary", tc.vary)
		s.Selecting, _ = Selecting(header(tc.then...), s.Header["Vary"])
		if got := SelectedBy(s, header(tc.now_...)); got != tc.want {
			t.Errorf("RFC 9111 §4.1: %s: got %v", tc.clause, got)
		}
	}
}
