package download

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/swarmcache/events"
)

// Config of the downloads of a daemon. Transport is required.
type Config struct {
	Transport http.RoundTripper
	// Quiet is the one for what only the cache is to have; nil: Transport.
	Quiet http.RoundTripper
	// Directories are where destinations may be; none: what is downloaded is kept
	// by the cache only.
	Directories []string
	// Resolve says what URL a line of a manifest stands for; nil: itself.
	Resolve func(string) string
	// List says what a URL stands for that is no object itself; nil, and a nil
	// answer: it is one.
	List func(ctx context.Context, url string) ([]Spec, error)
	// Prioritize gives an object of the cache another priority.
	Prioritize func(object, priority string) error
	// Store keeps what is ordered durably; nil: nothing is.
	Store Store
	// Events is told what becomes of downloads; nil: nobody is.
	Events *events.Hub
	// Pin keeps an object of the cache.
	Pin        func(object string) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Spec is what is asked for.
type Spec struct {
	URL         string
	Destination string // absolute path; empty: only the cache is to have it
	SHA256      string
	Limit       int64 // bytes a second; 0: none
	Priority    string
	Header      http.Header
	Pin         bool // the cache keeps it, however short space is
	Durable     bool // it goes on after a restart

	again *record // of an earlier run
	later bool    // it is of a warm-up of an earlier run
}

// The states of a download.
const (
	Queued   = "queued"
	Running  = "running"
	Paused   = "paused"
	Done     = "done"
	Failed   = "failed"
	canceled = "canceled" // and forgotten
)

// States are all that are shown.
var States = []string{Queued, Running, Paused, Done, Failed}

// Status is a download as it stands.
type Status struct {
	ID string
	Spec
	State   string
	Err     error // why it failed
	Created time.Time
	Ended   time.Time // zero: not yet
	Progress
}

var (
	// ErrNotFound: there is no such download.
	ErrNotFound = errors.New("no such download")
	// ErrState: what was ordered does not suit the download's state.
	ErrState = errors.New("not in this state")
	// ErrTooMany: so many downloads wait already.
	ErrTooMany = errors.New("too many downloads wait already")
	// ErrBusy: another download writes to this destination.
	ErrBusy = errors.New("another download writes there")

	errPaused  = errors.New("paused")
	errCancel  = errors.New("canceled")
	errClosing = errors.New("the daemon stops")
)

// Bounds of what is under way and of what is remembered.
const (
	parallel   = 8
	maxWaiting = 10_000
	maxEnded   = 1_000
)

// Downloads are those of one daemon. They live as long as it does, but for what is
// ordered durably.
type Downloads struct {
	cfg   Config
	slots chan struct{}
	work  sync.WaitGroup
	ready func(context.Context) // what of an earlier run goes on waits for

	mu      sync.Mutex // guards the fields below, and those of each download that say so
	closed  bool
	all     map[string]*download
	warmups map[string]*warmup
	kept    keptSize      // of the records of all warm-ups
	changed chan struct{} // closed and renewed at every change of a state
}

type download struct {
	id      string
	spec    Spec
	created time.Time
	get     *Get
	file    *file // nil: the cache only; used by the run, otherwise under Downloads.mu
	lost    bool  // it cannot go on: not all of it is known any more
	there   bool  // its destination was, after a restart: it is read, not written
	unbegun bool  // it could not go on after a restart, and may be resumed

	// Guarded by Downloads.mu.
	state  string
	err    error
	ended  time.Time
	cancel context.CancelCauseFunc // of the run; nil: it does not run
	over   chan struct{}           // closed when the run has ended
}

// New returns the downloads of a daemon; there are none yet.
func New(cfg Config) *Downloads {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Quiet == nil {
		cfg.Quiet = cfg.Transport
	}
	d := &Downloads{
		cfg: cfg, slots: make(chan struct{}, parallel),
		all: map[string]*download{}, warmups: map[string]*warmup{}, changed: make(chan struct{}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(collector{d})
	}
	return d
}

// Close cancels all downloads. Files that are not whole go.
func (m *Downloads) Close() {
	m.mu.Lock()
	m.closed = true
	for _, d := range m.all {
		m.stopLocked(d, errClosing)
	}
	m.mu.Unlock()
	m.work.Wait()
}

// Create begins a download. An error is about the destination: ErrOutside,
// ErrBusy, or what the system says of the file.
func (m *Downloads) Create(s Spec) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.createLocked(s)
}

func (m *Downloads) createLocked(s Spec) (Status, error) {
	d := &download{id: NewID(), spec: s, created: time.Now(), state: Queued}
	d.get = &Get{Transport: m.cfg.Transport, URL: s.URL, Header: s.Header, SHA256: s.SHA256, Sink: nothing{}}
	if s.Destination == "" {
		d.get.Transport, d.get.Keep = m.cfg.Quiet, true
	}
	d.get.SetLimit(s.Limit)
	d.get.Head = func(res *http.Response, total int64) error { return m.head(d, res, total) }
	if err := m.admitLocked(s); err != nil {
		return Status{}, err
	}
	var there http.RoundTripper
	if r := s.again; r != nil {
		d.id, d.created = r.ID, r.Created
		there = m.finished(r)
	}
	if there != nil {
		d.get.Transport, d.there = there, true
	} else if s.Destination != "" {
		f, err := newFile(m.cfg.Directories, s.Destination)
		if err != nil {
			return Status{}, err
		}
		d.file, d.get.Sink = f, f
	}
	if s.again != nil && s.again.Paused {
		d.state, d.over = Paused, make(chan struct{})
		close(d.over)
	}
	if err := m.keepLocked(d); err != nil {
		d.discardLocked()
		return Status{}, err
	}
	m.all[d.id] = d
	m.forgetLocked()
	if d.state != Paused {
		m.startLocked(d)
	}
	return m.statusLocked(d), nil
}

// Fetch creates a download and returns how it ended, or when ctx is done.
func (m *Downloads) Fetch(ctx context.Context, s Spec) (Status, error) {
	st, err := m.Create(s)
	if err != nil {
		return st, err
	}
	for {
		m.mu.Lock()
		d, changed := m.all[st.ID], m.changed
		if d == nil {
			m.mu.Unlock()
			return st, ErrNotFound // it was canceled
		}
		st = m.statusLocked(d)
		m.mu.Unlock()
		if !st.Ended.IsZero() {
			return st, st.Err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

// admitLocked says why s may not begin now. What a warm-up of an earlier run goes on
// with was admitted then, and most of it may be here.
func (m *Downloads) admitLocked(s Spec) error {
	waiting := 0
	for _, other := range m.all {
		if !other.ended.IsZero() && other.state != Failed {
			continue
		}
		if !other.spec.later {
			waiting++
		}
		if s.Destination != "" && other.file != nil && other.spec.Destination == s.Destination {
			return fmt.Errorf("%w: %s", ErrBusy, other.id)
		}
	}
	switch {
	case m.closed:
		return errClosing
	case waiting >= maxWaiting && !s.later:
		return ErrTooMany
	}
	return nil
}

// forgetLocked drops the oldest of those that have ended.
func (m *Downloads) forgetLocked() {
	var ended []*download
	for _, d := range m.all {
		if !d.ended.IsZero() {
			ended = append(ended, d)
		}
	}
	if len(ended) <= maxEnded {
		return
	}
	slices.SortFunc(ended, func(a, b *download) int { return a.ended.Compare(b.ended) })
	for _, d := range ended[:len(ended)-maxEnded] {
		m.dropLocked(d)
	}
}

// dropLocked forgets a download that does not run.
func (m *Downloads) dropLocked(d *download) {
	delete(m.all, d.id)
	d.discardLocked()
}

// discardLocked removes what was written of a file that is not whole.
func (d *download) discardLocked() {
	if d.file != nil {
		d.file.abort()
		d.file = nil
	}
}

func (m *Downloads) startLocked(d *download) {
	ctx, cancel := context.WithCancelCause(context.Background())
	d.state, d.err, d.ended, d.cancel, d.over = Queued, nil, time.Time{}, cancel, make(chan struct{})
	m.work.Go(func() {
		defer cancel(nil)
		m.run(ctx, d)
	})
}

// run waits for its turn, gets the bytes, and says what came of it.
func (m *Downloads) run(ctx context.Context, d *download) {
	if (d.spec.again != nil || d.spec.later) && m.ready != nil {
		m.ready(ctx)
	}
	var err error
	select {
	case m.slots <- struct{}{}:
		m.mu.Lock()
		d.state = Running
		m.changedLocked()
		m.tellLocked(d)
		m.mu.Unlock()
		err = d.get.Run(ctx)
		<-m.slots
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil && d.spec.Pin && !d.there {
		err = m.pin(d)
	}
	whole := err == nil && d.file != nil
	if whole {
		m.mu.Lock()
		d.file.whole()
		m.keptLocked(d)
		m.mu.Unlock()
		err = d.file.commit()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.changedLocked()
	defer func() { m.tellLocked(d) }()
	defer m.warmedLocked()
	defer close(d.over)
	d.cancel = nil
	if whole {
		d.file = nil
	}
	switch cause := context.Cause(ctx); {
	case err == nil:
		d.state, d.ended = Done, time.Now()
		m.overLocked(d)
		return
	case cause == errPaused && m.all[d.id] == d: // and was not canceled then
		d.state = Paused
		m.keptLocked(d)
		return
	case cause == errClosing:
		d.state, err = canceled, cause
		d.discardLocked()
	case cause != nil:
		d.state, err = canceled, cause
		d.discardLocked()
		m.overLocked(d)
	case d.there:
		d.state, d.unbegun = Failed, true
		err = fmt.Errorf("not resumed: another file is there: %w", err)
	default:
		d.state = Failed
		m.overLocked(d)
		if !resumable(err, d.get.Progress().Bytes) {
			d.discardLocked()
		}
	}
	d.err, d.ended = err, time.Now()
	m.cfg.Logger.Info("a download ended", "download", d.id, "state", d.state, "error", err)
}

// pin keeps what was got. What passed through is in no cache.
func (m *Downloads) pin(d *download) error {
	object := d.get.Progress().Object
	if object == "" || m.cfg.Pin == nil {
		return errors.New("it passed through, and cannot be pinned")
	}
	if err := m.cfg.Pin(object); err != nil {
		return fmt.Errorf("pin it: %w", err)
	}
	return nil
}

// resumable reports whether the n bytes that came before err are worth keeping: a
// refusal may be a credential that has run out.
func resumable(err error, n int64) bool {
	var (
		partial *PartialError
		status  *StatusError
	)
	return n > 0 && (errors.As(err, &partial) || errors.As(err, &status))
}

// head is told of a response that is taken.
func (m *Downloads) head(d *download, res *http.Response, total int64) error {
	if body, ok := res.Body.(Traced); ok && body.Object() != "" && m.cfg.Prioritize != nil {
		m.mu.Lock()
		priority := d.spec.Priority
		m.mu.Unlock()
		if priority != "" {
			if err := m.cfg.Prioritize(body.Object(), priority); err != nil {
				m.cfg.Logger.Debug("a download's priority", "download", d.id, "error", err)
			}
		}
	}
	if d.file != nil && total >= 0 {
		return d.file.room(total - d.get.Progress().Bytes)
	}
	return nil
}

// stopLocked ends the run of d, if it runs. Otherwise nothing is left of it.
func (m *Downloads) stopLocked(d *download, cause error) {
	if d.cancel != nil {
		d.cancel(cause)
	} else if cause != errPaused {
		d.discardLocked()
	}
}

// Cancel ends a download and forgets it. When it returns, what was written of a
// file that is not whole is gone.
func (m *Downloads) Cancel(id string) error {
	m.mu.Lock()
	d := m.all[id]
	if d == nil {
		m.mu.Unlock()
		return ErrNotFound
	}
	delete(m.all, id)
	m.stopLocked(d, errCancel)
	m.overLocked(d)
	over := d.over
	m.mu.Unlock()
	<-over
	return nil
}

// Pause makes a download stand still until Resume. What the cache fills for
// others goes on.
func (m *Downloads) Pause(id string) (Status, error) {
	m.mu.Lock()
	d := m.all[id]
	switch {
	case d == nil:
		m.mu.Unlock()
		return Status{}, ErrNotFound
	case d.state != Paused && d.cancel == nil:
		defer m.mu.Unlock()
		return m.statusLocked(d), fmt.Errorf("%w: it is %s", ErrState, d.state)
	}
	m.stopLocked(d, errPaused)
	over := d.over
	m.mu.Unlock()
	<-over
	return m.Status(id)
}

// Resume lets a download go on that was paused or broke off.
func (m *Downloads) Resume(id string) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.all[id]
	switch {
	case d == nil:
		return Status{}, ErrNotFound
	case m.closed:
		return Status{}, errClosing
	case d.state == Running || d.state == Queued:
		return m.statusLocked(d), nil
	case d.unbegun:
		return m.againLocked(d)
	case d.lost, d.state != Paused && (d.state != Failed || d.spec.Destination != "" && d.file == nil):
		return m.statusLocked(d), fmt.Errorf("%w: it is %s, with nothing to go on from", ErrState, d.state)
	}
	m.startLocked(d)
	m.keptLocked(d)
	return m.statusLocked(d), nil
}

// Change gives a download another limit or priority; nil: as it is.
func (m *Downloads) Change(id string, limit *int64, priority *string) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.all[id]
	if d == nil {
		return Status{}, ErrNotFound
	}
	if limit != nil {
		d.spec.Limit = *limit
		d.get.SetLimit(*limit)
	}
	if priority != nil {
		d.spec.Priority = *priority
		if object := d.get.Progress().Object; object != "" && m.cfg.Prioritize != nil {
			if err := m.cfg.Prioritize(object, *priority); err != nil {
				return m.statusLocked(d), err
			}
		}
	}
	if d.ended.IsZero() {
		m.keptLocked(d)
	}
	return m.statusLocked(d), nil
}

// Status tells of one download.
func (m *Downloads) Status(id string) (Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.all[id]
	if d == nil {
		return Status{}, ErrNotFound
	}
	return m.statusLocked(d), nil
}

// List tells of up to n downloads in the order of their making, after the one
// with that id, which need not exist.
func (m *Downloads) List(after string, n int) []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	var some []*download
	for id, d := range m.all {
		if id > after {
			some = append(some, d)
		}
	}
	slices.SortFunc(some, func(a, b *download) int { return cmp.Compare(a.id, b.id) })
	list := make([]Status, 0, min(n, len(some)))
	for _, d := range some[:min(n, len(some))] {
		list = append(list, m.statusLocked(d))
	}
	return list
}

// tellLocked tells what became of d.
func (m *Downloads) tellLocked(d *download) {
	p := d.get.Progress()
	e := events.Event{Kind: events.Download, Download: d.id, Object: p.Object, State: d.state, Bytes: p.Bytes, Length: max(p.Total, 0), Peers: p.From.Peers, Origin: p.From.Origin}
	if d.err != nil {
		e.Reason = d.err.Error()
	}
	m.cfg.Events.Tell(e)
}

func (m *Downloads) changedLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Downloads) statusLocked(d *download) Status {
	s := Status{ID: d.id, Spec: d.spec, State: d.state, Err: d.err, Created: d.created, Ended: d.ended, Progress: d.get.Progress()}
	if d.state != Running {
		s.Rate = 0
	}
	return s
}

// NewID returns an id that sorts by time.
func NewID() string {
	var b [2]byte
	rand.Read(b[:])
	return fmt.Sprintf("%016x", time.Now().UnixNano()) + hex.EncodeToString(b[:])
}
