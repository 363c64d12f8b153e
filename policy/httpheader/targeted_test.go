package httpheader

import (
	"strings"
	"testing"
)

func TestTargeted(t *testing.T) {
	var many []string
	for i := range maxFields + 1 {
		many = append(many, "a"+strings.Repeat("b", i))
	}
	for _, tc := range []struct {
		clause string
		lines  []string
		want   CacheControl
		ok     bool
	}{
		{"RFC 9213 §2.1: a dictionary", []string{"max-age=60, no-store"}, CacheControl{MaxAge: secs(60), NoStore: true}, true},
		{"RFC 9213 §2.1: on several lines", []string{"max-age=60", "no-store"}, CacheControl{MaxAge: secs(60), NoStore: true}, true},
		{"RFC 9213 §2.1: parameters mean nothing", []string{"max-age=60;a;b=1, public;x"}, CacheControl{MaxAge: secs(60), Public: true}, true},
		{"RFC 9213 §2.1: no field", nil, CacheControl{}, false},
		{"RFC 9213 §2.1: empty is as if it were not there", []string{""}, CacheControl{}, false},
		{"RFC 9213 §2.1: empty is as if it were not there", []string{"  "}, CacheControl{}, false},
		{"RFC 9213 §3.1: a value that says nothing is a value", []string{"none"}, CacheControl{}, true},
		{"RFC 9213 §2.1: an error anywhere", []string{"max-age=10000, &&&&&"}, CacheControl{}, false},
		{"RFC 9213 §2.1: an error on another line", []string{"max-age=10000", "&"}, CacheControl{}, false},
		{"RFC 9651 §4.2.2: a comma at the end", []string{"max-age=60,"}, CacheControl{}, false},
		{"RFC 9651 §4.2.2: a comma at the front", []string{", max-age=60"}, CacheControl{}, false},
		{"RFC 9651 §4.2.2: no comma", []string{"max-age=60 no-store"}, CacheControl{}, false},
		{"RFC 9651 §4.2.2: keys are in lower case", []string{"Max-Age=60"}, CacheControl{}, false},
		{"RFC 9651 §4.2.2: no space around =", []string{"max-age =60"}, CacheControl{}, false},
		{"RFC 9651 §4.2.2: no space around =", []string{"max-age= 60"}, CacheControl{}, false},
		{"RFC 9651 §4.2.2: the last of two", []string{"max-age=60, max-age=5"}, CacheControl{MaxAge: secs(5)}, true},
		{"RFC 9651 §4.2.2: the last of two", []string{"no-store, no-store=?0"}, CacheControl{}, true},
		{"RFC 9651 §3.3.6: true, spelled out", []string{"no-store=?1"}, CacheControl{NoStore: true}, true},
		{"RFC 9213 §2.1: a String is no Integer", []string{`max-age="60"`}, CacheControl{MaxAge: badDelta}, true},
		{"RFC 9213 §2.1: nor is a Decimal", []string{"max-age=60.0"}, CacheControl{MaxAge: badDelta}, true},
		{"RFC 9213 §2.1: nor a Token", []string{"max-age=a60"}, CacheControl{MaxAge: badDelta}, true},
		{"RFC 9213 §2.1: nor an Inner List", []string{"max-age=(60)"}, CacheControl{MaxAge: badDelta, Malformed: true}, true},
		{"RFC 9213 §2.1: nor a Boolean", []string{"max-age"}, CacheControl{MaxAge: badDelta}, true},
		{"RFC 9111 §4.2.1: negative", []string{"max-age=-1"}, CacheControl{MaxAge: badDelta}, true},
		{"RFC 9111 §1.2.2: too large is 2^31", []string{"max-age=99999999999"}, CacheControl{MaxAge: secs(1 << 31)}, true},
		{"RFC 9651 §3.3.1: at most 15 digits", []string{"max-age=9999999999999999"}, CacheControl{}, false},
		{"RFC 9213 §2.1: no-cache takes a String", []string{`no-cache="a, b"`}, CacheControl{NoCacheFields: "a, b"}, true},
		{"RFC 9213 §2.1: private too", []string{`private="a"`}, CacheControl{PrivateFields: "a"}, true},
		{"RFC 9213 §2.1: no-cache takes no Token", []string{"no-cache=a"}, CacheControl{NoCache: true, Malformed: true}, true},
		{"RFC 9213 §2.1: no-cache of no field counts whole", []string{`no-cache=""`}, CacheControl{NoCache: true}, true},
		{"restrictions count with any value but false", []string{`no-store="x", must-revalidate=1`}, CacheControl{NoStore: true, MustRevalidate: true}, true},
		{"permissions do not", []string{`public="x"`}, CacheControl{}, true},
		{"RFC 9651 §3.3: values of extensions", []string{`a=*t/x:y, b="q\"\\", c=:aGk=:, d=?0, e=-1.5, f=@-5, g=%"f%c3%bc", h=(1 "x";y=2 :aGk=:);z, max-age=1`}, CacheControl{MaxAge: secs(1), Malformed: true}, true},
		{"RFC 9651 §4.2.5: escapes", []string{`a="\x"`}, CacheControl{}, false},
		{"RFC 9651 §4.2.7: Base64", []string{"a=:a:"}, CacheControl{}, false},
		{"RFC 9651 §4.2.10: upper case hex", []string{`a=%"%C3%BC"`}, CacheControl{}, false},
		{"RFC 9651 §4.2.10: not UTF-8", []string{`a=%"%c3"`}, CacheControl{}, false},
		{"RFC 9651 §4.2.4: 12 digits before the point", []string{"a=1234567890123.0"}, CacheControl{}, false},
		{"RFC 9651 §4.2.4: 3 digits after it", []string{"a=1.0000"}, CacheControl{}, false},
		{"RFC 9651 §4.2.4: at least one", []string{"a=1."}, CacheControl{}, false},
		{"RFC 9651 §4.2.1.2: spaces separate", []string{`a=("x""y")`}, CacheControl{}, false},
		{"RFC 9651 §4.2.1.2: an end", []string{"a=(1 2"}, CacheControl{}, false},
		{"too many members", []string{strings.Join(many, ",")}, CacheControl{}, false},
	} {
		if got, ok := ParseTargeted(tc.lines); ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: %.60q:\n got %+v %v\nwant %+v %v", tc.clause, tc.lines, got, ok, tc.want, tc.ok)
		}
	}
}

func TestFieldList(t *testing.T) {
	var got []string
	for name := range FieldList(" set-cookie,X-Foo,, a").All() {
		got = append(got, name)
	}
	if want := "Set-Cookie X-Foo A"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTargetedAllocatesNothing(t *testing.T) {
	lines := []string{`max-age=600, stale-while-revalidate=60, no-cache="a"`}
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := ParseTargeted(lines); !ok {
			t.Fatal("not read")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
