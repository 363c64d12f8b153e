package policy

import (
	"net/http"
	"net/url"
	"testing"
)

func TestPriorityOfAnObject(t *testing.T) {
	rules := Rules{Rules: []Rule{
		{Host: "a.test", Streams: 2},
		{Host: "a.test", Path: "/nightly/**", Priority: PriorityLow},
		{ContentType: "video/*", MinSize: 1 * GiB, Priority: PriorityLow},
		{Host: "*.test", Priority: PriorityHigh},
		{Host: "a.test", Priority: PriorityLow},
	}}
	for _, tc := range []struct {
		url, contentType string
		length           int64
		want             Priority
	}{
		{"http://a.test/nightly/x.iso", "", 1, PriorityLow},
		{"https://a.test:8443/x.iso", "", 1, PriorityHigh},
		{"http://b.test/film", "video/mp4", 2 << 30, PriorityLow},
		{"http://b.test/film", "video/mp4", 1 << 20, PriorityHigh},
		{"http://elsewhere/x", "text/plain", 1, PriorityNormal},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if p := rules.Priority(u, http.Header{"Content-Type": {tc.contentType}}, tc.length); p != tc.want {
			t.Errorf("%s (%s, %d bytes): got %s, want %s", tc.url, tc.contentType, tc.length, p, tc.want)
		}
	}
}
