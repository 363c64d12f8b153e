package swarmcache

import (
	"context"
	"errors"
	"io"
	"os"

	"shatabdi/policy"
)

// Cache is this node's part of the swarm cache.
type Cache struct{}

var errStub = errors.New("stub")

// Lookup finds what key selects: a local object, one the cluster holds, or one
// being filled; in that order, and with the directory's answer bounded in time.
// ErrNotFound: a miss. The object is a handle: Close it. o serves the spans
// that this node may have to fetch while the handle's readers want them.
func (c *Cache) Lookup(ctx context.Context, key policy.Key, o Origin) (*Object, error) {
	return nil, errStub
}

// ClaimFirst claims the cluster-wide right to send the first GET for a key that
// policy expects to be large. A *ClaimedError after a wait: look up again.
// When the directory is away the claim is for this node only.
func (c *Cache) ClaimFirst(ctx context.Context, key policy.Key) (release func(), err error) {
	return nil, errStub
}

// Fill opens the fill of v, or joins it if somebody else opened it first. v.ID
// is set by Fill. body is the origin's response body from byte 0 on, or nil
// (the answer to a Range request); Fill owns it: the opener reads its first
// spans from it, a loser closes it unread. ErrNoSpace: body is untouched and
// still the caller's.
func (c *Cache) Fill(ctx context.Context, v Version, ranges bool, body io.ReadCloser, o Origin) (*Object, error) {
	return nil, errStub
}

// Refresh records new freshness facts of obj's version, here and in the
// directory, after a 304.
func (c *Cache) Refresh(ctx context.Context, obj *Object, s policy.Stored) error { return errStub }

// Withdraw makes key select nothing, here and in the directory.
func (c *Cache) Withdraw(ctx context.Context, key policy.Key) error { return errStub }

// Spool receives a storable body whose length is not known. Commit makes it an
// object when at least atLeast bytes came; Abort, or Commit of less, leaves no trace.
func (c *Cache) Spool(v Version) (*Spool, error) { return nil, errStub }

// Spool is an object in the making, of unknown length.
type Spool struct{}

func (s *Spool) Write(b []byte) (int, error)                     { return 0, errStub }
func (s *Spool) Commit(ctx context.Context, atLeast int64) error { return errStub }
func (s *Spool) Abort()                                          {}

// Object is a handle on one version of an object that is here or coming.
type Object struct{}

// Version returns the object's facts.
func (o *Object) Version() Version { return Version{} }

// Complete reports whether every byte is on this node.
func (o *Object) Complete() bool { return false }

// Open returns an own handle on the file of a complete object, for sendfile.
func (o *Object) Open() (*os.File, error) { return nil, errStub }

// NewReader returns a reader that waits for bytes as they come. Only the bytes
// in [from, to) become wanted, so a Range request fills its own spans.
func (o *Object) NewReader(ctx context.Context, from, to int64) *Reader { return nil }

// Sources tells how many of the bytes read through this handle's readers came
// from this node's store, from peers and from the origin.
func (o *Object) Sources() (local, swarm, origin int64) { return 0, 0, 0 }

// Close gives the handle back. A fill goes on if others want it or most of it
// is here; otherwise it stops.
func (o *Object) Close() {}

// Reader reads a growing object. It is an io.ReadSeeker, so http.ServeContent
// serves it. A read fails with ErrFillEnded when the rest cannot come.
type Reader struct{}

func (r *Reader) Read(b []byte) (int, error)                { return 0, errStub }
func (r *Reader) Seek(off int64, whence int) (int64, error) { return 0, errStub }
func (r *Reader) Close() error                              { return nil }
