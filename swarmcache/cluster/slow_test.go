package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
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

// A request that has waited long for it does not begin anew with each thing it asks.
func TestPatienceIsThatOfARequest(t *testing.T) {
	t.Parallel()
	k := newLink(t, etcd)
	cfg := config(prefix(), 1)
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), time.Minute, 500*time.Millisecond
	m := join(t, cfg)
	ctx := swarmcache.Patiently(t.Context())
	patience := swarmcache.PatienceOf(ctx)
	for _, first := range []bool{true, false} {
		healthy(t, m)
		k.silent.Lock()
		time.AfterFunc(800*time.Millisecond, k.silent.Unlock)
		_, _, err := m.ClaimFirst(swarmcache.Patiently(ctx), policy.Key(fmt.Sprint("first ", first)))
		if patience.Spent() == 0 || first != (err == nil) || !first && !errors.Is(err, swarmcache.ErrUnavailable) {
			t.Errorf("first %v: waited %v in all: %v", first, patience.Spent(), err)
		}
		patience.Spend(time.Minute)
	}
}

// An etcd that stays slow is asked by who can wait, and nobody's first byte waits for it.
func TestSlowEtcdIsAskedByThePatient(t *testing.T) {
	t.Parallel()
	k := newLink(t, etcd)
	cfg := config(prefix(), 1)
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), time.Minute, 10*time.Second
	m := join(t, cfg)
	v := version("k", `"1"`)
	k.delay.Store(int64(260 * time.Millisecond)) // there and back it is more than is awaited
	eventually(t, "away", func() bool { m.Lookup(t.Context(), v.Key); return !m.Healthy() })
	release, _, err := m.ClaimFirst(t.Context(), v.Key)
	noErr(t, err)
	defer release()
	for i := range 2 {
		if i > 0 {
			_, b, err := m.OpenFill(t.Context(), fill(v), 0)
			noErr(t, err)
			noErr(t, b.Land(t.Context(), 0, make([]byte, 20)))
		}
		if _, _, err := m.Lookup(t.Context(), v.Key); m.Healthy() || !errors.Is(err, swarmcache.ErrUnavailable) {
			t.Errorf("a client waits for it: %v", err)
		}
	}
	k.delay.Store(0)
	healthy(t, m)
}

// What stands of an earlier fill is not taken for the one that was to be opened: its spans
// may be others.
func TestAnotherOpeningIsNotAdopted(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL, cfg.CallTimeout = k.endpoints(), time.Minute, 500*time.Millisecond
	m := join(t, cfg)
	v := version("k", `"1"`)
	opened, _, err := m.OpenFill(t.Context(), fill(v), 0, 1, 2)
	noErr(t, err)
	next := opened
	next.MaxSpan *= 2
	k.silent.Lock()
	time.AfterFunc(800*time.Millisecond, k.silent.Unlock)
	stands, b, err := m.OpenFill(t.Context(), next, 0)
	noErr(t, err)
	if b != nil || stands.MaxSpan != opened.MaxSpan {
		t.Errorf("spans of %d are taken for those of %d", stands.MaxSpan, next.MaxSpan)
	}
}

// A fill that is opened late, while nothing told of it, is for the origin to confirm:
// who opens it knows, and all who find it.
func TestFillThatIsOpenedLateIsToBeConfirmed(t *testing.T) {
	t.Parallel()
	p := prefix()
	soon, late := join(t, config(p, 1)), run(t, config(p, 2), func(c *cluster.Cluster) { c.Late(0) })
	healthy(t, late)
	for _, c := range []struct {
		m             *member
		claimed, want bool
	}{{soon, true, false}, {soon, false, false}, {late, true, false}, {late, false, true}} {
		v := version(policy.Key(fmt.Sprint(c)), `"1"`)
		if c.claimed {
			release, _, err := c.m.ClaimFirst(t.Context(), v.Key)
			noErr(t, err)
			defer release()
		}
		r, b, err := c.m.OpenFill(t.Context(), fill(v), 0)
		noErr(t, err)
		_, found, err := soon.Lookup(t.Context(), v.Key)
		noErr(t, err)
		stands, _, err := soon.OpenFill(t.Context(), fill(v))
		noErr(t, err)
		if b == nil || r.Version.Stored.Invalid != c.want || found.Version.Stored.Invalid != c.want || stands.Version.Stored.Invalid != c.want {
			t.Errorf("late %v, claimed %v: to be confirmed %v; for others %v, %v", c.m == late, c.claimed,
				r.Version.Stored.Invalid, found.Version.Stored.Invalid, stands.Version.Stored.Invalid)
		}
	}
}

// What is owed of an opening that failed waits until it is known what became of the next.
func TestDebtsOfAFillWaitForItsOpening(t *testing.T) {
	t.Parallel()
	m := join(t, config(prefix(), 1))
	if left := m.PayWhileOpening(t.Context(), version("k", `"1"`).ID); left != 1 {
		t.Errorf("%d debts are left", left)
	}
	eventually(t, "paid", func() bool { return m.Debts() == 0 })
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
	eventually(t, "paid, and claimed again", func() bool {
		_, _, err := m.ClaimFirst(t.Context(), "owed")
		return err == nil
	})
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
