package swarmcache

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"shatabdi/policy"
	"shatabdi/swarmcache/layout"
)

// Lock order in this file: a piece lock before mu. mu is never held across I/O.

// From tells where a piece's bytes came from. The zero value: it is not here.
type From uint32

const (
	Missing    From = iota
	FromStore       // it was here when the file was opened
	FromPeer        // a peer sent it
	FromOrigin      // this node fetched it from the origin
)

// File is the body of one version on this node: the bytes, which pieces of them
// are right, and what is known of the pieces' hashes. The fill torrent, the
// sealed torrent, origin streams and readers share it.
//
// A piece that is complete never changes again: late or corrupt bytes from a
// peer cannot reach it.
type File struct {
	version Version // mu guards what is learnt later: Stored, SHA256, InfoHash
	layout  layout.Layout
	f       Body

	state []atomic.Uint32 // From of each piece
	known []atomic.Bool   // the piece's hash is known
	ours  []atomic.Bool   // an origin stream of this node is writing the piece, or nobody may

	doubted []atomic.Bool // pieces that count once they are verified; nil: none
	doubts  atomic.Int32  // how many

	// A peer's chunk is written under its piece's read lock, a piece becomes
	// complete under its write lock.
	locks [64]sync.RWMutex

	mu       sync.Mutex
	hashes   []byte        // 20 bytes a piece, where known
	unknown  int           // pieces without a known hash
	left     int           // pieces that are not complete
	dirty    bool          // pieces became complete since the last Flush
	flushed  []byte        // the pieces that were complete before it
	streams  []*originTail // partial pieces that readers may already read
	changed  chan struct{} // closed and renewed whenever a reader might go on
	complete chan struct{} // closed when left is 0
	sealable chan struct{} // closed when unknown is 0
	failed   error         // why the missing pieces will not come
	broken   error         // the disk failed a flush: nothing is recorded ever after
	cuts     map[int]cut   // pieces that readers saw the beginning of
	follow   bool          // news are kept
	news     []int         // pieces that one torrent changed since takeNews, and the other must hear of
	refs     int
	onClose  func()

	condemned atomic.Bool // the cache has forgotten the object
	priority  atomic.Pointer[policy.Priority]
}

// originTail is what an origin stream has written so far of a piece whose hash
// is not known yet. Only bytes that this node itself read from the origin.
type originTail struct{ layout.Range }

// cut is the beginning of a piece whose stream broke off. Readers may have it,
// so the piece that comes in its place must begin alike.
type cut struct {
	n   int64
	sum [sha1.Size]byte
}

// OpenFile opens or creates the body of v at path. rec may hold what the
// catalogue knows of it; ErrNotFound when the file it speaks of is not there.
func OpenFile(path string, v Version, rec *Record) (*File, error) {
	return openFile(osFiles{}, path, v, rec)
}

func openFile(files Files, path string, v Version, rec *Record) (*File, error) {
	f, err := openBody(files, path, v.Length, rec)
	if err != nil {
		return nil, err
	}
	l := v.Layout()
	o := &File{version: v, layout: l, f: f, refs: 1}
	o.init(l.Pieces())
	if rec != nil {
		o.restore(rec)
	}
	return o, nil
}

// init makes room for what is known of n pieces.
func (f *File) init(n int) {
	f.state, f.known, f.ours = make([]atomic.Uint32, n), make([]atomic.Bool, n), make([]atomic.Bool, n)
	f.hashes, f.unknown, f.left = make([]byte, n*sha1.Size), n, n
	f.changed, f.complete, f.sealable = make(chan struct{}), make(chan struct{}), make(chan struct{})
	if n == 0 {
		close(f.complete)
		close(f.sealable)
	}
}

// openBody opens the file that rec speaks of, or a new one. What nobody speaks
// of is removed, not truncated: somebody may still be reading it.
func openBody(files Files, path string, length int64, rec *Record) (Body, error) {
	if rec != nil && (rec.Complete || len(bytes.Trim(rec.Pieces, "\x00")) > 0) {
		f, err := files.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		if err != nil {
			return nil, err
		}
		if st, err := f.Stat(); err != nil || st.Size() != length {
			f.Close()
			return nil, fmt.Errorf("%w: %s is not %d bytes long", ErrNotFound, path, length)
		}
		return f, nil
	}
	if err := files.MkdirAll(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := files.Create(path)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(length); err != nil {
		f.Close()
		files.Remove(path)
		return nil, err
	}
	return f, nil
}

// restore takes over what the catalogue knows. A record that does not fit the
// layout counts as nothing.
func (f *File) restore(rec *Record) {
	n := len(f.state)
	if len(rec.Hashes) == n*sha1.Size {
		for i := range n {
			f.Learn(i, rec.Hashes[i*sha1.Size:(i+1)*sha1.Size])
		}
	}
	for i := range n {
		switch {
		case !rec.has(i):
		case rec.Suspect:
			f.doubt(i)
		default:
			f.mark(i, FromStore)
		}
	}
	f.dirty = false
}

// Version returns the file's version, with its infohash if that is known.
func (f *File) Version() Version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version
}

