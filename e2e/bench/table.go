package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"shatabdi/e2e/lab"
)

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
	{"fluid", func(r row) string { return seconds(r.Fluid) }},
	{"origin", func(r row) string { return filled(r.Origin != 0, "%.3f x", r.Origin) }},
	{"seeder", func(r row) string { return filled(r.Seeder != 0, "%.2f x", r.Seeder) }},
	{"wasted", func(r row) string { return filled(r.Wasted != 0, "%.1f %%", 100*r.Wasted) }},
	{"first byte", func(r row) string { return seconds(r.FirstByte) }},
	{"RSS", func(r row) string { return filled(r.RSS != 0, "%d MiB", r.RSS>>20) }},
	{"CPU", func(r row) string { return filled(r.Load.CPU != 0, "%.0f %%", 100*r.Load.CPU) }},
	{"late", func(r row) string {
		return filled(r.Load.Late != 0, "%.1f ms", float64(r.Load.Late.Microseconds())/1000)
	}},
	{"aim/gate", func(r row) string {
		var s []string
		for _, c := range r.Checks {
			s = append(s, c.String())
		}
		return strings.Join(s, ", ")
	}},
	{"", func(r row) string { return r.verdict() }},
	{"note", func(r row) string {
		notes := []string{r.Note}
		for _, e := range r.Errors {
			first, _, _ := strings.Cut(e, "\n") // the rest is on the screen
			notes = append(notes, first)
		}
		return strings.TrimSpace(strings.Join(notes, " "))
	}},
}

// footnotes says what columns mean that need more than a word.
const footnotes = `
bound: the least time in which N clients can have the object if one copy leaves the origin,
max(F/u_o, (N-1) F/(N u)); ratios are to it. fluid: Kumar and Ross's max(F/u_o, N F/(u_o + N u)), which lets
the origin send all the time: where u_o > u it is smaller, and only more than one copy out of the origin reaches it.
Downloads are not limited, so F/d is 0. u and u_o are bytes of TCP's payload a second: a line that tc shapes gets as much
more as the frames' headers take. origin: what of that left the origin's interface, in units of F.
seeder: the most that one node uploaded. wasted: bytes from peers that this node had. late: what 99 % of timers
kept to. starved: CPU above 95 % or timers later than 25 ms; the row measured the computer and is not to be quoted.
aim: every figure is at its aim. ok: at its gate.
`

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

type table struct {
	Started time.Time `json:"started"`
	Quick   bool      `json:"quick"`
	Commit  string    `json:"commit"`
	CPUs    int       `json:"cpus"`
	CPU     string    `json:"cpu"`
	Kernel  string    `json:"kernel"`
	Rows    []row     `json:"rows"`
}

// bad names the rows that are broken or missed a gate without being starved.
func (t *table) bad() (names []string) {
	for _, r := range t.Rows {
		if v := r.verdict(); v == missed || v == broken {
			names = append(names, r.Name)
		}
	}
	return slices.Compact(names)
}

// write prints the table and writes it as Markdown and JSON.
func (t *table) write(markdown, jsonPath string) error {
	t.CPUs, t.CPU = runtime.NumCPU(), cpuModel()
	t.Commit, t.Kernel = output("git", "rev-parse", "--short", "HEAD"), output("uname", "-r")
	md := fmt.Sprintf("%d x %s, Linux %s, commit %s, %s\n\n%s%s", t.CPUs, t.CPU, t.Kernel, t.Commit,
		t.Started.Format(time.DateOnly), t.markdown(), footnotes)
	for _, r := range t.Rows {
		if r.Text != "" {
			md += "\n" + r.Text
		}
	}
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
