package swarmcache

import (
	"cmp"
	"time"
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
		if left, ok := v.avail(); ok {
			c.makeWay(v, left)
		}
	}
}

// makeWay is what follows from a disk's having so many bytes left.
func (c *Cache) makeWay(v *volume, left int64) {
	c.mu.Lock()
	may := c.mayTakeLocked(v, left)
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
func (c *Cache) mayTakeLocked(v *volume, left int64) int64 {
	may := v.used + v.going + left - v.MinFree
	for id, e := range c.entries {
		if e.volume == v && e.verified == 0 {
			may -= c.lacksLocked(id, e)
		}
	}
	return may
}

// lacksLocked is how many of an incomplete object's bytes are not on the disk.
func (c *Cache) lacksLocked(id ObjectID, e *entry) int64 {
	if o := c.objects[id]; o != nil {
		return o.lacks()
	}
	return e.lacks
}

// lacks is how many bytes are not here.
func (o *object) lacks() int64 {
	l := o.file.layout
	return min(l.Length, int64(o.file.Left())*l.PieceLen)
}
