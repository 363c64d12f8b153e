package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"shatabdi/swarmcache/layout"
)

// object is a version whose file is open. Handles, its transfer and torrents
// hold references on the file; when the last one is gone the object leaves
// memory.
type object struct {
	c     *Cache
	file  *File
	added int64

	recording sync.Mutex // held across writes to the catalogue; guards the next two
	pinned    bool
	condemned bool // forgotten: nothing is recorded of it any more

	mu       sync.Mutex // guards the fields below; taken before transfer.mu and File.mu
	transfer *transfer
	hint     *FillRecord // the running fill to join, when a reader comes
}

// handle wraps a reference on o's file.
func (o *object) handle(origin Origin) *Object { return &Object{o: o, origin: origin} }

// busy reports whether bytes are coming in.
func (o *object) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.transfer != nil
}

// expect remembers the fill to join.
func (o *object) expect(r *FillRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hint = r
}

// fill starts the transfer for a fill that this node opened or joins. It
// reports whether it took body.
func (o *object) fill(r *FillRecord, opener, alone bool, body io.ReadCloser, origin Origin) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.transfer != nil || o.file.Left() == 0 {
		return false
	}
	var first *firstBody
	if opener && body != nil {
		first = &firstBody{body}
	}
	o.startLocked(r, first, alone, origin)
	return first != nil
}

func (o *object) startLocked(r *FillRecord, body *firstBody, alone bool, origin Origin) {
	o.file.revive()
	o.file.Acquire()
	t := newTransfer(o, r, body, alone)
	t.origin = origin
	o.transfer, o.hint = t, nil
	o.c.work.Go(func() { t.run(o.c.ctx) })
}

// want makes a byte range wanted.
func (o *object) want(w *want, origin Origin) *transfer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file.Left() == 0 {
		return nil
	}
	if o.transfer == nil {
		o.startLocked(o.hint, nil, false, origin)
	}
	o.transfer.add(w, origin)
	return o.transfer
}

// transferEnded is the transfer's last word. A reader may have come in the very
// moment it stopped: then another one starts.
func (o *object) transferEnded(t *transfer) {
	o.mu.Lock()
	defer o.file.Release()
	defer o.mu.Unlock()
	o.transfer = nil
	switch {
	case o.file.Left() == 0 || o.file.failure() != nil:
		return
	case o.c.ctx.Err() != nil:
		o.file.fail(context.Cause(o.c.ctx))
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		if w.ended {
			continue
		}
		if o.transfer == nil {
			o.startLocked(nil, nil, false, t.origin)
		}
		w.moved = -1
		o.transfer.add(w, t.origin)
	}
}

// record puts the pieces that are safely on disk into the catalogue.
func (o *object) record() error {
	pieces, complete, changed, err := o.file.snapshot()
	if err != nil || !changed || complete {
		return err
	}
	return o.put(Record{Version: o.file.Version(), Pieces: pieces})
}

// seal records a complete object with its hashes and infohash.
func (o *object) seal() error {
	if _, _, _, err := o.file.snapshot(); err != nil {
		return err
	}
	if s := o.c.cfg.Swarm; s != nil {
		o.file.SetInfoHash(s.Seal(o.file))
	}
	v := o.file.Version()
	if err := o.put(Record{Version: v, Complete: true, Hashes: o.file.Hashes()}); err != nil {
		return err
	}
	o.c.sealedNow(v)
	return nil
}

// rewrite records the object again because its version's facts changed.
func (o *object) rewrite() error {
	v := o.file.Version()
	rec, err := o.c.cfg.Index.Get(v.ID)
	if err != nil {
		return err
	}
	rec.Version = v
	return o.put(rec)
}

func (o *object) put(r Record) error {
	o.recording.Lock()
	defer o.recording.Unlock()
	if o.condemned {
		return nil
	}
	r.Added, r.Pinned = o.added, o.pinned
	r.LastUsed = o.c.now().Unix()
	return o.c.cfg.Index.Put(r)
}

