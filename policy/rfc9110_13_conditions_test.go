package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"shatabdi/policy/httpheader"
)

// RFC 9110 §13, conditional requests, and §14, range requests.

func TestConditions(t *testing.T) {
	lm := at(-time.Hour)
	both := stored("Etag", `"x"`, "Last-Modified", lm)
	weak := stored("Etag", `W/"x"`)
	dateOnly := stored("Cache-Control", "max-age=60")
	for _, tc := range []struct {
		clause string
		s      Stored
		fields []string
		want   int // status; 0: ask the origin
	}{
		{"no condition", both, nil, 200},
		{"§13.1.2: the same tag", both, []string{"If-None-Match", `"x"`}, 304},
		{"§13.1.2: another", both, []string{"If-None-Match", `"y"`}, 200},
		{"§13.1.2: the first of three", both, []string{"If-None-Match", `"x", "1", "2"`}, 304},
		{"§13.1.2: the second", both, []string{"If-None-Match", `"1", "x", "2"`}, 304},
		{"§13.1.2: the last, on another line", both, []string{"If-None-Match", `"1"`, "If-None-Match", `"x"`}, 304},
		{"§13.1.2: any", both, []string{"If-None-Match", "*"}, 304},
		{"§13.1.2: any, of what has no tag", dateOnly, []string{"If-None-Match", "*"}, 304},
		{"§13.1.2: weak comparison", weak, []string{"If-None-Match", `"x"`}, 304},
		{"§13.1.2: weak comparison", both, []string{"If-None-Match", `W/"x"`}, 304},
		{"§13.1.2: bytes beyond ASCII", stored("Etag", "\"\xfc\""), []string{"If-None-Match", "\"\xfc\""}, 304},
		{"§8.8.3: no quotes, no tag", both, []string{"If-None-Match", "x"}, 200},
		{"§8.8.3: no quotes, no tag", stored("Etag", "x"), []string{"If-None-Match", `"x"`}, 200},
		{"§8.8.3: a lower-case w", stored("Etag", `w/"x"`), []string{"If-None-Match", `w/"x"`}, 200},
		{"§8.8.3: the comma in a tag", stored("Etag", `"a,b"`), []string{"If-None-Match", `"a,b"`}, 304},

		{"§13.1.3: the same date", both, []string{"If-Modified-Since", lm}, 304},
		{"§13.1.3: a later one", both, []string{"If-Modified-Since", at(-time.Minute)}, 304},
		{"§13.1.3: an earlier one", both, []string{"If-Modified-Since", at(-2 * time.Hour)}, 200},
		{"§13.1.3: in an obsolete form", both, []string{"If-Modified-Since", "Monday, 01-Jun-26 11:00:00 GMT"}, 304},
		{"§13.1.3: not a date", both, []string{"If-Modified-Since", "yesterday"}, 200},
		{"§13.1.3: two", both, []string{"If-Modified-Since", at(0), "If-Modified-Since", at(1e9)}, 200},
		{"RFC 9111 §4.3.2: against Date where there is no Last-Modified", dateOnly, []string{"If-Modified-Since", at(0)}, 304},
		{"RFC 9111 §4.3.2: against Date where there is no Last-Modified", dateOnly, []string{"If-Modified-Since", at(-time.Second)}, 200},
		{"RFC 9111 §4.3.2: against the time of arrival where there is no Date", stored("Date", ""), []string{"If-Modified-Since", at(0)}, 304},
		{"RFC 9111 §4.3.2: not where Last-Modified cannot be read", stored("Last-Modified", "x"), []string{"If-Modified-Since", at(0)}, 200},
		{"§13.2.2: the tag before the date", both, []string{"If-None-Match", `"y"`, "If-Modified-Since", lm}, 200},
		{"§13.2.2: the tag before the date", both, []string{"If-None-Match", `"x"`, "If-Modified-Since", at(-2 * time.Hour)}, 304},
		{"§13.2.2: an unreadable tag does not open the way to the date", both, []string{"If-None-Match", "x", "If-Modified-Since", lm}, 200},

		{"§13.1.1: If-Match holds", both, []string{"If-Match", `"x"`}, 200},
		{"§13.1.1: If-Match holds for any", both, []string{"If-Match", "*"}, 200},
		{"RFC 9111 §4.3.2: If-Match does not: the origin knows", both, []string{"If-Match", `"y"`}, 0},
		{"§13.1.1: strong comparison", weak, []string{"If-Match", `W/"x"`}, 0},
		{"§13.1.1: malformed", both, []string{"If-Match", "x"}, 0},
		{"§13.1.4: If-Unmodified-Since holds", both, []string{"If-Unmodified-Since", lm}, 200},
		{"§13.1.4: does not", both, []string{"If-Unmodified-Since", at(-2 * time.Hour)}, 0},
		{"§13.1.4: of what has no date", weak, []string{"If-Unmodified-Since", lm}, 0},
		{"§13.2.2: If-Match before If-Unmodified-Since", both, []string{"If-Match", `"x"`, "If-Unmodified-Since", at(-2 * time.Hour)}, 200},
		{"§13.2.2: If-Match, then If-None-Match", both, []string{"If-Match", `"x"`, "If-None-Match", `"x"`}, 304},

		{"§13.2.1: an error has no conditions", with(both, 404), []string{"If-None-Match", `"x"`}, 404},
		{"§13.2.1: nor has a redirect", with(both, 301), []string{"If-Match", `"y"`}, 301},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if got := Respond(withMethod(get(tc.fields...), method), &tc.s, 100); got.Status != tc.want || len(got.Ranges) > 0 {
				t.Errorf("%s: %s: got %+v, want %d", tc.clause, method, got, tc.want)
			}
		}
	}
}

