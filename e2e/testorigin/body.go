package testorigin

import (
	"context"
	"net/http"
	"strings"

	"golang.org/x/time/rate"
)

// body is a ResponseWriter that counts, slows down, stalls and dies as ordered.
type body struct {
	http.ResponseWriter
	ctx    context.Context
	origin *Origin
	path   string
	orders orders
	own    *rate.Limiter
	dies   bool
	sent   int64
}

func (b *body) WriteHeader(status int) {
	h := b.Header()
	if b.orders.Bare || b.orders.Weak {
		h.Del("Last-Modified") // http.ServeContent sets it
	}
	if b.orders.SpanShift && status == http.StatusPartialContent {
		h.Set("Content-Range", strings.Replace(h.Get("Content-Range"), "bytes ", "bytes 1", 1))
	}
	b.ResponseWriter.WriteHeader(status)
}

func (b *body) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), burst)]
		if b.dies {
			part = part[:min(int64(len(part)), b.orders.Die-b.sent)]
		}
		if stall := b.orders.Stall; stall > 0 {
			part = part[:min(int64(len(part)), stall-b.sent)]
		}
		if len(part) == 0 {
			b.end()
		}
		for _, l := range []*rate.Limiter{b.origin.limit, b.own} {
			if l == nil {
				continue
			}
			if err := l.WaitN(b.ctx, len(part)); err != nil {
				return n, err
			}
		}
		k, err := b.ResponseWriter.Write(part)
		n, b.sent, p = n+k, b.sent+int64(k), p[k:]
		b.origin.count(b.path, func(c *Counts) { c.Bytes += int64(k) })
		if err != nil {
			b.origin.count(b.path, func(c *Counts) { c.Aborted++ })
			return n, err
		}
	}
	return n, nil
}

// end does not return: the response ends here, by silence or by a broken
// connection.
func (b *body) end() {
	http.NewResponseController(b.ResponseWriter).Flush() // what was written is on its way
	if !b.dies {
		<-b.ctx.Done()
	}
	panic(http.ErrAbortHandler)
}
