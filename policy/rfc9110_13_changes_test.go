package policy_test

import (
	"net/http"
	"testing"

	"shatabdi/policy"
)

// What a request may demand of what it would change.
func TestMayChange(t *testing.T) {
	const there = `"a"`
	for _, tt := range []struct {
		clause string // of RFC 9110
		fields http.Header
		tag    string
		want   bool
	}{
		{"§9.3.4: PUT creates", nil, "", true},
		{"§9.3.4: PUT replaces", nil, there, true},
		{"§13.1.1: * wants a current representation", http.Header{"If-Match": {"*"}}, there, true},
		{"§13.1.1: * is false if there is none", http.Header{"If-Match": {"*"}}, "", false},
		{"§13.1.1: one of the list matches", http.Header{"If-Match": {`"b", "a"`}}, there, true},
		{"§13.1.1: several lines are one list", http.Header{"If-Match": {`"b"`, `"a"`}}, there, true},
		{"§13.1.1: none of the list matches", http.Header{"If-Match": {`"b"`}}, there, false},
		{"§13.1.1: a list matches nothing where nothing is", http.Header{"If-Match": {`"a"`}}, "", false},
		{"§13.1.1: weak tags never match", http.Header{"If-Match": {`W/"a"`}}, there, false},
		{"§13.1.1: what cannot be read does not hold", http.Header{"If-Match": {`a`}}, there, false},
		{"§13.1.2: * is true if there is none", http.Header{"If-None-Match": {"*"}}, "", true},
		{"§13.1.2: * is false if there is one", http.Header{"If-None-Match": {"*"}}, there, false},
		{"§13.1.2: none of the list matches", http.Header{"If-None-Match": {`"b"`}}, there, true},
		{"§13.1.2: one of the list matches, by weak comparison", http.Header{"If-None-Match": {`"b", W/"a"`}}, there, false},
		{"§13.1.2: a list matches nothing where nothing is", http.Header{"If-None-Match": {`"a"`}}, "", true},
		{"§13.1.2: what cannot be read does not hold", http.Header{"If-None-Match": {`a`}}, "", false},
		{"§13.1.3: If-Modified-Since is not for PUT", http.Header{"If-Modified-Since": {"Thu, 01 Jan 2060 00:00:00 GMT"}}, there, true},
		{"§13.1.4: without a date, If-Unmodified-Since does not count", http.Header{"If-Unmodified-Since": {"Thu, 01 Jan 1970 00:00:00 GMT"}}, there, true},
		{"§13.2.2: If-Match comes first, and If-None-Match counts too", http.Header{"If-Match": {"*"}, "If-None-Match": {"*"}}, there, false},
		{"§13.2.2: both hold", http.Header{"If-Match": {`"a"`}, "If-None-Match": {`"b"`}}, there, true},
	} {
		if got := policy.MayChange(tt.fields, tt.tag); got != tt.want {
			t.Errorf("%s: %t", tt.clause, got)
		}
	}
}
