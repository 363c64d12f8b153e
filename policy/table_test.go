package policy

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"shatabdi/policy/httpheader"
)

// The tables of this package are named by the RFC and section that their rows
// are about, and each row names its clause.

// std is HTTP alone: no rule adds anything.
var std = &Caching{}

// t0 is the moment when the responses of these tests arrive.
var t0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) string { return httpheader.FormatDate(t0.Add(d)) }

// stored is a 200 that arrived at t0, with a Date of t0 unless told otherwise.
func stored(fields ...string) Stored {
	h := header(fields...)
	if _, ok := h["Date"]; !ok {
		h.Set("Date", httpheader.FormatDate(t0))
	}
	return Stored{Status: 200, Header: h, RequestTime: t0, ResponseTime: t0}
}

func with(s Stored, status int) Stored { s.Status = status; return s }

func invalid(s Stored) Stored { s.Invalid = true; return s }

// minute is fresh for a minute and has an entity tag, unless more says otherwise.
func minute(more ...string) Stored {
	return stored(append([]string{"Cache-Control", "max-age=60", "Etag", `"x"`}, more...)...)
}

// cc is a response with this Cache-Control and an entity tag.
func cc(directives string, more ...string) Stored {
	return stored(append([]string{"Cache-Control", directives, "Etag", `"x"`}, more...)...)
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

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func mustURL(t failer, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// get is a GET of http://origin.test/f.iso with these fields.
func get(fields ...string) Request {
	return Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "origin.test", Path: "/f.iso"}, Header: header(fields...)}
}

// ask is a GET with this Cache-Control.
func ask(directives string, more ...string) Request {
	return get(append([]string{"Cache-Control", directives}, more...)...)
}

func getURL(t failer, s string) Request {
	return Request{Method: "GET", URL: mustURL(t, s), Header: http.Header{}}
}

func withMethod(r Request, m string) Request { r.Method = m; return r }

func withContent(r Request) Request { r.HasBody = true; return r }

// decision is a row about Decide.
type decision struct {
	clause string
	req    Request
	stored Stored
	after  time.Duration // since it arrived
	action Action
	reason string
}

func (c *Caching) decides(t *testing.T, rows []decision) {
	t.Helper()
	for _, tc := range rows {
		got := c.Decide(tc.req, &tc.stored, t0.Add(tc.after))
		if got.Action != tc.action || got.Reason != tc.reason {
			t.Errorf("%s: got %v (%s), want %v (%s)", tc.clause, got.Action, got.Reason, tc.action, tc.reason)
		}
		if asks := got.Action == Revalidate || got.Action == ServeAndRevalidate && hasValidator(&tc.stored); (got.Conditional != nil) != asks {
			t.Errorf("%s: %v with %v", tc.clause, got.Action, got.Conditional)
		}
	}
}

// storing is a row about Storable.
type storing struct {
	clause string
	req    Request
	resp   Stored
	o      StoreOptions
	want   string // reason; "" storable
}

func (c *Caching) stores(t *testing.T, rows []storing) {
	t.Helper()
	for _, tc := range rows {
		if ok, reason := c.Storable(tc.req, tc.resp, tc.o); reason != tc.want || ok != (tc.want == "") {
			t.Errorf("%s: got %v %q, want %q", tc.clause, ok, reason, tc.want)
		}
	}
}

// equalHeader compares the fields named in want, "" meaning none.
func equalHeader(t *testing.T, clause string, got http.Header, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if v := joined(got, name); v != value {
			t.Errorf("%s: %s: got %q, want %q", clause, name, v, value)
		}
	}
}

// by is the answer that freshens.
func by(h http.Header, requestTime, responseTime time.Time) Stored {
	return Stored{Header: h, RequestTime: requestTime, ResponseTime: responseTime}
}
