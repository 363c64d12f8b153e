package httpheader

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

func FuzzCacheControl(f *testing.F) {
	for _, s := range []string{
		"public, max-age=31536000, immutable", "no-store, no-cache, must-revalidate, max-age=0, post-check=0",
		`private="Set-Cookie", s-maxage=10`, "max-age=600;public", `x="a\", no-store`, "MAX-AGE=\"1\"", `"`, "=", "a=\x00",
		`no-cache="a, b", no-cache=c`, "no-cache", "max-age=0", "max-stale", "max-stale=5, min-fresh=7, only-if-cached", "max-stale=, max-stale",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := ParseCacheControl([]string{s})
		checkDelta(t, c.MaxAge, c.SMaxAge, c.StaleWhileRevalidate, c.StaleIfError, c.MinFresh, c.MaxStale)
		if again := ParseCacheControl([]string{printControl(c)}); again != withoutMalformed(c) {
			t.Errorf("%q: printed and read again:\n%+v\n%+v", s, c, again)
		}
		for _, l := range []FieldList{c.NoCacheFields, c.PrivateFields} {
			for name := range l.All() {
				if !IsToken(name) {
					t.Errorf("%q names the field %q", s, name)
				}
			}
		}
		// A restriction is never lost by what stands before it.
		if d := ParseCacheControl([]string{s, "no-store"}); !d.NoStore {
			t.Errorf("%q hides a no-store on the next line", s)
		}
		if d := ParseCacheControl([]string{s + ",no-store,private,no-cache"}); !inQuotes(s) && !(d.NoStore && d.Private && d.NoCache) {
			t.Errorf("%q hides the members after it", s)
		}
	})
}

