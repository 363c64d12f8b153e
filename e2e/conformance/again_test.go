package conformance

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a slow answer may excuse is played until there is none; what is wrong without
// one is not played until it is right.
func TestSlowPlaysAreNoFailures(t *testing.T) {
	defer func(was time.Duration) { slowAnswer = was }(slowAnswer)
	for name, tt := range map[string]struct {
		slow, pause time.Duration
		passes      bool
	}{"slow": {10 * time.Millisecond, 10 * time.Millisecond, true}, "quick": {time.Hour, 0, false}} {
		t.Run(name, func(t *testing.T) {
			slowAnswer = tt.slow
			var mu sync.Mutex
			kept, plays := map[string]string{}, map[string]bool{}
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				url := r.URL.String()
				plays[url] = true
				body, hit := kept[url]
				if !hit {
					res, err := http.Get(url)
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					b, _ := io.ReadAll(res.Body)
					if body = string(b); len(plays) < 4 {
						time.Sleep(tt.pause)
					} else {
						kept[url] = body
					}
				}
				io.WriteString(w, body)
			}))
			defer proxy.Close()
			out, err := Run([]string{strings.TrimPrefix(proxy.URL, "http://")}, []Scenario{fresh("stored", hour)})
			if err != nil {
				t.Fatal(err)
			}
			if failed := out[0].Err != nil; failed == tt.passes || !tt.passes && len(plays) != 2 {
				t.Errorf("%v after %d plays", out[0].Err, len(plays))
			}
		})
	}
}
