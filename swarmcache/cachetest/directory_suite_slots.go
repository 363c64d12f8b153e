package cachetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/swarmcache"
)

const origin = "http://o:80"

// awaited is a slot that is claimed in the background.
type awaited struct {
	release chan func()
	cancel  context.CancelFunc
	err     chan error
}

func (l lab) slot(d swarmcache.Directory, n int) awaited {
	ctx, cancel := context.WithCancel(l.ctx)
	a := awaited{make(chan func(), 1), cancel, make(chan error, 1)}
	go func() {
		release, err := d.ClaimSlot(ctx, origin, n)
		if err != nil {
			a.err <- err
			return
		}
		a.release <- release
	}()
	return a
}

func (a awaited) mustCome(t *testing.T, l lab) func() {
	t.Helper()
	select {
	case release := <-a.release:
		return release
	case err := <-a.err:
		t.Fatal(err)
	case <-l.ctx.Done():
		t.Fatal("no slot")
	}
	return nil
}

func (a awaited) mustWait(t *testing.T) {
	t.Helper()
	select {
	case <-a.release:
		t.Fatal("one slot too many")
	case err := <-a.err:
		t.Fatal(err)
	case <-time.After(100 * time.Millisecond):
	}
}

func slotsBounded(t *testing.T, l lab) {
	var release []func()
	for i := range 3 {
		release = append(release, l.slot(l.node(i), 3).mustCome(t, l))
	}
	other := l.slot(l.node(3), 3)
	same := l.slot(l.node(0), 3)
	other.mustWait(t)
	same.mustWait(t)
	release[1]()
	release[1]() // twice gives back one
	release[2]()
	other.mustCome(t, l)
	same.mustCome(t, l)
	l.slot(l.node(1), 3).mustWait(t)
}

func slotsApart(t *testing.T, l lab) {
	for _, origin := range []string{"http://o:80", "https://o:80", "http://o:81", "http://p:80"} {
		_, err := l.node(1).ClaimSlot(l.ctx, origin, 1)
		noErr(t, err)
	}
}

func slotAgain(t *testing.T, l lab) {
	d := l.node(1)
	for range 20 {
		release, err := d.ClaimSlot(l.ctx, origin, 2)
		noErr(t, err)
		release()
	}
}

func slotInLine(t *testing.T, l lab) {
	release := l.slot(l.node(1), 1).mustCome(t, l)
	a, b, c := l.slot(l.node(2), 1), l.slot(l.node(3), 1), l.slot(l.node(1), 1)
	a.mustWait(t)
	release()
	for range 3 { // in whatever order
		select {
		case release = <-a.release:
		case release = <-b.release:
		case release = <-c.release:
		case <-l.ctx.Done():
			t.Fatal("somebody starves")
		}
		release()
	}
}

func slotLease(t *testing.T, l lab) {
	l.slot(l.node(1), 1).mustCome(t, l)
	b := l.slot(l.node(2), 1)
	b.mustWait(t)
	l.Expire("node-1")
	b.mustCome(t, l)
}

func slotContext(t *testing.T, l lab) {
	release := l.slot(l.node(1), 1).mustCome(t, l)
	a, b := l.slot(l.node(2), 1), l.slot(l.node(3), 1)
	a.mustWait(t)
	a.cancel()
	select {
	case err := <-a.err:
		wantErr(t, err, context.Canceled)
	case <-l.ctx.Done():
		t.Fatal("it waits on")
	}
	release() // and the one who gave up holds nobody up
	b.mustCome(t, l)
}

func slotStorm(t *testing.T, l lab) {
	const nodes, calls, n = 4, 6, 3
	var now atomic.Int64
	var wg sync.WaitGroup
	for i := range nodes {
		d := l.node(i)
		for range calls {
			wg.Go(func() {
				for range 2 {
					ctx, cancel := context.WithTimeout(l.ctx, rand.N(10*time.Second))
					release, err := d.ClaimSlot(ctx, origin, n)
					switch {
					case err == nil:
						if k := now.Add(1); k > n {
							t.Errorf("%d at a time, want at most %d", k, n)
						}
						time.Sleep(rand.N(3 * time.Millisecond)) // a stream
						now.Add(-1)
						release()
					case !errors.Is(err, context.DeadlineExceeded):
						t.Error(err)
					}
					cancel()
				}
			})
		}
	}
	wg.Wait()
	l.slot(l.node(0), n).mustCome(t, l)
}
