package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"shatabdi/policy"
)

// explain asks n about a GET.
func (n *node) explain(raw string, ask bool, fields ...string) Explanation {
	n.t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		n.t.Fatal(err)
	}
	r := request(n.t, "GET", raw, fields...)
	return n.Explain(n.t.Context(), policy.Request{Method: "GET", URL: u, Header: r.Header}, ask)
}

// What Explain says of a request is what becomes of it; and saying so changes
// nothing and asks nobody.
func TestExplainSaysWhatHappens(t *testing.T) {
	o := newStore(t, body(large))
	n, _ := startReal(t, newDisk(t))
	url := o.url + "/x.bin"
	word := map[policy.Action]string{policy.Serve: "HIT", policy.Fetch: "MISS", policy.Revalidate: "REVALIDATED"}
	for _, step := range []struct {
		name   string
		fields []string
		action policy.Action
		reason string
	}{
		{"nothing is stored", nil, policy.Fetch, policy.ReasonURIMiss},
		{"it is", nil, policy.Serve, policy.ReasonFresh},
		{"a part of it", []string{"Range: bytes=0-9"}, policy.Serve, policy.ReasonFresh},
		{"the request wants it fresher", []string{"Cache-Control: no-cache"}, policy.Revalidate, policy.ReasonRequest},
		{"only if cached", []string{"Cache-Control: only-if-cached"}, policy.Serve, policy.ReasonFresh},
	} {
		o.took()
		e := n.explain(url, false, step.fields...)
		if e.Verdict.Action != step.action || e.Verdict.Reason != step.reason {
			t.Errorf("%s: %s because of %s", step.name, e.Verdict.Action, e.Verdict.Reason)
		}
		if asked := o.took(); len(asked) > 0 {
			t.Errorf("%s: to explain it the origin was asked %d times", step.name, len(asked))
		}
		if again := n.explain(url, false, step.fields...); again.Verdict.Action != e.Verdict.Action {
			t.Errorf("%s: said %s, and then %s", step.name, e.Verdict.Action, again.Verdict.Action)
		}
		res, _ := n.sum(url, step.fields...)
		if got := res.Header.Get("X-Cache-Status"); got != word[e.Verdict.Action] {
			t.Errorf("%s: said %s, and it was a %s", step.name, e.Verdict.Action, got)
		}
		n.whole(url)
	}
	e := n.explain(url, false)
	if e.Where.Local == nil || !e.Where.Local.Complete || e.Where.Arrived.Origin+e.Where.Arrived.Stored != large || e.Last != "stored" {
		t.Errorf("%+v", e)
	}
}

// With ask the origin says whether its answer would be stored: the same as when a
// client asks.
func TestExplainAsks(t *testing.T) {
	o := newStore(t, body(large))
	n, _ := startReal(t, newDisk(t))
	for i, c := range []struct{ header, value, request, reason string }{
		{"Cache-Control", "max-age=60", "", ""},
		{"Cache-Control", "private", "", policy.NotPrivate},
		{"Cache-Control", "no-store", "", policy.NotNoStore},
		{"Cache-Control", "max-age=60", "Cookie: a=b", policy.NotCookie},
		{"Cache-Control", "max-age=60", "Authorization: Basic eDp5", policy.NotAuthorization},
		{"Cache-Control", "public, max-age=60", "Authorization: Basic eDp5", ""},
	} {
		o.set(c.header, c.value)
		var fields []string
		if c.request != "" {
			fields = []string{c.request}
		}
		at := fmt.Sprintf("%s/%d.bin", o.url, i)
		e := n.explain(at, true, fields...)
		if e.Answer == nil || e.Answer.Err != nil || e.Answer.Status != 200 || e.Answer.Length != large || e.Answer.Reason != c.reason {
			t.Errorf("%s, %s: %+v", c.value, c.request, e.Answer)
			continue
		}
		res, _ := n.sum(at, fields...)
		stored := strings.Contains(res.Header.Get("Cache-Status"), ";stored")
		if stored != (c.reason == "") || c.reason != "" && !strings.Contains(res.Header.Get("Cache-Status"), c.reason) {
			t.Errorf("%s, %s: explained as %q, and it was %s", c.value, c.request, c.reason, res.Header.Get("Cache-Status"))
		}
	}
	o.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		fmt.Fprint(w, "small")
	})
	o.set("Cache-Control", "max-age=60")
	if e := n.explain(o.url+"/small", true); e.Answer.Reason != "small" {
		t.Errorf("%+v", e.Answer)
	}
	if e := n.explain("http://127.0.0.1:1/", true); e.Answer.Err == nil {
		t.Error("an origin that is not there answered")
	}
}

// What goes past the cache, and why.
func TestExplainDetours(t *testing.T) {
	o := newStore(t, body(large))
	n, _ := startReal(t, newDisk(t))
	signed := "Authorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host;range, Signature=y"
	if e := n.explain(o.url+"/x.bin", false, signed, "Range: bytes=0-9"); e.Detour != DetourSigned {
		t.Errorf("%+v", e)
	}
	n.cfg.Mode = func() string { return "pass" }
	if e := n.explain(o.url+"/x.bin", false); e.Detour != DetourMode || e.Verdict.Reason != "" {
		t.Errorf("%+v", e)
	}
	if e := n.explain("ftp://origin.test/x.bin", false); e.Route.Kind != policy.Pass || e.Route.Reason != "scheme" {
		t.Errorf("%+v", e)
	}
}
