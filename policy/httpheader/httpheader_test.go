package httpheader

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"
)

func secs(n int64) Delta {
	return Delta{Present: true, Valid: true, Value: time.Duration(n) * time.Second}
}

var badDelta = Delta{Present: true}

func TestCacheControlOfResponses(t *testing.T) {
	for _, tc := range []struct {
		clause string
		lines  []string
		want   CacheControl
	}{
		{"none", nil, CacheControl{}},
		{"RFC 9111 §5.2: names in any case", []string{"NO-Store, Private"}, CacheControl{NoStore: true, Private: true}},
		{"RFC 9110 §5.3: several lines are one list", []string{"max-age=5", "public"}, CacheControl{MaxAge: secs(5), Public: true}},
		{"RFC 9110 §5.6.1.2: empty members", []string{", ,max-age=5,,"}, CacheControl{MaxAge: secs(5)}},
		{"RFC 9111 §5.2: token and quoted-string alike", []string{`max-age="5"`}, CacheControl{MaxAge: secs(5)}},
		{"RFC 9111 §1.2.2: too large is 2^31", []string{"max-age=99999999999999999999999999"}, CacheControl{MaxAge: secs(1 << 31)}},
		{"RFC 9111 §1.2.2: leading zeros", []string{"max-age=005"}, CacheControl{MaxAge: secs(5)}},
		{"RFC 9111 §4.2.1: negative is invalid", []string{"max-age=-5"}, CacheControl{MaxAge: badDelta}},
		{"RFC 9111 §4.2.1: not an integer", []string{"max-age=1.5"}, CacheControl{MaxAge: badDelta}},
		{"RFC 9111 §4.2.1: no argument", []string{"max-age"}, CacheControl{MaxAge: badDelta}},
		{"RFC 9111 §4.2.1: empty argument", []string{"max-age="}, CacheControl{MaxAge: badDelta, Malformed: true}},
		{"RFC 9111 §5.2: no space around =", []string{"max-age =5"}, CacheControl{MaxAge: badDelta, Malformed: true}},
		{"RFC 9111 §5.2: no space after =", []string{"max-age= 5"}, CacheControl{MaxAge: badDelta, Malformed: true}},
		{"RFC 9111 §4.2.1: duplicates that agree", []string{"max-age=5, max-age=5"}, CacheControl{MaxAge: secs(5)}},
		{"RFC 9111 §4.2.1: duplicates that differ", []string{"max-age=5, max-age=6"}, CacheControl{MaxAge: badDelta}},
		{"RFC 9111 §4.2.1: a third does not mend it", []string{"max-age=5, max-age=6, max-age=5"}, CacheControl{MaxAge: badDelta}},
		{"RFC 9111 §4.2.1: invalid then valid", []string{"max-age=x, max-age=5"}, CacheControl{MaxAge: badDelta}},
		{"semicolon is no comma", []string{"max-age=5;public"}, CacheControl{MaxAge: badDelta, Malformed: true}},
		{"RFC 9111 §5.2.2.7: qualified private", []string{`private="Set-Cookie, X"`}, CacheControl{PrivateFields: "Set-Cookie, X"}},
		{"RFC 9111 §5.2.2.4: qualified no-cache", []string{`no-cache="a"`}, CacheControl{NoCacheFields: "a"}},
		{"RFC 9111 §5.2: recipients accept the token form", []string{`no-cache=a`}, CacheControl{NoCacheFields: "a"}},
		{"RFC 9110 §5.3: qualified twice", []string{`no-cache="a"`, `no-cache="b"`}, CacheControl{NoCacheFields: "a,b"}},
		{"qualified and not: both are told", []string{`private="a", private`}, CacheControl{Private: true, PrivateFields: "a"}},
		{"RFC 9111 §5.2.2.7: what names no field counts whole", []string{`private=""`}, CacheControl{Private: true}},
		{"RFC 9111 §5.2.2.7: what names no field counts whole", []string{`private=" , "`}, CacheControl{Private: true}},
		{"RFC 9111 §5.2.2.7: what names no field counts whole", []string{`private="a b"`}, CacheControl{Private: true}},
		{"RFC 9111 §5.2.2.7: what names no field counts whole", []string{`private="a, \"b"`}, CacheControl{Private: true}},
		{"RFC 9111 §5.2.2.4: an open quote counts whole", []string{`no-cache="a`}, CacheControl{NoCache: true, Malformed: true}},
		{"a comma in quotes does not separate", []string{`x="no-store, public", max-age=1`}, CacheControl{MaxAge: secs(1)}},
		{"an escaped quote does not close", []string{`x="\", no-store", max-age=1`}, CacheControl{MaxAge: secs(1)}},
		{"an open quote hides nothing", []string{`x="oops, no-store`}, CacheControl{NoStore: true, Malformed: true}},
		{"restrictions count with an argument", []string{"no-store=1, must-revalidate=1"}, CacheControl{NoStore: true, MustRevalidate: true}},
		{"permissions do not", []string{"public=1"}, CacheControl{}},
		{"RFC 8246 §2: an argument has no meaning", []string{"immutable=1"}, CacheControl{Immutable: true}},
		{"RFC 8246 §2: but it must be one", []string{"immutable;"}, CacheControl{Malformed: true}},
		{"restrictions count in bad company", []string{"no-store;max-age=1"}, CacheControl{NoStore: true, Malformed: true}},
		{"permissions do not", []string{"public;max-age=1"}, CacheControl{Malformed: true}},
		{"RFC 5861, RFC 8246", []string{"stale-while-revalidate=1, stale-if-error=2, immutable"},
			CacheControl{StaleWhileRevalidate: secs(1), StaleIfError: secs(2), Immutable: true}},
		{"RFC 9111 §5.2.2: the rest", []string{"s-maxage=3, proxy-revalidate, must-understand, no-transform"},
			CacheControl{SMaxAge: secs(3), ProxyRevalidate: true, MustUnderstand: true, NoTransform: true}},
		{"RFC 9111 §5.2.3: unknown ones are ignored", []string{`community="UCI", foo=bar, baz`}, CacheControl{}},
	} {
		if got := ParseCacheControl(tc.lines); got != tc.want {
			t.Errorf("%s: %q:\n got %+v\nwant %+v", tc.clause, tc.lines, got, tc.want)
		}
	}
}

