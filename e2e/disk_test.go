//go:build e2e

package e2e

import (
	"testing"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin --- switch --- two nodes; the disk of the first has 64 MiB, and its
// --cache-size promises far more. An object of 160 MiB is delivered whole on
// both, and the node lives on.
func TestFullDiskStillDelivers(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	ms := l.Machines(2, "node", 0)
	small := ms[0].Shatabdi("--etcd-endpoints", etcd.URL, "--data-dir", ms[0].SmallDisk("disk", 64*mib),
		"--cache-size", "1GiB", "--cache-min-free", "0")
	other := ms[1].Shatabdi("--etcd-endpoints", etcd.URL)

	large := content.Object{Seed: 41, Size: 160 * mib}
	c := small.Wget(origin.Object(large))
	lab.Together(c)
	l.Check(large, c)
	both := clients([]*lab.Node{small, other}, origin.Object(large))
	lab.Together(both...)
	l.Check(large, both...)

	fits := content.Object{Seed: 42, Size: 8 * mib}
	c = small.Curl(origin.Object(fits))
	lab.Together(c)
	l.Check(fits, c)
	if !small.Running() {
		t.Errorf("the node is gone:\n%s", small.LogTail(20))
	}
}
