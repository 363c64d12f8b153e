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

// What a late computer may excuse is played until it is none; what is wrong on another
// is not played until it is right, however slow the answers are.
func TestLatePlaysAreNoFailures(t *testing.T) {
	defer func(was func() func() time.Duration) { measure = was }(measure)
	for name, tt := range map[string]struct {
		late  time.Duration
		plays int
		fails bool
	}{"late": {lateTimer, 4, false}, "in time": {0, 2, true}} {
		t.Run(name, func(t *testing.T) {
			measure = func() func() time.Duration { return func() time.Duration { return tt.late } }
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
					if body = string(b); len(plays) == 4 {
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
			if failed := out[0].Err != nil; failed != tt.fails || len(plays) != tt.plays {
				t.Errorf("%v after %d plays", out[0].Err, len(plays))
			}
		})
	}
}
