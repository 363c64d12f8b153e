package swarmcache

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
)

// entry is what the cache keeps in memory of every object: enough to choose
// what goes when space is short.
type entry struct {
	key      policy.Key
	size     int64
	lastUsed int64 // Unix nanoseconds, or seconds*1e9 from the catalogue
	infoHash InfoHash
	pinned   bool
	verified int64  // Unix seconds, see Record; 0: it is not complete
	wanted   int    // copies that the cluster should keep, as far as this node knows
	asked    uint32 // the Cache.round in which the directory was asked about it
	seen     int    // copies that there were of late, this one included; 0: not known
	heat     heat
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
		c.entries[v.ID] = &entry{key: v.Key, size: v.Length, lastUsed: r.LastUsed * 1e9, pinned: r.Pinned, infoHash: v.InfoHash, wanted: c.wanted(v, r.Pinned)}
		c.used += v.Length
		if id, err := c.cfg.Index.Current(v.Key); err == nil && id == v.ID {
			c.current[v.Key] = id
			c.variants.add(v.Key)
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
	c.restoreEviction()
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
			return c.cfg.Files.Remove(path)
		}
		return nil
	})
}

// touch marks an object as used now.
func (c *Cache) touch(id ObjectID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[id]
	if e == nil {
		return
	}
	now := c.now().UnixNano()
	if now-e.lastUsed > int64(oneUse) {
		c.evict.Use(id)
	}
	e.lastUsed = now
}

// oneUse is how soon after each other requests are parts of one download: many
// clients ask for range after range.
const oneUse = 10 * time.Second

