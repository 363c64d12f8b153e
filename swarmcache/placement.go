package swarmcache

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// volume is one of the cache's, with its books.
type volume struct {
	Volume
	files Files                     // that see how its disk does
	avail func() (n int64, ok bool) // bytes that its disk has left; false: who knows

	limit       int64 // as Cache.mu guards: Size, or less where others need the disk; 0: no bound
	used, going int64 // as Cache.mu guards: bytes reserved, and those that are leaving
	lost        error // as Cache.mu guards: why it is not there; nil: it is

	// As Cache.mu guards, of the looks at what others have left:
	room   int64                 // that objects had at the last one, with what was coming
	coming [patienceComing]int64 // bytes that were removed and are not left yet, by the looks since

	mu     sync.Mutex // a leaf
	failed error      // why it takes nothing new; nil: it does
	again  time.Time  // when it may be tried again all the same; zero: not in this run
	full   time.Time  // when its disk was found full
}

// A disk that was full, though its quota was not, is left alone for fullFor where there
// are others, and for barredFor one that let nobody in.
const (
	fullFor   = time.Minute
	barredFor = time.Minute
)

func (c *Cache) newVolume(v Volume) *volume {
	w := &volume{Volume: v, limit: v.Size, lost: v.Missing}
	w.avail = w.left
	w.files = seeing{c.cfg.Files, c, w}
	return w
}

// stillThere is asked before anything is made on a volume: what is written to the
// place where a disk was mounted, nobody finds again.
func (c *Cache) stillThere(v *volume) error {
	err := v.here()
	switch {
	case err == nil:
	case isGone(err):
		c.lose(v, err)
	case isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM): // all of this process's or machine's
	default:
		v.see(err, c.log)
		v.bar(err, c.log)
	}
	return err
}

func (v *volume) left() (n int64, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(v.Dir, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}

// lookAtDisks finds out before n bytes come which disks have no room for them, whatever
// their quotas say: others may write there. Where there is one only, it must do.
func (c *Cache) lookAtDisks(n int64) {
	if len(c.volumes) == 1 {
		return
	}
	for _, v := range c.volumes {
		if left, ok := v.avail(); ok && left < n {
			v.see(syscall.ENOSPC, c.log)
		}
	}
}

// see notes what an error says of the disk.
func (v *volume) see(err error, log *slog.Logger) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case isAny(err, syscall.ENOSPC, syscall.EDQUOT):
		v.full = time.Now()
	case isAny(err, syscall.EIO, syscall.EROFS, syscall.ENODEV, syscall.ENXIO, syscall.EUCLEAN, syscall.ESTALE) && !v.failedLocked():
		v.failed, v.again = err, time.Time{}
		log.Error("a volume fails: it takes nothing new until the next start, where there is another one", "volume", v.Dir, "error", err)
	}
}

func isAny(err error, of ...error) bool {
	return slices.ContainsFunc(of, func(e error) bool { return errors.Is(err, e) })
}

// bar leaves a volume alone for a while that nobody could get into.
func (v *volume) bar(err error, log *slog.Logger) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.failedLocked() {
		return
	}
	if v.failed == nil { // and not for each time that it is tried
		log.Warn("a volume lets nobody in: it takes nothing new for a while, where there is another one", "volume", v.Dir, "error", err)
	}
	v.failed, v.again = err, time.Now().Add(barredFor)
}

// open notes that a file was made: what barred the volume is over.
func (v *volume) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.failedLocked() {
		v.failed, v.again = nil, time.Time{}
	}
}

// failedLocked reports whether its disk failed, for the whole run.
func (v *volume) failedLocked() bool { return v.failed != nil && v.again.IsZero() }

// rank is how well a volume is: what is new goes to the lowest.
func (v *volume) rank() int {
	rank, _ := v.how()
	return rank
}

// how is its rank, and why nothing new goes there if it is the last.
func (v *volume) how() (rank int, why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.failedLocked(), time.Now().Before(v.again):
		return 2, v.failed
	case time.Since(v.full) < fullFor:
		return 1, nil
	}
	return 0, nil
}

// freeLocked is how many bytes more it may have.
func (v *volume) freeLocked() int64 {
	if v.limit <= 0 {
		return math.MaxInt64/2 - v.used
	}
	return v.limit - v.used
}

// holdsLocked reports whether an object of n bytes could be there, if all others went.
func (v *volume) holdsLocked(n int64) bool { return v.limit <= 0 || n <= v.limit }

