package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// grace is what a teardown still gets when the drain timeout is used up: enough
// to give leases back and to close the catalogue.
const grace = 2 * time.Second

// stack holds the teardown of everything that was started. Each is pushed as
// soon as the thing exists, and closing runs them backwards.
type stack struct {
	log *slog.Logger

	mu    sync.Mutex // guards steps; not held while one runs
	steps []teardown
}

type teardown struct {
	name string
	stop func(context.Context) error
}

// push registers the teardown of what has just come to be. stop should return
// when its context ends; one that does not is abandoned.
func (s *stack) push(name string, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, teardown{name, stop})
}

// close runs the teardowns backwards. Together they have until ctx ends, then
// each that is left has the grace period. A second close does nothing.
func (s *stack) close(ctx context.Context) error {
	s.mu.Lock()
	steps := s.steps
	s.steps = nil
	s.mu.Unlock()
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		if err := s.run(ctx, steps[i]); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", steps[i].name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *stack) run(ctx context.Context, t teardown) error {
	stepCtx, cancel := ctx, context.CancelFunc(func() {})
	if ctx.Err() != nil {
		stepCtx, cancel = context.WithTimeout(context.WithoutCancel(ctx), grace)
	}
	defer cancel()
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- t.stop(stepCtx) }()
	select {
	case err := <-done:
		s.log.Debug("stopped", "part", t.name, "took", time.Since(began))
		return err
	case <-stepCtx.Done():
	}
	// It was told; give it the moment it needs to obey.
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("abandoned after %s", time.Since(began).Round(time.Millisecond))
	}
}
