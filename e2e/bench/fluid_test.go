package main

import (
	"math"
	"math/rand/v2"
	"slices"
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

// The bound of clients that come one after the other is not one for each alone:
// in pieces, too, all can have their time at once. Who is free sends the rarest
// piece that it has to any client that lacks one, and the origin each piece once.
func TestFluidIsWithinReach(t *testing.T) {
	const pieces, each = 512, time.Second / 32 // to send a piece; 32 MiB at 2 MiB/s
	m := fluid{F: pieces, U: 32, UOrigin: 32}
	for name, starts := range map[string][]time.Duration{
		"every second": everySecond(16), "at random": poisson(16, time.Second), "two waves": twoWaves(16, 20*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			least := m.times(starts)
			for i, took := range inPieces(pieces, each, starts) {
				if ratio := took.Seconds() / least[i].Seconds(); ratio > 1.08 {
					t.Errorf("client %d needs %.3f x its bound", i, ratio)
				}
			}
		})
	}
}

// inPieces plays that schedule.
func inPieces(pieces int, each time.Duration, starts []time.Duration) []time.Duration {
	r := rand.New(rand.NewPCG(1, 2))
	n := len(starts)
	copies, left := make([]int, pieces), make([]int, n)
	has, took := make([][]bool, n), make([]time.Duration, n) // also what is on its way
	sending := make([]struct {
		until     time.Duration
		to, piece int
	}, n+1)
	landed := make([][]bool, n)
	for i := range n {
		has[i], landed[i], left[i] = make([]bool, pieces), make([]bool, pieces), pieces
	}
	for i := range sending {
		sending[i].to = -1
	}
	for now, next := time.Duration(0), 0; slices.Max(left) > 0; now += each / 8 {
		for k := range sending {
			if s := &sending[k]; s.to >= 0 && s.until <= now {
				landed[s.to][s.piece] = true
				if left[s.to]--; left[s.to] == 0 {
					took[s.to] = s.until - starts[s.to]
				}
				s.to = -1
			}
		}
		for _, from := range r.Perm(n + 1) {
			if sending[from].to >= 0 || from < n && starts[from] > now {
				continue
			}
			for _, to := range r.Perm(n) {
				piece := -1
				switch {
				case starts[to] > now || to == from:
				case from == n && next < pieces: // the origin
					piece = next
					next++
				case from < n:
					for k, p := 0, r.IntN(pieces); k < pieces; k, p = k+1, (p+1)%pieces {
						if landed[from][p] && !has[to][p] && (piece < 0 || copies[p] < copies[piece]) {
							piece = p
						}
					}
				}
				if piece >= 0 {
					has[to][piece] = true
					copies[piece]++
					sending[from].until, sending[from].to, sending[from].piece = now+each, to, piece
					break
				}
			}
		}
	}
	return took
}
