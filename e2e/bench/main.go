// Command bench measures against the physical limit and against nginx, in
// network namespaces with shaped links, and prints one table.
//
// A row whose run was starved of CPU is marked: it measured the computer. Gates
// are ratios of figures taken in the same run, so that they hold on any machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"shatabdi/e2e/lab"
)

// profiling: fleets write profiles of their middle to out/ROW-PROCESS.pprof.
var profiling bool

func main() {
	only := flag.String("run", "^(goals|node)/", "only rows whose GROUP/NAME matches this `regexp`; groups are goals, node, curve and ci")
	quick := flag.Bool("quick", false, "small objects, few repetitions")
	small := flag.Bool("ci", false, "the subset for every change: -run ^ci/ -again 1")
	again := flag.Int("again", 0, "measure a starved row up to `N` times more")
	out := flag.String("out", "bench", "write the table to out/`NAME`.md and out/NAME.json")
	soaking := flag.Duration("soak", 0, "measure nothing: fill, read and evict for this `time`, and see that nothing grows")
	plotOf := flag.String("plot", "", "measure nothing: draw the `file` (out/bench.json) as an SVG beside it")
	list := flag.Bool("list", false, "print the rows and what they measure")
	flag.BoolVar(&profiling, "profile", false, "fleets write CPU profiles to out/ROW-PROCESS.pprof; this costs CPU itself")
	flag.Parse()
	if *small {
		*only, *again = "^ci/", 1
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error: -run:", err)
		os.Exit(2)
	}
	switch {
	case *plotOf != "":
		err = plot(*plotOf)
	case *soaking > 0:
		scenarios = []scenario{{"soak", "soak", "fill, read and evict: nothing may grow", soak{*soaking}.run}}
		err = measure(regexp.MustCompile(""), false, 0, "soak")
	case *list:
		for _, s := range scenarios {
			fmt.Printf("%-30s %s\n", s.group+"/"+s.name, s.about)
		}
	default:
		err = measure(match, *quick, *again, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

// measure plays the scenarios and writes the table.
func measure(match *regexp.Regexp, quick bool, again int, out string) error {
	t := table{Started: time.Now(), Quick: quick}
	for _, s := range scenarios {
		if !match.MatchString(s.group + "/" + s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, s.about)
		began := time.Now()
		rows := playUnstarved(s, quick, again)
		for _, r := range rows {
			r.Name = s.name
			t.Rows = append(t.Rows, r)
			fmt.Fprintf(os.Stderr, "  %s\n", r.line())
		}
		fmt.Fprintf(os.Stderr, "  in %v\n", time.Since(began).Round(time.Second))
	}
	if len(t.Rows) == 0 {
		return errors.New("no row matches")
	}
	if err := t.write(lab.Out(out+".md"), lab.Out(out+".json")); err != nil {
		return err
	}
	if bad := t.bad(); len(bad) > 0 {
		return fmt.Errorf("broken or beyond their gates: %s", strings.Join(bad, ", "))
	}
	return nil
}

// playUnstarved plays a scenario again while the computer was too busy for it, at
// most that often.
func playUnstarved(s scenario, quick bool, again int) []row {
	for ; ; again-- {
		rows := play(s, quick)
		if again <= 0 || !slices.ContainsFunc(rows, func(r row) bool { return r.Load.Starved() }) {
			return rows
		}
		fmt.Fprintln(os.Stderr, "  starved; once more")
	}
}

// trial is the lab.T of one row: what breaks ends the row, not the bench.
type trial struct {
	name    string
	cleanup []func()
	errors  []string
}

type ended struct{} // panicked by Fatalf

func (t *trial) Helper()                 {}
func (t *trial) Name() string            { return t.name }
func (t *trial) Failed() bool            { return len(t.errors) > 0 }
func (t *trial) Cleanup(f func())        { t.cleanup = append(t.cleanup, f) }
func (t *trial) Logf(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }
func (t *trial) Errorf(f string, a ...any) {
	t.Logf("  error: "+f, a...)
	t.errors = append(t.errors, fmt.Sprintf(f, a...))
}
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
