package policy

import (
	"testing"
	"time"
)

// What rules add, under nginx's names.

func validity(text string) Validity {
	var v Validity
	if err := v.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return v
}

func predicate(text string) Predicate {
	var p Predicate
	if err := p.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return p
}

func TestCacheValid(t *testing.T) {
	const s, m = time.Second, time.Minute
	c := &Caching{Valid: []Validity{validity("404 403 10s"), validity("500 0"), validity("5m"), validity("any 1m")}}
	guess := stored("Last-Modified", at(-1000*time.Hour), "Etag", `"x"`)
	c.decides(t, []decision{
		{"cache_valid: 200 where no status is named", get(), stored("Etag", `"x"`), 5*m - s, Serve, ReasonFresh},
		{"cache_valid: 200 where no status is named, no longer", get(), stored("Etag", `"x"`), 5 * m, Revalidate, ReasonStale},
		{"cache_valid: 301 too", get(), with(stored(), 301), 5*m - s, Serve, ReasonFresh},
		{"cache_valid: a named status", get(), with(stored(), 404), 9 * s, Serve, ReasonFresh},
		{"cache_valid: a named status, no longer", get(), with(stored(), 404), 10 * s, Fetch, ReasonStale},
		{"cache_valid: any", get(), with(stored(), 302), m - s + 4*m, Serve, ReasonFresh},
		{"cache_valid: any", get(), with(stored(), 307), m - s, Serve, ReasonFresh},
		{"cache_valid: any, no longer", get(), with(stored(), 307), m, Fetch, ReasonStale},
		{"cache_valid: counts from arrival", get(), stored("Age", "600", "Date", at(-time.Hour)), 5*m - s, Serve, ReasonFresh},
		{"cache_valid: takes the place of a guess", get(), guess, 5 * m, Revalidate, ReasonStale},
		{"cache_valid: the response's own word counts first", get(), minute(), m, Revalidate, ReasonStale},
		{"cache_valid: also when it is that it is stale", get(), stored("Etag", `"x"`, "Expires", "0"), 0, Revalidate, ReasonStale},
		{"cache_valid: also no-cache", get(), cc("no-cache"), 0, Revalidate, ReasonStale},
	})
	any := StoreOptions{AnyStatus: true}
	c.stores(t, []storing{
		{"cache_valid: permits a status", get(), with(stored(), 403), any, ""},
		{"cache_valid: permits any status", get(), with(stored(), 418), any, ""},
		{"cache_valid: 0 forbids", get(), with(stored("Etag", `"x"`), 500), any, NotValid},
		{"cache_valid: 0 does not forbid what says itself", get(), with(minute(), 500), any, ""},
		{"cache_valid: what must not be stored is not", get(), with(stored(), 429), any, NotStatus},
		{"cache_valid: what forbids still does", get(), cc("no-store"), any, NotNoStore},
		{"cache_valid: is no permission for the authenticated", get("Authorization", "x"), stored(), any, NotAuthorization},
		{"cache_valid: nor for those with cookies", get("Cookie", "x"), stored(), any, NotCookie},
	})
	(&Caching{Valid: []Validity{validity("404 1m")}}).stores(t, []storing{
		{"cache_valid: says nothing about what it does not name", get(), with(stored("Etag", `"x"`), 403), any, NotStatus},
	})
}

