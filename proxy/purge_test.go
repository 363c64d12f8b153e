package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"shatabdi/policy"
)

// PURGE through one node ends what a URL selects on all, with its variants, and
// tells how many there were. Who may not is told so, and nothing happens.
func TestPurge(t *testing.T) {
	for _, as := range []setting{{"swarm", 2, false}, allSmall} {
		t.Run(as.name, func(t *testing.T) {
			s := newStage(t)
			s.changes([]change{says("Vary", "Accept-Language"), becomes("in $language", `"1"`)})
			url := s.url + "/x"
			cast := s.cast(as, policy.Rule{})
			n, last := cast[0], cast[len(cast)-1]
			want := func(n *node, language, want string) {
				t.Helper()
				res, got := n.get(url, "Accept-Language: "+language)
				n.quiet(url, true)
				if got += " " + res.Header.Get("X-Cache-Status"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			for _, language := range []string{"en", "de"} {
				want(n, language, "in "+language+" MISS")
				want(last, language, "in "+language+" HIT")
			}

			res, body := n.do(request(t, "PURGE", url))
			wantFailure(t, res, body, 403, "http_request_denied")
			want(last, "en", "in en HIT")

			n.cfg.AllowPurge = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			for _, count := range []int{2, 0} {
				res, body := n.do(request(t, "PURGE", url))
				var got purged
				if err := json.Unmarshal([]byte(body), &got); err != nil || res.StatusCode != 200 || got != (purged{keyOf(url), count > 0, count}) {
					t.Errorf("%s: %s, %v; want %d", res.Status, body, err, count)
				}
			}
			want(n, "en", "in en MISS")
			eventually(t, "the other node has heard", func() bool {
				res, _ := last.get(url, "Accept-Language: de", "Cache-Control: only-if-cached")
				return res.StatusCode == 504
			})
		})
	}
}

// The rules come first: what they deny is denied, and where nothing is cached a PURGE
// is the origin's to obey. What was put has no origin to bring it back.
func TestPurgeOfWhatIsNotCached(t *testing.T) {
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Method+" at the origin")
	}))
	defer o.Close()
	for name, c := range map[string]struct {
		url, mode string
		rules     []policy.Rule
		want      int
	}{
		"route pass":   {o.URL, "swarm", []policy.Rule{{Route: policy.Pass}}, 200},
		"mode pass":    {o.URL, "pass", nil, 200},
		"route deny":   {o.URL, "swarm", []policy.Rule{{Route: policy.Deny}}, 403},
		"PURGE denied": {o.URL, "swarm", []policy.Rule{{Methods: []string{"PURGE"}, Route: policy.Deny}}, 403},
		"put":          {putURL, "swarm", nil, 405},
		"put, passing": {putURL, "pass", nil, 405},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t)
			all := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			n := startCached(t, fake, Config{AllowPurge: all, Mode: func() string { return c.mode }}, c.rules...)
			res, body := n.do(request(t, "PURGE", c.url))
			if res.StatusCode != c.want || c.want == 200 && body != "PURGE at the origin" {
				t.Errorf("%s: %s; want %d", res.Status, body, c.want)
			}
			if c.want != 200 {
				fake.wantCalls("")
			}
		})
	}
}