// SetInfoHash records the infohash of the sealed torrent.
func (f *File) SetInfoHash(h InfoHash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version.InfoHash = h
}

func (f *File) setSHA256(sum string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version.SHA256 = sum
}

// Condemned reports whether the cache has forgotten the object: who reads it
// may finish, but nobody else should get it from here.
func (f *File) Condemned() bool { return f.condemned.Load() }

// Layout returns the arithmetic of the file's pieces.
func (f *File) Layout() layout.Layout { return f.layout }

// Has reports whether piece i is here and right.
func (f *File) Has(i int) bool { return f.state[i].Load() != uint32(Missing) }

// Wantable reports whether piece i may be asked from peers: its hash is known,
// and this node is not reading it from the origin itself. It is the gate that
// keeps the engine from data nobody could verify.
func (f *File) Wantable(i int) bool { return f.known[i].Load() && !f.ours[i].Load() }

// Completed is closed when every piece is here.
func (f *File) Completed() <-chan struct{} { return f.complete }

// Sealable is closed when every piece's hash is known.
func (f *File) Sealable() <-chan struct{} { return f.sealable }

// Left is the number of pieces that are not here.
func (f *File) Left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left
}

// Hashes returns all pieces' hashes, or nil while one is unknown.
func (f *File) Hashes() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unknown > 0 {
		return nil
	}
	return f.hashes
}

// hashesOf returns the hashes of a run of pieces, or nil while one is unknown.
func (f *File) hashesOf(pieces layout.Range) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := pieces.From; i < pieces.To; i++ {
		if !f.known[i].Load() {
			return nil
		}
	}
	return bytes.Clone(f.hashes[pieces.From*sha1.Size : pieces.To*sha1.Size])
}

// Learn records the published hash of piece i; news is false if it was known.
// Another hash than the known one is ErrPoisoned.
func (f *File) Learn(i int, hash []byte) (news bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	have := f.hashes[i*sha1.Size : (i+1)*sha1.Size]
	if f.known[i].Load() {
		if string(have) != string(hash) {
			return false, ErrPoisoned
		}
		return false, nil
	}
	copy(have, hash)
	f.known[i].Store(true)
	if f.unknown--; f.unknown == 0 {
		close(f.sealable)
	}
	return true, nil
}

// LearnSealed records all pieces' hashes, which the metadata of the sealed torrent
// brought. The fill torrent must hear of those that were not known: its gate was
// shut for them.
func (f *File) LearnSealed(hashes []byte) error {
	for i := range f.state {
		news, err := f.Learn(i, hashes[i*sha1.Size:(i+1)*sha1.Size])
		if err != nil {
			return fmt.Errorf("piece %d: %w", i, err)
		}
		if news {
			f.mu.Lock()
			f.news = append(f.news, i)
			f.mu.Unlock()
		}
	}
	return nil
}

// hash returns the known hash of piece i.
func (f *File) hash(i int) (h [sha1.Size]byte, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return [sha1.Size]byte(f.hashes[i*sha1.Size : (i+1)*sha1.Size]), f.known[i].Load()
}

// ReadPieceAt reads from piece i, off bytes into it. A piece that was lost is not
// given to peers.
func (f *File) ReadPieceAt(i int, b []byte, off int64) (int, error) {
	if !f.Has(i) {
		return 0, errLost
	}
	return f.f.ReadAt(b, f.layout.Piece(i).From+off)
}

// WriteChunk writes what a peer sent of piece i, off bytes into it. A complete
// piece stays as it is.
func (f *File) WriteChunk(i int, b []byte, off int64) (int, error) {
	l := &f.locks[i%len(f.locks)]
	l.RLock()
	defer l.RUnlock()
	if f.Has(i) || f.ours[i].Load() {
		return len(b), nil
	}
	n, err := f.f.WriteAt(b, f.layout.Piece(i).From+off)
	if err != nil {
		// The engine asks for nothing more after this: readers must not wait.
		f.fail(fmt.Errorf("%w: %w: %w", ErrFillEnded, errDisk, err))
	}
	return n, err
}

var hashBuffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// Verify hashes piece i, of which peers sent every byte, and makes it complete
// when it matches its known hash. Both happen under the piece's lock, or a
// corrupt peer of the other torrent could write in between.
func (f *File) Verify(i int) (bool, error) {
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	defer l.Unlock()
	if f.Has(i) {
		return true, nil
	}
	want, ok := f.hash(i)
	if !ok {
		return false, nil
	}
	if sum, err := f.sum(i, f.layout.Piece(i).Len()); err != nil || sum != want {
		return false, err
	}
	if c, ok := f.cutOf(i); ok {
		// The peer is honest: it is the origin that has two contents.
		if sum, err := f.sum(i, c.n); err != nil || sum != c.sum {
			f.fail(fmt.Errorf("%w: %w", ErrFillEnded, ErrPoisoned))
		}
	}
	f.markLocked(i, FromPeer)
	return true, nil
}

// sum hashes the first n bytes of piece i as they are on disk.
func (f *File) sum(i int, n int64) (sum [sha1.Size]byte, err error) {
	h := sha1.New()
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f.f, f.layout.Piece(i).From, n), *buf); err != nil {
		return sum, err
	}
	return [sha1.Size]byte(h.Sum(nil)), nil
}

func (f *File) cutOf(i int) (cut, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.cuts[i]
	return c, ok
}

func (f *File) mark(i int, from From) {
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	defer l.Unlock()
	f.markLocked(i, from)
}

// markLocked needs the lock of piece i.
func (f *File) markLocked(i int, from From) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.state[i].CompareAndSwap(uint32(Missing), uint32(from)) {
		return
	}
	f.dirty = true
	delete(f.cuts, i)
	if f.follow && from == FromPeer {
		f.news = append(f.news, i)
	}
	if f.left--; f.left == 0 {
		close(f.complete)
	}
	f.wakeLocked()
}

func (f *File) wakeLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// takeNews returns the pieces that one torrent changed since the last call: those
// that it completed, which are kept from the first call on, and those whose hash
// it brought.
func (f *File) takeNews() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.news
	f.follow, f.news = true, nil
	return l
}

// putPiece writes a whole piece that this node read from the origin and makes
// it complete. If its hash was known and differs, it is ErrPoisoned.
func (f *File) putPiece(i int, b []byte, sum [sha1.Size]byte) error {
	if _, err := f.Learn(i, sum[:]); err != nil {
		return err
	}
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	defer l.Unlock()
	if f.Has(i) {
		return nil
	}
	if c, ok := f.cutOf(i); ok && sha1.Sum(b[:c.n]) != c.sum {
		return ErrPoisoned
	}
	if _, err := f.f.WriteAt(b, f.layout.Piece(i).From); err != nil {
		return err
	}
	f.markLocked(i, FromOrigin)
	return nil
}

// startPiece is called before an origin stream writes piece i bit by bit: peers
// are kept away from it, and readers may follow what the stream extends. It
// reports false when that is not safe: the piece is here, another stream has
// it or broke off in it, or its hash is known so that a peer's chunk may be
// under way.
func (f *File) startPiece(i int, t *originTail) bool {
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	defer l.Unlock()
	if _, cut := f.cutOf(i); cut || f.Has(i) || f.known[i].Load() || !f.ours[i].CompareAndSwap(false, true) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from := f.layout.Piece(i).From
	if t.To != from {
		t.From = from
	}
	t.To = from
	if !slices.Contains(f.streams, t) {
		f.streams = append(f.streams, t)
	}
	return true
}

// extend writes the next bytes of a piece that startPiece gave to t.
func (f *File) extend(t *originTail, b []byte) error {
	if _, err := f.f.WriteAt(b, t.To); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t.To += int64(len(b))
	f.wakeLocked()
	return nil
}

// finishPiece ends what startPiece began: the piece is complete.
func (f *File) finishPiece(i int, t *originTail, sum [sha1.Size]byte) error {
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	defer l.Unlock()
	defer f.ours[i].Store(false)
	// Another node may have landed the span meanwhile: the hashes must agree.
	if _, err := f.Learn(i, sum[:]); err != nil {
		f.endTail(t)
		return err
	}
	f.markLocked(i, FromOrigin)
	return nil
}

// cutPiece ends what startPiece began when the stream broke off: the bytes
// count as nothing, but whatever comes in their place must begin with them, for
// they hash to sum.
func (f *File) cutPiece(i int, t *originTail, sum [sha1.Size]byte) {
	l := &f.locks[i%len(f.locks)]
	l.Lock()
	defer l.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ours[i].Store(false)
	if n := t.To - f.layout.Piece(i).From; n > 0 {
		if f.cuts == nil {
			f.cuts = map[int]cut{}
		}
		f.cuts[i] = cut{n, sum}
	}
	f.dropTailLocked(t)
}

// endTail forgets a stream.
func (f *File) endTail(t *originTail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropTailLocked(t)
}

func (f *File) dropTailLocked(t *originTail) {
	f.streams = slices.DeleteFunc(f.streams, func(s *originTail) bool { return s == t })
}

