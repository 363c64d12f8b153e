package main

import (
	"fmt"
	"net"
	"regexp"
	"testing"
	"time"

	"shatabdi/e2e/conformance"
)

// What HTTP asks of a shared cache, asked of the running daemon: where small
// objects are cached, where everything goes through the swarm, and where each
// request goes to another node of a cluster. Three nodes are one cache.
func TestConformance(t *testing.T) {
	t.Parallel()
	all := conformance.Scenarios()
	one := func(t *testing.T, flags ...string) []string {
		p := startProcess(t, testConfig(t), append(flags, "--allow-destination", "127.0.0.0/8")...)
		return []string{p.proxy()}
	}
	t.Run("small", func(t *testing.T) {
		t.Parallel()
		conforms(t, one(t, "--small", "cache"), all)
	})
	t.Run("swarm", func(t *testing.T) {
		t.Parallel()
		conforms(t, one(t, "--swarm-threshold", "0"), forSwarm(all, false))
	})
	t.Run("three nodes", func(t *testing.T) {
		t.Parallel()
		var proxies []string
		first, rules := testConfig(t), vaultRules(t)
		for i := range 3 {
			cfg, flags := first, []string{"--config", rules, "--swarm-threshold", "0", "--allow-destination", "127.0.0.0/8", "--advertise", "127.0.0.1"}
			if i > 0 {
				cfg = testConfig(t)
				flags = append(flags, "--etcd-endpoints", first.Etcd.ListenClient[0])
			}
			proxies = append(proxies, startProcess(t, cfg, flags...).proxy())
		}
		conforms(t, proxies, forSwarm(all, true))
		admitsByOrigin(t, proxies)
	})
}

// forSwarm are those that mean something where all is for the swarm. Of the clauses
// that do not depend on where things are stored it is every fourth: `make compare`
// plays all.
func forSwarm(all []conformance.Scenario, several bool) (l []conformance.Scenario) {
	for i, s := range all {
		if s.Small || s.Alone && several || i%4 > 0 && !aboutStores.MatchString(s.Name) {
			continue
		}
		l = append(l, s)
	}
	return l
}

var aboutStores = regexp.MustCompile(`9111 §(3\.[345]|4\.[134])|5861`)

func conforms(t *testing.T, proxies []string, scenarios []conformance.Scenario) {
	t.Helper()
	began := time.Now()
	outcomes, err := conformance.Run(proxies, scenarios)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if o.Err != nil {
			t.Errorf("%s: %v", o.Scenario.Name, o.Err)
		}
	}
	t.Logf("%d scenarios in %v", len(outcomes), time.Since(began).Round(time.Millisecond))
}

// proxy waits until the daemon is ready, and returns where clients connect.
func (p *process) proxy() (addr string) {
	p.t.Helper()
	for {
		l := p.until("")
		if l.Msg == "listening" && l.Listener == "proxy" {
			addr = l.Addr
		}
		if l.Msg == "ready" {
			break
		}
	}
	p.watchdog.Reset(5 * time.Minute) // its work is bounded by the clients' patience
	go func() {                       // else it would block on a full pipe
		for p.lines.Scan() {
		}
	}()
	if _, _, err := net.SplitHostPort(addr); err != nil {
		p.t.Fatal(fmt.Errorf("no proxy listener: %w", err))
	}
	return addr
}
