package policy

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"shatabdi/policy/httpheader"
)

// someHeader draws a header of some of the given lines, each "Name: value".
func someHeader(t *rapid.T, label string, lines [][2]string) http.Header {
	h := http.Header{}
	for _, l := range rapid.SliceOfN(rapid.SampledFrom(lines), 0, 6).Draw(t, label) {
		h.Add(l[0], l[1])
	}
	return h
}

var responseLines = [][2]string{
	{"Cache-Control", "max-age=60"}, {"Cache-Control", "max-age=3600"}, {"Cache-Control", "max-age=x"},
	{"Cache-Control", "s-maxage=30"}, {"Cache-Control", "public"}, {"Cache-Control", "private"},
	{"Cache-Control", "no-store"}, {"Cache-Control", "no-cache"}, {"Cache-Control", "must-revalidate"},
	{"Cache-Control", "stale-while-revalidate=600"}, {"Cache-Control", "stale-if-error=600"}, {"Cache-Control", "proxy-revalidate"},
	{"Cache-Control", "must-understand"}, {"Cache-Control", `no-cache="X-A"`}, {"Cache-Control", `private="X-A"`}, {"Cache-Control", "immutable"},
	{"Cache-Control", "max-age=5;public"}, {"Cache-Control", `x="`}, {"Pragma", "no-cache"},
	{"Cdn-Cache-Control", "max-age=600"}, {"Cdn-Cache-Control", "no-store"}, {"Cdn-Cache-Control", "stale-while-revalidate=600"}, {"Cdn-Cache-Control", "&"},
	{"X-Accel-Expires", "60"}, {"X-Accel-Expires", "0"}, {"X-Accel-Expires", "@1780315500"},
	{"Expires", at(time.Hour)}, {"Expires", "0"}, {"Date", at(0)}, {"Date", at(-time.Minute)}, {"Date", at(time.Hour)},
	{"Age", "10"}, {"Age", "999999999999"}, {"Age", "x"},
	{"Last-Modified", at(-time.Hour)}, {"Last-Modified", at(-1000 * time.Hour)}, {"Last-Modified", "x"},
	{"Etag", `"x"`}, {"Etag", `W/"x"`}, {"Etag", "x"}, {"X-A", "1"},
	{"Vary", "Accept"}, {"Vary", "*"}, {"Vary", "Cookie"}, {"Vary", "Authorization"}, {"Set-Cookie", "a=b"},
}

var requestLines = [][2]string{
	{"Cache-Control", "no-cache"}, {"Cache-Control", "no-store"}, {"Cache-Control", "max-age=100"}, {"Cache-Control", "max-stale"}, {"Cache-Control", "max-age=0"},
	{"Cache-Control", "max-stale=100"}, {"Cache-Control", "min-fresh=10"}, {"Cache-Control", "only-if-cached"}, {"Cache-Control", "stale-if-error=60"},
	{"Pragma", "no-cache"}, {"Authorization", "Bearer x"}, {"Cookie", "a=b"}, {"Accept", "a/b"}, {"Accept", "a/b ,c/d"}, {"Range", "bytes=0-1"},
}

func someStored(t *rapid.T) Stored {
	delay := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "delay"))
	status := rapid.SampledFrom([]int{200, 200, 200, 404, 302, 503, 299}).Draw(t, "status")
	return Stored{Status: status, Header: someHeader(t, "response", responseLines), RequestTime: t0.Add(-delay), ResponseTime: t0}
}

func someRequest(t *rapid.T) Request {
	r := getURL(t, rapid.SampledFrom([]string{
		"http://o.test/a", "http://o.test/a?b=c", "http://o.test/a?X-Amz-Signature=x", "http://u:p@o.test/a",
	}).Draw(t, "url"))
	r.Header = someHeader(t, "request", requestLines)
	return r
}

// someCaching draws rules, that of no rule as often as all others.
func someCaching(t *rapid.T) *Caching {
	if rapid.Bool().Draw(t, "no rules") {
		return &Caching{}
	}
	return &Caching{
		Valid:            rapid.SampledFrom([][]Validity{nil, {validity("200 404 1m")}, {validity("any 0")}, {validity("any 1h")}}).Draw(t, "valid"),
		Ignore:           Ignored(rapid.IntRange(0, 31).Draw(t, "ignore")),
		UseStale:         Failures(rapid.IntRange(0, int(none)-1).Draw(t, "use stale")),
		BackgroundUpdate: rapid.Bool().Draw(t, "background"),
		AccelExpires:     rapid.Bool().Draw(t, "accel"),
		Untargeted:       rapid.Bool().Draw(t, "untargeted"),
		Authentic:        rapid.Bool().Draw(t, "authentic"),
	}
}

func someTime(t *rapid.T) time.Time {
	return t0.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "now")))
}

