package policy

import (
	"net/http"
	"testing"
	"time"

	"shatabdi/policy/httpheader"
)

// t0 is the moment when the responses of these tests arrive.
var t0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// stored is a 200 that arrived at t0, with a Date of t0 unless told otherwise.
func stored(fields ...string) Stored {
	h := header(fields...)
	if _, ok := h["Date"]; !ok {
		h.Set("Date", httpheader.FormatDate(t0))
	}
	return Stored{Status: 200, Header: h, RequestTime: t0, ResponseTime: t0}
}

// header makes a header of names and values, one after the other; a Date of ""
// means none.
func header(fields ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	if h.Get("Date") == "" && len(h["Date"]) > 0 {
		h["Date"] = nil
	}
	return h
}

func at(d time.Duration) string { return httpheader.FormatDate(t0.Add(d)) }

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
		{"§5.1: the first Age of a list", stored("Age", "30, 999"), 0, 0, 30 * time.Second},
		{"RFC 9110 §6.6.1: no Date is the time of arrival", stored("Date", ""), 0, time.Minute, time.Minute},
		{"a clock that went back makes nothing younger", stored("Age", "30"), 0, -time.Hour, 30 * time.Second},
		{"§1.2.2: a huge Age saturates", stored("Age", "99999999999999999999"), 0, 0, httpheader.MaxDelta},
		{"an ancient Date saturates", stored("Date", "Mon, 01 Jan 0001 00:00:00 GMT", "Age", "2147483648"), 0, time.Hour, 1<<63 - 1},
	} {
		tc.s.RequestTime = t0.Add(tc.sent)
		if got := CurrentAge(tc.s, t0.Add(tc.now)); got != tc.want {
			t.Errorf("RFC 9111 %s: got %v, want %v", tc.clause, got, tc.want)
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
		{"§4.2.1: max-age before Expires", stored("Cache-Control", "max-age=60", "Expires", at(time.Hour)), time.Minute, true},
		{"§4.2.1: Expires less Date", stored("Expires", at(time.Hour), "Date", at(-time.Minute)), 61 * time.Minute, true},
		{"§4.2.1: Expires without Date", stored("Expires", at(time.Hour), "Date", ""), time.Hour, true},
		{"§5.3: Expires in the past", stored("Expires", at(-time.Hour)), 0, true},
		{"§5.3: Expires: 0", stored("Expires", "0"), 0, true},
		{"§4.2.1: two Expires that differ", stored("Expires", at(time.Hour), "Expires", at(2*time.Hour)), 0, true},
		{"§4.2.1: two that agree", stored("Expires", at(time.Hour), "Expires", at(time.Hour)), time.Hour, true},
		{"§4.2.1: invalid s-maxage is stale, whatever else", stored("Cache-Control", "s-maxage=x, max-age=60"), 0, true},
		{"§4.2.1: max-age twice", stored("Cache-Control", "max-age=60", "Cache-Control", "max-age=61"), 0, true},
		{"§4.2.1: negative", stored("Cache-Control", "max-age=-1"), 0, true},
		{"§4.2.2: a tenth", stored("Last-Modified", at(-10*time.Hour)), time.Hour, false},
		{"§4.2.2: at most a day", stored("Last-Modified", at(-1000*day)), day, false},
		{"§4.2.2: not with an explicit time", stored("Last-Modified", at(-1000*day), "Expires", "0"), 0, true},
		{"§4.2.2: modified after Date", stored("Last-Modified", at(time.Hour)), 0, false},
		{"§4.2.2: not by an entity tag alone", stored("Etag", `"x"`), 0, false},
		{"§4.2.2: not a date", stored("Last-Modified", "yesterday"), 0, false},
		{"§5.4: Pragma of an old server", stored("Last-Modified", at(-1000*day), "Pragma", "no-cache"), 0, false},
		{"nothing", stored(), 0, false},
	} {
		got, explicit := FreshnessLifetime(tc.s)
		if got != tc.want || explicit != tc.explicit {
			t.Errorf("RFC 9111 %s: got %v, %v; want %v, %v", tc.clause, got, explicit, tc.want, tc.explicit)
		}
	}
}
