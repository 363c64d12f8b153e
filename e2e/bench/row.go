package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"shatabdi/e2e/lab"
)

// row is one line of the table; zero fields are left empty.
type row struct {
	Name      string        `json:"name"`
	System    string        `json:"system,omitempty"` // what was measured: shatabdi, nginx, libtorrent, direct
	N         int           `json:"n,omitempty"`
	F         int64         `json:"f,omitempty"` // bytes of the object
	U         lab.Rate      `json:"u,omitempty"` // uplink of each machine, bytes a second
	Time      time.Duration `json:"time_ns,omitempty"`
	Bound     time.Duration `json:"bound_ns,omitempty"` // what nothing can beat with one copy out of the origin; or as Note says
	Fluid     time.Duration `json:"fluid_ns,omitempty"` // what nothing can beat at all
	Ratio     float64       `json:"ratio,omitempty"`    // Time / Bound, or as Note says
	Origin    float64       `json:"origin_x,omitempty"` // bytes out of the origin's interface / F
	Across    float64       `json:"across_x,omitempty"` // bytes between zones / F
	Seeder    float64       `json:"seeder_x,omitempty"` // most that one node uploaded / F
	Wasted    float64       `json:"wasted,omitempty"`   // share of the bytes from peers that came twice
	FirstByte time.Duration `json:"first_byte_ns,omitempty"`
	Load      lab.Load      `json:"load,omitzero"`
	RSS       int64         `json:"rss,omitempty"`
	Checks    []check       `json:"checks,omitempty"`
	Note      string        `json:"note,omitempty"`
	Text      string        `json:"text,omitempty"` // what does not fit into a line; below the table
	Plot      bool          `json:"plot,omitempty"` // a point of the plot
	Errors    []string      `json:"errors,omitempty"`
}

// goal is what a figure should be and what it must be. Without an aim there is
// only what must be.
type goal struct{ Aim, Gate float64 }

// check is a figure against its goal.
type check struct {
	What   string  `json:"what"`
	Figure float64 `json:"figure"`
	Aim    float64 `json:"aim,omitempty"`
	Gate   float64 `json:"gate"`
	Least  bool    `json:"least,omitempty"` // the figure must not be below, instead of above
}

func (c check) within(limit float64) bool {
	if c.Least {
		return c.Figure >= limit
	}
	return c.Figure <= limit
}

func (c check) String() string {
	sign := "<="
	if c.Least {
		sign = ">="
	}
	if c.Aim == 0 {
		return fmt.Sprintf("%s %s %.4g", c.What, sign, c.Gate)
	}
	return fmt.Sprintf("%s %s %.4g/%.4g", c.What, sign, c.Aim, c.Gate)
}

// atMost sets what a figure must not exceed; without a gate nothing.
func (r row) atMost(what string, figure float64, g goal) row {
	if g.Gate != 0 {
		r.Checks = append(r.Checks, check{What: what, Figure: figure, Aim: g.Aim, Gate: g.Gate})
	}
	return r
}

// atLeast is the other way round.
func (r row) atLeast(what string, figure float64, g goal) row {
	r.Checks = append(r.Checks, check{What: what, Figure: figure, Aim: g.Aim, Gate: g.Gate, Least: true})
	return r
}

// noting adds to the note.
func (r row) noting(format string, a ...any) row {
	r.Note = strings.TrimPrefix(r.Note+"; "+fmt.Sprintf(format, a...), "; ")
	return r
}

// Verdicts on a row.
const (
	broken  = "BROKEN"  // it did not end as it should have
	starved = "starved" // the computer was too busy for it to count
	missed  = "MISSED"  // a figure is beyond its gate
	passed  = "ok"
	atAim   = "aim"
)

func (r row) verdict() string {
	switch {
	case len(r.Errors) > 0:
		return broken
	case r.Load.Starved():
		return starved
	case len(r.Checks) == 0:
		return ""
	}
	verdict := atAim
	for _, c := range r.Checks {
		switch {
		case !c.within(c.Gate):
			return missed
		case !c.within(cmp.Or(c.Aim, c.Gate)):
			verdict = passed
		}
	}
	return verdict
}

// line is the row for a person who waits.
func (r row) line() string {
	var s []string
	for _, c := range columns[1:] {
		if v := c.of(r); v != "" {
			s = append(s, strings.TrimSpace(c.title+" "+v))
		}
	}
	return strings.Join(s, ", ")
}
