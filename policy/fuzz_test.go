package policy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzDecisions feeds arbitrary fields to everything that reads them.
func FuzzDecisions(f *testing.F) {
	f.Add("max-age=60", "max-stale=5", `"x"`, "Accept, Foo", "gzip;q=0.5, br", int64(30), 200)
	f.Add(`no-cache="a, b", private="c"`, "no-cache", `W/"x", *`, "*", "text/html;level=1;q=0.1", int64(90), 206)
	f.Add("s-maxage=1,stale-while-revalidate=9,stale-if-error=9", "only-if-cached", "", "", "", int64(2), 404)
	f.Add("must-understand,no-store,max-age=5", "stale-if-error=9", `"\"`, "a,,b", `";q=1`, int64(6), 299)
	f.Fuzz(func(t *testing.T, control, wish, tag, vary, accept string, secs int64, status int) {
		now := t0.Add(time.Duration(secs%1e6) * time.Second)
		h := http.Header{"Cache-Control": {control}, "Cdn-Cache-Control": {wish}, "Etag": {tag}, "Vary": {vary}, "Last-Modified": {tag},
			"Date": {at(0)}, "Expires": {accept}, "Age": {accept}, "X-Accel-Expires": {accept}, "Content-Range": {tag}, "Location": {accept}}
		req := Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "o.test", RawQuery: accept}, Header: http.Header{
			"Cache-Control": {wish}, "Accept": {accept}, "Accept-Encoding": {accept}, "If-None-Match": {tag}, "If-Range": {tag}, "Range": {accept}, "Cookie": {accept},
		}}
		c := &Caching{AccelExpires: secs%2 == 0, Untargeted: secs%3 == 0, UseStale: Failures(secs) & serverErrors,
			Bypass: []Predicate{predicate("$cookie_a$arg_b")}}
		s := Stored{Status: status, Header: h, RequestTime: t0, ResponseTime: t0}
		ok, reason := c.Storable(req, s, StoreOptions{AnyStatus: true, Partial: true})
		if ok != (reason == "") {
			t.Errorf("storable %v because %q", ok, reason)
		}
		kept := s
		kept.Header = c.ForStorage(h)
		var selects bool
		if kept.Selecting, selects = c.Selecting(req.Header, h["Vary"]); ok && !selects {
			t.Errorf("stored although it selects nothing: %q", vary)
		}
		if ok && !c.SelectedBy(kept, req.Header) {
			t.Errorf("%q: what selected it does not: %q", vary, kept.Selecting)
		}
		v := c.Decide(req, &kept, now)
		if v.Served() && v.FreshFor <= 0 && v.Reason == ReasonFresh {
			t.Errorf("%+v", v)
		}
		c.Answered(v, req, &kept, s, now)
		c.Head(withMethod(req, "HEAD"), kept, 9, s)
		fresh := c.Freshened(kept, by(h, now, now))
		if fresh.Invalid || len(fresh.Header["Set-Cookie"]) > 0 {
			t.Errorf("%+v", fresh)
		}
		for _, r := range Respond(req, &kept, 100).Ranges {
			if r.From < 0 || r.From >= r.To || r.To > 100 {
				t.Errorf("range %+v", r)
			}
		}
		if r, ok := PartOf(kept, 100, s); ok && (r.Len() <= 0 || r.To > 100 || status != 206) {
			t.Errorf("part %+v", r)
		}
	})
}

// FuzzSelecting: a normal form is its own, and equal values stay equal.
func FuzzSelecting(f *testing.F) {
	for _, s := range []string{"gzip, deflate, br", "de-AT,de;q=0.9, en ;Q=0.500", "*/*;q=0.1", `a;x="1,2"`, "", ",", ";q=1", "a;q=1;b"} {
		f.Add("Accept-Language", s)
		f.Add("Accept-Encoding", s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		once := string(appendSelecting(nil, name, []string{value}))
		if twice := string(appendSelecting(nil, name, []string{once})); twice != once {
			t.Errorf("%s: %q becomes %q, and that %q", name, value, once, twice)
		}
		if !sameSelecting(name, []string{value}, []string{once}) || !sameSelecting(name, []string{value}, []string{value}) {
			t.Errorf("%s: %q is not itself", name, value)
		}
	})
}

// FuzzInvalidated: nobody empties a stranger's cache.
func FuzzInvalidated(f *testing.F) {
	for _, s := range []string{"/x", "//victim.test/", "http://o.test@victim.test/", "http://o.test:80/", "\\\\victim.test", "http:///x", "?y", "HTTP://O.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, location string) {
		req := Request{Method: "PUT", URL: &url.URL{Scheme: "http", Host: "o.test", Path: "/a"}}
		urls := Invalidated(req, 200, http.Header{"Location": {location}})
		for _, u := range urls {
			if !strings.HasPrefix(string(KeyOf(u, KeyRule{})), "http://o.test/") {
				t.Errorf("%q invalidates %s", location, u)
			}
		}
	})
}

func FuzzPredicate(f *testing.F) {
	for _, s := range []string{"$http_a", "${arg_b}x", "$cookie_c$args", "0$upstream_status", "$", "${", "a$http_"} {
		f.Add(s, "a=1; c=0", "b=2&c")
	}
	f.Fuzz(func(t *testing.T, text, cookies, query string) {
		var p, again Predicate
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return
		}
		printed, _ := p.MarshalText()
		if err := again.UnmarshalText(printed); err != nil || len(again.parts) != len(p.parts) {
			t.Errorf("%q: printed %q, read %v", text, printed, err)
		}
		req := Request{URL: &url.URL{RawQuery: query}, Header: http.Header{"Cookie": {cookies}, "A": {cookies}}}
		value := ""
		for i := range p.parts {
			value += p.parts[i].value(&req, nil)
		}
		if got := p.holds(&req, nil); got != (value != "" && value != "0") {
			t.Errorf("%q comes to %q, and is %v", text, value, got)
		}
	})
}

func FuzzValidity(f *testing.F) {
	for _, s := range []string{"200 302 10m", "any 1d", "60", "404 1h30m", "1M", "200 0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v, again Validity
		if err := v.UnmarshalText([]byte(text)); err != nil {
			return
		}
		if v.For < 0 || v.For > maxTime {
			t.Errorf("%q: %v", text, v.For)
		}
		printed, _ := v.MarshalText()
		if err := again.UnmarshalText(printed); err != nil || again.For != v.For || again.Any != v.Any || len(again.Statuses) != len(v.Statuses) {
			t.Errorf("%q: printed %q, read %+v %v", text, printed, again, err)
		}
	})
}
