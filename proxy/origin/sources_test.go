package origin

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// carrier is a source.
type carrier func(*http.Request) (*http.Response, error)

func (c carrier) RoundTrip(req *http.Request) (*http.Response, error) { return c(req) }

// A scheme that has a source is answered by it, its bytes are counted, and its
// ranges can be asked for; others are refused.
func TestSourcesOfOtherSchemes(t *testing.T) {
	var asked *http.Request
	reg := prometheus.NewRegistry()
	c := New(Config{Registerer: reg, Sources: map[string]http.RoundTripper{"s3": carrier(func(req *http.Request) (*http.Response, error) {
		asked = req
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("hello")), Request: req}, nil
	})}})
	get := func(url string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.RoundTrip(req)
	}
	res, err := get("s3://models/a%2Fb.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	counted := metric(t, reg, "shatabdi_origin_bytes_total")
	if err != nil || string(b) != "hello" || asked.URL.String() != "s3://models/a%2Fb.bin" || counted != 5 {
		t.Errorf("%q, %v, asked for %s, %v bytes counted", b, err, asked.URL, counted)
	}
	var e *Error
	if res, err := get("gs://models/a"); !errors.As(err, &e) || e.Kind != KindScheme {
		t.Errorf("%v, %v", res, err)
	}
}
