package swarmcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"shatabdi/policy"
)

// entry is what the cache keeps in memory of every object: enough to choose
// what goes when space is short.
type entry struct {
	key      policy.Key
	size     int64
	lastUsed int64 // Unix nanoseconds, or seconds*1e9 from the catalogue
	infoHash InfoHash
	pinned   bool
}

// load fills the entries from the catalogue, and makes files and records agree:
// a record without its file is forgotten, a file without a record removed.
func (c *Cache) load() error {
	var lost []Version
	err := c.cfg.Index.Each(func(r Record) bool {
		v := r.Version
		if st, err := os.Stat(c.path(v.ID)); err != nil || st.Size() != v.Length {
			lost = append(lost, v)
			return true
		}
		c.entries[v.ID] = &entry{key: v.Key, size: v.Length, lastUsed: r.LastUsed * 1e9, pinned: r.Pinned, infoHash: v.InfoHash}
		c.used += v.Length
		if r.Complete && !v.InfoHash.IsZero() {
			c.sealed[v.InfoHash] = v.ID
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, v := range lost {
		c.log.Warn("an object's file is gone", "object", v.ID)
		if err := c.cfg.Index.Delete(v.ID); err != nil {
			return err
		}
	}
	return filepath.WalkDir(c.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if c.entries[ObjectID(d.Name())] == nil {
			c.log.Info("remove a file that belongs to no object", "file", path)
			return os.Remove(path)
		}
		return nil
	})
}

// touchLocked marks an object as used now.
func (c *Cache) touchLocked(id ObjectID) {
	if e := c.entries[id]; e != nil {
		e.lastUsed = c.now().UnixNano()
	}
}

// fits reports ErrNoSpace for an object that could never be kept.
func (c *Cache) fits(n int64) error {
	if c.cfg.Size > 0 && n > c.cfg.Size {
		return ErrNoSpace
	}
	return nil
}

// reserve makes room for v, evicting what was not used for longest. Objects in
// use and pinned ones stay. It needs c.files.
func (c *Cache) reserve(v Version) error {
	c.mu.Lock()
	if c.entries[v.ID] != nil {
		c.mu.Unlock()
		return nil
	}
	victims, ok := c.victimsLocked(v.Length)
	if !ok {
		c.mu.Unlock()
		return ErrNoSpace
	}
	c.entries[v.ID] = &entry{key: v.Key, size: v.Length, lastUsed: c.now().UnixNano()}
	c.used += v.Length
	c.mu.Unlock()
	for _, id := range victims {
		c.metrics.evicted.Inc()
		c.forgetLocked(id)
	}
	return nil
}

// victimsLocked picks what must go for n more bytes.
func (c *Cache) victimsLocked(n int64) (victims []ObjectID, ok bool) {
	if c.cfg.Size <= 0 || c.used+n <= c.cfg.Size {
		return nil, true
	}
	var idle []ObjectID
	for id, e := range c.entries {
		// An idle torrent may have the file open: it leaves when the object goes.
		if o := c.objects[id]; !e.pinned && (o == nil || o.users.Load() == 0) {
			idle = append(idle, id)
		}
	}
	slices.SortFunc(idle, func(a, b ObjectID) int {
		return int(max(-1, min(1, c.entries[a].lastUsed-c.entries[b].lastUsed)))
	})
	free := c.cfg.Size - c.used
	for _, id := range idle {
		if free >= n {
			break
		}
		free += c.entries[id].size
		victims = append(victims, id)
	}
	return victims, free >= n
}

func (c *Cache) unreserve(id ObjectID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		c.used -= e.size
		delete(c.entries, id)
		if c.sealed[e.infoHash] == id {
			delete(c.sealed, e.infoHash)
		}
	}
}

// sealedNow lets peers find v by its infohash.
func (c *Cache) sealedNow(v Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[v.ID]; e != nil && !v.InfoHash.IsZero() {
		e.infoHash = v.InfoHash
		c.sealed[v.InfoHash] = v.ID
	}
}

// forget removes an object: from the catalogue, from the books, from the disk.
// Who reads it keeps an open file.
func (c *Cache) forget(id ObjectID, key policy.Key) {
	c.files.Lock()
	defer c.files.Unlock()
	c.forgetLocked(id)
}

// forgetLocked needs c.files.
func (c *Cache) forgetLocked(id ObjectID) {
	c.mu.Lock()
	o := c.objects[id]
	delete(c.objects, id)
	c.mu.Unlock()
	if o != nil {
		o.recording.Lock()
		o.file.condemned.Store(true)
		o.recording.Unlock()
	}
	if err := c.cfg.Index.Delete(id); err != nil && !errors.Is(err, ErrNotFound) {
		c.log.Error("forget an object", "object", id, "error", err)
		return // the file must not go before its record
	}
	c.unreserve(id)
	if err := os.Remove(c.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("remove an object's file", "object", id, "error", err)
	}
}
