//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin --- switch --- 6 nodes, in three racks
//
// Two objects are kept in three copies. Two nodes die at once, a third of them all,
// one of which has both objects (where there is time, the leader may be among
// them): new copies are made, and the origin sends
// nothing. Then a node that has a copy drains: all know, and another is made.
func TestCopiesAreMadeAgain(t *testing.T) {
	const wanted = 3
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	config := filepath.Join(l.Dir, "replicas.yaml")
	if err := os.WriteFile(config, []byte("cache: {heal_after: 1s}\nrules: [{host: \"*\", replicas: 3}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var nodes []*lab.Node
	for i, m := range l.Machines(6, "node", 0) {
		nodes = append(nodes, m.ShatabdiUnready("--etcd-endpoints", etcd.URL, "--config", config, "--etcd-lease-ttl", "3s", "--rack", string(rune('a'+i%3))))
	}
	for _, n := range nodes {
		n.UntilReady(30 * time.Second)
	}
	spared := inFull(leaderOf(l, nodes, nil), nil)
	first := without(nodes, spared)[0]
	objects := []content.Object{{Seed: 95, Size: 6 * mib}, {Seed: 96, Size: 6 * mib}}
	var urls []string
	for _, o := range objects {
		urls = append(urls, origin.Object(o))
		c := first.Curl(urls[len(urls)-1])
		lab.Together(c)
		l.Check(o, c)
	}
	holders := func(url string) (have []int) {
		for i, n := range nodes {
			if n.Running() && n.Object(url).Complete {
				have = append(have, i)
			}
		}
		return have
	}
	healed := func(nodes []*lab.Node) time.Duration {
		t.Helper()
		begun := time.Now()
		l.Until("there are enough copies", time.Minute, func() bool {
			return lab.Sum(nodes, "shatabdi_magnets", `state="healthy"`) == float64(len(objects)) &&
				lab.Sum(nodes, "shatabdi_magnets", `state="degraded"`) == 0
		})
		for _, u := range urls {
			if have := holders(u); len(have) < wanted {
				t.Errorf("%d copies of %s", len(have), u)
			}
		}
		return time.Since(begun)
	}
	healed(nodes)

	before := origin.Machine.Sent()
	left := without(nodes, first)
	for _, i := range holders(urls[0]) {
		if n := nodes[i]; n != first && n != spared {
			left = without(left, n)
			n.Kill()
			break
		}
	}
	first.Kill()
	begun := time.Now()
	l.Until("the loss is seen", time.Minute, func() bool {
		return lab.Sum(left, "shatabdi_magnets", `state="degraded"`) > 0
	})
	seen := time.Since(begun)
	t.Logf("the loss of a third of the nodes was seen after %v, healed %v later", seen.Round(10*time.Millisecond), healed(left).Round(10*time.Millisecond))

	drained := nodes[holders(urls[0])[0]]
	drained.Order("POST", "drain")
	if ready, _ := drained.Machine.Try("curl", "-s", "http://127.0.0.1:3180/readyz"); strings.TrimSpace(ready) != "draining" {
		t.Errorf("/readyz says %q", ready)
	}
	// All that are left know: the two that died are gone, and one drains.
	l.Until("the nodes know of each other", 30*time.Second, func() bool {
		return !slices.ContainsFunc(left, func(n *lab.Node) bool { return members(t, n) != (membership{Nodes: len(left), Draining: 1}) })
	})
	others := len(holders(urls[0]))
	l.Until("another copy is made", time.Minute, func() bool { return len(holders(urls[0])) > others })
	late := drained.Curl(urls[0]) // it serves what it has
	lab.Together(late)
	l.Check(objects[0], late)
	drained.Order("DELETE", "drain")
	l.Until("it takes part again", 30*time.Second, func() bool {
		return members(t, left[0]) == membership{Nodes: len(left)}
	})
	if sent := origin.Machine.Sent() - before; sent > mib {
		t.Errorf("the origin sent %s while there were copies", lab.MiB(sent))
	}
}

// membership is how many nodes a node knows of, and how many of those drain.
type membership struct{ Nodes, Draining int }

func members(t *testing.T, of *lab.Node) (m membership) {
	t.Helper()
	var told struct{ Nodes []struct{ Draining bool } }
	if err := json.Unmarshal([]byte(of.API("nodes")), &told); err != nil {
		t.Fatal(err)
	}
	for _, n := range told.Nodes {
		if m.Nodes++; n.Draining {
			m.Draining++
		}
	}
	return m
}
