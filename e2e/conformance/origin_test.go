package conformance

import (
	"strings"
	"testing"
)

// An origin that closes the connection has said so: else who sends a POST on it at
// that moment loses it.
func TestOriginClosesNoKeptConnection(t *testing.T) {
	closed := 0
	for _, s := range Scenarios() {
		for i, step := range s.Steps {
			for _, method := range []string{"GET", "HEAD"} {
				var b strings.Builder
				goesOn := parse("x", i, step.Answer).send(&b, method)
				if head, _, _ := strings.Cut(b.String(), "\r\n\r\n"); !goesOn && !strings.Contains(head, "\r\nConnection: close") {
					t.Errorf("%s, step %d, closes after %q", s.Name, i+1, head)
				}
				if !goesOn {
					closed++
				}
			}
		}
	}
	if closed == 0 {
		t.Error("no origin closes")
	}
}
