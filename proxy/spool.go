package proxy

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"shatabdi/swarmcache"
)

// spoolFrom is how many bytes of a body of unknown length are kept in memory
// before they go to the disk: most such bodies are small.
const spoolFrom = 256 << 10

// spoolBody lets the cache overhear a body whose length is not known, and says
// why not if it does not.
func (p *Proxy) spoolBody(f *fetching, res *http.Response, ver swarmcache.Version, threshold int64) (why string) {
	// A body that ends with the connection may have been cut short: only a last
	// chunk (or HTTP/2) proves that it is whole.
	if res.ProtoMajor < 2 && !slices.Contains(res.TransferEncoding, "chunked") {
		return "length"
	}
	res.Body = &spoolingBody{ReadCloser: res.Body, p: p, spool: p.cache.Spool(ver), threshold: threshold}
	return ""
}

// spoolingBody is read by the engine on its way to the client. What goes wrong
// with the spool stays here.
type spoolingBody struct {
	io.ReadCloser
	p         *Proxy
	spool     spool
	threshold int64

	early   []byte // what came before anything was written to the spool
	written bool
	over    bool // committed, failed or given up
}

func (b *spoolingBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	if n > 0 && !b.over {
		b.keep(buf[:n])
	}
	if err == io.EOF && !b.over {
		b.commit()
	}
	return n, err
}

func (b *spoolingBody) keep(data []byte) {
	if !b.written {
		if b.early = append(b.early, data...); len(b.early) < spoolFrom {
			return
		}
		data = b.early
	}
	b.write(data)
}

func (b *spoolingBody) write(data []byte) {
	b.written, b.early = true, nil
	if _, err := b.spool.Write(data); err != nil {
		b.p.degraded("spool", err)
		b.abort()
	}
}

func (b *spoolingBody) abort() {
	b.over, b.early = true, nil
	b.spool.Abort()
}

// commit hashes what was spooled, which the client need not wait for.
func (b *spoolingBody) commit() {
	switch {
	case b.written:
	case int64(len(b.early)) < b.threshold:
		b.abort()
	default:
		b.write(b.early)
	}
	if b.over {
		return
	}
	b.over = true
	b.p.work.Go(func() {
		ctx, cancel := context.WithTimeout(b.p.ctx, time.Minute)
		defer cancel()
		if err := b.spool.Commit(ctx, b.threshold); err != nil {
			b.p.degraded("commit a spool", err)
		}
	})
}

func (b *spoolingBody) Close() error {
	if !b.over {
		b.abort()
	}
	return b.ReadCloser.Close()
}
