package policy

import (
	"testing"
	"time"
)

// RFC 9111 §4.3, validation: §4.3.3 handling a validation response, §4.3.4
// freshening by a 304, §4.3.5 by a HEAD.

func TestAnswered(t *testing.T) {
	const late = 90 * time.Second
	lax := &Caching{UseStale: Status503 | Status403}
	answer := func(status int, fields ...string) Stored { return with(stored(fields...), status) }
	for _, tc := range []struct {
		clause string
		c      *Caching
		stored Stored
		answer Stored
		want   Answer
	}{
		{"§4.3.3: 304", std, minute(), answer(304, "Etag", `"x"`), Freshen},
		{"§4.3.4: 304 about something else", std, minute(), answer(304, "Etag", `"y"`), AskAgain},
		{"§4.3.3: a full response", std, minute(), answer(200, "Etag", `"y"`), TakeAnswer},
		{"§4.3.3: a full response is taken whatever it is", std, minute(), answer(404), TakeAnswer},
		{"§4.3.3: a full response is taken whatever it is", std, minute(), answer(302), TakeAnswer},
		{"§4.3.3: 5xx, forwarded", std, minute(), answer(503), TakeAnswer},
		{"§4.3.3: 5xx, as if the server failed to respond", std, minute("Cache-Control", "stale-if-error=60"), answer(503), TakeStale},
		{"§4.3.3: 5xx, must-revalidate", std, minute("Cache-Control", "stale-if-error=60, must-revalidate"), answer(503), TakeAnswer},
		{"§4.3.3: 5xx, by permission of the operator", lax, minute(), answer(503), TakeStale},
		{"§4.3.3: by permission of the operator", lax, minute(), answer(403), TakeStale},
		{"RFC 5861 §4: 501 is no such error", std, minute("Cache-Control", "stale-if-error=60"), answer(501), TakeAnswer},
	} {
		now := t0.Add(late)
		if got := tc.c.Answered(tc.c.Decide(get(), &tc.stored, now), get(), &tc.stored, tc.answer, now); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.clause, got, tc.want)
		}
	}
	mine, novalidator := get("If-None-Match", `"mine"`), stored("Cache-Control", "max-age=60")
	for _, s := range []*Stored{nil, &novalidator} {
		v := std.Decide(mine, s, t0.Add(late))
		if got := std.Answered(v, mine, s, answer(304, "Etag", `"mine"`), t0.Add(late)); got != TakeAnswer {
			t.Errorf("§4.3.2: the 304 to the client's own condition: got %v", got)
		}
	}
}

func TestSupersedes(t *testing.T) {
	for status, want := range map[int]bool{200: true, 204: true, 302: true, 404: true, 410: true,
		304: false, 100: false, 401: false, 403: false, 429: false, 500: false, 503: false} {
		if got := Supersedes(status); got != want {
			t.Errorf("%d: %v", status, got)
		}
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
		if got := std.Confirms(stored(tc.old...), header(tc.h...)); got != tc.confirms {
			t.Errorf("§4.3.4: %s: got %v", tc.clause, got)
		}
	}
	if c := (&Caching{Ignore: IgnoreVary}); !c.Confirms(minute(), header("Etag", `"x"`, "Vary", "Accept")) {
		t.Error("operator: Vary has no say")
	}
}

func TestHead(t *testing.T) {
	hour, day := at(-time.Hour), at(-24*time.Hour)
	head := withMethod(get(), "HEAD")
	tagged := []string{"Etag", `"x"`, "Last-Modified", hour}
	for _, tc := range []struct {
		clause string
		req    Request
		old    []string
		status int
		h      []string
		want   Heads
	}{
		{"§4.3.5: all agrees", head, tagged, 200, []string{"Etag", `"x"`, "Last-Modified", hour, "Content-Length", "9"}, HeadConfirms},
		{"§4.3.5: what is received agrees", head, tagged, 200, []string{"Last-Modified", hour}, HeadConfirms},
		{"§4.3.5: another tag", head, tagged, 200, []string{"Etag", `"y"`, "Last-Modified", hour}, HeadOutdates},
		{"§4.3.5: a weak tag for a strong one", head, tagged, 200, []string{"Etag", `W/"x"`}, HeadOutdates},
		{"§4.3.5: the same weak tag", head, []string{"Etag", `W/"x"`}, 200, []string{"Etag", `W/"x"`}, HeadConfirms},
		{"§4.3.5: a tag that was not there", head, []string{"Last-Modified", hour}, 200, []string{"Etag", `"x"`, "Last-Modified", hour}, HeadOutdates},
		{"§4.3.5: another date", head, tagged, 200, []string{"Etag", `"x"`, "Last-Modified", day}, HeadOutdates},
		{"§4.3.5: another length", head, tagged, 200, []string{"Etag", `"x"`, "Content-Length", "10"}, HeadOutdates},
		{"§4.3.5: no length that can be read", head, tagged, 200, []string{"Etag", `"x"`, "Content-Length", "x"}, HeadOutdates},
		{"another coding has other bytes", head, tagged, 200, []string{"Etag", `"x"`, "Content-Encoding", "gzip"}, HeadOutdates},
		{"none of the validators we know is no confirmation", head, tagged, 200, []string{"Content-Length", "9"}, HeadOutdates},
		{"§4.3.5: no validators at all", head, nil, 200, []string{"Cache-Control", "max-age=60"}, HeadConfirms},
		{"§4.1: other selecting fields", head, tagged, 200, []string{"Etag", `"x"`, "Vary", "Accept"}, HeadOutdates},
		{"§4.3.5: only a 200", head, tagged, 404, []string{"Etag", `"y"`}, HeadTellsNothing},
		{"§4.3.5: only a 200", head, tagged, 410, []string{"Etag", `"y"`}, HeadTellsNothing},
		{"§4.3.5: only a HEAD", get(), tagged, 200, []string{"Etag", `"y"`}, HeadTellsNothing},
	} {
		if got := std.Head(tc.req, stored(tc.old...), 9, with(stored(tc.h...), tc.status)); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.clause, got, tc.want)
		}
	}
	other := minute("Vary", "Accept")
	if got := std.Head(withMethod(get("Accept", "b"), "HEAD"), other, 9, stored("Etag", `"y"`)); got != HeadTellsNothing {
		t.Errorf("§4.3.5: it could not have been chosen: got %v", got)
	}
}

// RFC 9111 §4.3.5: the header of a HEAD updates what is stored.
func TestFreshenedByHead(t *testing.T) {
	later := t0.Add(time.Hour)
	got := std.Freshened(minute("Content-Length", "9"), by(header("Content-Length", "9", "Etag", `"x"`, "Cache-Control", "max-age=1000", "Template", "2"), later, later))
	equalHeader(t, "§4.3.5", got.Header, map[string]string{"Template": "2", "Cache-Control": "max-age=1000", "Content-Length": "9"})
	if v := std.Decide(get(), &got, later.Add(999*time.Second)); v.Action != Serve {
		t.Errorf("§4.3.5: not fresh again: %+v", v)
	}
}
