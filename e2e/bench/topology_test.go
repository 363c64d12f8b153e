package main

import (
	"math"
	"testing"
	"time"

	"shatabdi/e2e/lab"
)

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name         string
		of           topology
		bound, fluid float64 // seconds
	}{
		{"all uplinks alike: the origin is the limit", cold(4, 1000, 100, 1), 10, 10},
		{"a slower origin is too", cold(4, 1000, 100, 0.5), 20, 20},
		{"twice: the nodes send what the origin does not", cold(4, 1000, 100, 2), 7.5, 1000 * 4.0 / 600},
		{"a fast origin: one copy of four, and not eight ninths", cold(4, 1000, 100, 8), 7.5, 1000 * 4.0 / 1200},
		{"one client has the origin's rate", cold(1, 1000, 100, 8), 1000 / 800.0, 1000 / 800.0},
		{"warm: the seeder sends everything once", warm(4, 1000, 100), 10, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.of.bound().Seconds(); math.Abs(got-c.bound) > 1e-6 {
				t.Errorf("bound %.3f s, want %.3f", got, c.bound)
			}
			if got := c.of.fluid().Seconds(); math.Abs(got-c.fluid) > 1e-6 {
				t.Errorf("fluid bound %.3f s, want %.3f", got, c.fluid)
			}
		})
	}
}

// The closed form and the model of single arrivals are of one mind where clients
// come together.
func TestBoundIsTheModelsForSimultaneousClients(t *testing.T) {
	for _, n := range []int{1, 2, 5, 16} {
		for _, times := range []float64{0.5, 1, 2, 8} {
			d := cold(n, 1<<20, 1<<17, times)
			for i, got := range (fluid{F: d.F, U: d.U, UOrigin: d.UOrigin}).times(make([]time.Duration, n)) {
				if want := d.bound().Seconds(); math.Abs(got.Seconds()-want) > 0.01*want {
					t.Errorf("n=%d, u_o=%v u, client %d: the model says %.3f s, the bound %.3f", n, times, i, got.Seconds(), want)
				}
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	quiet, busy := lab.Load{CPU: 0.5}, lab.Load{CPU: 0.99}
	ratio := goal{Aim: 1.10, Gate: 1.20}
	for _, c := range []struct {
		name string
		row  row
		want string
	}{
		{"nothing to judge", row{Load: quiet}, ""},
		{"at its aim", row{}.atMost("ratio", 1.10, ratio), atAim},
		{"at its gate", row{}.atMost("ratio", 1.15, ratio), passed},
		{"beyond its gate", row{}.atMost("ratio", 1.21, ratio), missed},
		{"the worst figure decides", row{}.atMost("origin x", 2, oneCopy).atMost("ratio", 1.0, ratio), missed},
		{"one at its gate, one at its aim", row{}.atMost("origin x", 1.03, oneCopy).atMost("ratio", 1.0, ratio), passed},
		{"no gate, no check", row{}.atMost("ratio", 9, goal{}), ""},
		{"more is better", row{}.atLeast("rate", 0.8, goal{0.9, 0.75}), passed},
		{"and less is not", row{}.atLeast("rate", 0.7, goal{0.9, 0.75}), missed},
		{"a starved run is not quoted", row{Load: busy}.atMost("ratio", 9, ratio), starved},
		{"wrong bytes are wrong however busy it was", row{Load: busy, Errors: []string{"wrong bytes"}}, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.row.verdict(); got != c.want {
				t.Errorf("verdict %q, want %q", got, c.want)
			}
		})
	}
}

// Two fleets whose use follows the model give the model back.
func TestEtcdModelIsFound(t *testing.T) {
	use := func(n int) etcdUse {
		return etcdUse{n: n, spans: 100, writes: 100*2 + float64(n)*3, events: float64(n) * (100*2.5 + float64(n)*0.5),
			sent: float64(n) * (100*2.5 + float64(n)*0.5) * 300, cpu: time.Duration(n) * time.Millisecond}
	}
	m := modelOf(use(8), use(64))
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"writes a span", m.writesPerSpan, 2}, {"writes a node", m.writesPerNode, 3},
		{"events a span", m.eventsPerSpan, 2.5}, {"events a pair", m.eventsPerPair, 0.5},
		{"bytes an event", m.bytesPerEvent, 300},
	} {
		if math.Abs(c.got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	full := m.full()
	if load := m.events(full) * m.cpuPerEvent.Seconds() / flagshipSeconds; math.Abs(load-1) > 0.01 {
		t.Errorf("at N = %.0f etcd takes %.2f CPUs, not one", full, load)
	}
}
