package swarmcache

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"shatabdi/policy"
)

var (
	// ErrIncomplete: not all of an object is on this node.
	ErrIncomplete = errors.New("not all of it is on this node")
	// ErrDamaged: what is on the disk is not what was stored.
	ErrDamaged = errors.New("what is on the disk is not what was stored")
)

// Verify reads a complete object back and compares it with its hashes. ErrDamaged:
// a piece was not right; it was dropped, nobody gets it, and it comes again, with
// the others verified.
func (c *Cache) Verify(ctx context.Context, id ObjectID) error {
	err := c.readBack(ctx, id, func([]byte) error { return nil })
	if err != nil {
		return err
	}
	c.setVerified(id, c.now().Unix())
	return c.recordVerified(id)
}

// Export writes the body of a complete object, each piece after it was verified. It
// counts as a use. The errors are as Verify's, or w's.
func (c *Cache) Export(ctx context.Context, id ObjectID, w io.Writer) error {
	c.touch(id)
	return c.readBack(ctx, id, func(piece []byte) error {
		_, err := w.Write(piece)
		return err
	})
}

// readBack reads a complete object from the disk, and calls f with each piece that
// is right.
func (c *Cache) readBack(ctx context.Context, id ObjectID, f func(piece []byte) error) error {
	if !c.has(id) {
		return ErrNotFound
	}
	rec, err := c.cfg.Index.Get(id)
	if err != nil {
		return err
	}
	l := rec.Version.Layout()
	if !rec.Complete || len(rec.Hashes) != l.Pieces()*sha1.Size {
		return ErrIncomplete
	}
	path, err := c.bodyOf(&rec)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	defer file.Close()
	buf := make([]byte, l.PieceLen)
	for i := range l.Pieces() {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := l.Piece(i)
		piece := buf[:p.Len()]
		unix.Fadvise(int(file.Fd()), p.From, p.Len(), unix.FADV_DONTNEED) // from the disk, and not from memory
		_, err := file.ReadAt(piece, p.From)
		if err != nil || sha1.Sum(piece) != [sha1.Size]byte(rec.Hashes[i*sha1.Size:]) {
			if !c.has(id) {
				return ErrNotFound // it went meanwhile, and its place was taken
			}
			if c.damaged(id, i) { // who asked need not wait for the peers
				c.goWork(func() { c.repair(id) })
			}
			return fmt.Errorf("%w: piece %d", ErrDamaged, i)
		}
		if err := f(piece); err != nil {
			return err
		}
	}
	return nil
}

// Expire makes what key selects on this node stale: it is not used again before
// the origin has confirmed it. It reports whether there was anything.
func (c *Cache) Expire(key policy.Key) (had bool, err error) {
	c.Mark(key).Advance()
	id, had := c.selected(key)
	if had {
		err = c.expireOne(id)
	}
	n, away := c.expireAway(key, of(key)) // last: a volume may have gone meanwhile
	return had && err == nil || n > 0, errors.Join(err, away)
}

func (c *Cache) expireOne(id ObjectID) error {
	o, err := c.look(id)
	if err != nil {
		return err
	}
	defer o.file.Release()
	s := o.file.Version().Stored
	s.Invalid = true
	return o.freshen(s)
}
