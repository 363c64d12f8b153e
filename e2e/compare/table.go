package main

import (
	"fmt"
	"os"
	"strings"

	"shatabdi/e2e/conformance"
)

// compare asks all systems, one after the other, and prints the table.
func compare(scenarios []conformance.Scenario) error {
	columns := make([]map[string]conformance.Outcome, len(systems))
	for i, sys := range systems {
		fmt.Fprintln(os.Stderr, "asking", sys.name)
		outcomes, err := sys.ask(scenarios)
		if err != nil {
			return err
		}
		columns[i] = outcomes
	}
	var behind []string
	fmt.Printf("%-76s", "")
	for _, sys := range systems {
		fmt.Printf(" %-8s", sys.name)
	}
	fmt.Println()
	right := make([]int, len(systems))
	counted := make([]int, len(systems))
	for _, s := range scenarios {
		fmt.Printf("%-76s", strings.ToValidUTF8(s.Name[:min(len(s.Name), 76)], ""))
		ours, theirs := true, false
		for i, sys := range systems {
			o, asked := columns[i][s.Name]
			err := o.Err
			fmt.Printf(" %-8s", verdict(o, asked))
			if !asked {
				continue
			}
			counted[i]++
			if err == nil {
				right[i]++
			}
			switch sys.name {
			case "nginx", "squid":
				theirs = theirs || err == nil
			default:
				ours = ours && err == nil
			}
		}
		fmt.Println()
		if theirs && !ours {
			behind = append(behind, s.Name)
		}
	}
	fmt.Printf("%-76s", "right")
	for i := range systems {
		fmt.Printf(" %-8s", fmt.Sprintf("%d/%d", right[i], counted[i]))
	}
	fmt.Println()
	if len(behind) > 0 {
		return fmt.Errorf("another is right where we are not:\n  %s", strings.Join(behind, "\n  "))
	}
	return nil
}

// verdict is a cell: a dash where the cache is not wrong, and could do better.
func verdict(o conformance.Outcome, asked bool) string {
	switch {
	case !asked:
		return ""
	case o.Err == nil:
		return "ok"
	case o.Lacks():
		return "-"
	}
	return "WRONG"
}

func (sys *system) ask(scenarios []conformance.Scenario) (map[string]conformance.Outcome, error) {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir}
	defer s.close()
	proxies, err := sys.start(s)
	if err != nil {
		return nil, err
	}
	var mine []conformance.Scenario
	for _, sc := range scenarios {
		if !sys.skips(&sc) {
			mine = append(mine, sc)
		}
	}
	outcomes, err := conformance.Run(proxies, mine)
	if err != nil {
		return nil, err
	}
	m := map[string]conformance.Outcome{}
	for _, o := range outcomes {
		m[o.Scenario.Name] = o
	}
	return m, nil
}