func TestRanges(t *testing.T) {
	type r = httpheader.Range
	lm := at(-time.Hour)
	s := stored("Etag", `"x"`, "Last-Modified", lm)
	weak := stored("Etag", `W/"x"`, "Last-Modified", at(-time.Second))
	many := "bytes=0-0"
	for i := range httpheader.MaxRanges {
		many += fmt.Sprintf(",%d-%d", i, i)
	}
	for _, tc := range []struct {
		clause string
		s      Stored
		fields []string
		status int
		ranges []r
	}{
		{"§14.2: one", s, []string{"Range", "bytes=0-1"}, 206, []r{{From: 0, To: 2}}},
		{"§14.2: without an end", s, []string{"Range", "bytes=90-"}, 206, []r{{From: 90, To: 100}}},
		{"§14.2: a suffix", s, []string{"Range", "bytes=-1"}, 206, []r{{From: 99, To: 100}}},
		{"§14.2: more than there is", s, []string{"Range", "bytes=-1000"}, 206, []r{{From: 0, To: 100}}},
		{"§14.2: several, in their order", s, []string{"Range", "bytes=50-59, 0-1"}, 206, []r{{From: 50, To: 60}, {From: 0, To: 2}}},
		{"§14.2: the satisfiable ones", s, []string{"Range", "bytes=500-, 0-1"}, 206, []r{{From: 0, To: 2}}},
		{"§15.5.17: none", s, []string{"Range", "bytes=100-"}, 416, nil},
		{"§14.1.2: a suffix of nothing", s, []string{"Range", "bytes=-0"}, 416, nil},
		{"§14.2: overlapping, more than the whole", s, []string{"Range", "bytes=0-99,0-99"}, 200, nil},
		{"§14.2: overlapping, less than the whole", s, []string{"Range", "bytes=0-9,5-14"}, 206, []r{{From: 0, To: 10}, {From: 5, To: 15}}},
		{"§17.15: too many", s, []string{"Range", many}, 200, nil},
		{"§14.2: another unit", s, []string{"Range", "lines=0-1"}, 200, nil},
		{"§14.1.1: invalid", s, []string{"Range", "bytes=2-1"}, 200, nil},
		{"§5.3: two lines", s, []string{"Range", "bytes=0-1", "Range", "bytes=5-6"}, 200, nil},

		{"§13.1.5: If-Range, the tag", s, []string{"Range", "bytes=0-1", "If-Range", `"x"`}, 206, []r{{From: 0, To: 2}}},
		{"§13.1.5: another tag", s, []string{"Range", "bytes=0-1", "If-Range", `"y"`}, 200, nil},
		{"§13.1.5: strong comparison", weak, []string{"Range", "bytes=0-1", "If-Range", `W/"x"`}, 200, nil},
		{"§13.1.5: strong comparison", weak, []string{"Range", "bytes=0-1", "If-Range", `"x"`}, 200, nil},
		{"§13.1.5: the date", s, []string{"Range", "bytes=0-1", "If-Range", lm}, 206, []r{{From: 0, To: 2}}},
		{"§13.1.5: a later date is another one", s, []string{"Range", "bytes=0-1", "If-Range", at(0)}, 200, nil},
		{"§13.1.5: a weak date", weak, []string{"Range", "bytes=0-1", "If-Range", at(-time.Second)}, 200, nil},
		{"§13.1.5: two", s, []string{"Range", "bytes=0-1", "If-Range", `"x"`, "If-Range", `"y"`}, 200, nil},
		{"§13.1.5: unreadable", s, []string{"Range", "bytes=0-1", "If-Range", "x"}, 200, nil},
		{"§13.1.5: does not open the way to 416", s, []string{"Range", "bytes=500-", "If-Range", `"y"`}, 200, nil},
		{"§13.2.2: not modified, whatever the range", s, []string{"Range", "bytes=0-1", "If-None-Match", `"x"`}, 304, nil},
		{"§13.2.2: modified, and then the range", s, []string{"Range", "bytes=0-1", "If-None-Match", `"y"`}, 206, []r{{From: 0, To: 2}}},
		{"§14.2: of a 200 only", with(s, 404), []string{"Range", "bytes=0-1"}, 404, nil},
	} {
		got := Respond(get(tc.fields...), &tc.s, 100)
		if got.Status != tc.status || !slices.Equal(got.Ranges, tc.ranges) {
			t.Errorf("%s: got %+v, want %d %v", tc.clause, got, tc.status, tc.ranges)
		}
	}
	if got := Respond(withMethod(get("Range", "bytes=0-1"), "HEAD"), &s, 100); got.Status != 200 {
		t.Errorf("§14.2: Range is for GET: got %+v", got)
	}
	if got := Respond(get("Range", "bytes=0-1"), &s, 0); got.Status != 200 {
		t.Errorf("§14.1.2: nothing can be satisfied by nothing: got %+v", got)
	}
}