func TestCacheControlOfRequests(t *testing.T) {
	for _, tc := range []struct {
		clause string
		line   string
		want   CacheControl
	}{
		{"RFC 9111 §5.2.1", "no-cache, no-store, no-transform, only-if-cached",
			CacheControl{NoCache: true, NoStore: true, NoTransform: true, OnlyIfCached: true}},
		{"RFC 9111 §5.2.1.1", "max-age=0", CacheControl{MaxAge: secs(0)}},
		{"RFC 9111 §5.2.1.2: without argument any staleness", "max-stale", CacheControl{MaxStale: secs(1 << 31)}},
		{"RFC 9111 §5.2.1.2", "max-stale=60", CacheControl{MaxStale: secs(60)}},
		{"RFC 9111 §5.2.1.2: invalid permits nothing", "max-stale=x", CacheControl{MaxStale: badDelta}},
		{"RFC 9111 §5.2.1.2: malformed permits nothing", "max-stale;1", CacheControl{MaxStale: badDelta, Malformed: true}},
		{"RFC 9111 §5.2.1.3", "min-fresh=7", CacheControl{MinFresh: secs(7)}},
		{"RFC 5861 §4", "stale-if-error=7", CacheControl{StaleIfError: secs(7)}},
	} {
		if got := ParseCacheControl([]string{tc.line}); got != tc.want {
			t.Errorf("%s: %q:\n got %+v\nwant %+v", tc.clause, tc.line, got, tc.want)
		}
	}
}

func TestAge(t *testing.T) {
	for _, tc := range []struct {
		clause string
		lines  []string
		want   time.Duration
		ok     bool
	}{
		{"RFC 9111 §5.1", []string{"60"}, time.Minute, true},
		{"RFC 9111 §5.1: the first of a list", []string{"60, 120"}, time.Minute, true},
		{"RFC 9111 §5.1: the first line", []string{"60", "120"}, time.Minute, true},
		{"RFC 9111 §1.2.2: too large", []string{"99999999999999999999"}, MaxDelta, true},
		{"RFC 9111 §5.1: invalid is ignored", []string{"-1"}, 0, false},
		{"RFC 9111 §5.1: invalid is ignored", []string{"1.5"}, 0, false},
		{"RFC 9111 §5.1: invalid is ignored", []string{""}, 0, false},
		{"none", nil, 0, false},
	} {
		if got, ok := ParseAge(tc.lines); got != tc.want || ok != tc.ok {
			t.Errorf("%s: %q: got %v %v, want %v %v", tc.clause, tc.lines, got, ok, tc.want, tc.ok)
		}
	}
}

