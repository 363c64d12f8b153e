package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// spoolFrom is how many bytes of a body of unknown length are kept in memory
// before they go to the disk: most such bodies are small.
const spoolFrom = 256 << 10

// spoolBody lets the cache overhear a body whose length is not known, and says
// why not if it does not. What proves small may be kept in memory; what does not,
// only if it is for the swarm.
func (p *Proxy) spoolBody(f *fetching, res *http.Response, ver swarmcache.Version, threshold int64, forSwarm bool) (why string) {
	// A body that ends with the connection may have been cut short: only a last
	// chunk (or HTTP/2) proves that it is whole.
	if res.ProtoMajor < 2 && !slices.Contains(res.TransferEncoding, "chunked") {
		return "length"
	}
	b := &spoolingBody{ReadCloser: res.Body, p: p, v: f.visit, ver: ver, threshold: threshold, early: spoolFrom}
	if forSwarm {
		b.spool = p.cache.Spool(ver)
		if f.visit.since.Past() { // too early to make it void
			b.spool.Abort()
			return "changed"
		}
	}
	if p.small != nil {
		b.small = true
		b.early = max(b.early, int(min(threshold, p.small.Most())))
		f.overheard = true
		b.told = f.visit.tellLater(p.patience)
	}
	res.Body = b
	return ""
}

// tellLater lets others wait for the whole of a body, within reason, until what it
// returns is called.
func (v *visit) tellLater(patience time.Duration) func() {
	claim, asks := v.claim, v.asks
	v.claim, v.asks = func() {}, nil
	tell := sync.OnceFunc(func() {
		claim()
		if asks != nil {
			asks.end()
		}
	})
	timer := time.AfterFunc(patience, tell)
	return func() {
		timer.Stop()
		tell()
	}
}

// spoolingBody is read by the engine on its way to the client. What goes wrong
// with the spool stays here.
type spoolingBody struct {
	io.ReadCloser
	p         *Proxy
	v         *visit
	ver       swarmcache.Version
	threshold int64
	spool     spool  // nil: what is not small is not kept
	small     bool   // what is small is kept, and its bytes are reserved
	told      func() // lets those go on who wait for what is small; nil: nobody does

	begin   []byte // what came before anything was written to the spool
	early   int    // how much of that there may be
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
		if b.small && !b.p.small.Reserve(int64(len(data))) {
			b.notSmall()
			b.early = spoolFrom
		}
		if b.begin = append(b.begin, data...); len(b.begin) < b.early {
			return
		}
		data = b.begin
	}
	b.write(data)
}

func (b *spoolingBody) write(data []byte) {
	b.notSmall()
	b.written, b.begin = true, nil
	if b.spool == nil {
		b.over = true
		return
	}
	if _, err := b.spool.Write(data); err != nil {
		b.p.degraded("spool", err)
		b.abort()
	}
}

// notSmall gives back what was reserved for a small object, if it was.
func (b *spoolingBody) notSmall() {
	if b.small {
		b.small = false
		b.p.small.Release(int64(len(b.begin)))
	}
	if b.told != nil {
		b.told()
	}
}

func (b *spoolingBody) abort() {
	b.notSmall()
	b.over, b.begin = true, nil
	if b.spool != nil {
		b.spool.Abort()
	}
}

// commit hashes what was spooled, which the client need not wait for.
func (b *spoolingBody) commit() {
	switch {
	case b.written:
	case int64(len(b.begin)) < b.threshold:
		if b.small {
			b.keepSmall()
		}
		b.abort()
	default:
		b.write(b.begin)
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
			return
		}
		b.p.supersedeSmall(b.v)
	})
}

func (b *spoolingBody) keepSmall() {
	b.ver.Key = b.v.route.Key // it keeps variants side by side by itself
	if err := b.p.small.Put(b.ver, bytes.Clone(b.begin), b.v.since); err != nil {
		b.p.degraded("keep in memory", err)
		return
	}
	if policy.Supersedes(b.ver.Stored.Status) {
		b.p.seen.note(b.ver.Key, smallKind)
	}
}

func (b *spoolingBody) Close() error {
	if !b.over {
		b.abort()
	}
	return b.ReadCloser.Close()
}
