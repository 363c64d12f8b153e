package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"shatabdi/swarmcache"
)

// Between two attempts to reach an etcd that is away.
const (
	retryMin = 100 * time.Millisecond
	retryMax = time.Second
	// probeTimeout is how fast etcd must be to be trusted again after a failure: one
	// that needs two seconds for each request is as good as away to a client that waits.
	probeTimeout = 500 * time.Millisecond
	// awaitedTimeout bounds what a client's request waits for before it goes to
	// the origin instead: never block a request on the directory for more than a
	// small bound. One that took it opens the circuit for all who come after.
	awaitedTimeout = probeTimeout
	// patienceSlow is how long is waited for an etcd that answered within that time, and
	// talks, before a node goes to the origin for something large on its own.
	patienceSlow = 5 * time.Second
)

// dialTimeout is for TCP alone.
const dialTimeout = time.Second

var (
	errNotConnected = errors.New("not connected yet")
	errStopped      = errors.New("stopped")
	errLeaseLost    = errors.New("lease lost")
	errRestored     = errors.New("etcd has lost data")
)

// health is a circuit breaker: after one failure nobody waits for etcd again
// until a probe in the background succeeds. One that succeeds late lets those ask
// whom no client awaits, or who are patient.
type health struct {
	mu      sync.Mutex
	reason  error         // nil: up
	late    bool          // down, but the last probe succeeded late
	up      chan struct{} // closed while up
	first   chan struct{} // closed at first contact
	met     bool
	stopped bool
	tripped chan struct{} // room for one: wakes the prober
	ready   chan struct{} // room for one: there is a connection again
	renewed chan struct{} // closed, and replaced, when a new lease began

	connected context.Context // of requests: ended, and replaced, when there is no connection any more
	breakOff  context.CancelFunc
	heard     time.Time // when etcd last answered; zero: the connection broke since, or was silent
}

func (h *health) init() {
	h.reason = errNotConnected
	h.up, h.first, h.renewed = make(chan struct{}), make(chan struct{}), make(chan struct{})
	h.connected, h.breakOff = context.WithCancel(context.Background())
	h.tripped, h.ready = make(chan struct{}, 1), make(chan struct{}, 1)
}

// down opens the circuit. It reports whether it was closed.
func (h *health) down(reason error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	was := h.reason == nil
	h.reason, h.late = reason, false
	if was {
		h.up = make(chan struct{})
	}
	if h.stopped = reason == errStopped; h.stopped {
		close(h.up) // let those who wait find out
	}
	select {
	case h.tripped <- struct{}{}:
	default:
	}
	return was
}

// restore closes the circuit. It reports whether it was open.
func (h *health) restore() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason == nil || h.stopped {
		return false
	}
	h.reason, h.late = nil, false
	close(h.up)
	if !h.met {
		h.met = true
		close(h.first)
	}
	return true
}

// answered notes that etcd has answered.
func (h *health) answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = time.Now()
}

// answeredLate notes that a probe succeeded so late that the circuit stays open.
func (h *health) answeredLate() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.late = h.reason != nil && !h.stopped
}

// outOfTouch notes that what etcd answered lets hope for nothing.
func (h *health) outOfTouch() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard, h.late = time.Time{}, false
}

// slow reports whether etcd, which may not answer at the moment, did so within that time
// on a connection that still talks: so it will again.
func (h *health) slow(within time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.stopped && time.Since(h.heard) < within && !refused(h.reason)
}

func (h *health) renew() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.renewed)
	h.renewed = make(chan struct{})
}

// lost is closed when a new lease begins after this call: whoever follows etcd
// then reads afresh, because it may be another etcd.
func (h *health) lost() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.renewed
}

// broken ends the requests under way: there is no connection any more.
func (h *health) broken() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.breakOff()
	h.heard, h.late = time.Time{}, false
	h.connected, h.breakOff = context.WithCancel(context.Background())
}

func (h *health) state() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reason
}

// connection returns what ends with the connection, or why an operation, which may be
// awaited, is not to use it.
func (h *health) connection(awaited bool) (context.Context, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.late && !awaited {
		return h.connected, nil
	}
	return h.connected, h.reason
}

