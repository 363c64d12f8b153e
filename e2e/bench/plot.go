package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// plot draws the rows of a table that are points of the plot: on log axes, time
// until the last of N clients has the object, in units of F/u, which is what one
// copy takes over one uplink. So runs with different F and u make one curve.
func plot(jsonPath string) error {
	b, err := os.ReadFile(jsonPath)
	if err != nil {
		return err
	}
	var t table
	if err := json.Unmarshal(b, &t); err != nil {
		return fmt.Errorf("%s: %w", jsonPath, err)
	}
	curves := curvesOf(t.Rows)
	if len(curves) == 0 {
		return fmt.Errorf("%s has no row to draw; measure them with -run ^curve", jsonPath)
	}
	out := strings.TrimSuffix(jsonPath, filepath.Ext(jsonPath)) + ".svg"
	return os.WriteFile(out, []byte(svg(curves)), 0o644)
}

// line is one curve; a style of its own tells it apart also without colours.
type line struct {
	label  string
	style  string
	color  string
	theory bool // drawn without marks and figures
	at     []point
}

type point struct{ n, y float64 }

func (l line) measured() []point {
	if l.theory {
		return nil
	}
	return l.at
}

// last is the figure to write at the line's end.
func (l line) last() string {
	m := l.measured()
	switch {
	case len(m) == 0:
		return ""
	case m[len(m)-1].y < 10:
		return fmt.Sprintf("%.2f", m[len(m)-1].y)
	default:
		return fmt.Sprintf("%.0f", m[len(m)-1].y)
	}
}

// curvesOf sorts rows into lines, those without points left out. The bound is
// the same for all, as they share the topology.
func curvesOf(rows []row) (lines []line) {
	bound := line{label: "the bound", theory: true, color: "#495057", style: `stroke-width="1.5" stroke-dasharray="5 4"`}
	systems := []line{
		{label: "nginx cache", color: "#e8590c", style: `stroke-width="2"`},
		{label: "libtorrent", color: "#7048e8", style: `stroke-width="2"`},
		{label: "Shatabdi", color: "#087f5b", style: `stroke-width="3"`},
	}
	of := map[string]*line{nginx: &systems[0], "libtorrent": &systems[1], shatabdi: &systems[2]}
	for _, r := range rows {
		l := of[r.System]
		if !r.Plot || r.Time == 0 || len(r.Errors) > 0 || r.Load.Starved() || l == nil {
			continue
		}
		unit := float64(r.F) / float64(r.U)
		l.at = append(l.at, point{float64(r.N), r.Time.Seconds() / unit})
		bound.at = append(bound.at, point{float64(r.N), r.Bound.Seconds() / unit})
	}
	for _, l := range append([]line{bound}, systems...) {
		slices.SortFunc(l.at, func(a, b point) int { return cmp.Compare(a.n, b.n) })
		l.at = slices.CompactFunc(l.at, func(a, b point) bool { return a.n == b.n })
		if len(l.at) > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// The picture, in pixels: the axes' area, with room for labels around it.
const (
	width, height = 760.0, 440.0
	left, right   = 70.0, width - 150
	top, bottom   = 64.0, height - 56
)

// svg draws on log axes. The y axis begins below 1, so that the bound is not the
// frame.
func svg(lines []line) string {
	minN, maxN, maxY := math.Inf(1), 0.0, 4.0
	for _, l := range lines {
		for _, p := range l.at {
			minN, maxN, maxY = min(minN, p.n), max(maxN, p.n), max(maxY, p.y)
		}
	}
	minY, maxY := 0.7, maxY*1.25
	maxN = max(maxN, 2*minN)
	x := func(n float64) float64 { return left + (right-left)*math.Log(n/minN)/math.Log(maxN/minN) }
	y := func(v float64) float64 { return bottom - (bottom-top)*math.Log(v/minY)/math.Log(maxY/minY) }

	var b strings.Builder
	text := func(x, y float64, attributes, s string) {
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, attributes, html.EscapeString(s))
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="system-ui, sans-serif" font-size="13" fill="#495057">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>Time until the last of N clients has the object</title>\n")
	fmt.Fprintf(&b, `<rect width="%g" height="%g" rx="8" fill="#fff"/>`+"\n", width, height)
	text(left, 28, `font-size="16" font-weight="600" fill="#212529"`, "Time until the last of N clients has the object")
	text(left, 47, "", "in units of F/u: one copy over one uplink; nothing cached, all uplinks alike")

	for _, v := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500} {
		if v <= maxY {
			fmt.Fprintf(&b, `<path d="M%g %.1fH%g" stroke="#e9ecef"/>`+"\n", left, y(v), right)
			text(left-10, y(v)+4, `text-anchor="end"`, fmt.Sprintf("%g", v))
		}
	}
	for n := minN; n <= maxN; n *= 2 {
		fmt.Fprintf(&b, `<path d="M%.1f %gv5" stroke="#adb5bd"/>`+"\n", x(n), bottom)
		text(x(n), bottom+21, `text-anchor="middle"`, fmt.Sprintf("%g", n))
	}
	fmt.Fprintf(&b, `<path d="M%g %gH%g" stroke="#adb5bd"/>`+"\n", left, bottom, right)
	text((left+right)/2, bottom+43, `text-anchor="middle"`, "N clients that start in the same instant")

	labels := labelPlaces(lines, y)
	for i, l := range lines {
		fmt.Fprintf(&b, `<g stroke="%s" fill="none" stroke-linejoin="round" stroke-linecap="round"><path %s d="`, l.color, l.style)
		for k, p := range l.at {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(k, 1)], x(p.n), y(p.y))
		}
		fmt.Fprint(&b, "\"/>\n")
		for _, p := range l.measured() {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="#fff" stroke-width="2"/>`+"\n", x(p.n), y(p.y))
		}
		fmt.Fprint(&b, "</g>\n")
		end := l.at[len(l.at)-1]
		text(x(end.n)+12, labels[i]+4, fmt.Sprintf(`fill="%s" font-weight="600"`, l.color), strings.TrimSpace(l.label+" "+l.last()))
	}
	return b.String() + "</svg>\n"
}

// labelPlaces puts each line's label beside its end, moved up where it would lie
// on the one below.
func labelPlaces(lines []line, y func(float64) float64) []float64 {
	order, places := make([]int, len(lines)), make([]float64, len(lines))
	for i := range lines {
		order[i], places[i] = i, y(lines[i].at[len(lines[i].at)-1].y)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(places[b], places[a]) })
	for k := 1; k < len(order); k++ {
		places[order[k]] = min(places[order[k]], places[order[k-1]]-17)
	}
	return places
}
