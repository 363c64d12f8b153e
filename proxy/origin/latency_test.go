package origin

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"shatabdi/swarmcache/layout"
)

func TestLatency(t *testing.T) {
	var l latencies
	if l.of("a") != 0 {
		t.Error("an unknown host has a latency")
	}
	l.add("a", time.Second)
	l.add("a", 3*time.Second)
	if d := l.of("a"); d != 3*time.Second {
		t.Errorf("after a slow response %v", d)
	}
	l.add("a", time.Second)
	if d := l.of("a"); d != 2500*time.Millisecond {
		t.Errorf("after a quick one %v", d)
	}
	for i := range 2 * maxLatencies {
		l.add(string(rune(i)), time.Second)
	}
	if len(l.m) > maxLatencies {
		t.Errorf("%d hosts", len(l.m))
	}
}

func TestSourceKnowsLatency(t *testing.T) {
	const pause = 30 * time.Millisecond
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { time.Sleep(pause) }))
	defer srv.Close()
	c := open(t, Config{})
	u, _ := url.Parse(srv.URL + "/x")
	s := c.Source(u, nil)
	res, err := s.Get(t.Context(), layout.Range{}, "")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if d := s.Latency(); d < pause {
		t.Errorf("latency %v, the origin took %v", d, pause)
	}
}
