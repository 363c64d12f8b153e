package swarmcache

import (
	"errors"
	"net/netip"
)

// What people see of an object's torrents.

// ErrNotSealed: the object is not complete here, so there is no standard torrent
// of it yet.
var ErrNotSealed = errors.New("the object is not complete on this node yet")

// Sealed returns the version of a complete object and its pieces' hashes.
// ErrNotFound, ErrNotSealed.
func (c *Cache) Sealed(id ObjectID) (Version, []byte, error) {
	if !c.has(id) {
		return Version{}, nil, ErrNotFound
	}
	r, err := c.cfg.Index.Get(id)
	if err == nil && (c.isAway(&r) || !r.Complete || len(r.Hashes) == 0 || r.Version.InfoHash.IsZero()) {
		err = ErrNotSealed
	}
	return r.Version, r.Hashes, err
}

// Peer is one that is connected for an object.
type Peer struct {
	Addr           netip.AddrPort
	Client         string // what it calls its program
	Outside        bool   // it does not call itself a node
	Fill           bool   // in the fill torrent, not in the sealed one
	Pieces         int    // that it has
	Received, Sent int64  // payload
}

// Run is a run of pieces that are alike.
type Run struct {
	Pieces int
	From   From
}

// Pieces tells of an object's pieces in order: which are here, and where they came
// from since its file was opened.
func (c *Cache) Pieces(r Record) (runs []Run) {
	c.eachPiece(r, func(_ int, from From) {
		if n := len(runs); n > 0 && runs[n-1].From == from {
			runs[n-1].Pieces++
			return
		}
		runs = append(runs, Run{1, from})
	})
	return runs
}
