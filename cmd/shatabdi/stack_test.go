package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func TestStackRunsBackwardsAndOnce(t *testing.T) {
	s := stack{log: quiet}
	var order []string
	for _, name := range []string{"index", "swarm", "proxy"} {
		s.push(name, func(context.Context) error {
			order = append(order, name)
			return errors.New("no")
		})
	}
	err := s.close(t.Context())
	if !slices.Equal(order, []string{"proxy", "swarm", "index"}) {
		t.Errorf("order %q", order)
	}
	if err == nil || !strings.Contains(err.Error(), "stop swarm: no") {
		t.Errorf("%v", err)
	}
	if err := s.close(t.Context()); err != nil || len(order) != 3 {
		t.Errorf("again: %v, %q", err, order)
	}
}

// A part that takes all the time, and one that ignores its context, do not keep
// the rest from being stopped.
func TestStackIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stack{log: quiet}
		release := make(chan struct{})
		defer close(release)
		closed := false
		s.push("catalogue", func(ctx context.Context) error {
			closed = ctx.Err() == nil
			return nil
		})
		s.push("deaf", func(context.Context) error { <-release; return nil })
		s.push("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		err := s.close(ctx)
		if !closed {
			t.Error("the catalogue was not closed, or with a context that had ended")
		}
		if err == nil || !strings.Contains(err.Error(), "stop deaf: abandoned") || !strings.Contains(err.Error(), "stop slow") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took != 10*time.Second+2*grace {
			t.Errorf("took %s", took)
		}
	})
}

func TestSignals(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	ctx, cancel := context.WithCancelCause(t.Context())
	aborted, reloaded := 0, 0
	send := func(sig syscall.Signal) { onSignal(ctx, sig, log, cancel, func() { reloaded++ }, func() { aborted++ }) }

	send(syscall.SIGHUP)
	if ctx.Err() != nil || reloaded != 1 {
		t.Fatalf("HUP: %v, %s", ctx.Err(), &out)
	}
	send(syscall.SIGTERM)
	if !errors.Is(context.Cause(ctx), errSignalled) || aborted != 0 {
		t.Fatalf("TERM: %v, aborted %d", context.Cause(ctx), aborted)
	}
	send(syscall.SIGINT)
	if aborted != 1 {
		t.Errorf("a second signal did not stop at once")
	}
}

func TestSignalEndsTheContext(t *testing.T) {
	ctx, stop := untilSignal(t.Context(), quiet, func() {}, func() { t.Error("aborted") })
	defer stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errSignalled) {
		t.Errorf("%v", context.Cause(ctx))
	}
}