func TestVary(t *testing.T) {
	for _, tc := range []struct {
		clause string
		lines  []string
		want   []string
		ok     bool
	}{
		{"none", nil, nil, true},
		{"RFC 9110 §12.5.5", []string{"accept-encoding, Accept"}, []string{"Accept-Encoding", "Accept"}, true},
		{"RFC 9110 §5.3: several lines", []string{"a", "b, A"}, []string{"A", "B"}, true},
		{"RFC 9110 §12.5.5: *", []string{"*"}, nil, false},
		{"RFC 9110 §12.5.5: * among others", []string{"Accept", "X, *"}, nil, false},
		{"not a token", []string{"Accept Encoding"}, nil, false},
		{"not a token", []string{`"Accept"`}, nil, false},
	} {
		if got, ok := ParseVary(tc.lines); !slices.Equal(got, tc.want) || ok != tc.ok {
			t.Errorf("%s: %q: got %q %v, want %q %v", tc.clause, tc.lines, got, ok, tc.want, tc.ok)
		}
	}
}

func TestConnectionFields(t *testing.T) {
	got := ConnectionFields([]string{"close, x-foo", "X-Foo, bad name,TE"})
	if want := []string{"Close", "X-Foo", "Te"}; !slices.Equal(got, want) {
		t.Errorf("RFC 9110 §7.6.1: got %q, want %q", got, want)
	}
}

func TestDate(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		clause, in string
		want       time.Time // zero: invalid
	}{
		{"RFC 9110 §5.6.7: IMF-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", want},
		{"RFC 9110 §5.6.7: rfc850-date", "Sunday, 06-Nov-94 08:49:37 GMT", want},
		{"RFC 9110 §5.6.7: asctime-date", "Sun Nov  6 08:49:37 1994", want},
		{"RFC 9111 §4.2: names in any case", "sUN, 06 nOV 1994 08:49:37 gmt", want},
		{"RFC 9110 §5.6.7: two digits, 50 years ahead is ahead", "Monday, 01-Jun-76 00:00:00 GMT", time.Date(2076, 6, 1, 0, 0, 0, 0, time.UTC)},
		{"RFC 9110 §5.6.7: two digits, more is past", "Monday, 01-Jun-76 00:00:01 GMT", time.Date(1976, 6, 1, 0, 0, 1, 0, time.UTC)},
		{"RFC 9110 §5.6.7: leap second", "Sat, 31 Dec 2016 23:59:60 GMT", time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"only GMT", "Sun, 06 Nov 1994 08:49:37 UTC", time.Time{}},
		{"only GMT", "Sunday, 06-Nov-94 08:49:37 EST", time.Time{}},
		{"no fractions", "Sun, 06 Nov 1994 08:49:37.5 GMT", time.Time{}},
		{"two digits a day", "Sun, 6 Nov 1994 08:49:37 GMT", time.Time{}},
		{"no such day", "Sun, 31 Apr 1994 08:49:37 GMT", time.Time{}},
		{"no such day", "Sun, 00 Nov 1994 08:49:37 GMT", time.Time{}},
		{"no such hour", "Sun, 06 Nov 1994 24:00:00 GMT", time.Time{}},
		{"no such month", "Sun, 06 Foo 1994 08:49:37 GMT", time.Time{}},
		{"no such weekday", "Xyz, 06 Nov 1994 08:49:37 GMT", time.Time{}},
		{"signs are no digits", "Sun, +6 Nov 1994 08:49:37 GMT", time.Time{}},
		{"Expires: 0", "0", time.Time{}},
		{"Expires: -1", "-1", time.Time{}},
		{"empty", "", time.Time{}},
	} {
		got, ok := ParseDate(tc.in, now)
		if !got.Equal(tc.want) || ok == tc.want.IsZero() {
			t.Errorf("%s: %q: got %v %v, want %v", tc.clause, tc.in, got, ok, tc.want)
		}
	}
}