func TestOlderIsNeverFresher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, s, req := someCaching(t), someStored(t), someRequest(t)
		s.Selecting, _ = c.Selecting(req.Header, s.Header["Vary"])
		early := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(48*time.Hour)).Draw(t, "early"))
		late := early + time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "later by"))
		a, b := c.Decide(req, &s, t0.Add(early)), c.Decide(req, &s, t0.Add(late))
		if b.Age < a.Age || b.FreshFor > a.FreshFor {
			t.Fatalf("age %v then %v, fresh for %v then %v", a.Age, b.Age, a.FreshFor, b.FreshFor)
		}
		if !a.Served() && b.Served() && a.Reason != ReasonRequest {
			t.Fatalf("%v (%s) first, served later (%s)", a.Action, a.Reason, b.Reason)
		}
		f := Failures(rapid.IntRange(0, int(none)-1).Draw(t, "failures"))
		if a.FreshFor <= 0 && !c.StaleOn(f, req, &s, t0.Add(early)) && c.StaleOn(f, req, &s, t0.Add(late)) {
			t.Fatalf("on %v stale later only", f)
		}
	})
}

func TestALargerAgeIsNeverFresher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := someStored(t)
		young := rapid.Int64Range(0, 1e6).Draw(t, "age")
		old := young + rapid.Int64Range(0, 1e6).Draw(t, "more")
		now := t0.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "now")))
		age := func(n int64) time.Duration {
			h := s.Header.Clone()
			h["Age"] = []string{strconv.FormatInt(n, 10)}
			return CurrentAge(Stored{Header: h, RequestTime: s.RequestTime, ResponseTime: s.ResponseTime}, now)
		}
		if age(old) < age(young) {
			t.Fatalf("Age %d gives %v, Age %d gives %v", young, age(young), old, age(old))
		}
	})
}

func TestWithoutPermissionNothingPrivateIsStored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, req, s := someCaching(t), someRequest(t), someStored(t)
		ok, _ := c.Storable(req, s, StoreOptions{Partial: rapid.Bool().Draw(t, "partial"), AnyStatus: true})
		if !ok {
			return
		}
		cc, _ := c.control(s.Header)
		permitted := cc.Public || cc.SMaxAge.Valid
		if len(req.Header["Authorization"]) > 0 && !permitted && !cc.MustRevalidate {
			t.Fatalf("RFC 9111 §3.5: stored for %v: %v", req.Header, s.Header)
		}
		if (len(req.Header["Cookie"]) > 0 || req.URL.Query().Has("X-Amz-Signature")) && !permitted {
			t.Fatalf("stored for %v %v: %v", req.URL, req.Header, s.Header)
		}
		if len(s.Header["Set-Cookie"]) > 0 && !cc.Public && c.Ignore&IgnoreSetCookie == 0 {
			t.Fatalf("stored with Set-Cookie: %v", s.Header)
		}
		if lifted := c.AccelExpires && c.Ignore&IgnoreAccelExpires == 0 && len(s.Header["X-Accel-Expires"]) > 0; cc.Private && !lifted {
			t.Fatalf("RFC 9111 §5.2.2.7: stored: %v", s.Header)
		}
		kept := c.ForStorage(s.Header)
		for _, fields := range []httpheader.FieldList{cc.PrivateFields, cc.NoCacheFields} {
			if hasAny(kept, fields) {
				t.Fatalf("RFC 9111 §3.1: kept %v of %v", kept, s.Header)
			}
		}
	})
}

func TestWhatForbidsIsNeverStored(t *testing.T) {
	forbid := []string{"no-store", "private", "NO-STORE", "no-store;", "no-store=1", "private =x", `private="`}
	// must-understand lifts no-store, and nothing else.
	lifts := func(s Stored) bool {
		cc := httpheader.ParseCacheControl(s.Header["Cache-Control"])
		return cc.MustUnderstand && !cc.Private
	}
	rapid.Check(t, func(t *rapid.T) {
		s, req := someStored(t), someRequest(t)
		word := rapid.SampledFrom(forbid).Draw(t, "word")
		s.Header["Cache-Control"] = append(s.Header["Cache-Control"], word)
		delete(s.Header, "Cdn-Cache-Control")
		o := StoreOptions{Partial: true, AnyStatus: true, Public: true, SharedQuery: true}
		if ok, _ := std.Storable(req, s, o); ok && !lifts(s) {
			t.Fatalf("stored in spite of %s: %v", word, s.Header)
		}
		if v := std.Decide(req, &s, t0); v.Served() && !lifts(s) {
			t.Fatalf("served in spite of %s: %v", word, s.Header)
		}
	})
}

func TestNothingCredentialIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, req := someStored(t), someRequest(t)
		if ok, _ := std.Storable(req, s, StoreOptions{Public: true, SharedQuery: true}); !ok {
			return
		}
		sel, ok := Selecting(req.Header, s.Header["Vary"])
		if !ok || len(sel["Cookie"])+len(sel["Authorization"]) > 0 {
			t.Fatalf("selecting %v, %v", sel, ok)
		}
		if kept := std.ForStorage(s.Header); len(kept["Set-Cookie"]) > 0 {
			t.Fatalf("kept %v", kept)
		}
	})
}

