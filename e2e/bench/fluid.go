package main

import (
	"math"
	"slices"
	"time"

	"shatabdi/e2e/lab"
)

// fluid tells how long each client needs at the best when they come one after
// the other, if bytes were a liquid and capacity were shared fairly:
//
//   - What has left the source is the front; it advances by u_o from the first
//     arrival on until it reaches F, for the origin is to send everything once.
//   - Everybody who has arrived uploads u, also when it is done: who comes late
//     is served by all who are complete.
//   - u_o, while the front moves, and all uplinks together are shared equally
//     among the incomplete clients. None gets past the front, none is served by
//     its own uplink; what it cannot take goes to the others.
//
// For clients that come together this is the least time that is possible with
// one copy out of the origin. For others it is the fair one: a client could be
// faster at the cost of another one. All can have theirs at once, or nearly: the
// test has a schedule of whole pieces that does.
type fluid struct {
	F       int64
	U       lab.Rate
	UOrigin lab.Rate
}

// times returns how long each client needs from its own start.
func (m fluid) times(starts []time.Duration) []time.Duration {
	f, u, source := float64(m.F), float64(m.U), float64(m.UOrigin)
	step := f / (u + source) / 5000 // seconds; the error is about one step
	front := 0.0
	got, took := make([]float64, len(starts)), make([]time.Duration, len(starts))
	first := slices.Min(starts)
	for now, left := first.Seconds(), len(starts); left > 0; now += step {
		capacity := 0.0
		if front < f {
			capacity = source * step
			front = math.Min(f, front+source*step)
		}
		var waiting []int
		for i := range starts {
			if starts[i].Seconds() > now {
				continue
			}
			capacity += u * step
			if took[i] == 0 {
				waiting = append(waiting, i)
			}
		}
		share(capacity, capacity-u*step, front, got, waiting)
		for _, i := range waiting {
			if got[i] >= f*(1-1e-9) {
				took[i] = time.Duration((now+step)*float64(time.Second)) - starts[i]
				left--
			}
		}
	}
	return took
}

// share pours capacity into the vessels that wait, the fullest first: what has
// no room in one remains for the others. No vessel takes more than each.
func share(capacity, each, full float64, got []float64, waiting []int) {
	slices.SortFunc(waiting, func(a, b int) int {
		switch {
		case got[a] > got[b]:
			return -1
		case got[a] < got[b]:
			return 1
		}
		return 0
	})
	for k, i := range waiting {
		in := min(full-got[i], each, capacity/float64(len(waiting)-k))
		got[i] += in
		capacity -= in
	}
}
