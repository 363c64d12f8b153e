// Command compare plays the scenarios of package conformance against Shatabdi in
// its three set-ups, nginx and squid, and prints one table. It fails where one of
// the others is right and Shatabdi is not.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"shatabdi/e2e/conformance"
)

func main() {
	match := flag.String("run", "", "only scenarios whose name matches this `regexp`")
	proxy := flag.String("proxy", "", "ask these `ADDRS` instead, each request the next of them, and print what is wrong")
	on := flag.String("on", "", "only systems whose name matches this `regexp`")
	flag.Parse()
	only, err := regexp.Compile(*match)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare: error: -run:", err)
		os.Exit(2)
	}
	asked, err := regexp.Compile(*on)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare: error: -on:", err)
		os.Exit(2)
	}
	systems = slices.DeleteFunc(systems, func(s system) bool { return !asked.MatchString(s.name) })
	scenarios := slices.DeleteFunc(conformance.Scenarios(), func(s conformance.Scenario) bool { return !only.MatchString(s.Name) })
	if *proxy != "" {
		err = try(strings.Split(*proxy, ","), scenarios)
	} else {
		err = compare(scenarios)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare: error:", err)
		os.Exit(1)
	}
}

// try prints what is wrong with proxies that run already.
func try(proxies []string, scenarios []conformance.Scenario) error {
	outcomes, err := conformance.Run(proxies, scenarios)
	if err != nil {
		return err
	}
	wrong := 0
	for _, o := range outcomes {
		if o.Err != nil {
			wrong++
			fmt.Printf("%s: %v\n", o.Scenario.Name, o.Err)
		}
	}
	fmt.Printf("%d of %d\n", len(outcomes)-wrong, len(outcomes))
	return nil
}
