package cluster_test

import (
	"errors"
	"testing"

	"shatabdi/swarmcache/cluster"
)

// Who steps down is followed by another node, and takes the lead again only when
// nobody else wants it. Who does not lead cannot step down.
func TestStepDown(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	was := c.leader(t, -1)
	if err := c.members[1-was].StepDown(t.Context()); !errors.Is(err, cluster.ErrNotLeading) {
		t.Errorf("who does not lead: %v", err)
	}
	noErr(t, c.members[was].StepDown(t.Context()))
	if leads(c.members[was]) {
		t.Error("it still leads")
	}
	if next := c.leader(t, was); next == was {
		t.Error("it leads again")
	}
}
