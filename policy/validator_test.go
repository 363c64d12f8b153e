package policy

import (
	"testing"
	"time"
)

func TestStrongValidator(t *testing.T) {
	hourAgo := at(-time.Hour)
	for _, tc := range []struct {
		clause string
		fields []string
		want   string
	}{
		{"§8.8.3: strong tag", []string{"Etag", `"x"`}, `"x"`},
		{"§8.8.3: the tag before the date", []string{"Etag", `"x"`, "Last-Modified", hourAgo}, `"x"`},
		{"§8.8.3: weak tag", []string{"Etag", `W/"x"`}, ""},
		{"§13.1.5: no date where there is a tag", []string{"Etag", `W/"x"`, "Last-Modified", hourAgo}, ""},
		{"§8.8.3: malformed", []string{"Etag", "x"}, ""},
		{"§8.8.3: two", []string{"Etag", `"x"`, "Etag", `"y"`}, ""},
		{"§8.8.2.2: old enough", []string{"Last-Modified", hourAgo}, hourAgo},
		{"§8.8.2.2: a minute", []string{"Last-Modified", at(-time.Minute)}, at(-time.Minute)},
		{"§8.8.2.2: less", []string{"Last-Modified", at(-59 * time.Second)}, ""},
		{"§8.8.2.2: in the future", []string{"Last-Modified", at(time.Hour)}, ""},
		{"§5.6.7: not a date", []string{"Last-Modified", "yesterday"}, ""},
		{"none", nil, ""},
	} {
		if got := StrongValidator(header(tc.fields...), t0); got != tc.want {
			t.Errorf("RFC 9110 %s: got %q, want %q", tc.clause, got, tc.want)
		}
		if got := StrongValidator(stored(tc.fields...).Header, time.Time{}); got != tc.want {
			t.Errorf("RFC 9110 %s, by its own Date: got %q, want %q", tc.clause, got, tc.want)
		}
	}
	if got := StrongValidator(header("Last-Modified", hourAgo), time.Time{}); got != "" {
		t.Errorf("RFC 9110 §8.8.2.2: without any Date: got %q", got)
	}
	if got := StrongValidator(header("Last-Modified", hourAgo, "Date", "Monday, 01-Jun-26 12:00:00 GMT"), time.Time{}); got != "" {
		t.Errorf("a two-digit year without reference is no proof: got %q", got)
	}
}

func TestConfirms(t *testing.T) {
	hour, day := at(-time.Hour), at(-24*time.Hour)
	for _, tc := range []struct {
		clause   string
		old, h   []string
		confirms bool
	}{
		{"same strong tag", []string{"Etag", `"x"`}, []string{"Etag", `"x"`}, true},
		{"another strong tag", []string{"Etag", `"x"`}, []string{"Etag", `"y"`}, false},
		{"a strong tag for a weak one", []string{"Etag", `W/"x"`}, []string{"Etag", `"x"`}, false},
		{"weak comparison", []string{"Etag", `"x"`}, []string{"Etag", `W/"x"`}, true},
		{"malformed tag", []string{"Etag", `"x"`}, []string{"Etag", "x"}, false},
		{"the tag decides, not the date", []string{"Etag", `"x"`, "Last-Modified", hour}, []string{"Etag", `"x"`, "Last-Modified", day}, true},
		{"same date", []string{"Last-Modified", hour}, []string{"Last-Modified", hour}, true},
		{"another date", []string{"Last-Modified", hour}, []string{"Last-Modified", day}, false},
		{"not a date", []string{"Last-Modified", hour}, []string{"Last-Modified", "x"}, false},
		{"two dates", []string{"Last-Modified", hour}, []string{"Last-Modified", hour, "Last-Modified", day}, false},
		{"no validator: one version was asked about", []string{"Etag", `"x"`}, nil, true},
		{"a tag where there was none", []string{"Last-Modified", hour}, []string{"Etag", `"x"`}, false},
		{"Vary unchanged", []string{"Etag", `"x"`, "Vary", "A, B"}, []string{"Etag", `"x"`, "Vary", "b", "Vary", "a"}, true},
		{"Vary left out", []string{"Etag", `"x"`, "Vary", "A, B"}, []string{"Etag", `"x"`}, true},
		{"Vary names more", []string{"Etag", `"x"`, "Vary", "A"}, []string{"Etag", `"x"`, "Vary", "A, B"}, false},
		{"Vary *", []string{"Etag", `"x"`}, []string{"Etag", `"x"`, "Vary", "*"}, false},
	} {
		if got := Confirms(stored(tc.old...), header(tc.h...)); got != tc.confirms {
			t.Errorf("RFC 9111 §4.3.4: %s: got %v", tc.clause, got)
		}
	}
}

func TestFreshened(t *testing.T) {
	old := stored("Cache-Control", "max-age=60", "Etag", `"x"`, "Age", "50", "Content-Length", "9", "Content-Type", "a/b",
		"X-Old", "kept", "Vary", "Accept")
	old.Selecting = header("Accept", "a")
	later := t0.Add(time.Hour)
	h304 := header("Cache-Control", "max-age=120", "Content-Length", "0", "Content-Type", "c/d", "Connection", "X-Hop",
		"X-Hop", "1", "Set-Cookie", "a=b", "X-New", "1", "Etag", `W/"x"`)
	got := Freshened(old, h304, later.Add(-time.Second), later)

	for name, want := range map[string]string{
		"Cache-Control":  "max-age=120", // §4.3.4: replaced
		"X-Old":          "kept",        // §3.2: what the 304 leaves out stays
		"X-New":          "1",
		"Content-Length": "9", // §3.2: belongs to the bytes
		"Content-Type":   "a/b",
		"Etag":           `"x"`,
		"Age":            "",                // told of the old exchange
		"Date":           at(time.Hour),     // RFC 9110 §6.6.1
		"X-Hop":          "",                // §3.1
		"Set-Cookie":     "",                // §3.1, §7.3
		"Vary":           "Accept",          // Selecting still fits
		"Connection":     "",                // §3.1
		"Last-Modified":  "", "Expires": "", // never there
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("RFC 9111 §3.2: %s: got %q, want %q", name, v, want)
		}
	}
	if age := CurrentAge(got, later); age != time.Second {
		t.Errorf("RFC 9111 §4.3.4: age %v, want the response delay of a second", age)
	}
	if v := Decide(get("Accept", "a"), &got, later.Add(118*time.Second)); v.Action != Serve {
		t.Errorf("RFC 9111 §4.3.4: not fresh again: %+v", v)
	}
	if old.Header.Get("Age") != "50" || old.Header.Get("Cache-Control") != "max-age=60" || !old.ResponseTime.Equal(t0) {
		t.Error("old changed")
	}
	if withdrawn := Freshened(old, header("Cache-Control", "no-store"), later, later); true {
		if ok, reason := Storable(get(), withdrawn, StoreOptions{}); ok || reason != NotNoStore {
			t.Errorf("a 304 can take the permission back: %v %q", ok, reason)
		}
	}
}
