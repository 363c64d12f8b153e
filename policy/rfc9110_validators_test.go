package policy

import (
	"testing"
	"time"
)

// RFC 9110 §8.8, validators.

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
			t.Errorf("%s: got %q, want %q", tc.clause, got, tc.want)
		}
		if got := StrongValidator(stored(tc.fields...).Header, time.Time{}); got != tc.want {
			t.Errorf("%s, by its own Date: got %q, want %q", tc.clause, got, tc.want)
		}
	}
	if got := StrongValidator(header("Last-Modified", hourAgo), time.Time{}); got != "" {
		t.Errorf("§8.8.2.2: without any Date: got %q", got)
	}
	if got := StrongValidator(header("Last-Modified", hourAgo, "Date", "Monday, 01-Jun-26 12:00:00 GMT"), time.Time{}); got != "" {
		t.Errorf("a two-digit year without reference is no proof: got %q", got)
	}
}
