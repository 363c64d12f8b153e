package swarmcache

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// aloneStreams is how many streams from an origin a node has while the
	// directory is away, and nobody knows how many the others have.
	aloneStreams = 2
	// aloneSpread is within how long the nodes begin that are on their own.
	aloneSpread = time.Second
	// aloneMost is how long a node lets others go first then.
	aloneMost = 6 * time.Second
	// askAgain is how often a node that has all of aloneStreams asks the directory.
	askAgain = time.Second
	// coolMost is how long an origin can keep us waiting.
	coolMost = time.Minute
	// coolStep is how fast a node goes back to its pace after a cooldown: from half
	// of the streams it had, by one each coolStep.
	coolStep = time.Second
)

// budget bounds the streams that fills have from one origin at a time, on this
// node and, with slots in the directory, in the whole cluster. Whoever has to
// wait is served in order of arrival, and meanwhile reads from peers: a busy
// origin is no reason to ask it more.
type budget struct {
	ctx       context.Context // ends all waiting
	start     func(func()) bool
	directory Directory
	node      int // streams from an origin, of this node
	cluster   int // of all nodes
	now       func() time.Time
	metrics   budgetMetrics

	mu    sync.Mutex // guards the fields below, of lines and of tickets; not held across calls
	lines map[string]*line
}

// line is what stands and goes on at one origin.
type line struct {
	origin string
	used   int       // streams under way
	queue  []*ticket // who waits: those whose stream runs already, then the others, as they came
	cool   time.Time // nobody begins before
	pace   int       // how many may be under way then
	lone   time.Time // when a stream without a slot last began or ended

	usher  bool               // one is at work; there is while somebody waits
	asking context.CancelFunc // ends the claim that the usher is at; nil: none
	news   chan struct{}      // room for one: wakes the usher
}

// ticket is one stream, waiting or under way.
type ticket struct {
	forced bool
	came   time.Time
	served chan struct{} // closed when its turn has come
	slot   func()        // gives the cluster's slot back; nil: it has none
	over   bool
}

func newBudget(ctx context.Context, start func(func()) bool, d Directory, node, cluster int, now func() time.Time, r prometheus.Registerer) *budget {
	return &budget{
		ctx: ctx, start: start, directory: d, node: node, cluster: cluster, now: now,
		metrics: newBudgetMetrics(r), lines: map[string]*line{},
	}
}

// take waits for the right to begin a stream from origin, or for the end of ctx,
// whose cause is then the error. Hold no claim meanwhile: others may be able to
// fetch it. release may be called twice.
func (b *budget) take(ctx context.Context, origin string) (release func(), err error) {
	l, t := b.join(origin, false)
	release = func() { b.leave(l, t) }
	select {
	case <-t.served:
		b.metrics.wait.Observe(b.now().Sub(t.came).Seconds())
		return release, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-b.ctx.Done():
		err = context.Cause(b.ctx)
	}
	release()
	return nil, err
}

// force counts a stream that is under way already, over the limit if need be.
// It takes one of the cluster's slots as soon as there is one.
func (b *budget) force(origin string) (release func()) {
	l, t := b.join(origin, true)
	b.metrics.takes.WithLabelValues("forced").Inc()
	return func() { b.leave(l, t) }
}

// busy reports whether, as far as this node knows, take would have to wait.
func (b *budget) busy(origin string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lines[origin]
	return l != nil && (len(l.queue) > 0 || l.used >= l.room(b.now(), b.node))
}

// cool lets no stream from origin begin before until, because it asked for
// patience (RFC 9110 §10.2.3), and fewer for a while after.
func (b *budget) cool(origin string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, now := b.lineLocked(origin), b.now()
	if !now.Before(l.cool) { // the first of those who are told so
		l.pace = max(1, min(l.used, l.room(now, b.node))/2)
		b.metrics.cooldowns.Inc()
	}
	if until = until.Add(rand.N(coolStep)); until.After(l.cool) {
		l.cool = until
	}
	if most := now.Add(coolMost); l.cool.After(most) {
		l.cool = most
	}
}

// room is how many streams may be under way.
func (l *line) room(now time.Time, most int) int {
	switch {
	case l.cool.IsZero():
		return most
	case now.Before(l.cool):
		return 0
	}
	return min(most, l.pace+int(now.Sub(l.cool)/coolStep))
}

// roomier is how long it takes until there may be more room, if nobody leaves.
func (l *line) roomier(now time.Time) time.Duration {
	switch d := l.cool.Sub(now); {
	case l.cool.IsZero():
		return time.Hour
	case d > 0:
		return d
	default:
		return coolStep + d%coolStep
	}
}

func (b *budget) lineLocked(origin string) *line {
	l := b.lines[origin]
	if l == nil {
		for _, old := range b.lines {
			b.dropLocked(old)
		}
		l = &line{origin: origin, news: make(chan struct{}, 1)}
		b.lines[origin] = l
	}
	return l
}

// dropLocked forgets a line with nothing to remember.
func (b *budget) dropLocked(l *line) {
	if l.used == 0 && len(l.queue) == 0 && !l.usher && l.room(b.now(), b.node) == b.node {
		delete(b.lines, l.origin)
	}
}

// join begins to wait.
func (b *budget) join(origin string, forced bool) (*line, *ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lineLocked(origin)
	t := &ticket{forced: forced, came: b.now(), served: make(chan struct{})}
	if forced {
		l.used++
		b.metrics.streams.Inc()
		at := slices.IndexFunc(l.queue, func(t *ticket) bool { return !t.forced })
		if at < 0 {
			at = len(l.queue)
		}
		l.queue = slices.Insert(l.queue, at, t)
	} else {
		l.queue = append(l.queue, t)
		b.metrics.waiting.Inc()
	}
	if !l.usher {
		l.usher = b.start(func() { b.serve(l) })
	}
	l.tell()
	return l, t
}

