package proxy

import (
	"net/http"
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
