package swarmcache

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shatabdi/swarmcache/layout"
)

var (
	errChanged  = errors.New("the origin's object is gone")
	errOther    = errors.New("the origin answers with another version")
	errNoRanges = errors.New("the origin ignores ranges")
	errDisk     = errors.New("writing to the cache")
	errStalled  = errors.New("the origin sends nothing")
)

// retryAfter is an origin that asks for patience.
type retryAfter struct {
	status int
	wait   time.Duration
}

func (e *retryAfter) Error() string { return fmt.Sprintf("origin status %d", e.status) }

// Streams.
const (
	publishEvery = time.Second     // hashes are at most this far behind the bytes
	stallMin     = 5 * time.Second // without a byte; then the span is given back
)

// firstBody is the body of the response that opened a fill, from byte 0 on.
type firstBody struct{ io.ReadCloser }

// stream reads consecutive spans from the origin, writes their pieces into the
// file and lands the spans. It may read the spans in [first, limit).
type stream struct {
	t       *transfer
	first   int
	from    int64 // the piece it begins with: those before it in the first span are here
	endless bool  // the body goes on behind limit: the claim may be extended
	proves  bool  // that the origin has ranges, for which the opener's body waits
	pos     atomic.Int64
	next    int // the first span that was not read to its end; like news, read after the stream ended
	news    bool

	mu    sync.Mutex
	limit int
	ended bool          // no extension will come
	wake  chan struct{} // closed and renewed when limit or ended changes
}

func newStream(t *transfer, first, limit int) *stream {
	s := &stream{t: t, first: first, next: first, limit: limit, wake: make(chan struct{})}
	s.beginAt(t.plan.Span(first).From)
	return s
}

func (s *stream) beginAt(piece int64) {
	s.from = piece
	s.pos.Store(piece * s.t.plan.PieceLen)
}

func (s *stream) limitNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

func (s *stream) grant(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = max(s.limit, limit)
	close(s.wake)
	s.wake = make(chan struct{})
}

// stop ends the stream where its claim ends.
func (s *stream) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.wake)
		s.wake = make(chan struct{})
	}
}

func (s *stream) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// broughtNew reports whether the stream read a piece that was not here. A body
// that always breaks at the same place brings nothing new the second time.
func (s *stream) broughtNew() bool { return s.news }

