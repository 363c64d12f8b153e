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
	verified int64 // Unix seconds, see Record; 0: it is not complete
}

// load fills the entries from the catalogue, and makes files and records agree:
// a record without its file is forgotten, a file without a record removed. It
// returns the complete objects that the directory was not told of.
func (c *Cache) load() (untold []ObjectID, err error) {
	var lost []Version
	err = c.cfg.Index.Each(func(r Record) bool {
		v := r.Version
		if st, err := os.Stat(c.path(v.ID)); err != nil || st.Size() != v.Length {
			lost = append(lost, v)
			return true
		}
		c.entries[v.ID] = &entry{key: v.Key, size: v.Length, lastUsed: r.LastUsed * 1e9, pinned: r.Pinned, infoHash: v.InfoHash}
		c.used += v.Length
		if id, err := c.cfg.Index.Current(v.Key); err == nil && id == v.ID {
			c.current[v.Key] = id
		}
		if r.Complete && !v.InfoHash.IsZero() {
			c.sealed[v.InfoHash] = v.ID
		}
		if r.Complete {
			c.entries[v.ID].verified = max(r.Verified, r.Added)
		}
		if r.Complete && r.Untold {
			untold = append(untold, v.ID)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, v := range lost {
		c.log.Warn("an object's file is gone", "object", v.ID)
		if err := c.cfg.Index.Delete(v.ID); err != nil {
			return nil, err
		}
	}
	return untold, filepath.WalkDir(c.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
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

// touch marks an object as used now.
func (c *Cache) touch(id ObjectID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		e.lastUsed = c.now().UnixNano()
	}
}

// lastUsed is when an object was used, in Unix seconds.
func (c *Cache) lastUsed(id ObjectID) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		return e.lastUsed / 1e9
	}
	return c.now().Unix()
}

// fits reports ErrNoSpace for an object that could never be kept.
func (c *Cache) fits(n int64) error {
	if c.cfg.Size > 0 && n > c.cfg.Size {
		return ErrNoSpace
	}
	return nil
}

// reserve makes room for v, evicting what was not used for longest. Objects in
// use and pinned ones stay.
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
		c.forget(id)
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

// sealedNow notes that v is complete, and lets peers find it by its infohash.
func (c *Cache) sealedNow(v Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[v.ID]
	if e == nil {
		return
	}
	e.verified = c.now().Unix()
	if !v.InfoHash.IsZero() {
		e.infoHash = v.InfoHash
		c.sealed[v.InfoHash] = v.ID
	}
}

// leaving is an object that was forgotten and is still on the disk.
type leaving struct {
	gone chan struct{}
	err  error // why it stays in the catalogue; valid once gone is closed
}

func (l *leaving) wait() error {
	<-l.gone
	return l.err
}

// forget removes an object: at once for those who look it up, and behind the
// caller's back from the catalogue and the disk. Who reads it keeps an open file.
func (c *Cache) forget(id ObjectID) *leaving {
	c.mu.Lock()
	e, o, l := c.entries[id], c.objects[id], c.leaving[id]
	if e == nil {
		c.mu.Unlock()
		if l == nil { // it is gone
			l = &leaving{gone: make(chan struct{})}
			close(l.gone)
		}
		return l
	}
	l = &leaving{gone: make(chan struct{})}
	c.leaving[id] = l
	c.dropLocked(id, e)
	c.mu.Unlock()
	if o != nil {
		o.file.condemned.Store(true)
	}
	if s := c.cfg.Swarm; s != nil && !e.infoHash.IsZero() {
		s.Withdraw(e.infoHash)
	}
	remove := func() {
		defer close(l.gone)
		if o != nil {
			o.recording.Lock() // what is being recorded goes too
			defer o.recording.Unlock()
		}
		l.err = c.remove(id, e)
	}
	if !c.goWork(remove) {
		remove()
	}
	return l
}

// dropLocked takes an object out of the books.
func (c *Cache) dropLocked(id ObjectID, e *entry) {
	c.used -= e.size
	delete(c.entries, id)
	delete(c.objects, id)
	if c.current[e.key] == id {
		delete(c.current, e.key)
	}
	if c.sealed[e.infoHash] == id {
		delete(c.sealed, e.infoHash)
	}
}

// remove takes a forgotten object out of the catalogue and then, for the file
// must not go before its record, off the disk. What could not be removed takes
// its space again, and may be chosen to go another time.
func (c *Cache) remove(id ObjectID, e *entry) error {
	c.selecting.Lock()
	err := c.cfg.Index.Delete(id)
	c.selecting.Unlock()
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err == nil {
		if err := os.Remove(c.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("remove an object's file", "object", id, "error", err)
		}
	} else {
		c.log.Error("forget an object", "object", id, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaving, id)
	if err != nil {
		c.entries[id] = e
		c.used += e.size
	}
	return err
}

// untilGone waits until an object that was forgotten has left the disk.
func (c *Cache) untilGone(id ObjectID) {
	c.mu.Lock()
	l := c.leaving[id]
	c.mu.Unlock()
	if l != nil {
		l.wait()
	}
}

// has reports whether an object takes space here.
func (c *Cache) has(id ObjectID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[id] != nil
}
