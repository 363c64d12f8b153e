package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// An etcd that is slow, and answered a moment ago, is waited for: whoever took it for
// away would fetch from the origin what another node has. What it was asked before it
// was given up counts.
func TestSlowIsNotAway(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), time.Minute, 500*time.Millisecond
	m, other := join(t, cfg), join(t, config(p, 2))
	// slowly does f while nothing comes through for longer than a call has.
	slowly := func(f func() error) {
		t.Helper()
		healthy(t, m)
		k.silent.Lock()
		time.AfterFunc(800*time.Millisecond, k.silent.Unlock)
		noErr(t, f())
	}
	for i := range 3 {
		v := version(policy.Key(fmt.Sprint("k", i)), `"1"`)
		var release func()
		slowly(func() (err error) { release, _, err = m.ClaimFirst(t.Context(), v.Key); return err })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		var taken *swarmcache.ClaimedError
		if _, _, err := other.ClaimFirst(ctx, v.Key); !errors.As(err, &taken) || taken.Holder != "node-1" {
			t.Fatalf("the claim does not stand: %v", err)
		}
		cancel()

		var b swarmcache.Board
		slowly(func() (err error) { _, b, err = m.OpenFill(t.Context(), fill(v), 0, 1); return err })
		if b == nil {
			t.Fatal("somebody else has opened it")
		}
		release()
		w := watch(t, board(t, other, v))
		w.until(t, "its opener, with its spans", func(w *view) bool {
			return w.nodes["node-1"] && w.spans[0].Owner == "node-1" && w.spans[1].Owner == "node-1"
		})
		noErr(t, b.Land(t.Context(), 0, make([]byte, 20)))
		noErr(t, b.Release(t.Context(), 1))
		w.until(t, "what it did", func(w *view) bool { return w.spans[0].Landed && w.spans[1].Owner == "" })
	}
}

// A claim on the first GET is taken for one's own only by who made it, and giving back
// one that failed, or an older one, takes nothing from the next.
func TestFirstClaimsOfANodeAreNotMixedUp(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), time.Minute, 500*time.Millisecond
	m, other := join(t, cfg), join(t, config(p, 2))
	stands := func(key policy.Key) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var taken *swarmcache.ClaimedError
		if _, _, err := other.ClaimFirst(ctx, key); !errors.As(err, &taken) || taken.Holder != "node-1" {
			t.Errorf("the claim on %s does not stand: %v", key, err)
		}
	}
	old, _, err := m.ClaimFirst(t.Context(), "owed")
	noErr(t, err)
	_, _, err = m.ClaimFirst(t.Context(), "held")
	noErr(t, err)

	k.silent.Lock()
	time.AfterFunc(800*time.Millisecond, k.silent.Unlock)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var taken *swarmcache.ClaimedError
	if _, _, err := m.ClaimFirst(ctx, "held"); !errors.As(err, &taken) || taken.Holder != "node-1" {
		t.Errorf("two have the claim: %v", err)
	}
	stands("held")

	healthy(t, m)
	k.Cut()
	eventually(t, "away", func() bool { return !m.Healthy() })
	old()
	if m.Debts() == 0 {
		t.Fatal("nothing is owed")
	}
	owed := m.Debts()
	if _, _, err := m.ClaimFirst(t.Context(), "other"); !errors.Is(err, swarmcache.ErrUnavailable) || m.Debts() != owed {
		t.Errorf("owed for what was not asked: %d, %d; %v", owed, m.Debts(), err)
	}
	k.Mend()
	eventually(t, "paid", func() bool { return m.Debts() == 0 })
	_, _, err = m.ClaimFirst(t.Context(), "owed")
	noErr(t, err)
	old()
	stands("owed")
}

// Who leaves while a slow etcd is waited for does not find it away.
func TestWhoLeavesHasNotFoundEtcdAway(t *testing.T) {
	t.Parallel()
	k := newLink(t, etcd)
	cfg := config(prefix(), 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
	m := join(t, cfg)
	k.silent.Lock()
	defer k.silent.Unlock()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		for m.Healthy() {
			time.Sleep(time.Millisecond)
		}
		leave()
	}()
	if _, _, err := m.ClaimFirst(ctx, "k"); !errors.Is(err, context.Canceled) || errors.Is(err, swarmcache.ErrUnavailable) {
		t.Error(err)
	}
}