// limitLocked is how many bytes all objects may take; 0: no bound.
func (c *Cache) limitLocked() (n int64) {
	for _, v := range c.volumes {
		if v.lost == nil && v.limit <= 0 {
			return 0
		}
		if v.lost == nil {
			n += v.limit
		}
	}
	return n
}

func (c *Cache) usedLocked() (n int64) {
	for _, v := range c.volumes {
		n += v.used
	}
	return n
}

// tiersLocked are the volumes that something new may go to, those that are best first.
// A disk that fails gets it only where no other is left.
func (c *Cache) tiersLocked() (tiers [][]*volume) {
	by := [3][]*volume{}
	for _, v := range c.volumes {
		if v.lost == nil {
			by[v.rank()] = append(by[v.rank()], v)
		}
	}
	if len(by[0])+len(by[1]) > 0 {
		return by[:2]
	}
	return by[2:]
}

// roomLocked chooses a volume for n more bytes, and what must go there for them: the
// one with most room, and where none has enough, that of what is least likely to be
// used again. on: it must be that one; not: any but that.
func (c *Cache) roomLocked(n int64, on, not *volume) (v *volume, victims []ObjectID, ok bool) {
	tiers := [][]*volume{{on}}
	if on == nil {
		tiers = c.tiersLocked()
	}
	for _, all := range tiers {
		all = slices.DeleteFunc(all, func(v *volume) bool { return v == not || v.lost != nil })
		if len(all) == 0 {
			continue
		}
		v := slices.MaxFunc(all, func(a, b *volume) int { return cmp.Compare(a.freeLocked(), b.freeLocked()) })
		if v.freeLocked() >= n {
			return v, nil, true
		}
		if v, victims := c.victimsLocked(n, all); v != nil {
			return v, victims, true
		}
	}
	return nil, nil, false
}

// victimsLocked picks what must go for n more bytes on one of those volumes; nil: it
// would not suffice on any.
func (c *Cache) victimsLocked(n int64, all []*volume) (v *volume, victims []ObjectID) {
	idle, room := c.idleLocked(all)
	now := time.Now()
	may := func(id ObjectID, turn int) bool {
		e := c.entries[id]
		return idle[id] && e.turn(now) == turn && room[e.volume] >= n && (v == nil || e.volume == v)
	}
	left := [lastTurn + 1]int{}
	count := func() {
		left = [lastTurn + 1]int{}
		for id := range idle {
			for turn := range left {
				if may(id, turn) {
					left[turn]++
				}
			}
		}
	}
	count()
	free := int64(0)
	for turn := 0; turn <= lastTurn; {
		if left[turn] == 0 {
			turn++
			continue
		}
		id, ok := c.evict.Next(func(id ObjectID) bool { return may(id, turn) })
		if !ok {
			return nil, nil
		}
		delete(idle, id)
		victims = append(victims, id)
		left[turn]--
		if v == nil { // the others are of this volume
			v = c.entries[id].volume
			free = v.freeLocked()
			count()
		}
		if free += c.entries[id].size; free >= n {
			return v, victims
		}
	}
	return nil, nil
}

// idleLocked are the objects on those volumes that may go, and what room there would be
// without them.
func (c *Cache) idleLocked(all []*volume) (idle map[ObjectID]bool, room map[*volume]int64) {
	idle, room = map[ObjectID]bool{}, map[*volume]int64{}
	for _, v := range all {
		room[v] = v.freeLocked()
	}
	for id, e := range c.entries {
		// An idle torrent may have the file open: it leaves when the object goes.
		if o := c.objects[id]; !e.pinned && (o == nil || o.users.Load() == 0) && slices.Contains(all, e.volume) {
			idle[id] = true
			room[e.volume] += e.size
		}
	}
	return idle, room
}

// volumeOf is where an object is; nil: it is not here.
func (c *Cache) volumeOf(id ObjectID) *volume {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		return e.volume
	}
	return nil
}

// bodyOf is where the file of a recorded object is, or ErrNotFound: the record is of
// one on a volume that is missing, or of one that is gone.
func (c *Cache) bodyOf(r *Record) (path string, err error) {
	v := c.volumeOf(r.Version.ID)
	if v == nil || v.ID != r.Volume {
		return "", ErrNotFound
	}
	return pathOf(v.Objects, r.Version.ID), nil
}

// isAway reports whether a record is not of the body that is here.
func (c *Cache) isAway(r *Record) bool {
	_, err := c.bodyOf(r)
	return err != nil
}

