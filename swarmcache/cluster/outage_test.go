package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
)

// A connection that breaks ends the requests under way: none of them waits for
// its own timeout. The board's fail like the others, and are not queued.
func TestRequestsEndWithTheConnection(t *testing.T) {
	t.Parallel()
	k := newLink(t, etcd)
	cfg := config(prefix(), 1)
	// Long ones, so that nothing else ends them.
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), time.Minute, time.Minute
	m := join(t, cfg)
	b := board(t, m, version("k", `"1"`))
	calls := callsOf(t.Context(), m, b)
	delete(calls, "Lookup") // these do not wait that long, whatever is configured
	delete(calls, "ClaimFirst")
	k.silent.Lock()
	type result struct {
		name string
		err  error
	}
	ended := make(chan result, len(calls))
	for name, call := range calls {
		go func() { ended <- result{name, call()} }()
	}
	select {
	case r := <-ended:
		t.Errorf("%s did not wait: %v", r.name, r.err)
	case <-time.After(100 * time.Millisecond):
	}
	k.Cut()
	k.silent.Unlock()
	late := time.After(15 * time.Second)
	for range calls {
		select {
		case r := <-ended:
			if !errors.Is(r.err, swarmcache.ErrUnavailable) {
				t.Errorf("%s: %v", r.name, r.err)
			}
		case <-late:
			t.Fatal("a request waits for its timeout")
		}
	}
	k.Mend()
	healthy(t, m)
}

// A connection may die without a word, while new ones work: the machine behind
// the address was replaced, or a firewall forgot.
func TestDeadConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
	a := run(t, cfg, (*cluster.Cluster).NoPings)
	healthy(t, a)
	b := join(t, config(p, 2))
	v := version("k", `"1"`)
	w := watch(t, board(t, a, v))
	bb := board(t, b, v)
	w.until(t, "caught up", func(w *view) bool { return w.caught && w.nodes["node-2"] })
	lease := a.LeaseID()
	k.Lose()
	eventually(t, "away", func() bool { a.Lookup(t.Context(), "k"); return !a.Healthy() })
	claims(t, bb, 0, 1)
	noErr(t, bb.Land(t.Context(), 0, make([]byte, 20)))
	noErr(t, bb.Release(t.Context(), 1))
	k.Find()
	healthy(t, a)
	noErr(t, a.Publish(t.Context(), v))
	w.until(t, "what happened meanwhile is told", func(w *view) bool { return w.spans[0].Landed && len(w.spans) == 1 })
	noErr(t, bb.Land(t.Context(), 2, make([]byte, 20)))
	w.until(t, "and it goes on", func(w *view) bool { return w.spans[2].Landed })
	if a.LeaseID() != lease {
		t.Error("the lease is lost")
	}
}

// That it is dead need not be found out by a request whose own time is over.
func TestDeadConnectionIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	k := newLink(t, etcd)
	cfg := config(prefix(), 1)
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), 10*time.Minute, 5*time.Minute
	m := run(t, cfg, (*cluster.Cluster).NoPings)
	healthy(t, m)
	k.Lose()
	k.Find() // for new ones
	eventually(t, "away", func() bool { m.Lookup(t.Context(), "k"); return !m.Healthy() })
	healthy(t, m)
}

// With several endpoints a dead one costs a request or two, not every third.
func TestOneOfThreeEndpointsGoesSilent(t *testing.T) {
	t.Parallel()
	var links []*link
	var endpoints []string
	for range 3 {
		k := newLink(t, etcd)
		links, endpoints = append(links, k), append(endpoints, k.endpoints()...)
	}
	cfg := config(prefix(), 1)
	cfg.Endpoints, cfg.LeaseTTL = endpoints, time.Minute
	m := run(t, cfg, (*cluster.Cluster).NoPings)
	healthy(t, m)
	for range 30 { // so that there are connections to all of them
		noErr(t, m.Publish(t.Context(), version("k", `"1"`)))
	}
	links[1].Lose()
	eventually(t, "thirty calls in a row succeed", func() bool {
		for range 30 {
			if m.Publish(t.Context(), version("k", `"1"`)) != nil {
				return false
			}
		}
		return true
	})
}

