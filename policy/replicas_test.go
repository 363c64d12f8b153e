package policy

import (
	"net/http"
	"net/url"
	"testing"
)

func TestReplicas(t *testing.T) {
	r := Rules{Rules: []Rule{{Host: "models.test", MinSize: 100, Replicas: 3}, {Path: "/images/**", Replicas: 2}}}
	if errs := r.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, c := range []struct {
		url    string
		length int64
		want   int
	}{{"http://models.test/images/a", 100, 3}, {"http://models.test/images/a", 99, 2}, {"http://models.test/a", 99, 0}, {"http://o.test/images/b/c", 1, 2}} {
		u, _ := url.Parse(c.url)
		if got := r.Replicas(u, http.Header{}, c.length); got != c.want {
			t.Errorf("%s, %d bytes: %d, want %d", c.url, c.length, got, c.want)
		}
	}
	if errs := (&Rules{Rules: []Rule{{Replicas: -1}}}).Validate(); len(errs) != 1 {
		t.Error(errs)
	}
}
