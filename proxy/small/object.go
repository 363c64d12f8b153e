package small

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Object is a response with its body, whole or on its way.
type Object struct {
	c       *Cache
	version swarmcache.Version // as it came; its Stored is in stored
	stored  atomic.Pointer[policy.Stored]
	weight  int64
	done    atomic.Bool     // the body is here; then data does not change
	mark    swarmcache.Mark // of the disk, from when it came into memory; guarded by c.mu
	kept    string          // its body's name on the disk; guarded by disk.mu
	turn    int64           // of the disk, when that was last there; guarded by disk.mu

	mu      sync.Mutex // guards the fields below
	grown   *sync.Cond // there is more of data, or err
	data    []byte
	err     error // why the rest does not come
	readers int
}

func newObject(c *Cache, v swarmcache.Version) *Object {
	if v.Validator == "" && v.Nonce == "" { // it keeps the one that it had on the disk
		v.Nonce = rand.Text()
	}
	v.Identify()
	o := &Object{c: c, version: v, weight: v.Length + overhead}
	o.weight += int64(len(v.URL))
	for _, h := range []http.Header{v.Stored.Header, v.Stored.Selecting} {
		for name, lines := range h {
			o.weight += int64(len(name))
			for _, line := range lines {
				o.weight += int64(len(line))
			}
		}
	}
	o.grown = sync.NewCond(&o.mu)
	s := v.Stored
	o.stored.Store(&s)
	return o
}

// Version is what is known of the response now.
func (o *Object) Version() swarmcache.Version {
	v := o.version
	v.Stored = *o.stored.Load()
	return v
}

// Complete reports whether the whole body is here.
func (o *Object) Complete() bool { return o.done.Load() }

// Bytes is the body of a complete object. It must not be changed.
func (o *Object) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data
}

// Open reads the body of a complete object.
func (o *Object) Open() (io.ReadSeekCloser, error) {
	return nopCloser{bytes.NewReader(o.Bytes())}, nil
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// Refresh takes over new freshness facts.
func (o *Object) Refresh(_ context.Context, s policy.Stored) error {
	now := o.c.refresh(o, &s)
	if d := o.c.disk; d != nil && o.Complete() {
		if now == nil || s.Invalid { // nobody may find it as it was, whatever happens
			d.drop(o.version.Key, false, o.was, func() {
				o.c.removeHere(o.version.Key, func(other *Object) bool { return other != now && other.version.ID == o.version.ID })
			})
		}
		if now != nil {
			d.save(now)
		}
	}
	return nil
}

// Renew asks nobody: what is kept here is this node's alone.
func (o *Object) Renew(context.Context) (news bool, err error) { return false, nil }

// Withdraw removes o, and no other variant.
func (o *Object) Withdraw(context.Context) error {
	o.c.remove(o)
	return nil
}

// Sources are not told apart.
func (o *Object) Sources() (local, swarm, origin int64) { return 0, 0, 0 }

// Close is for symmetry: what nobody reads any more is the collector's.
func (o *Object) Close() {}

// Read reports whether somebody reads along.
func (o *Object) Read() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.readers > 0
}

// Fill reads the body of an object from Open, to its end. If it ends early, o
// leaves the cache, and its readers hear why.
func (o *Object) Fill(body io.Reader) error {
	defer o.c.Release(o.version.Length)
	length := o.version.Length
	buf := make([]byte, min(max(1, length), 32<<10))
	for {
		n, err := body.Read(buf)
		if o.take(buf[:n]) {
			o.c.settle(o)
			return nil
		}
		if err != nil {
			return o.fail(fmt.Errorf("body of %d bytes: %w", length, unexpected(err)))
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take appends to the body, and reports whether it is whole. Memory is taken as
// the body comes: the rest of it may never do so.
func (o *Object) take(b []byte) (whole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	length := o.version.Length
	b = b[:min(int64(len(b)), length-int64(len(o.data)))]
	if need := len(o.data) + len(b); need > cap(o.data) {
		data := make([]byte, len(o.data), min(length, max(64<<10, 4*int64(need))))
		copy(data, o.data)
		o.data = data
	}
	o.data = append(o.data, b...)
	o.grown.Broadcast()
	if int64(len(o.data)) < length {
		return false
	}
	o.done.Store(true)
	return true
}

func (o *Object) fail(err error) error {
	o.c.removeHere(o.version.Key, func(other *Object) bool { return other == o })
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	o.grown.Broadcast()
	return err
}

// NewReader reads the bytes [from, to) as they come, until ctx ends.
func (o *Object) NewReader(ctx context.Context, from, to int64) io.ReadCloser {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readers++
	r := &reader{o: o, ctx: ctx, pos: from, to: to}
	r.stop = context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.grown.Broadcast()
	})
	return r
}

type reader struct {
	o       *Object
	ctx     context.Context
	stop    func() bool
	pos, to int64
	closed  bool // guarded by o.mu
}

// Read implements io.Reader.
func (r *reader) Read(b []byte) (int, error) {
	o := r.o
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		have := min(int64(len(o.data)), r.to)
		switch {
		case r.pos >= r.to:
			return 0, io.EOF
		case r.pos < have:
			n := copy(b, o.data[r.pos:have])
			r.pos += int64(n)
			return n, nil
		case r.ctx.Err() != nil:
			return 0, context.Cause(r.ctx)
		case o.err != nil:
			return 0, o.err
		}
		o.grown.Wait()
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.stop()
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.o.readers--
	}
	return nil
}
