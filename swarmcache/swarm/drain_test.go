package swarm_test

import (
	"bytes"
	"testing"

	"golang.org/x/time/rate"
)

// Who opened a fill drains in the middle of it: it claims nothing more, also not
// for the body that it is reading, gives what it has, and its own client gets all.
func TestNodeDrainsInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 3)
	opener := l.nodes[0]
	own := make(chan []byte, 1)
	go func() {
		b, err := opener.download(t.Context(), s)
		if err != nil {
			t.Error(err)
		}
		own <- b
	}()
	l.fill(t, s)
	l.nodes = l.nodes[1:]
	done := make(chan struct{})
	go func() { defer close(done); l.all(t, s) }()
	waitFor(t, func() bool { return s.times() > 0.15 })
	opener.Drain(true)
	had, claimed := opener.swarm.Sent(), opener.wire.claims.Load()
	<-done
	if b := <-own; !bytes.Equal(b, s.data) {
		t.Errorf("its client got %d of %d bytes, or others", len(b), len(s.data))
	}
	if more := opener.wire.claims.Load() - claimed; more > 2 { // some may have been under way
		t.Errorf("it claimed %d spans while it drained", more)
	}
	if opener.swarm.Sent() == had {
		t.Error("it gave nothing any more")
	}
	if s.times() > 1.3 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// Of two that download one object both drain: somebody has to fetch the rest.
func TestAllDrainInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 2)
	done := make(chan struct{})
	go func() { defer close(done); l.all(t, s) }()
	waitFor(t, func() bool { return s.times() > 0.15 })
	for _, n := range l.nodes {
		n.Drain(true)
	}
	<-done
}
