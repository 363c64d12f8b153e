package policy

import (
	"testing"
	"time"

	"shatabdi/policy/httpheader"
)

// RFC 9111 §4.2, freshness, with the fields Age (§5.1), Expires (§5.3) and
// Pragma (§5.4).

func TestCurrentAge(t *testing.T) {
	for _, tc := range []struct {
		clause    string
		s         Stored
		sent, now time.Duration // of the request, of the question; from t0
		want      time.Duration
	}{
		{"§4.2.3: resident_time", stored(), 0, time.Minute, time.Minute},
		{"§4.2.3: apparent_age", stored("Date", at(-10*time.Second)), 0, time.Minute, 70 * time.Second},
		{"§4.2.3: a Date ahead of us is no age", stored("Date", at(time.Hour)), 0, time.Minute, time.Minute},
		{"§4.2.3: age_value", stored("Age", "30"), 0, time.Minute, 90 * time.Second},
		{"§4.2.3: response_delay", stored("Age", "30"), -5 * time.Second, time.Minute, 95 * time.Second},
		{"§4.2.3: the larger of the two", stored("Age", "30", "Date", at(-time.Minute)), -5 * time.Second, 0, time.Minute},
		{"§4.2.3: the larger of the two", stored("Age", "300", "Date", at(-time.Minute)), 0, 0, 300 * time.Second},
		{"§5.1: invalid Age is ignored", stored("Age", "-30"), 0, time.Minute, time.Minute},
		{"§5.1: invalid Age is ignored", stored("Age", "abc"), 0, time.Minute, time.Minute},
		{"§5.1: invalid Age is ignored", stored("Age", "7200.0"), 0, time.Minute, time.Minute},
		{"§5.1: the first Age of a list", stored("Age", "30, 999"), 0, 0, 30 * time.Second},
		{"§5.1: the first Age of several lines", stored("Age", "30", "Age", "999"), 0, 0, 30 * time.Second},
		{"RFC 9110 §6.6.1: no Date is the time of arrival", stored("Date", ""), 0, time.Minute, time.Minute},
		{"RFC 9110 §6.6.1: nor is an invalid one", stored("Date", "foo"), 0, time.Minute, time.Minute},
		{"a clock that went back makes nothing younger", stored("Age", "30"), 0, -time.Hour, 30 * time.Second},
		{"a request sent after its answer came has no delay", stored("Age", "30"), time.Hour, 0, 30 * time.Second},
		{"§1.2.2: a huge Age saturates", stored("Age", "99999999999999999999"), 0, 0, httpheader.MaxDelta},
		{"an ancient Date saturates", stored("Date", "Mon, 01 Jan 0001 00:00:00 GMT", "Age", "2147483648"), 0, time.Hour, 1<<63 - 1},
	} {
		tc.s.RequestTime = t0.Add(tc.sent)
		if got := CurrentAge(tc.s, t0.Add(tc.now)); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.clause, got, tc.want)
		}
	}
}

