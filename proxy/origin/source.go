package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"shatabdi/swarmcache/layout"
)

// Source fetches the bytes of one URL again and again, with the fields of the
// client request that wanted it. It holds no tie to that client and may be used
// long after it is gone. It is a swarmcache.Origin.
//
// It carries the client's credentials, in memory and no longer than the fill.
type Source struct {
	client *Client
	url    *url.URL
	header http.Header
}

// Source captures a GET of u with the fields of h, less those that concern one
// connection, one range or one state of the client's own copy.
func (c *Client) Source(u *url.URL, h http.Header) *Source {
	h = h.Clone()
	if h == nil {
		h = make(http.Header)
	}
	RemoveHopByHop(h)
	for _, name := range []string{
		"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
		"Expect", "Content-Length",
	} {
		h.Del(name)
	}
	own := *u
	own.Fragment = ""
	return &Source{client: c, url: &own, header: h}
}

// URL is where the bytes come from.
func (s *Source) URL() string { return s.url.String() }

// Latency is how long the host took lately until a response's head; 0: not
// known.
func (s *Source) Latency() time.Duration { return s.client.latency.of(s.url.Host) }

// Get asks for r of the body, with If-Range: validator unless that is empty.
// The zero r asks for all of it, without Range. It waits for one of the host's
// streams. The response is as the origin sent it, of any status; the caller
// closes its body, which gives the stream back.
func (s *Source) Get(ctx context.Context, r layout.Range, validator string) (*http.Response, error) {
	req := &http.Request{
		Method: http.MethodGet,
		URL:    s.url,
		Host:   s.url.Host,
		Header: s.header.Clone(),
	}
	if r != (layout.Range{}) {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.From, r.To-1))
		if validator != "" {
			req.Header.Set("If-Range", validator)
		}
	}
	release, err := s.client.streams.acquire(ctx, s.url.Host)
	if err != nil {
		return nil, fmt.Errorf("wait for a stream from %s: %w", s.url.Host, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	res, err := s.client.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		release()
		return nil, err
	}
	s.client.metrics.streams.Inc()
	res.Body = &streamBody{ReadCloser: res.Body, ctx: ctx, cancel: cancel, stall: s.client.stall, done: sync.OnceFunc(func() {
		cancel(nil)
		s.client.metrics.streams.Dec()
		release()
	})}
	return res, nil
}

// streamBody gives its stream back once, on Close, and fails a Read that takes
// too long.
type streamBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  time.Duration
	done   func()
}

// errStalled is a timeout.
var errStalled error = &Error{Kind: KindStalled, Err: os.ErrDeadlineExceeded}

func (b *streamBody) Read(p []byte) (int, error) {
	if b.stall > 0 {
		t := time.AfterFunc(b.stall, func() { b.cancel(errStalled) })
		defer t.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && context.Cause(b.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

func (b *streamBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// Unstalled reads body, and calls cancel when it stands still for StallTimeout
// while nobody waits for it.
func (c *Client) Unstalled(body io.Reader, awaited func() bool, cancel func()) io.Reader {
	if c.stall == 0 {
		return body
	}
	return &unstalled{Reader: body, stall: c.stall, awaited: awaited, cancel: cancel}
}

type unstalled struct {
	io.Reader
	stall   time.Duration
	awaited func() bool
	cancel  func()
}

func (u *unstalled) Read(p []byte) (int, error) {
	over := make(chan struct{})
	t := time.AfterFunc(u.stall, func() {
		for u.awaited() {
			select {
			case <-over:
				return
			case <-time.After(u.stall):
			}
		}
		select {
		case <-over:
		default:
			u.cancel()
		}
	})
	defer t.Stop()
	defer close(over)
	return u.Reader.Read(p)
}
