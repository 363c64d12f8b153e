package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
)

// Who steps down is followed by another node, and takes the lead again only when
// nobody else wants it. Who does not lead cannot step down.
func TestStepDown(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	was := c.leader(t, -1)
	if err := c.members[1-was].StepDown(t.Context()); !errors.Is(err, swarmcache.ErrNotLeading) {
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

// A client that goes away does not take half of its order back: the seat is not left
// to nobody.
func TestStepDownOutlivesItsClient(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	was := c.leader(t, -1)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	noErr(t, c.members[was].StepDown(gone))
	if next := c.leader(t, was); next == was {
		t.Error("it leads again")
	}
}

// A leader that cannot tell etcd that it gives the lead up keeps it.
func TestStepDownThatEtcdDoesNotHear(t *testing.T) {
	t.Parallel()
	c, k := newCrewBehindALink(t)
	a := c.members[0]
	k.Lose()
	for range 2 { // that finds out, and that knows
		if err := a.StepDown(t.Context()); !errors.Is(err, swarmcache.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	}
	if !leads(a) {
		t.Error("it does not lead any more, and nobody else can")
	}
	k.Find()
	healthy(t, a)
	noErr(t, a.StepDown(t.Context()))
	c.leader(t, 0)
}

// A leader that drains leaves when etcd hears it, if not at once.
func TestDrainThatEtcdDoesNotHear(t *testing.T) {
	t.Parallel()
	c, k := newCrewBehindALink(t)
	a := c.members[0]
	k.Lose()
	draining := node(0)
	draining.Draining = true
	if err := a.Announce(t.Context(), draining); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	k.Find()
	c.leader(t, 0)
}

// newCrewBehindALink is two nodes, of which the first leads. It reaches etcd over a
// link, and its lease outlives a test.
func newCrewBehindALink(t *testing.T) (*crew, *link) {
	c, k := &crew{prefix: prefix()}, newLink(t, etcd)
	cfg := config(c.prefix, 0)
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), time.Minute, time.Second
	a := run(t, cfg, (*cluster.Cluster).NoPings)
	c.members = []*member{a}
	c.leader(t, -1)
	c.members = append(c.members, join(t, config(c.prefix, 1)))
	c.leader(t, -1)
	return c, k
}