func TestRFC850YearNearCenturyEnd(t *testing.T) {
	ref := time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)
	got, ok := ParseDate("Wednesday, 01-Jan-20 00:00:00 GMT", ref)
	if want := time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC); !ok || !got.Equal(want) {
		t.Errorf("got %v %v, want %v: 30 years ahead is not past", got, ok, want)
	}
}

func TestETagComparison(t *testing.T) {
	// The table of RFC 9110 §8.8.3.2.
	for _, tc := range []struct {
		a, b         ETag
		strong, weak bool
	}{
		{`W/"1"`, `W/"1"`, false, true},
		{`W/"1"`, `W/"2"`, false, false},
		{`W/"1"`, `"1"`, false, true},
		{`"1"`, `"1"`, true, true},
		{"", "", false, false},
	} {
		if got := tc.a.StrongMatch(tc.b); got != tc.strong {
			t.Errorf("%s, %s: strong comparison %v", tc.a, tc.b, got)
		}
		if got := tc.a.WeakMatch(tc.b); got != tc.weak {
			t.Errorf("%s, %s: weak comparison %v", tc.a, tc.b, got)
		}
	}
}

func TestParseETag(t *testing.T) {
	for in, ok := range map[string]bool{
		`"xyzzy"`: true, `W/"xyzzy"`: true, `""`: true, `"a\"`: true, "\"\xff\"": true, `"a,b"`: true,
		``: false, `xyzzy`: false, `w/"x"`: false, `"x`: false, `x"`: false, `"a b"`: false, `"a" `: false, `"a""b"`: false, `W/`: false, `W/x`: false,
	} {
		if tag, got := ParseETag(in); got != ok || got && string(tag) != in {
			t.Errorf("RFC 9110 §8.8.3: %q: got %q %v", in, tag, got)
		}
	}
}

func TestParseETags(t *testing.T) {
	for _, tc := range []struct {
		lines []string
		tags  []ETag
		any   bool
		ok    bool
	}{
		{[]string{`"xyzzy"`}, []ETag{`"xyzzy"`}, false, true},
		{[]string{`"a,b", W/"c"`, ` ,"d\"`}, []ETag{`"a,b"`, `W/"c"`, `"d\"`}, false, true},
		{[]string{" * "}, nil, true, true},
		{[]string{`*, "a"`}, nil, false, false},
		{[]string{"*", "*"}, nil, false, false},
		{[]string{`"a" "b"`}, nil, false, false},
		{[]string{`"a", b`}, nil, false, false},
		{[]string{""}, nil, false, false},
		{nil, nil, false, false},
	} {
		tags, any, ok := ParseETags(tc.lines)
		if !slices.Equal(tags, tc.tags) || any != tc.any || ok != tc.ok {
			t.Errorf("RFC 9110 §13.1.2: %q: got %q %v %v", tc.lines, tags, any, ok)
		}
	}
}

