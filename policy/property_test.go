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
	{"Cache-Control", "max-age=5;public"}, {"Cache-Control", `x="`}, {"Pragma", "no-cache"},
	{"Expires", at(time.Hour)}, {"Expires", "0"}, {"Date", at(0)}, {"Date", at(-time.Minute)}, {"Date", at(time.Hour)},
	{"Age", "10"}, {"Age", "999999999999"}, {"Age", "x"},
	{"Last-Modified", at(-time.Hour)}, {"Last-Modified", at(-1000 * time.Hour)}, {"Last-Modified", "x"},
	{"Etag", `"x"`}, {"Etag", `W/"x"`}, {"Etag", "x"},
	{"Vary", "Accept"}, {"Vary", "*"}, {"Vary", "Cookie"}, {"Vary", "Authorization"}, {"Set-Cookie", "a=b"},
}

var requestLines = [][2]string{
	{"Cache-Control", "no-cache"}, {"Cache-Control", "no-store"}, {"Cache-Control", "max-age=100"}, {"Cache-Control", "max-stale"},
	{"Cache-Control", "max-stale=100"}, {"Cache-Control", "min-fresh=10"}, {"Cache-Control", "only-if-cached"}, {"Pragma", "no-cache"},
	{"Authorization", "Bearer x"}, {"Cookie", "a=b"}, {"Accept", "a/b"}, {"Accept", "a/b ,c/d"}, {"Range", "bytes=0-1"},
}

func someStored(t *rapid.T) Stored {
	delay := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "delay"))
	return Stored{Status: 200, Header: someHeader(t, "response", responseLines), RequestTime: t0.Add(-delay), ResponseTime: t0}
}

func someRequest(t *rapid.T) Request {
	r := getURL(t, rapid.SampledFrom([]string{
		"http://o.test/a", "http://o.test/a?b=c", "http://o.test/a?X-Amz-Signature=x", "http://u:p@o.test/a",
	}).Draw(t, "url"))
	r.Header = someHeader(t, "request", requestLines)
	return r
}

func TestOlderIsNeverFresher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, req := someStored(t), someRequest(t)
		s.Selecting, _ = Selecting(req.Header, s.Header["Vary"])
		early := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(48*time.Hour)).Draw(t, "early"))
		late := early + time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "later by"))
		a, b := Decide(req, &s, t0.Add(early)), Decide(req, &s, t0.Add(late))
		if b.Age < a.Age || b.FreshFor > a.FreshFor {
			t.Fatalf("age %v then %v, fresh for %v then %v", a.Age, b.Age, a.FreshFor, b.FreshFor)
		}
		if a.Action != Serve && b.Action == Serve {
			t.Fatalf("%v (%s) first, served later (%s)", a.Action, a.Reason, b.Reason)
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
		req, s := someRequest(t), someStored(t)
		ok, _ := Storable(req, s, StoreOptions{Partial: rapid.Bool().Draw(t, "partial")})
		if !ok {
			return
		}
		cc := httpheader.ParseResponseControl(s.Header["Cache-Control"])
		permitted := cc.Public || cc.SMaxAge.Valid
		if len(req.Header["Authorization"]) > 0 && !permitted && !cc.MustRevalidate {
			t.Fatalf("RFC 9111 §3.5: stored for %v: %v", req.Header, s.Header)
		}
		if (len(req.Header["Cookie"]) > 0 || req.URL.Query().Has("X-Amz-Signature")) && !permitted {
			t.Fatalf("stored for %v %v: %v", req.URL, req.Header, s.Header)
		}
		if len(s.Header["Set-Cookie"]) > 0 && !cc.Public {
			t.Fatalf("stored with Set-Cookie: %v", s.Header)
		}
	})
}

func TestWhatForbidsIsNeverStored(t *testing.T) {
	forbid := []string{"no-store", "private", "NO-STORE", `private="a"`, "no-store;", "no-store=1", "private =x"}
	rapid.Check(t, func(t *rapid.T) {
		s, req := someStored(t), someRequest(t)
		word := rapid.SampledFrom(forbid).Draw(t, "word")
		s.Header["Cache-Control"] = append(s.Header["Cache-Control"], word)
		o := StoreOptions{Partial: true, Public: true, SharedQuery: true}
		if ok, _ := Storable(req, s, o); ok {
			t.Fatalf("stored in spite of %s: %v", word, s.Header)
		}
		if v := Decide(req, &s, t0); v.Action == Serve {
			t.Fatalf("served in spite of %s: %v", word, s.Header)
		}
	})
}

func TestNothingCredentialIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, req := someStored(t), someRequest(t)
		if ok, _ := Storable(req, s, StoreOptions{Public: true, SharedQuery: true}); !ok {
			return
		}
		sel, ok := Selecting(req.Header, s.Header["Vary"])
		if !ok || len(sel["Cookie"])+len(sel["Authorization"]) > 0 {
			t.Fatalf("selecting %v, %v", sel, ok)
		}
		if kept := ForStorage(s.Header); len(kept["Set-Cookie"]) > 0 {
			t.Fatalf("kept %v", kept)
		}
	})
}

func TestWhatIsStoredIsOfUse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, req := someStored(t), someRequest(t)
		if ok, _ := Storable(req, s, StoreOptions{}); !ok {
			return
		}
		s.Selecting, _ = Selecting(req.Header, s.Header["Vary"])
		s.Header = ForStorage(s.Header)
		delete(req.Header, "Cache-Control")
		delete(req.Header, "Pragma")
		if v := Decide(req, &s, t0); v.Action != Serve && v.Action != Revalidate {
			t.Fatalf("%v (%s) for what was just stored: %v", v.Action, v.Reason, s.Header)
		}
	})
}

func TestServedMeansFreshOrAcceptedStale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, req := someStored(t), someRequest(t)
		s.Selecting, _ = Selecting(req.Header, s.Header["Vary"])
		now := t0.Add(time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "now")))
		v := Decide(req, &s, now)
		wish := httpheader.ParseRequestControl(req.Header["Cache-Control"])
		if v.Action == Serve && v.FreshFor <= 0 && !wish.MaxStale.Present {
			t.Fatalf("served stale unasked: %+v", v)
		}
		if v.Action == Serve && (wish.NoCache || wish.MaxAge.Present && v.Age > wish.MaxAge.Value) {
			t.Fatalf("served against the request's wish: %+v", v)
		}
		if wish.OnlyIfCached && v.Action != Serve && v.Action != Refuse {
			t.Fatalf("only-if-cached went to the origin: %+v", v)
		}
	})
}