// leave ends a stream, or the wait for one.
func (b *budget) leave(l *line, t *ticket) {
	b.mu.Lock()
	if t.over {
		b.mu.Unlock()
		return
	}
	t.over = true
	k := slices.Index(l.queue, t)
	if k >= 0 {
		l.queue = slices.Delete(l.queue, k, k+1)
	} else if t.slot == nil {
		l.lone = b.now()
	}
	if k >= 0 && !t.forced {
		b.metrics.waiting.Dec()
		b.metrics.takes.WithLabelValues("gave_up").Inc()
	} else {
		l.used--
		b.metrics.streams.Dec()
	}
	if len(l.queue) == 0 && l.asking != nil {
		l.asking()
	}
	l.tell()
	b.dropLocked(l)
	b.mu.Unlock()
	if t.slot != nil {
		t.slot()
	}
}

func (l *line) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// serve is the usher: it brings slots from the directory, one after the other,
// for as long as somebody waits.
func (b *budget) serve(l *line) {
	for {
		wait, ok := b.next(l)
		if !ok {
			return
		}
		if wait > 0 {
			b.pause(l.news, wait)
			continue
		}
		ctx, cancel := b.ask(l)
		slot, err := b.directory.ClaimSlot(ctx, l.origin, b.cluster)
		gone := ctx.Err() != nil // nobody waits any more
		cancel()
		switch {
		case err == nil:
			if !b.admit(l, slot, b.node) {
				slot() // whom it was for has left
			}
		case errors.Is(err, ErrUnavailable):
			b.alone(l)
		case !gone:
			b.pause(nil, askAgain)
		}
	}
}

// next tells how long nobody can be served; false: nobody waits, and the usher
// may go.
func (b *budget) next(l *line) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.asking = nil
	now := b.now()
	switch {
	case len(l.queue) == 0 || b.ctx.Err() != nil:
		l.usher = false
		b.dropLocked(l)
		return 0, false
	case l.queue[0].forced, l.used < l.room(now, b.node):
		return 0, true
	}
	return l.roomier(now), true
}

// ask is the context of a claim: it ends when nobody waits any more.
func (b *budget) ask(l *line) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(b.ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.asking = cancel; len(l.queue) == 0 {
		cancel()
	}
	return ctx, cancel
}

// admit lets in who is first, with a slot or, nil, without, if there is room
// among so many. It reports whether somebody took the slot.
func (b *budget) admit(l *line, slot func(), most int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.queue) == 0 || !l.queue[0].forced && l.used >= l.room(b.now(), most) {
		return false
	}
	t := l.queue[0]
	l.queue, t.slot = l.queue[1:], slot
	if !t.forced {
		l.used++
		b.metrics.streams.Inc()
		b.metrics.waiting.Dec()
		outcome := "slot"
		if slot == nil {
			outcome = "alone"
		}
		b.metrics.takes.WithLabelValues(outcome).Inc()
	}
	if slot == nil {
		l.lone = b.now()
	}
	close(t.served)
	return true
}

// alone is what a node does that cannot ask the directory: it has few streams,
// and begins at a moment of its own.
func (b *budget) alone(l *line) {
	b.mu.Lock()
	fresh := b.now().Sub(l.lone) > 2*aloneSpread && !(len(l.queue) > 0 && l.queue[0].forced)
	b.mu.Unlock()
	if fresh {
		b.pause(nil, rand.N(aloneSpread))
	}
	if !b.late(l) && rand.IntN(max(1, b.directory.Size()*aloneStreams)) >= b.cluster {
		b.pause(l.news, askAgain) // so many are not all to begin; it is others' turn
		return
	}
	if !b.admit(l, nil, min(aloneStreams, b.node)) {
		b.pause(l.news, askAgain)
	}
}

// late reports whether who is first in line has waited for as long as a client may
// be made to, or has its stream already.
func (b *budget) late(l *line) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.queue) == 0 {
		return false
	}
	t := l.queue[0]
	return t.forced || b.now().Sub(t.came) > aloneMost
}

// pause waits, at most for news.
func (b *budget) pause(news <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-news:
	case <-b.ctx.Done():
	}
}

// originOf names the origin of a URL for a budget: scheme://host:port.
func originOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port))
}

// budgetMetrics: takes = slot + alone + gave_up + forced.
type budgetMetrics struct {
	streams   prometheus.Gauge
	waiting   prometheus.Gauge
	takes     *prometheus.CounterVec
	wait      prometheus.Histogram
	cooldowns prometheus.Counter
}

func newBudgetMetrics(r prometheus.Registerer) budgetMetrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "shatabdi", Subsystem: "origin_budget", Name: name, Help: help}
	}
	m := budgetMetrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts(opts("streams", "Streams from origins that count against their budgets now."))),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts(opts("waiting", "Streams that wait until their origin's budget has room."))),
		takes: prometheus.NewCounterVec(prometheus.CounterOpts(
			opts("takes_total", "Streams by how they came into the budget: with a slot of the cluster's, alone because the directory was away, forced because they ran already; or gave_up.")),
			[]string{"outcome"}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "shatabdi", Subsystem: "origin_budget", Name: "wait_seconds",
			Help: "How long streams waited for room in a budget.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}),
		cooldowns: prometheus.NewCounter(prometheus.CounterOpts(opts("cooldowns_total", "Times that an origin asked for patience."))),
	}
	if r != nil {
		r.MustRegister(m.streams, m.waiting, m.takes, m.wait, m.cooldowns)
	}
	return m
}
