package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadiness()
		state := func(want string, ready bool) {
			t.Helper()
			if got := r.report(); got.State != want || got.Ready != ready {
				t.Errorf("%+v; want %s", got, want)
			}
		}
		state(stateOK, true) // nothing to wait for

		listeners, directory := r.required("listeners"), r.helpful("directory", patience)
		state(stateWaiting, false)
		listeners.report(nil)
		state(stateWaiting, false) // for first contact

		time.Sleep(patience)
		state(stateDegraded, true) // 10 s gone
		directory.report(nil)
		state(stateOK, true)
		directory.report(errors.New("connection refused"))
		state(stateDegraded, true) // lost later
		if got := r.report().Checks[1]; got.Reason != "connection refused" {
			t.Errorf("%+v", got)
		}
		listeners.report(errors.New("closed"))
		state(stateFailed, false)
		listeners.report(nil)
		r.drain(true)
		state(stateDraining, false)
	})
}

func TestReadinessWait(t *testing.T) {
	for name, tt := range map[string]struct {
		contact time.Duration // first contact with the directory; 0: never
		want    time.Duration
	}{
		"first contact":    {3 * time.Second, 3 * time.Second},
		"patience is gone": {0, patience},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReadiness()
				r.required("catalogue").report(nil)
				directory := r.helpful("directory", patience)
				if tt.contact > 0 {
					time.AfterFunc(tt.contact, func() { directory.report(nil) })
				}
				began := time.Now()
				if err := r.wait(t.Context()); err != nil || time.Since(began) != tt.want {
					t.Errorf("ready after %s, %v; want %s", time.Since(began), err, tt.want)
				}
			})
		})
	}
}

func TestReadinessWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadiness()
		r.required("catalogue")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Hour)
		defer cancel()
		if err := r.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}
