package swarmcache

import (
	"net/http"
	"testing"
	"time"
)

// RFC 9110 §10.2.3.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for field, want := range map[string]time.Duration{
		"":                         0,
		"7":                        7 * time.Second,
		"-7":                       0,
		"99999999":                 time.Hour,
		"999999999999999999999999": 0,
		"soon":                     0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Minute).Format(http.TimeFormat):     0,
	} {
		if got := patienceAsked(field, now); got != want {
			t.Errorf("%q: %v, want %v", field, got, want)
		}
	}
}
