package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/events"
)

// patience is how long the start waits for first contact with the directory.
const patience = 10 * time.Second

// readiness answers whether this node should get requests. Required checks
// (listeners, catalogue) must stand. Helpful ones (directory, tracker) hold the
// start up until first contact or for their patience; losing one later is
// degraded, which is still ready, because the proxy works without it.
type readiness struct {
	mu       sync.Mutex // guards everything below
	checks   []*check
	draining bool
	changed  chan struct{} // closed and replaced at every change
}

// check is one named condition of readiness.
type check struct {
	r        *readiness
	name     string
	required bool
	until    time.Time // helpful: waited for until then
	met      bool      // was ok at least once, or is not waited for
	err      error     // why it is not ok; nil: ok
}

// The states of a check, and of the node.
const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateWaiting  = "waiting"
	stateFailed   = "failed"
	stateDraining = "draining"
)

var errNotYet = errors.New("not yet")

func newReadiness() *readiness { return &readiness{changed: make(chan struct{})} }

// required adds a check without which the node is not ready.
func (r *readiness) required(name string) *check { return r.add(&check{name: name, required: true}) }

// helpful adds a check that is waited for at the start, but not for ever.
func (r *readiness) helpful(name string, patience time.Duration) *check {
	return r.add(&check{name: name, until: time.Now().Add(patience)})
}

func (r *readiness) add(c *check) *check {
	c.r, c.err = r, errNotYet
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, c)
	r.changedLocked()
	return c
}

// report tells the state of the check: nil is ok.
func (c *check) report(err error) { c.set(err, err == nil) }

// settle tells its last state: it is not waited for any longer.
func (c *check) settle(err error) { c.set(err, true) }

func (c *check) set(err error, met bool) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.err = err
	c.met = c.met || met
	c.r.changedLocked()
}

// drain makes the node unready, so that load balancers leave it alone, or ends that.
func (r *readiness) drain(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = on
	r.changedLocked()
}

// wait blocks until the node is ready or ctx ends.
func (r *readiness) wait(ctx context.Context) error {
	for {
		r.mu.Lock()
		report, changed, next := r.reportLocked(time.Now()), r.changed, r.nextLocked(time.Now())
		r.mu.Unlock()
		if report.Ready {
			return nil
		}
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// report tells the state of the node and of each check.
func (r *readiness) report() api.Readiness {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reportLocked(time.Now())
}

func (r *readiness) reportLocked(now time.Time) api.Readiness {
	report := api.Readiness{State: stateOK, Checks: []api.Check{}}
	worst := []string{stateOK, stateDegraded, stateWaiting, stateFailed}
	for _, c := range r.checks {
		cr := api.Check{Name: c.name, State: c.state(now)}
		if c.err != nil {
			cr.Reason = c.err.Error()
		}
		report.Checks = append(report.Checks, cr)
		if slices.Index(worst, cr.State) > slices.Index(worst, report.State) {
			report.State = cr.State
		}
	}
	if r.draining {
		report.State = stateDraining
	}
	report.Ready = report.State == stateOK || report.State == stateDegraded
	return report
}

func (c *check) state(now time.Time) string {
	switch {
	case c.err == nil:
		return stateOK
	case c.required && !c.met:
		return stateWaiting
	case c.required:
		return stateFailed
	case !c.met && now.Before(c.until):
		return stateWaiting
	}
	return stateDegraded
}

// nextLocked is the time until patience with some check ends.
func (r *readiness) nextLocked(now time.Time) time.Duration {
	next := time.Hour
	for _, c := range r.checks {
		if d := c.until.Sub(now); d > 0 {
			next = min(next, d)
		}
	}
	return next
}

func (r *readiness) changedLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// watchReadiness tells of the node's states, as they change.
func (d *daemon) watchReadiness(ctx context.Context) error {
	told := ""
	for {
		d.ready.mu.Lock()
		report, changed := d.ready.reportLocked(time.Now()), d.ready.changed
		d.ready.mu.Unlock()
		if report.State != told {
			told = report.State
			var why []string
			for _, c := range report.Checks {
				if c.Reason != "" {
					why = append(why, c.Name+": "+c.Reason)
				}
			}
			d.events.Tell(events.Event{Kind: events.Readiness, State: told, Reason: strings.Join(why, "; ")})
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
