package policy

import (
	"net/http"
	"testing"
)

func TestOutsidersGetWhatHasNoConditions(t *testing.T) {
	for value, want := range map[string]bool{
		"": true, "public, max-age=60": true, "max-age=0": true, "private": false, "Private": false,
		"no-store": false, "no-cache": false, "max-age=60, private=\"x\"": true, "private=": false,
	} {
		s := Stored{Status: 200, Header: http.Header{"Cache-Control": {value}}}
		if got := ForOutsiders(s); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
	if ForOutsiders(Stored{Status: 200, Invalid: true}) {
		t.Error("what was invalidated is given away")
	}
}
