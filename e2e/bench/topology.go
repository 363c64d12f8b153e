package main

import (
	"time"

	"shatabdi/e2e/lab"
)

// topology is what a distribution is measured on, and what bounds it: N clients
// whose machines upload U each, and an origin that sends UOrigin. Nobody's
// downloads are limited.
type topology struct {
	N          int
	F          int64 // bytes of the object
	U, UOrigin lab.Rate
	Warm       bool // one more machine has the object, and the origin is not asked
}

// cold is a topology where nobody has the object, and the origin sends that many
// times as fast as a node.
func cold(n int, f int64, u lab.Rate, times float64) topology {
	return topology{N: n, F: f, U: u, UOrigin: lab.Rate(times * float64(u))}
}

// warm is one where one seeder with the same uplink has it.
func warm(n int, f int64, u lab.Rate) topology {
	return topology{N: n, F: f, U: u, UOrigin: 64 * lab.MiBps, Warm: true}
}

// fluid is the least time that any scheme needs (Kumar and Ross, 2006): the
// source has to send everything once, and all uplinks together N times.
func (t topology) fluid() time.Duration {
	f, n, u, source := float64(t.F), float64(t.N), float64(t.U), t.source()
	return ofSeconds(max(f/source, n*f/(source+n*u)))
}

// bound is the same where the origin sends one copy in all, which is what it is
// asked for: the nodes themselves then send the N-1 others. The fluid bound lets
// a fast origin send all the time; at u_o = 8 u that would be 5 copies.
func (t topology) bound() time.Duration {
	if t.Warm {
		return t.fluid()
	}
	f, n, u := float64(t.F), float64(t.N), float64(t.U)
	return ofSeconds(max(f/t.source(), (n-1)*f/(n*u)))
}

// source is what the one who has the object sends, bytes a second.
func (t topology) source() float64 {
	if t.Warm {
		return float64(t.U)
	}
	return float64(t.UOrigin)
}

func ofSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// quarter has a quarter of the bytes.
func (t topology) quarter() topology {
	t.F /= 4
	return t
}

// row begins the line that a measurement on t becomes.
func (t topology) row(system string) row {
	return row{System: system, N: t.N, F: t.F, U: t.U}
}

// took fills in the time and compares it with the bounds.
func (r row) took(d time.Duration, t topology) row {
	r.Time, r.Bound, r.Fluid = d, t.bound(), t.fluid()
	r.Ratio = r.Time.Seconds() / r.Bound.Seconds()
	return r
}
