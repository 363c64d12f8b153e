package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

const putURL = "http://objects.shatabdi/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824/f"

// What was put is answered from the swarm, in the forms that clients ask for; no
// origin is asked for what is not there.
func TestPut(t *testing.T) {
	c := newFake(t)
	n := startCached(t, c, Config{Mode: func() string { return "pass" }})
	held := func(url string) *fakeObject {
		o := c.growing(swarmcache.Version{
			Key: policy.Key(url), Length: 2000, Validator: `"1"`,
			Stored: policy.Stored{Status: 200, Header: http.Header{"Etag": {`"1"`}}, ResponseTime: time.Now()},
		})
		c.cluster[o.ver.Key] = o
		return o
	}
	held(putURL).grow([]byte(strings.Repeat("x", 2000)))
	lost := putURL + "/lost"
	held(lost).fail(swarmcache.ErrFillEnded)
	res, body := n.get(putURL)
	if res.StatusCode != 200 || len(body) != 2000 || !strings.Contains(res.Header.Get("Cache-Status"), ";hit") {
		t.Errorf("%s, %d bytes, %v", res.Status, len(body), res.Header)
	}
	res, body = n.get(putURL, "Range: bytes=10-19")
	if res.StatusCode != 206 || len(body) != 10 {
		t.Errorf("%s, %d bytes", res.Status, len(body))
	}
	for _, gone := range []string{"http://objects.shatabdi/0000/none", lost} {
		res, body = n.get(gone)
		if res.StatusCode != 404 || !strings.Contains(body, "shatabdi put FILE") {
			t.Errorf("%s: %s: %s", gone, res.Status, body)
		}
	}
	res, _ = n.do(request(t, "DELETE", putURL))
	if res.StatusCode != 405 {
		t.Errorf("%s", res.Status)
	}
	if got := n.metric("shatabdi_origin_requests_total"); got != 0 {
		t.Errorf("%v requests to an origin", got)
	}
}

// A PUT obeys RFC 9110, and who may not gets nothing done.
func TestPutByClients(t *testing.T) {
	d := newDisk(t)
	n, _ := startReal(t, d)
	n.cfg.AllowPut = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	put := func(url, body string, fields ...string) *http.Response {
		t.Helper()
		r := request(t, "PUT", url, fields...)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		res, _ := n.do(r)
		return res
	}
	const tag = `"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"`
	for _, tt := range []struct {
		clause    string // of RFC 9110
		url, body string
		field     string
		want      int
	}{
		{"§9.3.4: it is not what belongs there", putURL, "other", "", 422},
		{"§13.1.1: If-Match wants something there", putURL, "hello", "If-Match: *", 412},
		{"§14.5: a part", putURL, "hello", "Content-Range: bytes 0-4/10", 400},
		{"§13.1.2: If-None-Match: * creates", putURL, "hello", "If-None-Match: *", 201},
		{"§13.1.2: and does not replace", putURL, "hello", "If-None-Match: *", 412},
		{"§13.1.1: If-Match with its tag", putURL, "hello", "If-Match: " + tag, 204},
		{"§13.1.1: If-Match with another", putURL, "hello", `If-Match: "1"`, 412},
		{"§9.3.4: it replaces", putURL, "hello", "", 204},
		{"§9.3.4: another name", putURL + "2", "hello", "", 201},
		{"no address", "http://objects.shatabdi/1/f", "hello", "", 400},
		{"no name", strings.TrimSuffix(putURL, "f"), "hello", "", 400},
		{"a name with a slash", putURL + "%2Fg", "hello", "", 400},
	} {
		var fields []string
		if tt.field != "" {
			fields = append(fields, tt.field)
		}
		res := put(tt.url, tt.body, fields...)
		if res.StatusCode != tt.want || res.StatusCode < 300 && res.Header.Get("ETag") != tag {
			t.Errorf("%s: %s, want %d; %v", tt.clause, res.Status, tt.want, res.Header)
		}
	}
	if res, body := n.get(putURL); res.StatusCode != 200 || body != "hello" || res.Header.Get("ETag") != tag {
		t.Errorf("%s %q %v", res.Status, body, res.Header)
	}

	// §10.1.1: what is refused need not be sent.
	w := n.dial()
	w.send("PUT %s HTTP/1.1\r\nHost: objects.shatabdi\r\nContent-Length: 5\r\nExpect: 100-continue\r\nIf-None-Match: *\r\n\r\n", putURL)
	if res, err := http.ReadResponse(w.r, nil); err != nil || res.StatusCode != 412 {
		t.Errorf("%v, %v", res, err)
	}

	n.cfg.AllowPut = nil
	if res := put(putURL, "hello"); res.StatusCode != 403 {
		t.Error(res.Status)
	}
}
