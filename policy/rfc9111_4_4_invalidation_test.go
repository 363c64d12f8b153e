package policy

import (
	"slices"
	"testing"
)

// RFC 9111 §4.4, invalidating stored responses.

func TestInvalidates(t *testing.T) {
	for _, tc := range []struct {
		method string
		status int
		want   bool
	}{
		{"PUT", 200, true}, {"POST", 201, true}, {"DELETE", 204, true}, {"PATCH", 303, true}, {"FOO", 200, true}, {"M-SEARCH", 200, true},
		{"PUT", 404, false}, {"DELETE", 500, false}, {"PUT", 100, false},
		{"GET", 200, false}, {"HEAD", 200, false}, {"OPTIONS", 200, false}, {"TRACE", 200, false}, {"PROPFIND", 207, false}, {"QUERY", 200, false},
	} {
		if got := Invalidates(tc.method, tc.status); got != tc.want {
			t.Errorf("§4.4: %s %d: got %v", tc.method, tc.status, got)
		}
	}
}

func TestInvalidated(t *testing.T) {
	const self = "http://o.test/a/b?c"
	for _, tc := range []struct {
		clause string
		method string
		status int
		fields []string
		want   []string
	}{
		{"§4.4: the target", "PUT", 200, nil, []string{self}},
		{"§4.4: Location", "POST", 201, []string{"Location", "http://o.test/new"}, []string{self, "http://o.test/new"}},
		{"§4.4: Content-Location", "POST", 200, []string{"Content-Location", "/new"}, []string{self, "http://o.test/new"}},
		{"§4.4: both, relative", "POST", 303, []string{"Location", "x", "Content-Location", "../y"}, []string{self, "http://o.test/a/x", "http://o.test/y"}},
		{"§4.4: the same port, spelled out", "PUT", 200, []string{"Location", "http://O.TEST:80/x"}, []string{self, "http://O.TEST:80/x"}},
		{"§4.4: another host", "PUT", 200, []string{"Location", "http://victim.test/"}, []string{self}},
		{"§4.4: another host, without scheme", "PUT", 200, []string{"Location", "//victim.test/"}, []string{self}},
		{"§4.4: another port", "PUT", 200, []string{"Location", "http://o.test:8080/"}, []string{self}},
		{"§4.4: another scheme", "PUT", 200, []string{"Location", "https://o.test/"}, []string{self}},
		{"§4.4: no URL of ours", "PUT", 200, []string{"Location", "mailto:a@b"}, []string{self}},
		{"§4.4: no URL", "PUT", 200, []string{"Location", "http://%zz"}, []string{self}},
		{"§4.4: itself", "PUT", 200, []string{"Content-Location", self}, []string{self}},
		{"RFC 9110 §10.2.2: two of them", "PUT", 200, []string{"Location", "/x", "Location", "/y"}, []string{self}},
		{"§4.4: an error", "PUT", 404, []string{"Location", "/x"}, nil},
		{"§4.4: a safe method", "GET", 200, []string{"Content-Location", "/x"}, nil},
	} {
		req := getURL(t, self)
		req.Method = tc.method
		var got []string
		for _, u := range Invalidated(req, tc.status, header(tc.fields...)) {
			got = append(got, u.String())
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.clause, got, tc.want)
		}
	}
	if got := Invalidated(Request{Method: "PUT"}, 200, nil); got != nil {
		t.Errorf("without URL: %v", got)
	}
}
