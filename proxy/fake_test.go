package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
)

// fakeCache keeps objects in memory and writes down what it was asked.
type fakeCache struct {
	swarmcache.Epochs

	t   *testing.T
	dir string

	mu        sync.Mutex
	calls     []string
	objects   map[policy.Key]*fakeObject // here
	cluster   map[policy.Key]*fakeObject // found by Lookup only
	lookup    error                      // of every Lookup
	silent    int                        // so many Lookups are not answered
	fill      error                      // of every Fill
	spool     error                      // of every write to a spool
	joined    *fakeObject                // what Fill joins instead of opening
	elsewhere int                        // how often others were asked for anything; -1: nobody counts
	claims    []error                    // of the next ClaimFirsts
	claimed   func()                     // runs in ClaimFirst
	begins    func()                     // runs in Fill and Spool, before they store anything
	open      int                        // claims not released
}

func newFake(t *testing.T) *fakeCache {
	return &fakeCache{t: t, dir: t.TempDir(), objects: map[policy.Key]*fakeObject{}, cluster: map[policy.Key]*fakeObject{}}
}

// startCached runs a proxy with c as its cache, and a threshold of 1000 bytes.
func startCached(t *testing.T, c cache, cfg Config, rules ...policy.Rule) *node {
	t.Helper()
	r := &policy.Rules{Default: policy.Defaults{Threshold: 1000}, Rules: rules}
	cfg.Rules = func() *policy.Rules { return r }
	n := start(t, cfg, origin.Config{})
	n.cache = c
	return n
}

func (c *fakeCache) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
}

// took returns the calls since the last time, as one line.
func (c *fakeCache) took() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := strings.Join(c.calls, "; ")
	c.calls = nil
	return s
}

func (c *fakeCache) wantCalls(want string) {
	c.t.Helper()
	if got := c.took(); got != want {
		c.t.Errorf("the cache was asked %q, want %q", got, want)
	}
}

func (c *fakeCache) Local(key policy.Key, _ swarmcache.Origin) (object, error) {
	c.note("local")
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.objects[key]; o != nil {
		return o, nil
	}
	return nil, swarmcache.ErrNotFound
}

func (c *fakeCache) LookupWanted(_ context.Context, key policy.Key, _ swarmcache.Origin, _ func(policy.Stored) bool) (object, error) {
	c.note("lookup")
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.lookup != nil:
		return nil, c.lookup
	case c.silent > 0:
		c.silent--
		return nil, swarmcache.ErrUnavailable
	case c.objects[key] != nil:
		return c.objects[key], nil
	case c.cluster[key] != nil:
		return c.cluster[key], nil
	}
	return nil, swarmcache.ErrNotFound
}

func (c *fakeCache) ClaimFirst(_ context.Context, key policy.Key, _ swarmcache.Origin, _ func(policy.Stored) bool) (func(), object, error) {
	c.note("claim")
	if c.claimed != nil {
		c.claimed()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.claims) > 0 {
		err := c.claims[0]
		if c.claims = c.claims[1:]; err != nil {
			return nil, nil, err
		}
	}
	if obj := c.cluster[key]; obj != nil && c.lookup == nil {
		return nil, obj, nil
	}
	c.open++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open--
	}, nil, nil
}

// Fill opens an object that grows as body does.
func (c *fakeCache) Fill(_ context.Context, v swarmcache.Version, ranges bool, body io.ReadCloser, o swarmcache.Origin) (object, error) {
	what := "nil"
	if body != nil {
		what = "body"
	}
	c.note("fill %d %s ranges=%v", v.Length, what, ranges)
	if c.begins != nil {
		c.begins()
	}
	if c.fill != nil {
		return nil, c.fill
	}
	if c.joined != nil {
		if body != nil {
			body.Close()
		}
		return c.joined, nil
	}
	obj := c.growing(v)
	c.put(obj)
	if body == nil {
		return obj, nil
	}
	go func() {
		defer body.Close()
		buf := make([]byte, 4<<10)
		for {
			n, err := body.Read(buf)
			obj.grow(buf[:n])
			if err == nil {
				continue
			}
			if obj.size() < v.Length {
				obj.fail(fmt.Errorf("%w: %w", swarmcache.ErrFillEnded, err))
			}
			return
		}
	}()
	return obj, nil
}