// restoreEviction tells what was stored before, what was not used for longest
// first.
func (c *Cache) restoreEviction() {
	byUse := func(a, b ObjectID) int { return cmp.Compare(c.entries[a].lastUsed, c.entries[b].lastUsed) }
	for _, id := range slices.SortedFunc(maps.Keys(c.entries), byUse) {
		c.evict.Restore(id, c.entries[id].size)
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

// reserve makes room for v, evicting what is least likely to be used again. Objects
// in use and pinned ones stay. Of its bytes had are reserved already. Nothing may
// be written before untilRoom.
func (c *Cache) reserve(v Version, had int64) error {
	c.mu.Lock()
	if c.entries[v.ID] != nil {
		c.mu.Unlock()
		return nil
	}
	away, err := c.makeRoomLocked(v.Length - had)
	if err == nil {
		c.entries[v.ID] = &entry{key: v.Key, size: v.Length, lastUsed: c.now().UnixNano(), asked: c.round}
		c.evict.Add(v.ID, v.Length)
		c.used += v.Length - had
	}
	c.mu.Unlock()
	away()
	return err
}

// reserveMore makes room for the next n bytes of a spool, and waits for it.
func (c *Cache) reserveMore(n int64) error {
	c.mu.Lock()
	away, err := c.makeRoomLocked(n)
	if err == nil {
		c.used += n
	}
	c.mu.Unlock()
	away()
	c.untilRoom()
	return err
}

// free gives reserved bytes back.
func (c *Cache) free(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used -= n
}

// patienceRoom is how long a client waits for what must go. It takes a write to the
// catalogue, some milliseconds; where a disk takes far longer for it, the cache
// has too much for a moment rather than the client nothing.
const patienceRoom = time.Second

// untilRoom waits until what is reserved has room beside what has not left the
// disk yet.
func (c *Cache) untilRoom() {
	late := time.NewTimer(patienceRoom)
	defer late.Stop()
	for {
		var l *leaving
		c.mu.Lock()
		if c.cfg.Size > 0 && c.used+c.going > c.cfg.Size {
			for _, l = range c.leaving {
				break
			}
		}
		c.mu.Unlock()
		if l == nil {
			return
		}
		select {
		case <-l.gone:
		case <-late.C:
			return
		}
	}
}

// makeRoomLocked takes what must go for n more bytes out of the books. away, without
// mu, has it removed.
func (c *Cache) makeRoomLocked(n int64) (away func(), err error) {
	victims, ok := c.victimsLocked(n)
	if !ok {
		return func() {}, ErrNoSpace
	}
	var all []func()
	for _, id := range victims {
		c.metrics.evicted.Inc()
		c.cfg.Events.Tell(events.Event{Kind: events.Evicted, Object: string(id), Key: string(c.entries[id].key), Length: c.entries[id].size})
		_, f := c.leaveLocked(id)
		all = append(all, f)
	}
	return func() {
		for _, f := range all {
			f()
		}
	}, nil
}

// victimsLocked picks what must go for n more bytes.
func (c *Cache) victimsLocked(n int64) (victims []ObjectID, ok bool) {
	if c.cfg.Size <= 0 || c.used+n <= c.cfg.Size {
		return nil, true
	}
	free, idle := c.cfg.Size-c.used, map[ObjectID]bool{}
	room, turns := free, [lastTurn + 1]int{}
	for id, e := range c.entries {
		// An idle torrent may have the file open: it leaves when the object goes.
		if o := c.objects[id]; !e.pinned && (o == nil || o.users.Load() == 0) {
			idle[id] = true
			room += e.size
			turns[e.turn()]++
		}
	}
	if room < n {
		return nil, false
	}
	for turn := 0; turn <= lastTurn; {
		if free >= n {
			return victims, true
		}
		if turns[turn] == 0 {
			turn++
			continue
		}
		id, ok := c.evict.Next(func(id ObjectID) bool { return idle[id] && c.entries[id].turn() == turn })
		if !ok {
			return victims, false
		}
		turns[turn]--
		free += c.entries[id].size
		victims = append(victims, id)
	}
	return victims, free >= n
}

// lastTurn is that of what the cluster keeps and nobody else may have.
const lastTurn = 2

// turn is when an object goes: what is kept, after what is not, and its last copy
// last of all. Of what is not kept the number of copies does not count: most of
// what passes once is nowhere else, and must not stay for that.
func (e *entry) turn() int {
	switch {
	case e.wanted == 0 || e.seen > e.wanted:
		return 0
	case e.seen > 1:
		return 1
	}
	return lastTurn
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
	l, away := c.leaveLocked(id)
	c.mu.Unlock()
	away()
	return l
}

// leaveLocked takes an object out of the books. away, without mu, has it removed.
func (c *Cache) leaveLocked(id ObjectID) (l *leaving, away func()) {
	e, o, l := c.entries[id], c.objects[id], c.leaving[id]
	if e == nil {
		if l == nil { // it is gone
			l = &leaving{gone: make(chan struct{})}
			close(l.gone)
		}
		return l, func() {}
	}
	l = &leaving{gone: make(chan struct{})}
	c.leaving[id] = l
	c.going += e.size
	c.dropLocked(id, e)
	remove := func() {
		defer close(l.gone)
		if o != nil {
			o.recording.Lock() // what is being recorded goes too
			defer o.recording.Unlock()
		}
		l.err = c.remove(id, e)
	}
	return l, func() {
		if o != nil {
			o.file.condemned.Store(true)
		}
		if s := c.cfg.Swarm; s != nil && !e.infoHash.IsZero() {
			s.Withdraw(e.infoHash)
		}
		if !c.goWork(remove) {
			remove()
		}
	}
}

// dropLocked takes an object out of the books.
func (c *Cache) dropLocked(id ObjectID, e *entry) {
	c.used -= e.size
	c.evict.Remove(id)
	delete(c.entries, id)
	delete(c.objects, id)
	if c.current[e.key] == id {
		delete(c.current, e.key)
		c.variants.remove(e.key)
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
		if err := c.cfg.Files.Remove(c.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("remove an object's file", "object", id, "error", err)
		}
	} else {
		c.log.Error("forget an object", "object", id, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leaving, id)
	c.going -= e.size
	if err != nil {
		c.entries[id] = e
		c.evict.Restore(id, e.size)
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