func TestAccelExpires(t *testing.T) {
	const s = time.Second
	c := &Caching{AccelExpires: true}
	accel := func(value string, more ...string) Stored {
		return stored(append([]string{"X-Accel-Expires", value, "Etag", `"x"`}, more...)...)
	}
	c.decides(t, []decision{
		{"X-Accel-Expires: seconds", get(), accel("60"), 59 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: no longer", get(), accel("60"), 60 * s, Revalidate, ReasonStale},
		{"X-Accel-Expires: counts from arrival", get(), accel("60", "Age", "600"), 59 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: an absolute time", get(), accel("@1780315260"), 59 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: an absolute time is over", get(), accel("@1780315260"), 60 * s, Revalidate, ReasonStale},
		{"X-Accel-Expires: before Cache-Control", get(), accel("60", "Cache-Control", "max-age=1, s-maxage=1"), 59 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: before no-cache, no-store and private", get(), accel("60", "Cache-Control", "no-cache, no-store, private"), 59 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: before Expires", get(), accel("60", "Expires", "0"), 59 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: before CDN-Cache-Control", get(), accel("60", "Cdn-Cache-Control", "max-age=1"), 59 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: stale-while-revalidate stays", get(), accel("60", "Cache-Control", "stale-while-revalidate=30"), 60 * s, ServeAndRevalidate, ReasonWhileRevalidate},
		{"X-Accel-Expires: must-revalidate stays", ask("max-stale"), accel("60", "Cache-Control", "must-revalidate"), 60 * s, Revalidate, ReasonStale},
		{"X-Accel-Expires: no number", get(), accel("off", "Cache-Control", "max-age=5"), 5 * s, Revalidate, ReasonStale},
		{"X-Accel-Expires: negative", get(), accel("-1", "Cache-Control", "max-age=60"), 5 * s, Serve, ReasonFresh},
		{"X-Accel-Expires: two that differ", get(), accel("60", "X-Accel-Expires", "61"), 0, Revalidate, ReasonStale},
	})
	c.stores(t, []storing{
		{"X-Accel-Expires: permits", get(), accel("60", "Cache-Control", "private"), StoreOptions{}, ""},
		{"X-Accel-Expires: 0 forbids", get(), accel("0", "Cache-Control", "max-age=60"), StoreOptions{}, NotAccelExpires},
		{"X-Accel-Expires: permits a status", get(), with(accel("60"), 403), StoreOptions{AnyStatus: true}, ""},
		{"X-Accel-Expires: is no permission for the authenticated", get("Authorization", "x"), accel("60"), StoreOptions{}, NotAuthorization},
		{"X-Accel-Expires: nor for private fields", get(), accel("60", "Cache-Control", `private="x-user"`), StoreOptions{}, ""},
		{"X-Accel-Expires: nor for cookies", get(), accel("60", "Set-Cookie", "a=b"), StoreOptions{}, NotSetCookie},
	})
	for name, off := range map[string]*Caching{"not configured": std, "ignored": {AccelExpires: true, Ignore: IgnoreAccelExpires}} {
		off.stores(t, []storing{
			{"X-Accel-Expires " + name, get(), accel("60", "Cache-Control", "private"), StoreOptions{}, NotPrivate},
			{"X-Accel-Expires " + name, get(), accel("0", "Cache-Control", "max-age=60"), StoreOptions{}, ""},
		})
	}
}

func TestIgnoreHeaders(t *testing.T) {
	const s = time.Second
	(&Caching{Ignore: IgnoreCacheControl}).decides(t, []decision{
		{"ignore_headers: Cache-Control", get(), cc("no-cache", "Expires", at(60*s)), 59 * s, Serve, ReasonFresh},
		{"ignore_headers: Cache-Control, of responses only", ask("no-cache"), cc("max-age=60", "Expires", at(60*s)), 59 * s, Revalidate, ReasonRequest},
	})
	(&Caching{Ignore: IgnoreExpires}).decides(t, []decision{
		{"ignore_headers: Expires", get(), stored("Expires", "0", "Last-Modified", at(-600*s)), 59 * s, Serve, ReasonFresh},
	})
	(&Caching{Ignore: IgnoreVary}).decides(t, []decision{
		{"ignore_headers: Vary", get("Accept", "a"), minute("Vary", "Accept, *"), 0, Serve, ReasonFresh},
	})
	(&Caching{Ignore: IgnoreCacheControl | IgnoreExpires, Valid: []Validity{validity("60s")}}).decides(t, []decision{
		{"ignore_headers: then cache_valid counts", get(), cc("no-store, max-age=1", "Expires", "0"), 59 * s, Serve, ReasonFresh},
	})
	(&Caching{Ignore: IgnoreSetCookie}).stores(t, []storing{
		{"ignore_headers: Set-Cookie", get(), minute("Set-Cookie", "a=b"), StoreOptions{}, ""},
		{"ignore_headers: Set-Cookie, of responses only", get("Cookie", "a=b"), minute("Set-Cookie", "a=b"), StoreOptions{}, NotCookie},
	})
	(&Caching{Ignore: IgnoreVary}).stores(t, []storing{
		{"ignore_headers: Vary", get("Cookie", "a=b"), minute("Vary", "Cookie, *", "Cache-Control", "public"), StoreOptions{}, ""},
	})
	if h := (&Caching{Ignore: IgnoreSetCookie}).ForStorage(header("Set-Cookie", "a=b")); len(h) != 0 {
		t.Errorf("ignore_headers: Set-Cookie is stored: %v", h)
	}
}

func TestBypassAndNoCache(t *testing.T) {
	c := &Caching{
		Bypass:  []Predicate{predicate("$cookie_nocache"), predicate("$arg_nocache$arg_comment"), predicate("$http_x_refresh")},
		NoCache: []Predicate{predicate("$http_x_refresh"), predicate("$upstream_http_x_private")},
	}
	c.decides(t, []decision{
		{"cache_bypass: none", get("Cookie", "a=b"), minute(), 0, Serve, ReasonFresh},
		{"cache_bypass: a cookie", get("Cookie", "a=b; NoCache=1"), minute(), 0, Fetch, ReasonBypass},
		{"cache_bypass: a cookie of 0", get("Cookie", "nocache=0"), minute(), 0, Serve, ReasonFresh},
		{"cache_bypass: a parameter", getURL(t, "http://o.test/?nocache=true"), minute(), 0, Fetch, ReasonBypass},
		{"cache_bypass: a field", get("X-Refresh", "1"), minute(), 0, Fetch, ReasonBypass},
		{"cache_bypass: with only-if-cached", ask("only-if-cached", "X-Refresh", "1"), minute(), 0, Refuse, ReasonBypass},
	})
	c.stores(t, []storing{
		{"no_cache: none", get(), minute(), StoreOptions{}, ""},
		{"no_cache: cache_bypass alone does not forbid storing", get("Cookie", "nocache=1"), minute("Cache-Control", "public"), StoreOptions{}, ""},
		{"no_cache: of the request", get("X-Refresh", "1"), minute(), StoreOptions{}, NotNoCache},
		{"no_cache: of the response", get(), minute("X-Private", "yes"), StoreOptions{}, NotNoCache},
		{"no_cache: of the response, 0", get(), minute("X-Private", "0"), StoreOptions{}, ""},
	})
}

func TestMinUses(t *testing.T) {
	c := &Caching{MinUses: 3}
	c.stores(t, []storing{
		{"cache_min_uses: the first", get(), minute(), StoreOptions{Uses: 1}, NotMinUses},
		{"cache_min_uses: one less", get(), minute(), StoreOptions{Uses: 2}, NotMinUses},
		{"cache_min_uses: reached", get(), minute(), StoreOptions{Uses: 3}, ""},
		{"cache_min_uses: not counted", get(), minute(), StoreOptions{}, ""},
	})
	std.stores(t, []storing{{"cache_min_uses: not configured", get(), minute(), StoreOptions{Uses: 1}, ""}})
}

// cache_use_stale itself is in rfc9111_4_2_4_stale_test.go.
func TestBackgroundUpdate(t *testing.T) {
	const late = 1000 * time.Hour
	both := &Caching{UseStale: Updating, BackgroundUpdate: true}
	both.decides(t, []decision{
		{"background update", get(), minute(), late, ServeAndRevalidate, ReasonUpdating},
		{"background update: not what must be validated", get(), minute("Cache-Control", "must-revalidate"), late, Revalidate, ReasonStale},
		{"background update: not against the request", ask("no-cache"), minute(), late, Revalidate, ReasonStale},
		{"background update: not while fresh", get(), minute(), 0, Serve, ReasonFresh},
	})
	for name, c := range map[string]*Caching{
		"updating alone waits for the first": {UseStale: Updating}, "background update alone": {BackgroundUpdate: true},
	} {
		c.decides(t, []decision{{name, get(), minute(), late, Revalidate, ReasonStale}})
	}
	if s := minute(); !(&Caching{UseStale: Updating}).StaleOn(Updating, get(), &s, t0.Add(late)) {
		t.Error("updating alone: the others are served meanwhile")
	}
}

func TestValidityText(t *testing.T) {
	for in, want := range map[string]string{
		"200 302 10m": "200 302 10m", "1d": "24h", "404 60": "404 1m", "any 1h30m": "any 1h30m", "500ms": "500ms",
		"1w": "168h", "1M": "720h", "1y": "8760h", "200 599 100y": "200 599 876000h", "10h5s": "10h0m5s", "200 0": "200 0s", "  301   1s ": "301 1s", "200 302": "200 5m2s", "1m1": "1m1s",
	} {
		var v, again Validity
		if err := v.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		text, _ := v.MarshalText()
		if string(text) != want {
			t.Errorf("%q: printed %q, want %q", in, text, want)
		}
		if err := again.UnmarshalText(text); err != nil || again.For != v.For {
			t.Errorf("%q: printed %q, read %v %v", in, text, again, err)
		}
	}
	for _, in := range []string{"", "abc", "200 10x", "99 1m", "600 1m", "any", "-1m", "1m 200", "10 20", "99999999999s", "2147483647y", "101y", "200 1.5h"} {
		var v Validity
		if err := v.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q: accepted as %+v", in, v)
		}
	}
}