// wait waits until etcd can be asked.
func (h *health) wait(ctx context.Context) error {
	h.mu.Lock()
	up := h.up
	h.mu.Unlock()
	select {
	case <-up:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := h.state(); err == errStopped {
		return unavailable(err)
	}
	return nil
}

// State returns nil while the cluster can be asked, and otherwise why not; a
// *SchemeError when this program is of another time than the cluster, a
// *ForeignError when it is another cluster than the one this node belongs to.
func (c *Cluster) State() error { return c.health.state() }

// Healthy reports whether the cluster can be asked now.
func (c *Cluster) Healthy() bool { return c.State() == nil }

// FirstContact is closed when the cluster has been reached for the first time.
func (c *Cluster) FirstContact() <-chan struct{} { return c.health.first }

func unavailable(reason error) error {
	return fmt.Errorf("%w: %w", swarmcache.ErrUnavailable, reason)
}

// refusal is why etcd was not even asked.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// asked reports whether err is that of an operation that etcd may have heard of.
func asked(err error) bool {
	var r refusal
	return err != nil && !errors.As(err, &r)
}

// do runs one operation on etcd, bounded in time, and gives its error the
// meaning that swarmcache knows. f may ask more than once.
func (c *Cluster) do(ctx context.Context, o op, f func(context.Context, *clientv3.Client) error) error {
	connected, err := c.health.connection(o.awaited)
	if err != nil {
		c.m.requests.WithLabelValues(o.name, "refused").Inc()
		return unavailable(refusal{err})
	}
	client := c.client.Load()
	if client == nil {
		return unavailable(refusal{errStopped})
	}
	timeout := c.cfg.CallTimeout
	if o.awaited {
		timeout = min(timeout, awaitedTimeout)
	}
	start := time.Now()
	call, cancel := context.WithDeadline(ctx, start.Add(timeout+c.slack()))
	defer cancel()
	defer context.AfterFunc(connected, cancel)()
	err = f(call, client)
	c.m.seconds.WithLabelValues(o.name).Observe(time.Since(start).Seconds())
	if o.writes {
		c.m.writes.Inc()
	}
	if answer(err) {
		c.health.answered()
		c.m.requests.WithLabelValues(o.name, "ok").Inc()
		return err
	}
	err = fmt.Errorf("%s: %w", o.name, err)
	if errors.Is(ctx.Err(), context.Canceled) {
		c.m.requests.WithLabelValues(o.name, "canceled").Inc()
		return err // the caller went away: that says nothing about etcd
	}
	c.m.requests.WithLabelValues(o.name, "error").Inc()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		c.trip(errLeaseLost)
	case o.bulk:
	case away(err) && (call.Err() == nil || time.Since(start) >= probeTimeout+c.slack()):
		c.trip(err)
	}
	return unavailable(err)
}

// patiently has f ask etcd until it answers, while it is only slow: hundreds of nodes may
// ask it in the same moment, and who goes on alone costs the origin a body of its own. f
// is told whether it has tried before. Of the errors that which tells most counts: that
// etcd was asked. What is done for one request has one patience.
func (c *Cluster) patiently(ctx context.Context, f func(again bool) error) error {
	patience := swarmcache.PatienceOf(ctx)
	begun, end := time.Now(), time.Now().Add(patienceSlow+c.slack()-patience.Spent())
	again := false
	defer func() {
		if again {
			patience.Spend(time.Since(begun))
		}
	}()
	for last := error(nil); ; again = true {
		err := f(again)
		if errors.Is(err, swarmcache.ErrUnavailable) && asked(last) && !asked(err) {
			err = last
		}
		if last = err; !errors.Is(err, swarmcache.ErrUnavailable) || !away(err) || !c.isSlow() {
			return err
		}
		c.m.waits.Inc()
		for waits := true; waits; waits = !c.answers() {
			if !c.isSlow() || time.Now().After(end) {
				return err
			}
			if !pause(ctx, retryMin) {
				if errors.Is(ctx.Err(), context.Canceled) {
					return context.Cause(ctx) // who asked has left: that says nothing about etcd
				}
				return err
			}
		}
	}
}

// answers reports whether etcd can be asked by whoever has the time.
func (c *Cluster) answers() bool {
	_, err := c.health.connection(false)
	return err == nil
}

// isSlow reports whether an etcd that does not answer at the moment is expected to.
func (c *Cluster) isSlow() bool { return c.health.slow(patienceSlow + c.slack()) }

// answer reports whether err is what etcd had to say, not a failure to ask it.
func answer(err error) bool {
	var claimed *swarmcache.ClaimedError
	return err == nil || errors.Is(err, swarmcache.ErrNotFound) || errors.Is(err, swarmcache.ErrStale) || errors.Is(err, swarmcache.ErrPurged) ||
		errors.Is(err, swarmcache.ErrPoisoned) || errors.As(err, &claimed)
}

// away reports whether err means that etcd cannot be reached or does not keep
// up. Others, such as a quota that is used up, leave reading possible.
func away(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	code := status.Code(err)
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		code = e.Code()
	}
	switch code {
	case codes.ResourceExhausted, codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange,
		codes.PermissionDenied, codes.NotFound, codes.AlreadyExists:
		return false
	}
	return true
}

// trip is called for every request that shows that etcd is away.
func (c *Cluster) trip(reason error) {
	if c.health.down(reason) {
		c.log.Warn("etcd is away", "err", reason)
	}
	c.closeSilent()
}

// closeSilent closes the connections that are dead, and comes back, if etcd is away then,
// when the next one may be: no request need fail for that.
func (c *Cluster) closeSilent() {
	n, next := c.wires.closeSilent(silence + min(c.slack(), c.cfg.LeaseTTL/3)) // the lease is to outlive it
	if n > 0 {
		c.health.outOfTouch()
		c.log.Info("closed silent connections to etcd", "connections", n)
	}
	if next > 0 && c.listening.CompareAndSwap(false, true) {
		time.AfterFunc(next, func() {
			c.listening.Store(false)
			if !c.Healthy() {
				c.closeSilent()
			}
		})
	}
}

func (c *Cluster) restore() {
	if c.health.restore() {
		c.log.Info("etcd answers")
	}
}

// watchConnection trips the circuit as soon as the connection breaks, so that
// no request has to wait for its timeout, and has etcd tried when there is one
// again.
func (c *Cluster) watchConnection(ctx context.Context, client *clientv3.Client) {
	conn := client.ActiveConnection()
	for s := conn.GetState(); conn.WaitForStateChange(ctx, s); {
		switch s = conn.GetState(); s {
		case connectivity.TransientFailure:
			c.trip(errors.New("connection lost"))
			c.health.broken()
		case connectivity.Ready:
			select {
			case c.health.ready <- struct{}{}:
			default:
			}
		}
	}
}
