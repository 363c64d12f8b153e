package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
)

// RoundTrip answers a request of this daemon itself, for a download or a warm-up,
// the way it answers a client's. What is asked for in this way is expected to be
// large. The response's body can be a download.Traced. It implements
// http.RoundTripper.
func (p *Proxy) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	// As from a server of net/http: then the engine breaks off what is cut short.
	in := req.Clone(context.WithValue(ctx, http.ServerContextKey, &http.Server{}))
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.RemoteAddr, in.RequestURI = "127.0.0.1:0", req.URL.String()
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	r, w := io.Pipe()
	i := &inside{request: req, header: http.Header{}, w: w, headed: make(chan struct{})}
	i.body = &insideBody{i: i, r: r, cancel: cancel}
	stop := context.AfterFunc(p.ctx, cancel)
	p.work.Go(func() {
		defer cancel()
		defer stop()
		err := p.inside(i, in)
		if err == nil {
			i.WriteHeader(http.StatusOK) // if nothing was said
		}
		w.CloseWithError(err) // nil: the end
	})
	<-i.headed // the handler obeys the context
	if i.response == nil {
		if err := context.Cause(req.Context()); err != nil {
			return nil, err
		}
		return nil, io.ErrUnexpectedEOF
	}
	return i.response, nil
}

// inside runs a request, and tells how its body ended.
func (p *Proxy) inside(i *inside, in *http.Request) (err error) {
	defer func() {
		switch e := recover(); {
		case e == http.ErrAbortHandler && in.Context().Err() != nil:
			err = context.Cause(in.Context())
		case e == http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
		case e != nil:
			p.log.Error("a request of this daemon panicked", "panic", e, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", e)
		case i.response != nil && i.response.ContentLength > i.written:
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			i.abandon()
		}
	}()
	p.ServeHTTP(i, in)
	return nil
}

// inside is the http.ResponseWriter of a request that this daemon makes.
type inside struct {
	request  *http.Request
	header   http.Header
	w        *io.PipeWriter
	written  int64
	once     sync.Once
	headed   chan struct{}  // closed when response is there, or will not come
	response *http.Response // nil: it failed before

	body   *insideBody
	object atomic.Pointer[object] // what it is answered from
	stored atomic.Bool            // which was complete
}

func (i *inside) Header() http.Header { return i.header }

func (i *inside) WriteHeader(status int) {
	if status < 200 {
		return
	}
	i.once.Do(func() {
		h := i.header.Clone()
		length, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
		if err != nil {
			length = -1
		}
		i.response = &http.Response{
			Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: h, ContentLength: length, Body: i.body, Request: i.request,
		}
		close(i.headed)
	})
}

// abandon lets go who waits for a head that will not come.
func (i *inside) abandon() { i.once.Do(func() { close(i.headed) }) }

func (i *inside) Write(b []byte) (int, error) {
	i.WriteHeader(http.StatusOK)
	n, err := i.w.Write(b)
	i.written += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom: there is no shortcut into a pipe.
func (i *inside) ReadFrom(src io.Reader) (int64, error) {
	buf := wide.Get()
	defer wide.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{i}, struct{ io.Reader }{src}, buf)
}

// answers notes what the answer comes from; nil: the origin.
func (i *inside) answers(obj object) {
	switch {
	case i == nil:
	case obj == nil:
		i.object.Store(nil)
	default:
		i.stored.Store(obj.Complete())
		i.object.Store(&obj)
	}
}

// insideBody is the body of a response to this daemon itself.
type insideBody struct {
	i      *inside
	r      *io.PipeReader
	cancel context.CancelFunc
	read   atomic.Int64
}

func (b *insideBody) Read(buf []byte) (int, error) {
	n, err := b.r.Read(buf)
	b.read.Add(int64(n))
	return n, err
}

func (b *insideBody) Close() error {
	b.cancel()
	return b.r.CloseWithError(errors.New("the body was closed"))
}

// Sources implements download.Traced.
func (b *insideBody) Sources() (local, peers, origin int64) {
	n, obj := b.read.Load(), b.i.object.Load()
	switch {
	case obj == nil:
		return 0, 0, n
	case b.i.stored.Load():
		return n, 0, 0
	}
	local, peers, _ = (*obj).Sources() // they may be ahead of what was read here
	local = min(local, n)
	peers = min(peers, n-local)
	return local, peers, n - local - peers
}

// Object implements download.Traced.
func (b *insideBody) Object() string {
	if obj := b.i.object.Load(); obj != nil {
		return string((*obj).Version().ID)
	}
	return ""
}

// Stored implements download.Traced.
func (b *insideBody) Stored() bool { return b.i.stored.Load() }
