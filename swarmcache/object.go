package swarmcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/layout"
)

// object is a version whose file is open. Handles, its transfer and torrents
// hold references on the file; when the last one is gone the object leaves
// memory.
type object struct {
	c      *Cache
	file   *File
	volume string // where that is
	added  int64
	users  atomic.Int32 // handles and transfers: those who would miss it

	recording sync.Mutex // held across what is recorded, the flush included; guards the fields below
	recorded  bool       // the catalogue knows the object
	pinned    bool
	priority  policy.Priority // that was set; empty: none
	verified  int64           // see Record

	// writing is held while the catalogue is written, and the file found not condemned
	// before that: who has condemned it, and takes this, knows that nothing more comes.
	// A disk that hangs in a flush does not keep it. It is taken after recording.
	writing sync.Mutex

	mu       sync.Mutex // guards the fields below; taken before transfer.mu and File.mu
	transfer *transfer
	hint     *beginning // the running fill to join, when a reader comes

	digest digest // owned by the digester
}

// handle wraps a reference on o's file.
func (o *object) handle(origin Origin) *Object {
	o.users.Add(1)
	return &Object{o: o, origin: origin}
}

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
	o.hint = nil
	if r != nil {
		o.hint = &beginning{rec: *r}
	}
}

// learn takes over the sealed torrent's infohash, which the cluster may know
// before this node does.
func (o *object) learn(h InfoHash) {
	if !h.IsZero() && o.file.Version().InfoHash.IsZero() {
		o.file.SetInfoHash(h)
	}
}

// fill starts the transfer for a fill that this node opened or joins, unless one
// runs or nothing is missing, and tells whether it took body.
func (o *object) fill(b beginning, body io.ReadCloser, origin Origin) (started, took bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.transfer != nil || o.file.Left() == 0 {
		return false, false
	}
	if b.rec.Opener == o.c.cfg.Node.ID {
		// Our own fill of the same version still stands on its board, because what
		// it brought was withdrawn a moment ago: nobody may have it but the origin.
		b.opener = true
	}
	var first *firstBody
	if b.opener && body != nil {
		first = &firstBody{body}
	}
	started = o.startLocked(&b, first, origin)
	return started, started && first != nil
}

// startLocked reports false when the cache is closing.
func (o *object) startLocked(b *beginning, body *firstBody, origin Origin) bool {
	if o.file.Condemned() && o.file.failure() != nil {
		return false // forgotten because it failed: it does not begin anew
	}
	t := newTransfer(o, b, body)
	t.origin = origin
	o.file.revive()
	o.file.Acquire()
	if !o.c.goWork(func() { t.run(o.c.ctx) }) {
		o.file.fail(errClosing)
		o.file.Release() // the caller has a reference too
		return false
	}
	o.users.Add(1)
	o.c.transfers.Add(1)
	o.transfer, o.hint = t, nil
	o.c.follow(o)
	return true
}

// want makes a byte range wanted. It reports false when nothing is missing, or
// nothing will come any more.
func (o *object) want(w *want, origin Origin) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file.Left() == 0 || o.transfer == nil && !o.startLocked(o.hint, nil, origin) {
		return false
	}
	o.transfer.add(w, origin)
	return true
}

// poke tells the transfer of now, which may not be the one a reader began with,
// that a reader moved or ended.
func (o *object) poke() {
	o.mu.Lock()
	t := o.transfer
	o.mu.Unlock()
	if t != nil {
		t.poke()
	}
}

// transferEnded is the transfer's last word. A reader may have come in the very
// moment it stopped: then another one starts.
func (o *object) transferEnded(t *transfer) {
	o.mu.Lock()
	defer o.file.Release()
	defer o.mu.Unlock()
	defer o.c.leave(o)
	o.c.transferred.Store(int64(time.Since(o.c.born)))
	o.c.transfers.Add(-1)
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
		if w.ended.Load() {
			continue
		}
		if o.transfer == nil && !o.startLocked(nil, nil, t.origin) {
			return
		}
		o.transfer.add(w, t.origin)
	}
}

// enter makes the catalogue know a new object, and that its key selects it. It is
// pinned if the version was whose place it takes.
func (o *object) enter(pinned bool) error {
	o.recording.Lock()
	defer o.recording.Unlock()
	inherits := pinned && !o.pinned
	o.pinned = o.pinned || pinned
	var err error
	if !o.recorded {
		err = o.putLocked(Record{})
	} else if inherits {
		err = o.rewriteLocked()
	}
	if err != nil {
		return err
	}
	c, v := o.c, &o.file.version
	c.selecting.Lock()
	defer c.selecting.Unlock()
	if id, _ := c.selected(v.Key); id != v.ID {
		return nil // another has come, or it was withdrawn
	}
	return c.cfg.Index.SetCurrent(v.Key, v.ID)
}

// record puts the pieces that are safely on disk into the catalogue. The flush
// and the writing are one: else what was seen before the object became complete
// could be written after that was, and seal believe a flush that is under way.
func (o *object) record() error {
	o.recording.Lock()
	defer o.recording.Unlock()
	s, err := o.file.snapshot()
	if err != nil || !s.changed || s.complete {
		return err
	}
	return o.putLocked(Record{Pieces: s.pieces, Suspect: s.suspect})
}

// seal records a complete object with its hashes, all of which are known, and
// its infohash.
func (o *object) seal() error {
	o.recording.Lock()
	defer o.recording.Unlock()
	if _, err := o.file.snapshot(); err != nil {
		return err
	}
	if s := o.c.cfg.Swarm; s != nil {
		o.file.SetInfoHash(s.Seal(o.file))
	}
	if err := o.putLocked(Record{Complete: true, Hashes: o.file.Hashes(), Untold: true}); err != nil {
		return err
	}
	o.c.sealedNow(o)
	return nil
}

