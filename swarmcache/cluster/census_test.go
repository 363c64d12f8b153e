package cluster_test

import (
	"fmt"
	"testing"

	"shatabdi/swarmcache"
)

// Among few nodes patience is what it is; among many it grows with them.
func TestPatienceGrowsWithTheCluster(t *testing.T) {
	t.Parallel()
	p := prefix()
	if d := join(t, config(p, 1)).Slack(); d != 0 {
		t.Errorf("a node alone has %v more patience", d)
	}
	c := raw(t, etcd)
	for i := range 2 * swarmcache.MaxListed {
		_, err := c.Put(t.Context(), fmt.Sprintf("%snodes/other-%02d", p, i), "{}")
		noErr(t, err)
	}
	if d := join(t, config(p, 2)).Slack(); d == 0 {
		t.Error("one of many has no more patience than one of few")
	}
}