func TestFreshnessLifetime(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		clause   string
		s        Stored
		want     time.Duration
		explicit bool
	}{
		{"§4.2.1: max-age", stored("Cache-Control", "max-age=60"), time.Minute, true},
		{"§4.2.1: s-maxage before max-age", stored("Cache-Control", "max-age=60, s-maxage=10"), 10 * time.Second, true},
		{"§4.2.1: s-maxage before max-age, on another line", stored("Cache-Control", "max-age=60", "Cache-Control", "s-maxage=3600"), time.Hour, true},
		{"§4.2.1: max-age before Expires", stored("Cache-Control", "max-age=60", "Expires", at(time.Hour)), time.Minute, true},
		{"§4.2.1: max-age before an Expires of the past", stored("Cache-Control", "max-age=60", "Expires", at(-time.Hour)), time.Minute, true},
		{"§4.2.1: max-age=0 before Expires", stored("Cache-Control", "max-age=0", "Expires", at(time.Hour)), 0, true},
		{"§4.2.1: Expires less Date", stored("Expires", at(time.Hour), "Date", at(-time.Minute)), 61 * time.Minute, true},
		{"§4.2.1: Expires less Date, both fast", stored("Expires", at(300*time.Second), "Date", at(400*time.Second)), 0, true},
		{"§4.2.1: Expires without Date", stored("Expires", at(time.Hour), "Date", ""), time.Hour, true},
		{"§4.2.1: Expires with an invalid Date", stored("Expires", at(time.Hour), "Date", "foo"), time.Hour, true},
		{"§5.3: Expires in the past", stored("Expires", at(-time.Hour)), 0, true},
		{"§5.3: Expires now", stored("Expires", at(0)), 0, true},
		{"§5.3: Expires: 0", stored("Expires", "0"), 0, true},
		{"§5.3: Expires: -1", stored("Expires", "-1"), 0, true},
		{"§5.3: an empty Expires", stored("Expires", ""), 0, true},
		{"§4.2: names of days and months, and GMT, in any case", stored("Expires", "MON, 01 jun 2026 13:00:00 gmt"), time.Hour, true},
		{"§4.2: only GMT", stored("Expires", "Mon, 01 Jun 2026 13:00:00 UTC"), 0, true},
		{"RFC 9110 §5.6.7: two digits of the year", stored("Expires", "Mon, 01 Jun 26 13:00:00 GMT"), 0, true},
		{"RFC 9110 §5.6.7: no comma", stored("Expires", "Mon 01 Jun 2026 13:00:00 GMT"), 0, true},
		{"RFC 9110 §5.6.7: spaces", stored("Expires", "Mon, 01  Jun  2026 13:00:00 GMT"), 0, true},
		{"RFC 9110 §5.6.7: dashes", stored("Expires", "Mon, 01-Jun-2026 13:00:00 GMT"), 0, true},
		{"RFC 9110 §5.6.7: periods", stored("Expires", "Mon, 01 Jun 2026 13.00.00 GMT"), 0, true},
		{"RFC 9110 §5.6.7: one digit of the hour", stored("Expires", "Mon, 01 Jun 2026 1:00:00 GMT"), 0, true},
		{"RFC 9110 §5.6.7: the obsolete forms", stored("Expires", "Monday, 01-Jun-26 13:00:00 GMT"), time.Hour, true},
		{"RFC 9110 §5.6.7: the obsolete forms", stored("Expires", "Mon Jun  1 13:00:00 2026"), time.Hour, true},
		{"§4.2.1: two Expires that differ", stored("Expires", at(time.Hour), "Expires", at(2*time.Hour)), 0, true},
		{"§4.2.1: two that agree", stored("Expires", at(time.Hour), "Expires", at(time.Hour)), time.Hour, true},
		{"§4.2.1: invalid s-maxage is stale, whatever else", stored("Cache-Control", "s-maxage=x, max-age=60"), 0, true},
		{"§4.2.1: max-age twice", stored("Cache-Control", "max-age=60", "Cache-Control", "max-age=61"), 0, true},
		{"§4.2.1: negative", stored("Cache-Control", "max-age=-1"), 0, true},
		{"§4.2.1: not an integer", stored("Cache-Control", "max-age=3600.0"), 0, true},
		{"§4.2.1: in single quotes", stored("Cache-Control", "max-age='3600'"), 0, true},
		{"§4.2.1: letters", stored("Cache-Control", "max-age=3600a"), 0, true},
		{"§5.2: in quotes", stored("Cache-Control", `max-age="3600"`), time.Hour, true},
		{"§5.2: leading zeros", stored("Cache-Control", "max-age=003600"), time.Hour, true},
		{"§5.2: what is quoted is not said", stored("Cache-Control", `x="max-age=3600", max-age=60`), time.Minute, true},
		{"§1.2.2: 2^31", stored("Cache-Control", "max-age=2147483648"), httpheader.MaxDelta, true},
		{"§1.2.2: more", stored("Cache-Control", "max-age=99999999999"), httpheader.MaxDelta, true},
		{"§4.2.2: a tenth", stored("Last-Modified", at(-10*time.Hour)), time.Hour, false},
		{"§4.2.2: at most a day", stored("Last-Modified", at(-1000*day)), day, false},
		{"§4.2.2: not with an explicit time", stored("Last-Modified", at(-1000*day), "Expires", "0"), 0, true},
		{"§4.2.2: modified after Date", stored("Last-Modified", at(time.Hour)), 0, false},
		{"§4.2.2: not by an entity tag alone", stored("Etag", `"x"`), 0, false},
		{"§4.2.2: not a date", stored("Last-Modified", "yesterday"), 0, false},
		{"§4.2.2: of what is cacheable by default", with(stored("Last-Modified", at(-10*time.Hour)), 404), time.Hour, false},
		{"§4.2.2: of nothing else", with(stored("Last-Modified", at(-10*time.Hour)), 403), 0, false},
		{"§4.2.2: of nothing else", with(stored("Last-Modified", at(-10*time.Hour)), 599), 0, false},
		{"§4.2.2: unless it is marked", with(stored("Last-Modified", at(-10*time.Hour), "Cache-Control", "public"), 599), time.Hour, false},
		{"§5.4: Pragma of an old server", stored("Last-Modified", at(-1000*day), "Pragma", "no-cache"), 0, false},
		{"§5.4: Pragma beside Cache-Control", stored("Cache-Control", "max-age=60", "Pragma", "no-cache"), time.Minute, true},
		{"nothing", stored(), 0, false},
	} {
		got, explicit := std.FreshnessLifetime(tc.s)
		if got != tc.want || explicit != tc.explicit {
			t.Errorf("%s: got %v, %v; want %v, %v", tc.clause, got, explicit, tc.want, tc.explicit)
		}
	}
}

func TestFresh(t *testing.T) {
	const hour = time.Hour
	std.decides(t, []decision{
		{"§4.2.2: heuristic", get(), stored("Last-Modified", at(-10*hour)), 59 * time.Minute, Serve, ReasonFresh},
		{"§4.2.2: heuristic ends", get(), stored("Last-Modified", at(-10*hour)), hour, Revalidate, ReasonStale},
		{"§4.2.2: nothing explicit, an entity tag", get(), stored("Etag", `"x"`), 0, Revalidate, ReasonStale},
		{"§4.2.2: a query changes nothing", getURL(t, "http://o.test/a?b"), stored("Last-Modified", at(-10*hour)), 59 * time.Minute, Serve, ReasonFresh},
		{"§4.2.3: Age counts", get(), minute("Age", "61"), 0, Revalidate, ReasonStale},
		{"§4.2.3: Age counts against Expires, Date slow", get(), stored("Etag", `"x"`, "Date", at(-10*time.Second), "Expires", at(10*time.Second), "Age", "25"), 0, Revalidate, ReasonStale},
		{"§4.2.3: Age counts against Expires, Date fast", get(), stored("Etag", `"x"`, "Date", at(10*time.Second), "Expires", at(20*time.Second), "Age", "15"), 0, Revalidate, ReasonStale},
		{"§5.1: Age: 7200,0", get(), cc("max-age=3600", "Age", "7200,0"), 0, Revalidate, ReasonStale},
		{"§5.1: Age: 0,7200", get(), cc("max-age=3600", "Age", "0,7200"), 0, Serve, ReasonFresh},
		{"§1.2.2: fresh for ever", get(), cc("max-age=99999999999"), 60 * 365 * 24 * hour, Serve, ReasonFresh},
	})
}