// vanished is called when an object's file is not where it was: the object is gone,
// or the whole volume.
func (c *Cache) vanished(id ObjectID, why error) {
	v := c.volumeOf(id)
	if v == nil {
		return
	}
	if c.stillThere(v) != nil {
		return
	}
	c.log.Error("an object's file is gone", "object", id, "error", why)
	c.forget(id)
}

// lose takes a volume out of the books with all that is there. It stays in the
// catalogue.
func (c *Cache) lose(v *volume, why error) {
	var sealed []InfoHash
	c.mu.Lock()
	if v.lost != nil {
		c.mu.Unlock()
		return
	}
	v.lost = why
	for id, e := range c.entries {
		if e.volume == v {
			o := c.objects[id]
			if o != nil {
				o.file.condemned.Store(true) // nothing more is recorded of it
			}
			c.dropLocked(id, e)
			c.awayLocked(absentee{key: e.key, id: id, o: o})
			sealed = append(sealed, e.infoHash)
		}
	}
	c.loseUnsureLocked(v)
	c.mu.Unlock()
	c.log.Error("a volume is gone: its objects are not here until a start with it", "volume", v.Dir, "objects", len(sealed), "error", why)
	for _, ih := range sealed {
		if s := c.cfg.Swarm; s != nil && !ih.IsZero() {
			s.Withdraw(ih)
		}
	}
}

// States of a volume.
const (
	VolumeWell    = "well"
	VolumeFull    = "full"    // its disk is, though its quota is not
	VolumeFailed  = "failed"  // its disk failed, or lets nobody in: it takes nothing new
	VolumeMissing = "missing" // its objects are not here
)

// VolumeState is how a volume is.
type VolumeState struct {
	Dir     string
	Bytes   int64
	Objects int // a missing one's are in the catalogue
	Limit   int64
	State   string
	Reason  string
}

// Volumes tells of each volume, the home first.
func (c *Cache) Volumes() []VolumeState {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := map[*volume]int{}
	for _, e := range c.entries {
		count[e.volume]++
	}
	all := make([]VolumeState, len(c.volumes))
	for i, v := range c.volumes {
		all[i] = VolumeState{Dir: v.Dir, Bytes: v.used, Objects: count[v], Limit: v.limit, State: VolumeWell}
		rank, why := v.how()
		switch s := &all[i]; {
		case v.lost != nil:
			s.State, s.Reason = VolumeMissing, v.lost.Error()
		case rank == 2:
			s.State, s.Reason = VolumeFailed, why.Error()
		case rank == 1:
			s.State = VolumeFull
		}
	}
	return all
}

// seeing are a volume's files, whose errors it is told of.
type seeing struct {
	Files
	c *Cache
	v *volume
}

func (f seeing) told(err error) error {
	if err != nil {
		f.v.see(err, f.c.log)
	}
	return err
}

// making is told of what was to be made.
func (f seeing) making(err error) error {
	if isAny(err, syscall.EACCES, syscall.EPERM) {
		f.v.bar(err, f.c.log)
	}
	return f.told(err)
}

// MkdirAll comes before each file that is made.
func (f seeing) MkdirAll(dir string) error {
	if err := f.c.stillThere(f.v); err != nil {
		return err
	}
	return f.making(f.Files.MkdirAll(dir))
}

func (f seeing) Create(path string) (Body, error) {
	b, err := f.Files.Create(path)
	if err != nil {
		return nil, f.making(err)
	}
	f.v.open()
	return watched{b, f}, nil
}

func (f seeing) Open(path string) (Body, error) {
	b, err := f.Files.Open(path)
	if err != nil {
		return nil, f.told(err)
	}
	return watched{b, f}, nil
}

func (f seeing) Remove(path string) error     { return f.told(f.Files.Remove(path)) }
func (f seeing) Rename(from, to string) error { return f.told(f.Files.Rename(from, to)) }

// watched is an open file of those.
type watched struct {
	Body
	f seeing
}

func (b watched) Truncate(size int64) error { return b.f.told(b.Body.Truncate(size)) }
func (b watched) Sync() error               { return b.f.told(b.Body.Sync()) }

func (b watched) WriteAt(p []byte, off int64) (int, error) {
	n, err := b.Body.WriteAt(p, off)
	return n, b.f.told(err)
}

func (b watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.Body.ReadAt(p, off)
	return n, b.f.told(err)
}
