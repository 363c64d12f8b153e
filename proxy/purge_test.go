package proxy

import (
	"encoding/json"
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