func TestWhatIsStoredIsOfUse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, s, req := someCaching(t), someStored(t), someRequest(t)
		if ok, _ := c.Storable(req, s, StoreOptions{AnyStatus: true}); !ok {
			return
		}
		s.Selecting, _ = c.Selecting(req.Header, s.Header["Vary"])
		s.Header = c.ForStorage(s.Header)
		delete(req.Header, "Cache-Control")
		delete(req.Header, "Pragma")
		v := c.Decide(req, &s, t0)
		useless := v.Action == Fetch && !(s.Status != 200 && hasValidator(&s)) && !c.StaleOn(Unreachable, req, &s, t0)
		if useless {
			t.Fatalf("%v (%s) for what was just stored: %v", v.Action, v.Reason, s.Header)
		}
	})
}

// mayBeStale says in other words than the code who permits a stale response.
func mayBeStale(c *Caching, req Request, s *Stored, v Verdict) bool {
	cc, _ := c.control(s.Header)
	wish := httpheader.ParseCacheControl(req.Header["Cache-Control"])
	staleness := -v.FreshFor
	return wish.MaxStale.Present ||
		cc.StaleWhileRevalidate.Valid && staleness < cc.StaleWhileRevalidate.Value ||
		c.UseStale&Updating != 0 && c.BackgroundUpdate
}

func forbidsUse(c *Caching, s *Stored) bool {
	cc, _ := c.control(s.Header)
	lifted := c.AccelExpires && c.Ignore&IgnoreAccelExpires == 0 && len(s.Header["X-Accel-Expires"]) > 0
	return cc.MustRevalidate || cc.ProxyRevalidate || cc.SMaxAge.Present || (cc.NoCache || cc.Private) && !lifted || s.Invalid
}

func TestStaleOnlyWithPermission(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, s, req, now := someCaching(t), someStored(t), someRequest(t), someTime(t)
		s.Selecting, _ = c.Selecting(req.Header, s.Header["Vary"])
		v := c.Decide(req, &s, now)
		wish := httpheader.ParseCacheControl(req.Header["Cache-Control"])
		if v.Served() && v.FreshFor <= 0 && (!mayBeStale(c, req, &s, v) || forbidsUse(c, &s)) {
			t.Fatalf("served stale unasked: %+v", v)
		}
		if v.Action == ServeAndRevalidate && v.FreshFor > 0 {
			t.Fatalf("%+v", v)
		}
		if v.Served() && (wish.NoCache || wish.MaxAge.Present && v.Age > wish.MaxAge.Value && !(c.Authentic && v.FreshFor > 0 && wish.MaxAge.Value == 0)) {
			t.Fatalf("served against the request's wish: %+v", v)
		}
		if wish.OnlyIfCached && !v.Served() && v.Action != Refuse {
			t.Fatalf("only-if-cached went to the origin: %+v", v)
		}
		f := Failures(rapid.IntRange(0, int(none)-1).Draw(t, "failures"))
		if v.FreshFor <= 0 && c.StaleOn(f, req, &s, now) {
			cc, _ := c.control(s.Header)
			permitted := f&c.UseStale != 0 || f&serverErrors != 0 && (cc.StaleIfError.Valid || wish.StaleIfError.Valid) ||
				f&Updating != 0 && cc.StaleWhileRevalidate.Valid
			if !permitted || forbidsUse(c, &s) || wish.NoCache {
				t.Fatalf("on %v served stale without permission", f)
			}
		}
	})
}

func TestInvalidIsNeverServedUnasked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, s, req, now := someCaching(t), invalid(someStored(t)), someRequest(t), someTime(t)
		if v := c.Decide(req, &s, now); v.Served() || c.StaleOn(serverErrors|Updating, req, &s, now) {
			t.Fatalf("RFC 9111 §4.4: %+v", v)
		}
	})
}

// What Cache-Status says is what the origin saw.
func TestCacheStatusIsTrue(t *testing.T) {
	tokens := map[string]bool{"bypass": true, "method": true, "uri-miss": true, "vary-miss": true, "miss": true, "request": true, "stale": true, "partial": true}
	rapid.Check(t, func(t *rapid.T) {
		c, s, req, now := someCaching(t), someStored(t), someRequest(t), someTime(t)
		stored := &s
		if rapid.Bool().Draw(t, "nothing stored") {
			stored = nil
		}
		v := c.Decide(req, stored, now)
		status := rapid.SampledFrom([]int{0, 200, 304, 503}).Draw(t, "answer")
		st := v.CacheStatus()
		if !v.Served() {
			st = v.Forwarded(TakeAnswer, status)
		}
		if st.Hit != v.Served() || st.Hit == (st.Fwd != "") || !st.Hit && !tokens[st.Fwd] || st.Word == "" {
			t.Fatalf("%v: %+v", v.Action, st)
		}
	})
}