// inQuotes reports whether a closing quote could come after s.
func inQuotes(s string) bool { return strings.ContainsAny(s, `"\`) }

func printControl(c CacheControl) string {
	var m []string
	for name, on := range map[string]bool{
		"no-store": c.NoStore, "no-cache": c.NoCache, "private": c.Private, "no-transform": c.NoTransform,
		"must-revalidate": c.MustRevalidate, "proxy-revalidate": c.ProxyRevalidate, "must-understand": c.MustUnderstand,
		"public": c.Public, "immutable": c.Immutable, "only-if-cached": c.OnlyIfCached,
	} {
		if on {
			m = append(m, name)
		}
	}
	for name, fields := range map[string]FieldList{"no-cache": c.NoCacheFields, "private": c.PrivateFields} {
		if fields != "" {
			m = append(m, fmt.Sprintf("%s=%q", name, string(fields)))
		}
	}
	for name, d := range map[string]Delta{
		"max-age": c.MaxAge, "s-maxage": c.SMaxAge, "min-fresh": c.MinFresh, "max-stale": c.MaxStale,
		"stale-while-revalidate": c.StaleWhileRevalidate, "stale-if-error": c.StaleIfError,
	} {
		m = append(m, printDelta(name, d)...)
	}
	return strings.Join(m, ", ")
}

func withoutMalformed(c CacheControl) CacheControl { c.Malformed = false; return c }

func printDelta(name string, d Delta) []string {
	switch {
	case !d.Present:
		return nil
	case !d.Valid:
		return []string{name + "=invalid"}
	}
	return []string{fmt.Sprintf("%s=%d", name, d.Value/time.Second)}
}

func checkDelta(t *testing.T, deltas ...Delta) {
	for _, d := range deltas {
		if d.Value < 0 || d.Value > MaxDelta || d.Value%time.Second != 0 {
			t.Errorf("delta %v", d.Value)
		}
		if d.Valid && !d.Present || !d.Valid && d.Value != 0 {
			t.Errorf("contradiction: %+v", d)
		}
	}
}

// FuzzTargeted compares with a library for structured fields.
func FuzzTargeted(f *testing.F) {
	for _, s := range []string{
		"max-age=60", "max-age=60, no-store", "MAX-AGE=1", `max-age="60"`, "max-age=60;x=1;y", "a=(1 2);q, b", "no-store=?0",
		`no-cache="a, b"`, "x=:aGk=:", "x=@12", `x=%"f%c3%bc"`, "x=1.5, max-age=-1", "max-age=1,max-age=2", "max-age=60,", " max-age=1 ", "*a=*b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseTargeted([]string{s})
		if !ok && c != (CacheControl{}) {
			t.Errorf("%q: directives beside !ok: %+v", s, c)
		}
		checkDelta(t, c.MaxAge, c.SMaxAge, c.StaleWhileRevalidate, c.StaleIfError)
		d, err := httpsfv.UnmarshalDictionary([]string{s})
		if want := err == nil && len(d.Names()) > 0; ok != want {
			if err == nil && len(d.Names()) > maxFields {
				return
			}
			t.Fatalf("%q: ok %v, the library says %v (%v)", s, ok, want, err)
		}
		if !ok {
			return
		}
		if got, want := c.NoStore, isTrue(d, "no-store"); got != want {
			t.Errorf("%q: no-store %v, want %v", s, got, want)
		}
		age, _ := d.Get("max-age")
		item, _ := age.(httpsfv.Item)
		if n, isInt := item.Value.(int64); n != 0 && c.MaxAge.Valid != (isInt && n >= 0) || // -0 is as stale as 0
			isInt && n >= 0 && c.MaxAge.Value != min(time.Duration(n), 1<<31)*time.Second {
			t.Errorf("%q: max-age %+v of %v", s, c.MaxAge, item.Value)
		}
	})
}

// isTrue: as a restriction is read, anything but false.
func isTrue(d *httpsfv.Dictionary, name string) bool {
	m, ok := d.Get(name)
	if item, isItem := m.(httpsfv.Item); isItem && item.Value == false {
		return false
	}
	return ok
}

func FuzzVary(f *testing.F) {
	for _, s := range []string{"*", "Accept-Encoding", "accept, ACCEPT,, X-Foo", "a b", `"x,y"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fields, ok := ParseVary([]string{s})
		if !ok && fields != nil {
			t.Errorf("%q: fields beside !ok", s)
		}
		again, ok2 := ParseVary([]string{strings.Join(fields, ", ")})
		if ok && (!ok2 || !slices.Equal(fields, again)) {
			t.Errorf("%q: %q, printed and read again %q", s, fields, again)
		}
		if conn := ConnectionFields([]string{s}); ok && !slices.Equal(conn, fields) {
			t.Errorf("%q: as Connection %q, as Vary %q", s, conn, fields)
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-500", "bytes=0-0,-1", "bytes=0-99999999999999999999", "bytes= 1-2 , 3-", "x=1-2"} {
		f.Add(s, int64(1000))
	}
	f.Fuzz(func(t *testing.T, s string, length int64) {
		set, ok := ParseRange(s)
		if !ok {
			return
		}
		again, ok := ParseRange(set.String())
		if !ok || !slices.Equal(set, again) {
			t.Errorf("%q: %v, printed and read again %v", s, set, again)
		}
		for _, r := range set.Resolve(length) {
			if r.From < 0 || r.From >= r.To || r.To > length {
				t.Errorf("%q of %d: %+v", s, length, r)
			}
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-499/1234", "bytes */1234", "bytes 1-2/*", "bytes 0-9223372036854775807/*", "bytes 1-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseContentRange(s)
		if !ok {
			return
		}
		if c.Range.From < 0 || c.Range.To < c.Range.From || c.Length >= 0 && c.Range.To > c.Length {
			t.Errorf("%q: %+v", s, c)
		}
		if again, ok := ParseContentRange(c.String()); !ok || again != c {
			t.Errorf("%q: %+v, printed and read again %+v", s, c, again)
		}
	})
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Thu, 01 Jan 1970 00:00:00 GMT", "Sat, 31 Dec 9999 23:59:60 GMT", "0", "Sunday, 29-Feb-00 00:00:00 GMT",
	} {
		f.Add(s, int64(1_780_000_000))
	}
	f.Fuzz(func(t *testing.T, s string, now int64) {
		ref := time.Unix(now%(1<<37), 0)
		d, ok := ParseDate(s, ref)
		if !ok || d.Year() > 9999 || d.Year() < 0 {
			return
		}
		if again, ok := ParseDate(FormatDate(d), ref); !ok || !again.Equal(d) {
			t.Errorf("%q: %v, printed and read again %v %v", s, d, again, ok)
		}
	})
}

func FuzzETags(f *testing.F) {
	for _, s := range []string{`"xyzzy"`, `W/"xyzzy", "r2d2xxxx", "c3piozzzz"`, "*", `"a"b"`, `W/"`, `"a\","b"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if tag, ok := ParseETag(s); ok {
			list, _, ok := ParseETags([]string{s})
			if !ok || len(list) != 1 || list[0] != tag {
				t.Errorf("%q: alone %q, as a list %q", s, tag, list)
			}
		}
		tags, any, ok := ParseETags([]string{s})
		if !ok || any {
			return
		}
		var lines []string
		for _, tag := range tags {
			if one, ok := ParseETag(string(tag)); !ok || one != tag {
				t.Errorf("%q: member %q", s, tag)
			}
			if tag.StrongMatch(tag) == tag.Weak() || !tag.WeakMatch(tag) {
				t.Errorf("%q does not match itself as it should", tag)
			}
			lines = append(lines, string(tag))
		}
		if again, _, ok := ParseETags([]string{strings.Join(lines, ", ")}); !ok || !slices.Equal(again, tags) {
			t.Errorf("%q: %q, printed and read again %q", s, tags, again)
		}
	})
}
