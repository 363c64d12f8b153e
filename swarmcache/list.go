package swarmcache

import (
	"errors"
	"slices"

	"shatabdi/policy"
)

// Stats are the books of a cache.
type Stats struct {
	Bytes   int64 // reserved by objects, complete or not
	Objects int
	Limit   int64 // bytes that objects may take; 0: no bound but the disk's
}

// Stats returns the books as of now.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Bytes: c.usedLocked(), Objects: len(c.entries), Limit: c.limitLocked()}
}

// List returns up to n records in the order of their ids, beginning after the
// id given, which need not exist.
func (c *Cache) List(after ObjectID, n int) ([]Record, error) {
	c.mu.Lock()
	var ids []ObjectID
	for id := range c.entries {
		if id > after {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	slices.Sort(ids)
	records := make([]Record, 0, min(n, len(ids)))
	for _, id := range ids {
		if len(records) == n {
			break
		}
		r, err := c.Record(id)
		if errors.Is(err, ErrNotFound) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// Record returns what the catalogue knows of an object, without its hashes, or
// ErrNotFound. It does not count as a use.
func (c *Cache) Record(id ObjectID) (Record, error) {
	r, err := c.recorded(c.cfg.Index.Summary, id)
	if err != nil {
		return Record{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[id]
	if e == nil || e.volume.ID != r.Volume {
		return Record{}, ErrNotFound
	}
	r.LastUsed = e.lastUsed / 1e9 // the catalogue's may be old
	return r, nil
}

// Selected returns the record that key selects on this node, or ErrNotFound.
func (c *Cache) Selected(key policy.Key) (Record, error) {
	id, ok := c.selected(key)
	if !ok {
		return Record{}, ErrNotFound
	}
	return c.Record(id)
}

// Arrived are the bytes of an object that are on this node, by where they came
// from since its file was opened: what was here before counts as stored.
type Arrived struct{ Stored, Peers, Origin int64 }

// Arrived tells how much of the object of r is here.
func (c *Cache) Arrived(r Record) (a Arrived) {
	l := r.Version.Layout()
	c.eachPiece(r, func(i int, from From) {
		switch n := l.Piece(i).Len(); from {
		case FromStore:
			a.Stored += n
		case FromPeer:
			a.Peers += n
		case FromOrigin:
			a.Origin += n
		}
	})
	return a
}

// eachPiece tells of every piece of r's object whether it is here, and where it
// came from since its file was opened.
func (c *Cache) eachPiece(r Record, f func(i int, from From)) {
	c.mu.Lock()
	o := c.objects[r.Version.ID]
	c.mu.Unlock()
	l := r.Version.Layout()
	for i := range l.Pieces() {
		from := Missing
		switch {
		case o != nil:
			from = From(o.file.state[i].Load())
		case r.Complete, i/8 < len(r.Pieces) && r.Pieces[i/8]&(1<<(i%8)) != 0:
			from = FromStore
		}
		f(i, from)
	}
}

// Forget removes an object from this node, or returns ErrNotFound. Who reads it
// keeps what is open; the cluster may hold it elsewhere.
func (c *Cache) Forget(id ObjectID) error {
	if !c.has(id) {
		return ErrNotFound
	}
	return c.forget(id).wait()
}