// mayRead waits until the stream may read span i; false: it is at its end.
func (s *stream) mayRead(ctx context.Context, i int) bool {
	for i < len(s.t.spans) {
		s.mu.Lock()
		limit, ended, wake := s.limit, s.ended || !s.endless, s.wake
		s.mu.Unlock()
		if i < limit {
			return true
		}
		if ended {
			return false
		}
		s.t.poke()
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// fetch asks the origin for r (the zero range: the whole body) and reads it.
func (s *stream) fetch(ctx context.Context, o Origin, r layout.Range) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v := s.t.rec.Version
	watchdog := time.AfterFunc(overdueAfter, func() { cancel(errStalled) })
	resp, err := o.Get(ctx, r, v.Validator)
	if !watchdog.Stop() && err == nil {
		resp.Body.Close()
		return errStalled
	}
	if err != nil {
		return err
	}
	if err := checkResponse(resp, r, v); err != nil {
		resp.Body.Close()
		return err
	}
	return s.read(ctx, resp.Body)
}

// checkResponse accepts only bytes of the version that is being filled. Every
// 206 must repeat its validator and its length (RFC 9110 §15.3.7).
func checkResponse(resp *http.Response, r layout.Range, v Version) error {
	same := v.Validator != "" && sameValidator(resp.Header, v.Validator)
	switch c := resp.StatusCode; {
	case c == http.StatusPartialContent && !r.Empty():
		want := fmt.Sprintf("bytes %d-%d/%d", r.From, r.To-1, v.Length)
		if got := resp.Header.Get("Content-Range"); got != want {
			if same && strings.HasSuffix(got, fmt.Sprintf("/%d", v.Length)) {
				return fmt.Errorf("%w: Content-Range %q, want %q", errNoRanges, got, want)
			}
			return fmt.Errorf("%w: Content-Range %q, want %q", errOther, got, want)
		}
		if !same {
			return fmt.Errorf("%w: validator", errOther)
		}
		// A 206 to If-Range leaves out what the client has (RFC 9110 §15.3.7).
		if e := resp.Header.Get("Content-Encoding"); e != "" && e != v.Stored.Header.Get("Content-Encoding") {
			return fmt.Errorf("%w: Content-Encoding %q", errOther, e)
		}
		return nil
	case c == http.StatusOK && same && resp.ContentLength == v.Length:
		if r.Empty() {
			return nil
		}
		return errNoRanges
	case c == http.StatusOK, c == http.StatusPartialContent:
		return fmt.Errorf("%w: status %d", errOther, c)
	case c == http.StatusRequestedRangeNotSatisfiable, c == http.StatusNotFound, c == http.StatusGone, c == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: status %d", errChanged, c)
	default:
		return &retryAfter{c, patienceAsked(resp.Header.Get("Retry-After"), time.Now())}
	}
}

// patienceAsked reads Retry-After: seconds or a date (RFC 9110 §10.2.3); 0: none
// that can be read.
func patienceAsked(field string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(field); err == nil {
		return time.Duration(min(max(n, 0), 3600)) * time.Second
	}
	if at, err := http.ParseTime(field); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// sameValidator compares strongly: a validator is an entity tag or a date,
// verbatim.
func sameValidator(h http.Header, validator string) bool {
	if strings.HasPrefix(validator, `"`) {
		return h.Get("ETag") == validator
	}
	return h.Get("Last-Modified") == validator
}

// read lands span after span from body until the claim or the body ends.
func (s *stream) read(ctx context.Context, body io.ReadCloser) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := max(stallMin, 3*s.t.spanTime(s.first))
	watchdog := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	// Closing the body is the one thing that surely ends a blocked Read.
	stopClose := context.AfterFunc(ctx, func() { body.Close() })
	defer stopClose()
	defer body.Close()

	g := gauge{rates: &s.t.c.rates, host: s.t.host}
	r := newPieceReader(s.t.file, body, func(n int) {
		watchdog.Reset(stall)
		g.read(n)
		s.pos.Add(int64(n))
		s.t.c.metrics.originBytes.Add(float64(n))
	})
	defer r.close()

	for i := s.first; ; i++ {
		// Waiting for a claim is not the origin's fault.
		watchdog.Stop()
		asked := time.Now()
		if !s.mayRead(ctx, i) {
			return nil
		}
		if i == s.first || time.Since(asked) > gaugeStep/4 {
			g.pause()
		}
		watchdog.Reset(stall)
		if err := s.span(r, i); err != nil {
			if cause := context.Cause(ctx); cause != nil && !errors.Is(err, ErrPoisoned) {
				err = cause
			}
			return err
		}
		s.next = i + 1
	}
}

// span reads the pieces of span i and has their hashes published.
func (s *stream) span(r *pieceReader, i int) error {
	pieces := s.t.plan.Span(i)
	hashes := make([]byte, 0, pieces.Len()*sha1.Size)
	if s.from > pieces.From {
		hashes = append(hashes, s.t.file.hashesOf(layout.Range{From: pieces.From, To: s.from})...)
	}
	published := time.Now()
	first := s.t.plan.Flat || s.proves // its first piece is told at once: it takes long, or others wait
	if s.proves = false; first {
		published = time.Time{}
	}
	for p := max(pieces.From, s.from); p < pieces.To; p++ {
		had := s.t.file.Has(int(p))
		more := r.read(int(p))
		sums, err := r.take(!more || first || p+1 == pieces.To)
		first = false
		if hashes = append(hashes, sums...); err != nil {
			return err
		}
		s.news = s.news || !had
		if p+1 < pieces.To && time.Since(published) > publishEvery {
			published = time.Now()
			s.t.lander.progress(i, hashes)
		}
	}
	s.t.lander.land(i, hashes)
	return nil
}

// rates remembers how fast origins were, per host: what one stream achieved.
type rates struct {
	mu sync.Mutex
	m  map[string]float64 // bytes a second, smoothed over about half a second
}

// add takes in n bytes that took d.
func (r *rates) add(host string, n int64, d time.Duration) {
	now := float64(n) / d.Seconds()
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.m[host]; ok {
		w := math.Exp(-d.Seconds() / 0.5)
		now = w*old + (1-w)*now
	} else if len(r.m) > 1000 {
		clear(r.m)
	}
	r.m[host] = now
}

func (r *rates) of(host string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m[host]
}

// gauge measures the rate of one stream, in steps long enough that what lay in
// socket buffers at the start does not look like speed.
type gauge struct {
	rates *rates
	host  string
	n     int64
	since time.Time
}

const gaugeStep = 20 * time.Millisecond

func (g *gauge) read(n int) {
	g.n += int64(n)
	if d := time.Since(g.since); d >= gaugeStep {
		g.rates.add(g.host, g.n, d)
		g.n, g.since = 0, g.since.Add(d)
	}
}

// pause leaves out the time that a stream waited for its claim.
func (g *gauge) pause() { g.n, g.since = 0, time.Now() }

// hostOf is what rates are remembered by.
func hostOf(rawURL string) string {
	if u, err := url.Parse(rawURL); err == nil {
		return u.Host
	}
	return ""
}
