package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"shatabdi/e2e/lab"
)

func TestPlotDrawsWhatWasMeasured(t *testing.T) {
	at := func(system string, n int, seconds float64) row {
		return row{System: system, N: n, F: 100, U: 10, Plot: true,
			Time: time.Duration(seconds * float64(time.Second)), Bound: 10 * time.Second}
	}
	starved := at(shatabdi, 8, 99)
	starved.Load = lab.Load{CPU: 1}
	broken := at(nginx, 8, 99)
	broken.Errors = []string{"no"}
	elsewhere := at(shatabdi, 4, 99)
	elsewhere.Plot = false
	lines := curvesOf([]row{at(shatabdi, 4, 11), at(shatabdi, 2, 10.5), at(nginx, 2, 20), starved, broken, elsewhere,
		{System: "libtorrent", N: 2, Plot: true, Note: "not measured"}})

	var got []string
	for _, l := range lines {
		got = append(got, l.label+" "+l.last())
	}
	if s := strings.Join(got, ", "); s != "the bound , nginx cache 2.00, Shatabdi 1.10" {
		t.Errorf("lines: %s", s)
	}
	picture := svg(lines)
	if n := strings.Count(picture, "<circle"); n != 3 {
		t.Errorf("%d marks, want 3", n)
	}
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	if strings.Contains(picture, "NaN") || strings.Contains(picture, "Inf") {
		t.Error("a coordinate is not a number")
	}
}
