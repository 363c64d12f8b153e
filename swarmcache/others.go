package swarmcache

import (
	"cmp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Others write to the same disks. What a disk is to keep free for them holds while the
// node runs: it takes no more than leaves them that, and lets go of what is least likely
// to be used again when there is less. What they free again it may take.

// othersEvery is how often is looked what others have left.
const othersEvery = 3 * time.Second

func (c *Cache) watchOthers() {
	look := time.NewTicker(cmp.Or(c.cfg.OthersEvery, othersEvery))
	defer look.Stop()
	for {
		select {
		case <-look.C:
			c.lookAtOthers()
		case <-c.ctx.Done():
			return
		}
	}
}

// lookAtOthers sets what objects may take on each disk, and evicts where that is less
// than they do. A quota that is exceeded without that, by what a configuration of now
// says, is met when something new comes.
func (c *Cache) lookAtOthers() {
	for _, v := range c.volumes {
		if v.MinFree <= 0 {
			continue
		}
		// What is left is looked at first: what comes in between counts twice, and nothing
		// goes for it.
		if left, ok := v.avail(); ok {
			c.makeWay(v, left, c.lacking(v))
		}
	}
}

// makeWay is what follows from a disk's having so many bytes left, while objects there
// lack so many.
func (c *Cache) makeWay(v *volume, left int64, lacking map[ObjectID]int64) {
	c.mu.Lock()
	may := c.mayTakeLocked(v, left, lacking)
	v.limit = max(1, min(may, cmp.Or(v.Size, may))) // 0 is no bound; into one byte nothing fits
	c.evict.Resize(c.limitLocked())
	away := func() {}
	if short := v.used - may; short > 0 && v.lost == nil {
		_, room := c.idleLocked([]*volume{v})
		// What is in use stays, and then not all that is short can go.
		_, away, _ = c.makeRoomLocked(min(v.freeLocked()+short, room[v]), v, nil)
	}
	c.mu.Unlock()
	away()
}

// mayTakeLocked is how many bytes objects may take on a disk that has so many left: what
// they hold, and what is leaving, and of the rest what others need not have. What they
// reserve and have not written is left still.
func (c *Cache) mayTakeLocked(v *volume, left int64, lacking map[ObjectID]int64) int64 {
	room := v.used + v.going + left
	for id, e := range c.entries {
		if e.volume == v && e.verified == 0 {
			room -= lacking[id]
		}
	}
	return v.withComingLocked(room) - v.MinFree
}

// lacking is how many bytes of each incomplete object are not on a volume's disk. The
// pieces do not tell: those that are in doubt are there, and parts of others.
func (c *Cache) lacking(v *volume) map[ObjectID]int64 {
	all := map[ObjectID]int64{}
	c.mu.Lock()
	for id, e := range c.entries {
		if e.volume == v && e.verified == 0 {
			all[id] = e.size
		}
	}
	c.mu.Unlock()
	for id, size := range all {
		all[id] = size - v.holds(id, size)
	}
	return all
}

// holds is how many bytes of an object of that size are on the disk; all of them where
// nobody can tell: its file may be about to be there.
func (v *volume) holds(id ObjectID, size int64) int64 {
	var st unix.Stat_t
	if unix.Stat(pathOf(v.Objects, id), &st) != nil {
		return size
	}
	return min(size, st.Blocks*512) // stat(2)
}

// patienceComing is in how many looks a disk has what was removed from it left again. A
// torrent holds the file for a moment, and some file systems free in the background.
const patienceComing = 5

// withComingLocked adds to the room that objects have on a disk what was removed and is
// not left yet, so that nothing else goes for the same need. What room there is more than
// at the last look is what has come of that.
func (v *volume) withComingLocked(room int64) int64 {
	for _, n := range v.coming {
		room += n
	}
	for i, n := range slices.Backward(v.coming[:]) {
		came := min(n, max(0, room-v.room))
		v.coming[i] -= came
		room -= came
	}
	copy(v.coming[1:], v.coming[:])
	v.coming[0] = 0
	v.room = room
	return room
}
