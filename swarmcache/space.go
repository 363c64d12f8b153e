package swarmcache

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache/events"
)

// entry is what the cache keeps in memory of every object: enough to choose
// what goes when space is short.
type entry struct {
	key      policy.Key
	volume   *volume
	size     int64
	lastUsed int64 // Unix nanoseconds, or seconds*1e9 from the catalogue
	left     int64 // Unix nanoseconds when a user let go of it; 0: not in this run
	infoHash InfoHash
	pinned   bool
	verified int64     // Unix seconds, see Record; 0: it is not complete
	wanted   int       // copies that the cluster should keep, as far as this node knows
	asked    uint32    // the Cache.round in which the directory was asked about it
	seen     int       // copies that there were of late, this one included; 0: not known
	spare    time.Time // until then no other node lets its copy go because this one is here
	heat     heat
	stuck    bool // it could not be forgotten; owned by who removes it
}

// load fills the entries from the catalogue, and makes files and records agree:
// a record without its file is forgotten, a file without a record removed. What is on
// a volume that is missing is left as it is. It returns the complete objects that the
// directory was not told of.
func (c *Cache) load() (untold []ObjectID, err error) {
	var lost []Version
	known, away, unsure := map[string]*volume{}, map[string]int{}, map[ObjectID]*volume{}
	for _, v := range c.volumes {
		known[v.ID] = v
	}
	err = c.cfg.Index.Each(func(r Record) bool {
		v, at := r.Version, known[r.Volume]
		if at == nil || at.lost != nil {
			away[r.Volume]++
			c.awayLocked(absentee{key: v.Key, id: v.ID})
			return true
		}
		if st, err := os.Stat(pathOf(at.Objects, v.ID)); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() != v.Length {
			lost = append(lost, v)
			return true
		} else if err != nil { // who knows
			c.log.Error("an object cannot be reached", "object", v.ID, "error", err)
			at.see(err, c.log)
			c.awayLocked(absentee{key: v.Key, id: v.ID, at: at, size: v.Length})
			unsure[v.ID] = at
			return true
		}
		c.entries[v.ID] = &entry{key: v.Key, volume: at, size: v.Length, lastUsed: r.LastUsed * 1e9, pinned: r.Pinned, infoHash: v.InfoHash, wanted: c.wanted(v, r.Pinned)}
		at.used += v.Length
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
	c.tellAway(known, away)
	c.restoreEviction()
	for _, v := range lost {
		c.log.Warn("an object's file is gone", "object", v.ID)
		if err := c.cfg.Index.Delete(v.ID); err != nil {
			return nil, err
		}
	}
	for _, v := range c.volumes {
		if v.lost == nil {
			if err := c.removeStrays(v, unsure); err != nil {
				return nil, err
			}
		}
	}
	return untold, nil
}

// tellAway logs which volumes are missing, and how many objects with them.
func (c *Cache) tellAway(known map[string]*volume, away map[string]int) {
	for _, v := range c.volumes {
		if v.lost != nil {
			c.log.Error("a volume is missing: its objects are not here until a start with it", "volume", v.Dir, "objects", away[v.ID], "error", v.lost)
		}
	}
	for id, n := range away {
		if known[id] == nil {
			c.log.Warn("a volume is not configured any more: its objects are not here", "volume", id, "objects", n, "hint", "give it up with shatabdi check --forget-volume")
		}
	}
}

// removeStrays removes the files of a volume that belong to no object there, as far as
// that is sure.
func (c *Cache) removeStrays(v *volume, unsure map[ObjectID]*volume) error {
	err := filepath.WalkDir(v.Objects, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		id := ObjectID(d.Name())
		if e := c.entries[id]; e != nil && e.volume == v || unsure[id] == v {
			return nil
		}
		c.log.Info("remove a file that belongs to no object", "file", path)
		return v.files.Remove(path)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // nothing was ever there
	case err != nil && v.ID != "":
		c.log.Error("look through a volume", "volume", v.Dir, "error", err)
		v.see(err, c.log)
		return nil
	}
	return err
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

// leave notes that a user of o lets go of it. That is the end of a use, and not another.
func (c *Cache) leave(o *object) {
	c.mu.Lock()
	if e := c.entries[o.file.version.ID]; e != nil {
		e.left = c.now().UnixNano()
	}
	c.mu.Unlock()
	o.users.Add(-1) // after that: who sees no user sees when the last one left
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

// fits reports ErrNoSpace for an object that could not be kept if all others went.
func (c *Cache) fits(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.volumes {
		if v.lost == nil && v.holdsLocked(n) {
			return nil
		}
	}
	return ErrNoSpace
}

// noRoom counts a response that is not kept because there is no room for it, by the
// quota or on the disk.
func (c *Cache) noRoom(err error) error {
	if isAny(err, ErrNoSpace, syscall.ENOSPC, syscall.EDQUOT) {
		c.metrics.noRoom.Inc()
	}
	return err
}

// reserve makes room for v, evicting what is least likely to be used again. Objects
// in use and pinned ones stay. Of its bytes had are reserved already, on that volume;
// nil: none are, and one is chosen. Nothing may be written before untilRoom.
func (c *Cache) reserve(v Version, on *volume, had int64) error {
	c.mu.Lock()
	if c.entries[v.ID] != nil {
		c.mu.Unlock()
		return nil
	}
	at, away, err := c.makeRoomLocked(v.Length-had, on, c.unsureLocked(v.Key, v.ID))
	if err == nil {
		c.entries[v.ID] = &entry{key: v.Key, volume: at, size: v.Length, lastUsed: c.now().UnixNano(), asked: c.round}
		c.evict.Add(v.ID, v.Length)
		at.used += v.Length - had
	}
	c.mu.Unlock()
	away()
	return err
}

// reserveMore makes room for the next n bytes of a spool, on that volume or, nil, on
// one that it chooses, and waits for it.
func (c *Cache) reserveMore(n int64, on *volume) (at *volume, err error) {
	c.mu.Lock()
	at, away, err := c.makeRoomLocked(n, on, nil)
	if err == nil {
		at.used += n
	}
	c.mu.Unlock()
	away()
	c.untilRoom()
	return at, err
}

// free gives reserved bytes back.
func (c *Cache) free(n int64, on *volume) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if on != nil {
		on.used -= n
	}
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
		for _, x := range c.leaving {
			if v := x.volume; v != nil && v.limit > 0 && v.used+v.going > v.limit {
				l = x
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
func (c *Cache) makeRoomLocked(n int64, on, not *volume) (at *volume, away func(), err error) {
	at, victims, ok := c.roomLocked(n, on, not)
	if !ok {
		return nil, func() {}, ErrNoSpace
	}
	var all []func()
	for _, id := range victims {
		c.metrics.evicted.Inc()
		c.cfg.Events.Tell(events.Event{Kind: events.Evicted, Object: string(id), Key: string(c.entries[id].key), Length: c.entries[id].size})
		_, f := c.leaveLocked(id)
		all = append(all, f)
	}
	return at, func() {
		for _, f := range all {
			f()
		}
	}, nil
}

// sealedNow notes that o is complete, and lets peers find it by its infohash.
func (c *Cache) sealedNow(o *object) {
	v := o.file.Version()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[v.ID]
	if e == nil || c.objects[v.ID] != o {
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
	gone   chan struct{}
	volume *volume // nil: it takes no space
	err    error   // why it stays in the catalogue; valid once gone is closed
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
	l = &leaving{gone: make(chan struct{}), volume: e.volume}
	c.leaving[id] = l
	e.volume.going += e.size
	c.dropLocked(id, e)
	remove := func() {
		defer close(l.gone)
		if o != nil {
			o.writing.Lock() // what is being written goes too
			defer o.writing.Unlock()
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
	e.volume.used -= e.size
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
// must not go before its record, off the disk. Only where the catalogue has no room to
// forget it, the file makes that: a record without one is forgotten too. What could not
// be removed takes its space again, and may be chosen to go another time.
func (c *Cache) remove(id ObjectID, e *entry) error {
	err := c.unrecord(id, e)
	full := errors.Is(err, ErrNoSpace)
	coming := int64(0)
	if err == nil || full {
		coming = c.unlink(id, e)
	}
	if full {
		err = c.unrecord(id, e)
	}
	if err != nil && !e.stuck {
		c.log.Error("forget an object", "object", id, "error", err)
	}
	c.mu.Lock()
	delete(c.leaving, id)
	e.stuck = err != nil
	e.volume.going -= e.size
	e.volume.coming[0] += coming
	if e.stuck {
		c.entries[id] = e
		c.evict.Restore(id, e.size)
		e.volume.used += e.size
	}
	c.mu.Unlock()
	if errors.Is(err, ErrNoSpace) {
		c.removeLater(id, e)
	}
	return err
}

// removeEvery is how often is tried to forget what the catalogue had no room for. What
// others remove may make it, of which nobody tells.
const removeEvery = time.Second

// removeLater removes what is nobody's and could not be forgotten.
func (c *Cache) removeLater(id ObjectID, e *entry) {
	c.goWork(func() {
		select {
		case <-time.After(removeEvery):
		case <-c.ctx.Done():
			return
		}
		c.mu.Lock()
		away := func() {}
		if c.entries[id] == e && c.objects[id] == nil {
			_, away = c.leaveLocked(id)
		}
		c.mu.Unlock()
		away()
	})
}

// unlink removes an object's file. It returns how many bytes its disk will have left
// for that.
func (c *Cache) unlink(id ObjectID, e *entry) int64 {
	held := e.volume.holds(id, e.size)
	err := e.volume.files.Remove(pathOf(e.volume.Objects, id))
	if err == nil {
		return held
	}
	if !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("remove an object's file", "object", id, "error", err)
	}
	return 0
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