// A short cut costs nothing: the lease lives, and all that stands under it.
func TestShortCutKeepsTheLease(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	ab, bb := board(t, a, v), board(t, b, v)
	w := watch(t, ab)
	claims(t, ab, 0)
	lease := a.LeaseID()
	k.Cut()
	noErr(t, bb.Land(t.Context(), 1, make([]byte, 20)))
	if won := claims(t, bb, 0); won[0] {
		t.Error("the claim did not last")
	}
	k.Mend()
	healthy(t, a)
	w.until(t, "what happened meanwhile is told", func(w *view) bool { return w.spans[1].Landed })
	// A call may still meet a connection that is about to be given up.
	eventually(t, "progress", func() bool { return ab.Progress(t.Context(), 0, make([]byte, 20)) == nil })
	eventually(t, "landed", func() bool { return ab.Land(t.Context(), 0, make([]byte, 40)) == nil })
	if a.LeaseID() != lease {
		t.Error("another lease")
	}
}

// A cut that outlives the lease ends what stood under it. Once etcd is back the
// node stands there again, takes part, and has the claims that nobody took.
func TestLongCutIsMadeGood(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), 2*time.Second
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	ab, bb := board(t, a, v), board(t, b, v)
	w := watch(t, bb)
	claims(t, ab, 0, 1, 2, 3)
	hashes := bytes.Repeat([]byte("0123456789"), 8)
	noErr(t, ab.Progress(t.Context(), 1, hashes[:20]))
	noErr(t, ab.Land(t.Context(), 4, hashes))
	w.until(t, "landed", func(w *view) bool { return w.spans[4].Landed })
	won, err := ab.Claim(t.Context(), []swarmcache.SpanRecord{w.spans[4]}) // it died with its holder
	if noErr(t, err); !won[0] {
		t.Fatal("cannot be claimed again")
	}
	left := board(t, a, version("left", `"1"`))
	wLeft := watch(t, board(t, b, version("left", `"1"`)))
	claims(t, left, 0)
	wLeft.until(t, "claimed", func(w *view) bool { return w.spans[0].Owner == "node-1" })
	owned := func(spans ...int) func(*view) bool {
		return func(w *view) bool {
			n := 0
			for _, s := range w.spans {
				if s.Owner == "node-1" {
					n++
				}
			}
			for _, i := range spans {
				if w.spans[i].Owner != "node-1" {
					return false
				}
			}
			return n == len(spans)
		}
	}
	w.until(t, "claimed", owned(0, 1, 2, 3, 4))

	k.Cut()
	w.until(t, "all is free", owned())
	if won := claims(t, bb, 2); !won[0] {
		t.Fatal("span 2 cannot be claimed")
	}
	noErr(t, bb.Land(t.Context(), 3, hashes))
	if err := left.Leave(t.Context()); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Fatal(err)
	}
	k.Mend()
	w.until(t, "it has what nobody took, and its hashes", func(w *view) bool {
		return owned(0, 1, 4)(w) && w.nodes["node-1"] && bytes.Equal(w.spans[1].Hashes, hashes[:20]) &&
			w.spans[4].Landed && bytes.Equal(w.spans[4].Hashes, hashes)
	})
	nodes, err := b.Nodes(t.Context())
	if noErr(t, err); len(nodes) != 2 {
		t.Errorf("%d nodes", len(nodes))
	}
	noErr(t, ab.Progress(t.Context(), 1, hashes[:40]))
	noErr(t, ab.Land(t.Context(), 1, hashes))
	noErr(t, ab.Land(t.Context(), 2, hashes)) // another has it now, and the bytes are right
	noErr(t, ab.Release(t.Context(), 0, 4))
	w.until(t, "nothing is claimed", func(w *view) bool {
		_, stands := w.spans[0]
		return owned()(w) && !stands && w.spans[1].Landed && w.spans[2].Landed && w.spans[4].Landed
	})
	wLeft.until(t, "who left does not come back", func(w *view) bool { return len(w.spans) == 0 && !w.nodes["node-1"] })
}

// A wait for another's claim has no other end than the claim's, whatever happens
// to the connection in between.
func TestWatchOutlivesManyInterruptions(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	w := watch(t, board(t, a, v))
	bb := board(t, b, v)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int)
	go func() {
		i := 0
		for ; ctx.Err() == nil; i++ {
			if err := bb.Land(t.Context(), i, make([]byte, 20)); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		done <- i
	}()
	for range 4 {
		seen := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.spans) }
		n := seen()
		eventually(t, "something is seen", func() bool { return seen() > n })
		k.Cut()
		k.Mend()
	}
	cancel()
	landed := <-done
	w.until(t, "every landing is told", func(w *view) bool { return len(w.spans) == landed })
}