// told notes that the directory knows of the complete object.
func (o *object) told() {
	if err := o.setUntold(false); err != nil {
		o.c.log.Warn("record that an object is published", "object", o.file.version.ID, "error", err)
	}
}

// setUntold records whether the directory is still to be told of the complete object.
func (o *object) setUntold(untold bool) error {
	o.recording.Lock()
	defer o.recording.Unlock()
	rec, err := o.c.cfg.Index.Summary(o.file.version.ID)
	if errors.Is(err, ErrNotFound) || err == nil && (rec.Volume != o.volume || !rec.Complete || rec.Untold == untold) {
		return nil
	}
	if err != nil {
		return err
	}
	rec.Untold = untold
	return o.putLocked(rec)
}

// freshen gives the object's version new facts.
func (o *object) freshen(s policy.Stored) error {
	o.file.mu.Lock()
	o.file.version.Stored = s
	o.file.mu.Unlock()
	return o.rewrite()
}

// unconfirmed makes v stale here until its origin has confirmed it, unless that was done
// meanwhile. What was put has none.
func (o *object) unconfirmed(v Version) error {
	if !o.doubt(v) {
		return nil
	}
	return o.rewrite()
}

// doubt is unconfirmed in memory. It reports whether that is to be recorded.
func (o *object) doubt(v Version) bool {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	s := &o.file.version.Stored
	same := s.ResponseTime.Equal(v.Stored.ResponseTime) && !isPut(v)
	s.Invalid = s.Invalid || same
	return same
}

// rewrite records the object again because its version's facts changed.
func (o *object) rewrite() error {
	o.recording.Lock()
	defer o.recording.Unlock()
	return o.rewriteLocked()
}

func (o *object) rewriteLocked() error {
	if !o.recorded || o.file.Condemned() {
		return nil // it will be entered with them, or has gone
	}
	rec, err := o.c.cfg.Index.Summary(o.file.version.ID)
	if err != nil || rec.Volume != o.volume {
		return err
	}
	return o.putLocked(rec)
}

// putLocked records o's version with what r says of its bytes, unless it is condemned.
// It needs recording.
func (o *object) putLocked(r Record) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	if o.file.Condemned() {
		return nil
	}
	if a, away := o.c.absentee(o.file.version.Key, o.file.version.ID); away {
		return o.putOver(a, r)
	}
	return o.writeLocked(r)
}

func (o *object) writeLocked(r Record) error {
	r.Added, r.Pinned, r.Priority, r.Volume = o.added, o.pinned, o.priority, o.volume
	r.Verified = o.verified
	r.LastUsed = o.c.lastUsed(o.file.version.ID)
	r.Distrusts = o.c.distrusts.Load() // first: the version says what came of them
	r.Version = o.file.Version()       // as of now: its digest may have come meanwhile
	err := o.c.cfg.Index.Put(r)
	o.recorded = o.recorded || err == nil
	return err
}

// condemn makes the cache forget the object, unless it has another body in its place
// already; its readers keep their bytes.
func (o *object) condemn() {
	c, id := o.c, o.file.version.ID
	c.mu.Lock()
	away := func() {}
	if c.objects[id] == o {
		_, away = c.leaveLocked(id)
	}
	c.mu.Unlock()
	away()
}

// Object is a handle on one version of an object that is here or coming.
type Object struct {
	o      *object
	origin Origin
	doubt  bool // it must be confirmed by the origin
	once   sync.Once
	read   [FromOrigin + 1]atomic.Int64
}

// Version returns the object's facts.
func (o *Object) Version() Version {
	v := o.o.file.Version()
	v.Stored.Invalid = v.Stored.Invalid || o.doubt
	return v
}

// Complete reports whether every byte is on this node.
func (o *Object) Complete() bool { return o.o.file.Left() == 0 }

// Open returns an own handle on the file of a complete object, for sendfile. It
// works also when the object was evicted meanwhile.
func (o *Object) Open() (*os.File, error) {
	if !o.Complete() {
		return nil, fmt.Errorf("object %s is not complete", o.Version().ID)
	}
	return o.o.file.Dup()
}

// NewReader returns a reader that waits for bytes as they come. Only the bytes
// in [from, to) become wanted, so a Range request fills its own spans.
func (o *Object) NewReader(ctx context.Context, from, to int64) *Reader {
	f := o.o.file
	r := &Reader{ctx: ctx, h: o, f: f, pos: from, to: min(to, f.layout.Length)}
	if w := newWant(f.layout.PiecesOf(layout.Range{From: from, To: to}), from); !w.pieces.Empty() && o.o.want(w, o.origin) {
		r.w = w
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
func (o *Object) Close() {
	o.once.Do(func() {
		o.o.c.leave(o.o)
		o.o.file.Release()
	})
}

// Reader reads a growing object. It is an io.ReadSeeker over the whole body, so
// http.ServeContent serves it; reads beyond the range it was made for end with
// io.EOF. A read fails with ErrFillEnded when the rest cannot come.
type Reader struct {
	ctx     context.Context
	h       *Object
	f       *File
	w       *want // nil: nothing is missing
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
	r.moved()
	if k > 0 {
		err = nil
	}
	return k, err
}

// moved tells the transfer where the reader is, piece by piece.
func (r *Reader) moved() {
	if r.w == nil {
		return
	}
	if l := r.f.layout; l.PieceAt(r.w.pos.Swap(r.pos)) != l.PieceAt(r.pos) {
		r.h.o.poke()
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
	if r.w != nil && !r.w.ended.Swap(true) {
		r.h.o.poke()
	}
	return nil
}