func TestRange(t *testing.T) {
	const n = 10000
	for _, tc := range []struct {
		clause, in string
		ok         bool
		want       []Range
	}{
		{"RFC 9110 §14.1.2: first 500", "bytes=0-499", true, []Range{{0, 500}}},
		{"RFC 9110 §14.1.2: second 500", "bytes=500-999", true, []Range{{500, 1000}}},
		{"RFC 9110 §14.1.2: final 500", "bytes=-500", true, []Range{{9500, n}}},
		{"RFC 9110 §14.1.2: open", "bytes=9500-", true, []Range{{9500, n}}},
		{"RFC 9110 §14.1.2: several, overlapping, in order", "bytes= 0-999, 4500-5499,, -1000,4000-4600", true,
			[]Range{{0, 1000}, {4500, 5500}, {9000, n}, {4000, 4601}}},
		{"RFC 9110 §14.1.2: last beyond the end", "bytes=9999-99999", true, []Range{{9999, n}}},
		{"RFC 9110 §14.1.2: suffix longer than all", "bytes=-99999", true, []Range{{0, n}}},
		{"RFC 9110 §14.1.2: suffix of none", "bytes=-0", true, nil},
		{"RFC 9110 §14.1.2: begins at the end", "bytes=10000-", true, nil},
		{"RFC 9110 §14.1.2: one of two is enough", "bytes=10000-,0-0", true, []Range{{0, 1}}},
		{"huge numbers do not wrap", "bytes=0-99999999999999999999999", true, []Range{{0, n}}},
		{"huge numbers do not wrap", "bytes=99999999999999999999999-", true, nil},
		{"huge numbers do not wrap", "bytes=-99999999999999999999999", true, []Range{{0, n}}},
		{"RFC 9110 §14.1: the unit in any case", "BYTES=0-0", true, []Range{{0, 1}}},
		{"RFC 9110 §14.1.1: last before first", "bytes=5-4", false, nil},
		{"RFC 9110 §14.1.1: one invalid spoils all", "bytes=0-1,5-4", false, nil},
		{"RFC 9110 §14.2: unknown unit", "lines=1-2", false, nil},
		{"RFC 9110 §14.2: not a byte-range", "bytes=a-b", false, nil},
		{"RFC 9110 §14.2: signs", "bytes=+1-2", false, nil},
		{"RFC 9110 §14.2: two dashes", "bytes=--1", false, nil},
		{"RFC 9110 §14.2: spaces inside", "bytes=1 - 2", false, nil},
		{"RFC 9110 §14.2: nothing asked", "bytes=", false, nil},
		{"RFC 9110 §14.2: nothing asked", "bytes=-", false, nil},
		{"RFC 9110 §14.2: no equals sign", "bytes 0-1", false, nil},
		{"empty", "", false, nil},
	} {
		set, ok := ParseRange(tc.in)
		if ok != tc.ok {
			t.Errorf("%s: %q: ok = %v", tc.clause, tc.in, ok)
			continue
		}
		if got := set.Resolve(n); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q: got %v, want %v", tc.clause, tc.in, got, tc.want)
		}
	}
}

func TestTooManyRangesAreIgnored(t *testing.T) {
	field := "bytes=0-0"
	for range MaxRanges - 1 {
		field += ",0-0"
	}
	if set, ok := ParseRange(field); !ok || len(set) != MaxRanges {
		t.Errorf("%d ranges refused", MaxRanges)
	}
	if _, ok := ParseRange(field + ",0-0"); ok {
		t.Errorf("RFC 9110 §17.15: %d ranges accepted", MaxRanges+1)
	}
}

func TestContentRange(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want ContentRange
		ok   bool
	}{
		{"bytes 42-1233/1234", ContentRange{Range{42, 1234}, 1234}, true},
		{"bytes 42-1233/*", ContentRange{Range{42, 1234}, -1}, true},
		{"bytes */1234", ContentRange{Range{}, 1234}, true},
		{"BYTES 0-0/1", ContentRange{Range{0, 1}, 1}, true},
		{"bytes */*", ContentRange{}, false},
		{"bytes 5-4/10", ContentRange{}, false},
		{"bytes 0-10/10", ContentRange{}, false},
		{"bytes 0-/10", ContentRange{}, false},
		{"bytes -5/10", ContentRange{}, false},
		{"bytes 0-5", ContentRange{}, false},
		{"bytes=0-5/10", ContentRange{}, false},
		{"bytes  0-5/10", ContentRange{}, false},
		{"bytes 0-99999999999999999999/*", ContentRange{}, false},
		{"bytes 0-5/99999999999999999999", ContentRange{}, false},
		{"items 0-5/10", ContentRange{}, false},
		{"", ContentRange{}, false},
	} {
		got, ok := ParseContentRange(tc.in)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("RFC 9110 §14.4: %q: got %+v %v, want %+v %v", tc.in, got, ok, tc.want, tc.ok)
		}
	}
}

func TestParseIntSaturates(t *testing.T) {
	for in, want := range map[string]int64{"9223372036854775807": math.MaxInt64, "9223372036854775808": math.MaxInt64, "922337203685477580799": math.MaxInt64, "0": 0} {
		if got, ok := parseInt(in); !ok || got != want {
			t.Errorf("%s: got %d %v", in, got, ok)
		}
	}
}

func TestListKeepsEveryMember(t *testing.T) {
	var got []string
	for l := (list{rest: ` a ,"b,c" , "d\",e",,"f,g`}); ; {
		m, ok := l.next()
		if !ok {
			break
		}
		got = append(got, m)
	}
	if want := []string{"a", `"b,c"`, `"d\",e"`, `"f`, "g"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