// fail wakes all readers: the missing pieces will not come.
func (f *File) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = err
		f.wakeLocked()
	}
}

// failure is why missing pieces will not come, or nil.
func (f *File) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// revive lets readers wait again, because a new attempt is being made.
func (f *File) revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = nil
}

// availableLocked returns how many bytes can be read from off on, at most to
// the end of a megabyte or so, and where the first came from.
func (f *File) availableLocked(off int64) (n int64, from From) {
	i := f.layout.PieceAt(off)
	from = From(f.state[i].Load())
	if from != Missing {
		end := f.layout.Piece(i).To
		for i++; i < len(f.state) && From(f.state[i].Load()) == from && end-off < 4<<20; i++ {
			end = f.layout.Piece(i).To
		}
		return end - off, from
	}
	// The last byte waits until its piece is whole and hashed: who has read a body
	// to its end has read one that is complete here, and agrees with the others'.
	for _, t := range f.streams {
		if to := min(t.To, f.layout.Length-1); off >= t.From && off < to {
			return to - off, FromOrigin
		}
	}
	return 0, Missing
}

// await returns how many bytes can be read from off on once there is one.
func (f *File) await(ctx context.Context, off int64) (n int64, from From, err error) {
	for {
		f.mu.Lock()
		n, from = f.availableLocked(off)
		changed, failed := f.changed, f.failed
		f.mu.Unlock()
		switch {
		case n > 0:
			return n, from, nil
		case f.settle(f.layout.PieceAt(off)):
			continue // it was in doubt
		case failed != nil:
			return 0, Missing, failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, Missing, context.Cause(ctx)
		}
	}
}

// snapshot is what may be recorded of a file as durable.
type snapshot struct {
	pieces   []byte // complete, or in doubt
	complete bool
	suspect  bool // some were in doubt: what became of them later is not in pieces
	changed  bool // something became complete since the last one
}

// snapshot flushes the bytes and returns how they stood before the flush began.
func (f *File) snapshot() (s snapshot, err error) {
	f.mu.Lock()
	err, s.changed = f.broken, f.dirty
	f.dirty = false
	s.complete, s.suspect = f.left == 0, f.doubts.Load() > 0
	pieces := make([]byte, (len(f.state)+7)/8)
	for i := range f.state {
		if f.Has(i) || s.suspect && f.doubted[i].Load() {
			pieces[i/8] |= 1 << (i % 8)
		}
	}
	s.pieces = pieces
	f.mu.Unlock()
	if err != nil || !s.changed {
		s.changed = false
		return s, err
	}
	if err := f.f.Sync(); err != nil {
		// The kernel forgets what it could not write: a later flush would succeed
		// without those bytes, so none is believed.
		f.mu.Lock()
		f.broken = fmt.Errorf("%w: flush %s: %w", errDisk, f.version.ID, err)
		f.mu.Unlock()
		f.loseUnflushed()
		return snapshot{changed: true}, f.broken
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushed = pieces
	return s, nil
}

// loseUnflushed takes away what was written since the last flush that succeeded:
// once the kernel has forgotten it, something else would be read in its place.
func (f *File) loseUnflushed() {
	f.mu.Lock()
	kept := f.flushed
	f.mu.Unlock()
	for i := range f.state {
		if from := From(f.state[i].Load()); from != Missing && from != FromStore && (kept == nil || kept[i/8]&(1<<(i%8)) == 0) {
			f.lose(i)
		}
	}
}

// Dup returns an own handle on the file, with an own offset. The file's name
// may be gone, or stand for a later file.
func (f *File) Dup() (*os.File, error) {
	if !f.Acquire() {
		return nil, fs.ErrClosed
	}
	defer f.Release()
	if own, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.f.Fd())); err == nil {
		return own, nil
	}
	own, err := os.Open(f.f.Name())
	if err != nil {
		return nil, err
	}
	a, erra := f.f.Stat()
	b, errb := own.Stat()
	if erra != nil || errb != nil || !os.SameFile(a, b) {
		own.Close()
		return nil, fmt.Errorf("%s: %w", f.f.Name(), fs.ErrNotExist)
	}
	return own, nil
}

// Acquire takes a reference; false if the file is closed already.
func (f *File) Acquire() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refs == 0 {
		return false
	}
	f.refs++
	return true
}

// Release gives a reference back; the last one closes the file.
func (f *File) Release() error {
	f.mu.Lock()
	if f.refs == 0 {
		f.mu.Unlock()
		return errors.New("file released too often")
	}
	f.refs--
	last := f.refs == 0
	f.mu.Unlock()
	if !last {
		return nil
	}
	err := f.f.Close()
	if f.onClose != nil {
		f.onClose()
	}
	return err
}