// CountUse tells how often other nodes were asked, and this one.
func (c *fakeCache) CountUse(context.Context, policy.Key) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.elsewhere < 0 {
		return 0 // nobody counts
	}
	c.elsewhere++
	return c.elsewhere
}

func (c *fakeCache) put(o *fakeObject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects[o.ver.Key] = o
}

func (o *fakeObject) Refresh(_ context.Context, s policy.Stored) error {
	o.c.note("refresh")
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ver.Stored = s
	return nil
}

func (o *fakeObject) Renew(context.Context) (bool, error) { return false, nil }

func (o *fakeObject) Withdraw(ctx context.Context) error { return o.c.Withdraw(ctx, o.ver.Key) }

func (c *fakeCache) Invalidate(ctx context.Context, key policy.Key) error {
	return c.Withdraw(ctx, key)
}

func (c *fakeCache) Purge(ctx context.Context, key policy.Key) (int, error) {
	return 0, c.Withdraw(ctx, key)
}

func (c *fakeCache) Withdraw(_ context.Context, key policy.Key) error {
	c.note("withdraw")
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.objects, key)
	return nil
}

func (c *fakeCache) PutAt(context.Context, swarmcache.Place, func(*url.URL) policy.Key, func(bool) bool, io.Reader) (r swarmcache.Record, created bool, err error) {
	return r, false, errors.New("nothing is put here")
}

func (c *fakeCache) Spool(v swarmcache.Version) spool {
	c.note("spool")
	if c.begins != nil {
		c.begins()
	}
	return &fakeSpool{c: c, ver: v}
}

type fakeSpool struct {
	c    *fakeCache
	ver  swarmcache.Version
	data []byte
}

func (s *fakeSpool) Write(b []byte) (int, error) {
	if s.c.spool != nil {
		return 0, s.c.spool
	}
	s.data = append(s.data, b...)
	return len(b), nil
}

func (s *fakeSpool) Commit(_ context.Context, atLeast int64) error {
	s.c.note("commit %d at least %d", len(s.data), atLeast)
	s.ver.Length = int64(len(s.data))
	o := s.c.growing(s.ver)
	o.grow(s.data)
	s.c.put(o)
	return nil
}

func (s *fakeSpool) Abort() { s.c.note("abort") }

// fakeObject grows, or stops with an error.
type fakeObject struct {
	c   *fakeCache
	ver swarmcache.Version

	mu    sync.Mutex
	grown *sync.Cond
	data  []byte
	err   error
	reads []string // what the readers were made for
}

func (c *fakeCache) growing(v swarmcache.Version) *fakeObject {
	v.Identify()
	o := &fakeObject{c: c, ver: v}
	o.grown = sync.NewCond(&o.mu)
	return o
}

func (o *fakeObject) grow(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data = append(o.data, b...)
	o.grown.Broadcast()
}

func (o *fakeObject) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	o.grown.Broadcast()
}

func (o *fakeObject) size() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(len(o.data))
}

func (o *fakeObject) Version() swarmcache.Version {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ver
}

func (o *fakeObject) Complete() bool                        { return o.size() == o.ver.Length }
func (o *fakeObject) Sources() (local, swarm, origin int64) { return 0, 0, 0 }
func (o *fakeObject) Close()                                {}

func (o *fakeObject) Open() (io.ReadSeekCloser, error) {
	f, err := os.CreateTemp(o.c.dir, "body-*")
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(o.data); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

func (o *fakeObject) NewReader(ctx context.Context, from, to int64) io.ReadCloser {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads = append(o.reads, fmt.Sprintf("%d-%d", from, to))
	r := &fakeReader{o: o, ctx: ctx, pos: from, to: to}
	r.stop = context.AfterFunc(ctx, o.grown.Broadcast)
	return r
}

type fakeReader struct {
	o       *fakeObject
	ctx     context.Context
	stop    func() bool
	pos, to int64
}

func (r *fakeReader) Read(b []byte) (int, error) {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	for {
		have := min(int64(len(r.o.data)), r.to)
		switch {
		case r.pos >= r.to:
			return 0, io.EOF
		case r.pos < have:
			n := copy(b, r.o.data[r.pos:have])
			r.pos += int64(n)
			return n, nil
		case r.o.err != nil:
			return 0, r.o.err
		case r.ctx.Err() != nil:
			return 0, r.ctx.Err()
		}
		r.o.grown.Wait()
	}
}

func (r *fakeReader) Close() error {
	r.stop()
	return nil
}

var errAway = errors.New("away")
