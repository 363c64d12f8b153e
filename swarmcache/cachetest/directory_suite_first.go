package cachetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// The claim on the first request for a key.

func claimFirst(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	const key = "http://o/a"
	release, _, err := a.ClaimFirst(l.ctx, key)
	noErr(t, err)
	other, _, err := b.ClaimFirst(l.ctx, "http://o/b")
	noErr(t, err)
	defer other()
	waited := make(chan error, 1)
	go func() {
		_, _, err := b.ClaimFirst(l.ctx, key)
		waited <- err
	}()
	select {
	case err := <-waited:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	release()
	release()
	var held *swarmcache.ClaimedError
	if err := <-waited; !errors.As(err, &held) || held.Holder != "node-1" {
		t.Fatalf("%v, want to be told that node-1 held it", err)
	}
	eventually(t, "the next may claim", func() bool {
		release, _, err := b.ClaimFirst(l.ctx, key)
		if err == nil {
			release()
		}
		return err == nil
	})
}

// Who waits for a claim is told as soon as there is a fill to join.
func claimFirstFill(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	v := version("http://o/a", `"1"`, noon)
	release, _, err := a.ClaimFirst(l.ctx, v.Key)
	noErr(t, err)
	other, _, err := a.ClaimFirst(l.ctx, "http://o/b")
	noErr(t, err)
	defer other()
	waited := make(chan error, 1)
	go func() {
		_, _, err := b.ClaimFirst(l.ctx, v.Key)
		waited <- err
	}()
	_, _, err = a.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	var held *swarmcache.ClaimedError
	if err := <-waited; !errors.As(err, &held) {
		t.Fatalf("waited: %v", err)
	}
	if _, fill, err := b.Lookup(l.ctx, v.Key); err != nil || fill == nil {
		t.Fatalf("no fill: %v", err)
	}
	release() // of nothing
	brief, cancel := context.WithTimeout(l.ctx, 100*time.Millisecond)
	defer cancel()
	if _, _, err := b.ClaimFirst(brief, "http://o/b"); !errors.As(err, &held) {
		t.Fatalf("the claim on another key is gone: %v", err)
	}
}

func claimFirstKnown(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	stored, filled := version("http://o/stored", `"1"`, noon), version("http://o/filled", `"1"`, noon)
	refused := func(key policy.Key) {
		t.Helper()
		var held *swarmcache.ClaimedError
		if _, _, err := b.ClaimFirst(l.ctx, key); !errors.As(err, &held) || held.Holder != "" || held.There == nil {
			t.Fatalf("%v, want to be told that there is nothing to claim", err)
		}
	}
	granted := func(key policy.Key, fresh bool) {
		t.Helper()
		release, got, err := b.ClaimFirst(l.ctx, key)
		noErr(t, err)
		if got != fresh {
			t.Fatalf("fresh: %v, want %v", got, fresh)
		}
		release()
	}
	noErr(t, a.Publish(l.ctx, stored))
	refused(stored.Key)
	noErr(t, a.Withdraw(l.ctx, stored.Key))
	granted(stored.Key, true)

	r, board, err := a.OpenFill(l.ctx, swarmcache.FillRecord{Version: filled, MaxSpan: 4, Opener: "node-1"})
	noErr(t, err)
	refused(filled.Key)
	r.Ended = swarmcache.EndChanged
	noErr(t, board.Update(l.ctx, r))
	granted(filled.Key, false)
}

func claimFirstLease(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	_, _, err := a.ClaimFirst(l.ctx, "http://o/a")
	noErr(t, err)
	waited := make(chan error, 1)
	go func() {
		_, _, err := b.ClaimFirst(l.ctx, "http://o/a")
		waited <- err
	}()
	l.Expire("node-1")
	var held *swarmcache.ClaimedError
	if err := <-waited; err != nil && !errors.As(err, &held) {
		t.Fatal(err)
	}
}

func claimFirstContext(t *testing.T, l lab) {
	release, _, err := l.node(1).ClaimFirst(l.ctx, "http://o/a")
	noErr(t, err)
	defer release()
	ctx, cancel := context.WithTimeout(l.ctx, 300*time.Millisecond)
	defer cancel()
	var held *swarmcache.ClaimedError
	if _, _, err := l.node(2).ClaimFirst(ctx, "http://o/a"); !errors.As(err, &held) {
		t.Fatal(err)
	}
}
