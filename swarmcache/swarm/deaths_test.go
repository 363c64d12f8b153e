package swarm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"shatabdi/swarmcache"
)

// A node is killed with claims in its hands: the others finish.
func TestNodeDiesWithClaims(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(6<<20, 64<<10)
	l := newLab(t, 4)
	victim := l.nodes[0]
	gone, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { victim.download(gone, s) })
	l.fill(t, s)
	l.nodes = l.nodes[1:]
	wg.Go(func() { l.all(t, s) })
	waitFor(t, func() bool { return s.times() > 0.4 })
	victim.die()
	time.AfterFunc(time.Second, func() { l.dir.Expire(victim.id) }) // its lease
	wg.Wait()
	t.Logf("origin %.3f x", s.times())
	if s.times() > 1.3 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// Landed is not available: spans whose only holder died are fetched again.
func TestOnlyHolderOfLandedSpansDies(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := &lab{haste: 4}
	l.add(t, 2)
	r := l.open(t, s)
	ghost := l.ghost(t, r)
	spans := []swarmcache.SpanRecord{}
	for i := 4; i < r.Plan().Spans(); i += 2 {
		spans = append(spans, swarmcache.SpanRecord{Span: i})
	}
	if _, err := ghost.Claim(t.Context(), spans); err != nil {
		t.Fatal(err)
	}
	for _, sp := range spans {
		if err := ghost.Land(t.Context(), sp.Span, s.hashes(r, sp.Span)); err != nil {
			t.Fatal(err)
		}
	}
	l.dir.Expire("ghost")
	l.allFor(t, s, 1.3)
}

// A claim whose holder lives but does nothing is overdue after a while.
func TestHolderOfClaimDoesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	l := &lab{haste: 8}
	l.add(t, 1)
	r := l.open(t, s)
	ghost := l.ghost(t, r)
	if _, err := ghost.Claim(t.Context(), []swarmcache.SpanRecord{{Span: 5}, {Span: 6}}); err != nil {
		t.Fatal(err)
	}
	l.all(t, s)
}

// Two hashes for one piece: the fill ends everywhere with right bytes or an
// error, and the next one has a single claimer.
func TestPoisonedFillIsRestartedSingle(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	s.limit = rate.NewLimiter(4<<20, 64<<10)
	l := newLab(t, 2)
	r := l.open(t, s)
	ghost := l.ghost(t, r)
	if err := ghost.Land(t.Context(), 3, make([]byte, len(s.hashes(r, 3)))); err != nil {
		t.Fatal(err)
	}
	l.dir.Expire("ghost")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		wg.Go(func() {
			b, err := n.download(ctx, s)
			if !bytes.HasPrefix(s.data, b) || err == nil && len(b) != len(s.data) {
				t.Errorf("node %d: %d wrong bytes, %v", i, len(b), err)
			}
		})
	}
	wg.Wait()
	again := l.open(t, s)
	if !again.Single {
		t.Error("the next fill has more than one claimer")
	}
	l.all(t, s)
}

// The directory goes away in the middle and comes back at the end: the nodes
// take turns without it and tell each other the hashes.
func TestDirectoryAwayInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSite(t, 32<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 4)
	done := make(chan struct{})
	go func() { defer close(done); l.all(t, s) }()
	waitFor(t, func() bool { return s.times() > 0.2 })
	l.dir.SetAvailable(false)
	<-done
	t.Logf("origin %.3f x", s.times())
	if s.times() > 1.4 { // each for itself would make it 3.4
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
	l.dir.SetAvailable(true)
	l.sealed(t, s)
}

// A directory that does not answer at once who comes to a running fill sends
// nobody to the origin.
func TestBoardIsJoinedInTheEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(3<<20, 64<<10) // the opener must not be done before the others are there
	l := newLab(t, 4)
	l.open(t, s)
	for _, n := range l.nodes[1:] {
		n.wire.refuses.Store(3)
	}
	l.allFor(t, s, 1.3) // each for itself would make it 4
}

// Nor does one that never does: the others tell the hashes.
func TestBoardIsNeverJoined(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(3<<20, 64<<10)
	l := newLab(t, 3)
	l.track(t)
	l.open(t, s)
	l.nodes[2].wire.refuses.Store(1 << 30)
	l.allFor(t, s, 1.3) // for itself it would make it 2
}

// Nothing is left behind, and Close is quick, while an origin says nothing.
func TestCloseWithSilentOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	s.breaks(1<<20, silent)
	l := newLab(t, 1)
	obj, err := l.nodes[0].get(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	r := obj.NewReader(t.Context(), 0, int64(len(s.data)))
	ended := make(chan error)
	go func() { _, err := io.Copy(io.Discard, r); ended <- err }()
	waitFor(t, func() bool { return s.gets.Load() > 1 })
	began := time.Now()
	l.nodes[0].stop()
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("closing took %v", d)
	}
	if err := <-ended; err == nil {
		t.Error("the reader got everything from a silent origin")
	}
	r.Close()
	obj.Close()
	if open := openUnder(t, l.nodes[0].files); len(open) > 0 {
		t.Errorf("files left open: %v", open)
	}
}

// A load-balanced origin whose servers give different tags, and bodies.
func TestBackendsWithDifferentTags(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	other := bytes.Clone(s.data)
	other[len(other)/2]++
	s.serve = alternate(s.data, other)
	l := newLab(t, 3)
	a, b := sha256.Sum256(s.data), sha256.Sum256(other)
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		wg.Go(func() {
			for try := 0; ; try++ {
				body, err := n.download(t.Context(), s)
				if sum := sha256.Sum256(body); err == nil {
					if sum != a && sum != b {
						t.Errorf("node %d: a mixture", i)
					}
					return
				}
				if !bytes.HasPrefix(s.data, body) && !bytes.HasPrefix(other, body) {
					t.Errorf("node %d: a mixture before %v", i, err)
				}
				if try == 20 {
					t.Errorf("node %d: %v again and again", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
