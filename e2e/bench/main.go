// Command bench measures against the physical limit and against nginx, in
// network namespaces with shaped links, and prints one table.
//
// A row whose run was starved of CPU is marked: it measured the computer. Gates
// are ratios of figures taken in the same run, so that they hold on any machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"

	"shatabdi/e2e/lab"
)

func main() {
	only := flag.String("run", "", "only rows whose name matches this `regexp`")
	quick := flag.Bool("quick", false, "small objects, few repetitions: for CI")
	small := flag.Bool("ci", false, "the subset for every change, in place of all rows")
	plotOf := flag.String("plot", "", "measure nothing: draw the `file` (out/bench.json) as an SVG beside it")
	list := flag.Bool("list", false, "print the rows and what they measure")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error: -run:", err)
		os.Exit(2)
	}
	if *plotOf != "" {
		if err := plot(*plotOf); err != nil {
			fmt.Fprintln(os.Stderr, "bench: error:", err)
			os.Exit(1)
		}
		return
	}
	if *small {
		scenarios = ci
	}
	t := table{Started: time.Now(), Quick: *quick}
	for _, s := range scenarios {
		if !match.MatchString(s.name) {
			continue
		}
		if *list {
			fmt.Printf("%-22s %s\n", s.name, s.about)
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, s.about)
		for _, r := range play(s, *quick) {
			r.Name = s.name
			t.Rows = append(t.Rows, r)
			fmt.Fprintf(os.Stderr, "  %s\n", r.line())
		}
	}
	if *list {
		return
	}
	if err := t.write(lab.Out("bench.md"), lab.Out("bench.json")); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
	if t.failed() {
		os.Exit(1)
	}
}

// trial is the lab.T of one row: what breaks ends the row, not the bench.
type trial struct {
	name    string
	cleanup []func()
	errors  []string
}

type ended struct{} // panicked by Fatalf

func (t *trial) Helper()                   {}
func (t *trial) Name() string              { return t.name }
func (t *trial) Failed() bool              { return len(t.errors) > 0 }
func (t *trial) Cleanup(f func())          { t.cleanup = append(t.cleanup, f) }
func (t *trial) Logf(f string, a ...any)   { fmt.Fprintf(os.Stderr, f+"\n", a...) }
func (t *trial) Errorf(f string, a ...any) { t.errors = append(t.errors, fmt.Sprintf(f, a...)) }
func (t *trial) Fatalf(f string, a ...any) { t.Errorf(f, a...); panic(ended{}) }

// play runs a scenario in a lab of its own.
func play(s scenario, quick bool) (rows []row) {
	t := &trial{name: s.name}
	defer func() {
		for i := len(t.cleanup) - 1; i >= 0; i-- {
			t.cleanup[i]()
		}
		if t.Failed() {
			rows = append(rows, row{Errors: t.errors})
		}
	}()
	defer func() {
		if r := recover(); r != nil && r != (ended{}) {
			panic(r)
		}
	}()
	s.run(lab.New(t), quick, func(r row) { rows = append(rows, r) })
	return rows
}
