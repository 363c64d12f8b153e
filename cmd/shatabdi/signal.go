package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// errSignalled is the cause of a context that ended because of TERM or INT.
var errSignalled = errors.New("asked to stop")

// untilSignal returns a context that ends with the first TERM or INT; the
// second one calls abort. HUP calls hangup.
func untilSignal(parent context.Context, log *slog.Logger, hangup, abort func()) (context.Context, context.CancelFunc) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ctx, cancel := context.WithCancelCause(parent)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case sig := <-signals:
				onSignal(ctx, sig, log, cancel, hangup, abort)
			case <-quit:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(quit)
		<-ended
		cancel(nil)
	}
}

func onSignal(ctx context.Context, sig os.Signal, log *slog.Logger, cancel context.CancelCauseFunc, hangup, abort func()) {
	switch {
	case sig == syscall.SIGHUP:
		hangup()
	case ctx.Err() != nil:
		log.Warn("second signal, stopping at once", "signal", sig.String())
		abort()
	default:
		log.Info("stopping; a second signal stops at once", "signal", sig.String())
		cancel(fmt.Errorf("%w by %s", errSignalled, sig))
	}
}
