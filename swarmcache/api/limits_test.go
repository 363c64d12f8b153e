package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"shatabdi/swarmcache/api"
)

type fakeLimits struct{ up, down int64 }

func (l *fakeLimits) Limits() (int64, int64)   { return l.up, l.down }
func (l *fakeLimits) SetLimits(up, down int64) { l.up, l.down = up, down }

// fakeRates writes 5 bytes a second as "5 a second", and none as "free".
type fakeRates struct{}

func (fakeRates) Format(n int64) string {
	if n == 0 {
		return "free"
	}
	return fmt.Sprintf("%d a second", n)
}

func (fakeRates) Parse(text string) (n int64, err error) {
	if text == "free" {
		return 0, nil
	}
	if _, err := fmt.Sscanf(text, "%d a second", &n); err != nil {
		return 0, errors.New("no rate")
	}
	return n, nil
}

// Limits are changed one by one, and together; the configured ones are told.
func TestLimits(t *testing.T) {
	n := newNode(t, 0)
	want := func(l api.Limits, up, down int64) {
		t.Helper()
		f := fakeRates{}
		if l != (api.Limits{f.Format(up), up, "1000 a second", f.Format(down), down, "free"}) || n.limits != (fakeLimits{up, down}) {
			t.Errorf("told %+v, set %+v; want %d and %d", l, n.limits, up, down)
		}
	}
	var l api.Limits
	n.ask("GET", "/api/v1/limits", "", 200, &l)
	want(l, 1000, 0)
	for _, step := range []struct {
		body     string
		up, down int64
	}{
		{`{"download": "5 a second"}`, 1000, 5},
		{`{"upload": "free"}`, 0, 5},
		{`{"upload_bytes_per_second": 7, "download_bytes_per_second": 0}`, 7, 0},
		{`{"upload": "8 a second", "download_bytes_per_second": 9}`, 8, 9},
		{`{}`, 8, 9},
	} {
		l = api.Limits{}
		n.ask("PATCH", "/api/v1/limits", step.body, 200, &l)
		want(l, step.up, step.down)
	}
}

// What makes no sense is explained, and changes nothing.
func TestLimitsRefused(t *testing.T) {
	n := newNode(t, 0)
	for body, says := range map[string]string{
		`{"upload": "fast", "download": "5 a second"}`:        "body.upload",
		`{"upload": "free", "download": "fast"}`:              "no rate",
		`{"upload": "free", "upload_bytes_per_second": 5}`:    "not both",
		`{"upload_bytes_per_second": -1}`:                     "body.upload_bytes_per_second",
		`{"upload": 5}`:                                       "body.upload",
		`{"uplaod": "free"}`:                                  "uplaod",
		`{"upload_bytes_per_second": 1.5}`:                    "",
		`{"upload_bytes_per_second": 9999999999999999999999}`: "",
	} {
		var p api.Problem
		n.ask("PATCH", "/api/v1/limits", body, 422, &p)
		if !strings.Contains(fmt.Sprint(p), says) {
			t.Errorf("%s: %+v does not say %q", body, p, says)
		}
		if n.limits != (fakeLimits{1000, 0}) {
			t.Errorf("%s changed the limits: %+v", body, n.limits)
		}
	}
}

func TestPriority(t *testing.T) {
	n := newNode(t, 3)
	path := "/api/v1/objects/" + string(id(2))
	var o api.ObjectDetail
	for _, step := range []struct{ set, want string }{{"", "normal"}, {"high", "high"}, {"low", "low"}, {"default", "normal"}} {
		if step.set != "" {
			n.ask("PATCH", path, `{"priority": "`+step.set+`"}`, 200, &o)
			if o.Priority != step.want {
				t.Errorf("set %s, told %s", step.set, o.Priority)
			}
		}
		n.ask("GET", path, "", 200, &o)
		if o.Priority != step.want {
			t.Errorf("after %q: %s", step.set, o.Priority)
		}
	}
	n.ask("PATCH", path, `{"priority": "urgent"}`, 422, nil)
	n.ask("PATCH", path, `{}`, 422, nil)
	n.ask("PATCH", "/api/v1/objects/"+strings.Repeat("f", 64), `{"priority": "low"}`, 404, nil)
}