func TestNamesOfSets(t *testing.T) {
	for _, name := range []string{"error", "timeout", "invalid_header", "updating", "http_500", "http_429", "off"} {
		var f Failures
		if err := f.UnmarshalText([]byte(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, _ := f.MarshalText(); string(text) != name {
			t.Errorf("%s: printed %q", name, text)
		}
	}
	for _, name := range []string{"Cache-Control", "set-cookie", "VARY", "Expires", "X-Accel-Expires"} {
		var i Ignored
		if err := i.UnmarshalText([]byte(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if new(Failures).UnmarshalText([]byte("http_501")) == nil || new(Ignored).UnmarshalText([]byte("X-Accel-Redirect")) == nil {
		t.Error("an unknown name is accepted")
	}
}

func TestPredicate(t *testing.T) {
	req := getURL(t, "http://o.test/p?A=1&b=&nocache=0&c")
	req.Header = header("Cookie", "s=1; empty=; zero=0", "Cookie", "t=2", "X-Foo-Bar", "baz", "X-Two", "", "X-Two", "", "X-Zero", "0")
	resp := with(stored("X-No", "1"), 404)
	for text, want := range map[string]bool{
		"$http_x_foo_bar": true, "$http_X_Foo_Bar": true, "$http_x_zero": false, "$http_none": false, "$http_x_two": true,
		"$cookie_s": true, "$cookie_S": true, "$cookie_t": true, "$cookie_empty": false, "$cookie_zero": false, "$cookie_none": false,
		"$arg_a": true, "$arg_b": false, "$arg_nocache": false, "$arg_c": false, "$args": true, "$query_string": true,
		"$upstream_http_x_no": true, "$upstream_http_none": false, "$upstream_status": true,
		"$arg_b$cookie_empty": false, "$arg_b$arg_nocache": false, "$arg_nocache$cookie_zero": true, "$arg_a$arg_b": true,
		"1": true, "0": false, "x$arg_b": true, "0$arg_b": false, "${arg_a}": true, "${arg_b}0": false, "$arg_b-": true,
	} {
		p := predicate(text)
		if got := p.holds(&req, &resp); got != want {
			t.Errorf("%s: %v", text, got)
		}
		if again, _ := p.MarshalText(); string(again) != text {
			t.Errorf("%s: printed %q", text, again)
		}
	}
	if p := predicate("$upstream_http_x_no$upstream_status"); p.holds(&req, nil) {
		t.Error("true of a response that is not there")
	}
	if (&Predicate{}).holds(&req, &resp) {
		t.Error("the zero value is true")
	}
	if p := predicate("$args$arg_a$http_x"); p.holds(&Request{}, nil) {
		t.Error("true of an empty request")
	}
	for _, text := range []string{"", "$", "$foo", "$http_", "$cookie_", "${arg_a", "$args_x", "$upstream", "$http_ü"} {
		if err := new(Predicate).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: accepted", text)
		}
	}
}
