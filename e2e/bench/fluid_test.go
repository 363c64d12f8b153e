package main

import (
	"math"
	"testing"
	"time"
)

func TestFluidBounds(t *testing.T) {
	together := func(n int) []time.Duration { return make([]time.Duration, n) }
	const s = time.Second
	for _, c := range []struct {
		name   string
		model  fluid
		starts []time.Duration
		want   []float64 // seconds
	}{
		{"one client has the origin's rate", fluid{F: 1000, U: 100, UOrigin: 50}, together(1), []float64{20}},
		{"all together, the origin is the limit", fluid{F: 1000, U: 100, UOrigin: 100}, together(4), []float64{10, 10, 10, 10}},
		{"all together, the uplinks are: (N-1) F / N u", fluid{F: 1000, U: 100, UOrigin: 800}, together(4), []float64{7.5, 7.5, 7.5, 7.5}},
		// The late one gets the origin's new bytes and the first one's old ones, and
		// hands the new ones on: 200 a second, while the first goes on with 100.
		{"late, half-way: done when the first is", fluid{F: 1000, U: 100, UOrigin: 100}, []time.Duration{0, 5 * s}, []float64{10, 5}},
		{"late, after the first is done: from it alone", fluid{F: 1000, U: 100, UOrigin: 200}, []time.Duration{0, 20 * s}, []float64{5, 10}},
		{"a second wave finds all of the first", fluid{F: 1000, U: 100, UOrigin: 100},
			[]time.Duration{0, 0, 20 * s, 20 * s}, []float64{10, 10, 5, 5}},
		{"the first start is the beginning", fluid{F: 1000, U: 100, UOrigin: 100}, []time.Duration{3 * s, 3 * s}, []float64{10, 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, d := range c.model.times(c.starts) {
				if math.Abs(d.Seconds()-c.want[i]) > 0.01*c.want[i] {
					t.Errorf("client %d: %.3f s, want %.3f", i, d.Seconds(), c.want[i])
				}
			}
		})
	}
}

// More clients need not less time, and all that was received fits through what
// could send.
func TestFluidNeverBeatsCapacity(t *testing.T) {
	m := fluid{F: 1 << 20, U: 1 << 17, UOrigin: 1 << 18}
	for n := 1; n <= 24; n++ {
		starts := poisson(n, 2*time.Second)
		end := time.Duration(0)
		for i, d := range m.times(starts) {
			if least := time.Duration(float64(m.F) / float64(m.UOrigin+m.U*24) * float64(time.Second)); d < least {
				t.Fatalf("n=%d: client %d needs %v, which nothing could send", n, i, d)
			}
			end = max(end, starts[i]+d)
		}
		capacity := float64(m.F) + float64(m.U)*float64(n)*end.Seconds()
		if float64(n)*float64(m.F) > capacity*1.001 {
			t.Errorf("n=%d: done after %v with more received than sent", n, end)
		}
	}
}
