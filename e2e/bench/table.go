package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
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
	Bound     time.Duration `json:"bound_ns,omitempty"` // what nothing can beat; or the rival's time
	Ratio     float64       `json:"ratio,omitempty"`    // Time / Bound, or as Note says
	Origin    float64       `json:"origin_x,omitempty"` // bytes out of the origin's interface / F
	Seeder    float64       `json:"seeder_x,omitempty"` // most that one node uploaded / F
	FirstByte time.Duration `json:"first_byte_ns,omitempty"`
	Load      lab.Load      `json:"load,omitzero"`
	RSS       int64         `json:"rss,omitempty"`
	Gate      string        `json:"gate,omitempty"` // what must hold
	Missed    bool          `json:"missed,omitempty"`
	Note      string        `json:"note,omitempty"`
	Plot      bool          `json:"plot,omitempty"` // a point of the plot
	Errors    []string      `json:"errors,omitempty"`
}

// atMost sets the gate that a figure must not exceed.
func (r row) atMost(what string, figure, limit float64) row {
	r.Gate = strings.TrimPrefix(fmt.Sprintf("%s, %s <= %.4g", r.Gate, what, limit), ", ")
	r.Missed = r.Missed || figure > limit
	return r
}

// atLeast is the other way round.
func (r row) atLeast(what string, figure, limit float64) row {
	r.Gate = strings.TrimPrefix(fmt.Sprintf("%s, %s >= %.4g", r.Gate, what, limit), ", ")
	r.Missed = r.Missed || figure < limit
	return r
}

var columns = []struct {
	title string
	of    func(r row) string
}{
	{"scenario", func(r row) string { return r.Name }},
	{"system", func(r row) string { return r.System }},
	{"N", func(r row) string { return filled(r.N != 0, "%d", r.N) }},
	{"F", func(r row) string { return filled(r.F != 0, "%d MiB", r.F>>20) }},
	{"u", func(r row) string { return filled(r.U != 0, "%.3g MiB/s", float64(r.U)/(1<<20)) }},
	{"time", func(r row) string { return seconds(r.Time) }},
	{"bound", func(r row) string { return seconds(r.Bound) }},
	{"ratio", func(r row) string { return filled(r.Ratio != 0, "%.3f", r.Ratio) }},
	{"origin", func(r row) string { return filled(r.Origin != 0, "%.3f x", r.Origin) }},
	{"seeder", func(r row) string { return filled(r.Seeder != 0, "%.2f x", r.Seeder) }},
	{"first byte", func(r row) string { return seconds(r.FirstByte) }},
	{"RSS", func(r row) string { return filled(r.RSS != 0, "%d MiB", r.RSS>>20) }},
	{"CPU", func(r row) string { return filled(r.Load.CPU != 0, "%.0f %%", 100*r.Load.CPU) }},
	{"late", func(r row) string {
		return filled(r.Load.Late != 0, "%.1f ms", float64(r.Load.Late.Microseconds())/1000)
	}},
	{"gate", func(r row) string { return r.Gate }},
	{"", func(r row) string { return r.verdict() }},
	{"note", func(r row) string { return strings.Join(append([]string{r.Note}, r.Errors...), " ") }},
}

func filled(yes bool, format string, v any) string {
	if !yes {
		return ""
	}
	return fmt.Sprintf(format, v)
}

func seconds(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}

func (r row) verdict() string {
	switch {
	case len(r.Errors) > 0:
		return "BROKEN"
	case r.Load.Starved():
		return "starved"
	case r.Gate == "":
		return ""
	case r.Missed:
		return "MISSED"
	default:
		return "ok"
	}
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

type table struct {
	Started time.Time `json:"started"`
	Quick   bool      `json:"quick"`
	Commit  string    `json:"commit"`
	CPUs    int       `json:"cpus"`
	CPU     string    `json:"cpu"`
	Kernel  string    `json:"kernel"`
	Rows    []row     `json:"rows"`
}

// failed reports whether a row is broken or missed its gate without being
// starved.
func (t *table) failed() bool {
	for _, r := range t.Rows {
		if v := r.verdict(); v == "MISSED" || v == "BROKEN" {
			return true
		}
	}
	return false
}

// write prints the table and writes it as Markdown and JSON.
func (t *table) write(markdown, jsonPath string) error {
	t.CPUs, t.CPU = runtime.NumCPU(), cpuModel()
	t.Commit, t.Kernel = output("git", "rev-parse", "--short", "HEAD"), output("uname", "-r")
	md := fmt.Sprintf("%d x %s, Linux %s, commit %s, %s\n\n%s", t.CPUs, t.CPU, t.Kernel, t.Commit,
		t.Started.Format(time.DateOnly), t.markdown())
	fmt.Print(md)
	if err := os.MkdirAll(lab.Out(), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(markdown, []byte(md), 0o644); err != nil {
		return err
	}
	b, err := json.MarshalIndent(t, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(jsonPath, b, 0o644)
}

// markdown leaves out columns that are empty in every row.
func (t *table) markdown() string {
	lines := make([]string, len(t.Rows)+2)
	for _, c := range columns {
		cells, width := []string{c.title, ""}, len(c.title)
		empty := true
		for _, r := range t.Rows {
			v := c.of(r)
			cells, width, empty = append(cells, v), max(width, len(v)), empty && v == ""
		}
		if empty {
			continue
		}
		cells[1] = strings.Repeat("-", max(3, width))
		for i, v := range cells {
			lines[i] += fmt.Sprintf("| %-*s ", max(3, width), v)
		}
	}
	return strings.Join(lines, "|\n") + "|\n"
}

func output(args ...string) string {
	b, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