// condemn makes the cache forget the object; its readers keep their bytes.
func (o *object) condemn() {
	v := o.file.Version()
	o.c.forget(v.ID, v.Key)
}

// Object is a handle on one version of an object that is here or coming.
type Object struct {
	o      *object
	origin Origin
	once   sync.Once
	read   [FromOrigin + 1]atomic.Int64
}

// Version returns the object's facts.
func (o *Object) Version() Version { return o.o.file.Version() }

// Complete reports whether every byte is on this node.
func (o *Object) Complete() bool { return o.o.file.Left() == 0 }

// Open returns an own handle on the file of a complete object, for sendfile.
func (o *Object) Open() (*os.File, error) {
	if !o.Complete() {
		return nil, fmt.Errorf("object %s is not complete", o.Version().ID)
	}
	return os.Open(o.o.file.f.Name())
}

// NewReader returns a reader that waits for bytes as they come. Only the bytes
// in [from, to) become wanted, so a Range request fills its own spans.
func (o *Object) NewReader(ctx context.Context, from, to int64) *Reader {
	f := o.o.file
	r := &Reader{ctx: ctx, h: o, f: f, pos: from, to: min(to, f.layout.Length)}
	if w := (&want{pieces: f.layout.PiecesOf(layout.Range{From: from, To: to}), pos: from, moved: -1}); !w.pieces.Empty() {
		r.w, r.t = w, o.o.want(w, o.origin)
	}
	return r
}

// Sources tells how many of the bytes read through this handle's readers came
// from this node's store, from peers and from the origin.
func (o *Object) Sources() (local, swarm, origin int64) {
	return o.read[FromStore].Load(), o.read[FromPeer].Load(), o.read[FromOrigin].Load()
}

// Close gives the handle back. A fill goes on if others want it or most of it
// is here; otherwise it stops.
func (o *Object) Close() { o.once.Do(func() { o.o.file.Release() }) }

// Reader reads a growing object. It is an io.ReadSeeker over the whole body, so
// http.ServeContent serves it; reads beyond the range it was made for end with
// io.EOF. A read fails with ErrFillEnded when the rest cannot come.
type Reader struct {
	ctx     context.Context
	h       *Object
	f       *File
	w       *want
	t       *transfer // nil: nothing is missing
	pos, to int64
}

// Read implements io.Reader. It returns as soon as one byte is there.
func (r *Reader) Read(b []byte) (int, error) {
	if r.pos >= r.to {
		return 0, io.EOF
	}
	n, from, err := r.f.await(r.ctx, r.pos)
	if err != nil {
		return 0, err
	}
	k, err := r.f.f.ReadAt(b[:min(int64(len(b)), n, r.to-r.pos)], r.pos)
	r.h.read[from].Add(int64(k))
	r.pos += int64(k)
	if r.t != nil {
		r.h.o.moved(r)
	}
	if k > 0 {
		err = nil
	}
	return k, err
}

// moved tells the transfer of now, which may not be the one r began with.
func (o *object) moved(r *Reader) {
	o.mu.Lock()
	t := o.transfer
	o.mu.Unlock()
	if t != nil {
		r.t = t
		t.move(r.w, r.pos)
	}
}

// Seek implements io.Seeker, relative to the whole body.
func (r *Reader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		off += r.f.layout.Length
	}
	if off < 0 {
		return 0, errors.New("seek before the start")
	}
	r.pos = off
	return off, nil
}

// Close ends the reader's interest in its range.
func (r *Reader) Close() error {
	if r.t != nil {
		r.t.remove(r.w)
		r.h.o.mu.Lock()
		t := r.h.o.transfer
		r.h.o.mu.Unlock()
		if t != nil && t != r.t {
			t.remove(r.w)
		}
		r.t = nil
	}
	return nil
}
