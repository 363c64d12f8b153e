package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
)

// daemon is everything that runs between start and stop.
type daemon struct {
	cfg     Config
	log     *slog.Logger
	build   build
	reg     *prometheus.Registry
	ready   *readiness
	admin   *adminServer
	adminLn net.Listener
	sockets *listeners

	// What an operator can change while it runs; see reload.
	reloading sync.Mutex // one at a time
	again     func() (*loaded, error)
	level     *slog.LevelVar // of log; nil: it stays
	current   atomic.Pointer[loaded]
	rules     atomic.Pointer[policy.Rules]
	parts     atomic.Pointer[parts] // nil: the daemon is starting, or stops

	now       func() time.Time // this machine's clock
	started   time.Time
	proxyAddr string        // where clients connect
	patience  time.Duration // with the directory, at the start
	events    *events.Hub
	stack     stack
	failed    chan error // the first part that ended by itself
}

// serve runs a daemon whose configuration stays as it is.
func serve(ctx context.Context, cfg Config, log *slog.Logger) error {
	return newDaemon(cfg, log).serve(ctx)
}

// serve runs the daemon until ctx ends, which is a wish to stop and no error,
// or a part of it fails.
func (d *daemon) serve(ctx context.Context) error {
	err := d.start(ctx)
	if err == nil {
		err = d.wait(ctx)
	}
	d.stop()
	return err
}

// machineClock is the clock of a daemon. Tests set it wrong.
var machineClock = time.Now

func newDaemon(cfg Config, log *slog.Logger) *daemon {
	b := buildInfo()
	d := &daemon{
		cfg: cfg, log: log, build: b,
		reg:    newRegistry(b),
		ready:  newReadiness(),
		stack:  stack{log: log},
		failed: make(chan error, 1), patience: patience, now: machineClock, started: time.Now(), events: events.New(4096),
	}
	d.admin = newAdmin(d.ready, d.reg)
	d.current.Store(&loaded{Config: cfg})
	d.rules.Store(cfg.Policy())
	return d
}

// start brings the parts up in order, and registers the teardown of each as
// soon as it exists. It is long and straight because each part needs those
// before it.
func (d *daemon) start(ctx context.Context) error {
	d.log.Info("starting", "version", d.build.Version, "revision", d.build.Revision, "data_dir", d.cfg.DataDir, "node", d.cfg.Node.Name)
	listening := d.ready.required("listeners")
	if file := d.cfg.Admin.TokenFile; file != "" {
		token, err := readToken(file)
		if err != nil {
			return err
		}
		d.admin.token.Store(&token)
	}

	data, err := openDataDir(d.cfg.DataDir)
	if err != nil {
		return err
	}
	d.stack.push("data directory", func(context.Context) error { return data.Close() })

	if d.sockets, err = inheritListeners(); err != nil {
		return err
	}
	adminLn, err := d.listen(ctx, "admin", d.cfg.Admin.Listen)
	if err != nil {
		return err
	}
	d.adminLn = adminLn
	d.serveHTTP("admin", adminLn, d.admin.server(d.admin.handler()))
	if err := d.startSocket(ctx); err != nil {
		return err
	}
	// Who listens would hold the admin servers up.
	d.stack.push("events", func(context.Context) error { d.events.Close(); return nil })

	if err := d.startParts(ctx); err != nil {
		return err
	}

	for _, name := range d.sockets.close() {
		d.log.Warn("a socket passed by systemd is not used", "name", name)
	}
	d.run("readiness events", d.watchReadiness)
	listening.report(nil)
	d.run("ready notice", d.announceReady)
	return nil
}

// wait blocks until the daemon is asked to stop or a part of it has failed.
func (d *daemon) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		d.log.Info("draining", "cause", context.Cause(ctx).Error(), "timeout", d.current.Load().DrainTimeout)
		return nil
	case err := <-d.failed:
		d.log.Error("a part failed, stopping", "error", err)
		return err
	}
}

// stop tears everything down, in bounded time.
func (d *daemon) stop() {
	// First of all another node takes the lead over, while this one still answers:
	// what else was started late may take its time to stop.
	if p := d.parts.Swap(nil); p != nil {
		d.stack.push("farewell", func(ctx context.Context) error { return d.drain(ctx, p, true) })
	}
	d.notify(sd.SdNotifyStopping)
	d.ready.drain(true)
	ctx, cancel := context.WithTimeoutCause(context.Background(), d.current.Load().DrainTimeout, errors.New("drain timeout"))
	defer cancel()
	if err := d.stack.close(ctx); err != nil {
		d.log.Warn("not everything stopped cleanly", "error", err)
	}
	d.log.Info("stopped")
}

// listen opens the listener called name, inherited or new, and closes it at the
// end. What Validate asked of the address holds for inherited sockets too.
func (d *daemon) listen(ctx context.Context, name, addr string) (net.Listener, error) {
	ln, err := d.sockets.listen(ctx, name, addr)
	if err != nil {
		return nil, err
	}
	d.stack.push(name+" listener", func(context.Context) error {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil // its server has closed it
	})
	if exposed(ln) && (name == "admin" && d.admin.token.Load() == nil || name == "proxy" && len(d.cfg.Proxy.Allow) == 0) {
		return nil, usage("bind the socket unit to a loopback address, or set --allow for the proxy, --admin-token-file for admin",
			"%s listener: the socket passed in, %s, is reachable from other machines", name, ln.Addr())
	}
	d.log.Info("listening", "listener", name, "addr", ln.Addr().String())
	return ln, nil
}

// serveHTTP serves on ln until the daemon stops; running requests may finish.
func (d *daemon) serveHTTP(name string, ln net.Listener, srv *http.Server) {
	srv.ErrorLog = slog.NewLogLogger(d.log.With("component", name).Handler(), slog.LevelDebug)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			d.fail(name, err)
		}
	}()
	d.stack.push(name+" server", func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		if err != nil { // requests still run: cut them
			srv.Close()
		}
		<-done
		return err
	})
}

// run runs a part until the daemon stops, in its turn of the stack and not
// before: its context does not end with the wish to stop.
func (d *daemon) run(name string, part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := part(ctx); err != nil && ctx.Err() == nil {
			d.fail(name, err)
		}
	}()
	d.stack.push(name, func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// fail makes the daemon stop because a part cannot go on.
func (d *daemon) fail(name string, err error) {
	select {
	case d.failed <- fmt.Errorf("%s: %w", name, err):
	default: // another part was first
	}
}

// announceReady tells systemd and the log once the node is ready.
func (d *daemon) announceReady(ctx context.Context) error {
	if err := d.ready.wait(ctx); err != nil {
		return nil // stopped before it was
	}
	d.log.Info("ready", "try", "http_proxy=http://"+dialable(d.proxyAddr)+" wget URL")
	d.notify(sd.SdNotifyReady)
	return nil
}

func (d *daemon) notify(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		d.log.Warn("systemd was not notified", "state", state, "error", err)
	}
}
