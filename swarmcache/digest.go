package swarmcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// The SHA-256 of a body tells two contents apart that an origin has under one
// validator, also where each of them arrived whole. It is computed behind
// everybody's back, in order, following the pieces as they become complete.

const (
	digestChunk = 1 << 20
	// digestRest is how long the digester rests after each chunk, as a multiple of
	// what the chunk took since it was due, which is long where CPUs are scarce: while bytes
	// are coming in for somebody, or did not long ago, as peers are likely to want them
	// then; and otherwise. digestMostRest bounds it.
	digestRestBusy, digestRestIdle = 31, 3
	digestBusyAfter                = 10 * time.Second
	digestMostRest                 = time.Second
	// digestBehind is how far it stays behind an object that comes in: its CPU is of more
	// use then to those who wait for bytes, but what is read soon is read from memory.
	digestBehind = 256 << 20
	// digestIdle is how often a digester that has caught up looks for more.
	digestIdle = 100 * time.Millisecond
	// digestSpread is within how long the nodes of a cluster compare the digest of
	// an object that they completed together: the first publishes it.
	digestSpread = 10 * time.Second
)

// digester computes the digests of objects one after the other. Its goroutine
// lives while there is something to follow.
type digester struct {
	mu      sync.Mutex // guards the fields below; taken after object.mu and Cache.files
	queue   []*object
	running bool
}

// digest is the state of one object's.
type digest struct {
	hash hash.Hash
	off  int64
}

// follow has the digest of o computed from what is here and what comes, as long
// as something does.
func (c *Cache) follow(o *object) {
	d := &c.digests
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.queue, o) || !o.file.Acquire() {
		return
	}
	d.queue = append(d.queue, o)
	if !d.running {
		d.running = c.goWork(c.runDigests)
	}
}

func (c *Cache) runDigests() {
	d, buf, due := &c.digests, make([]byte, digestChunk), time.Now()
	for {
		d.mu.Lock()
		queue := slices.Clone(d.queue)
		if len(queue) == 0 || c.ctx.Err() != nil {
			for _, o := range queue {
				o.file.Release()
			}
			d.queue, d.running = nil, false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		rest := digestIdle
		for _, o := range queue {
			n, done := o.digestSome(buf)
			if done {
				d.mu.Lock()
				d.queue = slices.DeleteFunc(d.queue, func(x *object) bool { return x == o })
				d.mu.Unlock()
				o.file.Release()
			}
			most := digestMostRest
			if done {
				most = digestIdle // what took its time may have been a write
			}
			if n > 0 || done {
				rest = min(time.Since(due)*c.digestRest(), most)
				break // the oldest first: its pages are the next to go
			}
		}
		due = time.Now().Add(rest)
		select {
		case <-time.After(rest):
		case <-c.ctx.Done():
		}
	}
}

// digestRest is the multiple of its own time that the digester leaves to others.
func (c *Cache) digestRest() time.Duration {
	if c.transfers.Load() > 0 || time.Since(c.born)-time.Duration(c.transferred.Load()) < digestBusyAfter {
		return digestRestBusy
	}
	return digestRestIdle
}

// digestSome takes in the next bytes that are here. done: there is nothing more
// to do.
func (o *object) digestSome(buf []byte) (n int64, done bool) {
	d, f := &o.digest, o.file
	switch {
	case f.Condemned():
		return 0, true
	case d.hash == nil:
		d.hash = sha256.New()
	}
	if d.off < f.layout.Length {
		i := f.layout.PieceAt(d.off)
		if !f.Has(i) {
			return 0, !o.busy()
		}
		if behind := d.off + digestBehind; f.Left() > 0 && o.busy() && (behind >= f.layout.Length || !f.Has(f.layout.PieceAt(behind))) {
			return 0, false
		}
		buf = buf[:min(digestChunk, f.layout.Piece(i).To-d.off)]
		if _, err := f.f.ReadAt(buf, d.off); err != nil {
			o.c.log.Warn("read an object for its digest", "object", f.version.ID, "error", err)
			return 0, true
		}
		d.hash.Write(buf)
		d.off += int64(len(buf))
		if d.off < f.layout.Length {
			return int64(len(buf)), false
		}
	}
	o.digested(hex.EncodeToString(d.hash.Sum(nil)))
	return 0, true
}

// digested takes in the digest of the bytes that are here. The directory may
// have told one before.
func (o *object) digested(sum string) {
	switch o.file.Version().SHA256 {
	case sum:
	case "":
		o.file.setSHA256(sum)
		if err := o.rewrite(); err != nil {
			o.c.log.Warn("record an object's digest", "object", o.file.version.ID, "error", err)
		}
		o.c.compareLater(o)
	default:
		o.mismatch()
	}
}

// mismatch drops an object of which the cluster has other bytes.
func (o *object) mismatch() {
	o.c.metrics.mismatches.Inc()
	o.c.log.Error("the origin has two contents under one validator; this node had the other one", "object", o.file.version.ID)
	o.condemn()
}

// compareLater compares o's digest with the directory's.
func (c *Cache) compareLater(o *object) {
	if !o.file.Acquire() {
		return
	}
	if !c.goWork(func() {
		defer o.file.Release()
		select {
		case <-time.After(rand.N(digestSpread)):
			c.compare(c.ctx, o)
		case <-c.ctx.Done():
		}
	}) {
		o.file.Release()
	}
}

// compare publishes o's digest where the directory has none for this version. If
// it has another, some other node's bytes were first, and o must not stay.
func (c *Cache) compare(ctx context.Context, o *object) {
	v := o.file.Version()
	have, _, err := c.cfg.Directory.Lookup(ctx, v.Key)
	switch {
	case err != nil, have == nil, have.ID != v.ID, have.SHA256 == v.SHA256, o.file.Condemned():
	case have.SHA256 != "", errors.Is(c.offer(ctx, o.file, v), ErrPoisoned):
		o.mismatch()
	}
}
