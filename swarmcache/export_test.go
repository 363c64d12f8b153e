package swarmcache

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"shatabdi/swarmcache/layout"
)

// FillDisk makes every later write to o fail as on a full disk.
func FillDisk(o *Object) error {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	old := o.o.file.f
	o.o.file.f = full
	return old.Close()
}

// BreakFlush lets a flush of f fail, heals the disk and flushes again.
func BreakFlush(f *File) (first, second error) {
	good := f.f
	r, w, err := os.Pipe() // what cannot be flushed
	if err != nil {
		return err, err
	}
	w.Close()
	f.mark(0, FromStore)
	f.f = r
	_, first = f.snapshot()
	f.f = good
	r.Close()
	f.mark(1, FromStore)
	_, second = f.snapshot()
	return first, second
}

// FileOf is the file of o.
func FileOf(o *Object) *File { return o.o.file }

// Schedule plays a whole fill of that many bytes by another node to the
// scheduling of a transfer, and returns how long it took.
func Schedule(length int64) (time.Duration, error) {
	v := Version{Length: length, PieceLen: layout.PieceLenFor(length), URL: "http://origin/"}
	v.Identify()
	n := v.Layout().Pieces()
	t := &transfer{
		c:    &Cache{cfg: Config{Node: Node{ID: "me"}, Streams: 4}, now: time.Now, rates: rates{m: map[string]float64{}}},
		file: &File{version: v, layout: v.Layout()}, rec: &FillRecord{Version: v},
		wants: map[*want]bool{}, nodes: map[NodeID]Member{"other": {}}, lazy: map[NodeID]time.Time{}, streams: map[*stream]bool{}, listed: true,
	}
	t.file.init(n)
	rec := newFill("opener", v, false, nil)
	t.spanBook = newSpanBook("me", &rec)
	w := newWant(layout.Range{To: int64(n)}, 0)
	t.wants[w] = true
	began := time.Now()
	for i := range t.spans {
		if err := t.onBoard(context.Background(), BoardEvent{Span: &SpanRecord{Span: i, Owner: "other", Rev: 1}}); err != nil {
			return 0, err
		}
		t.next(time.Now())
		t.followReaders()
		if err := t.onBoard(context.Background(), BoardEvent{Span: &SpanRecord{Span: i, Landed: true, Rev: 2}}); err != nil {
			return 0, err
		}
		if run := t.next(time.Now()); len(run) > 0 && run[0].Span <= i {
			return 0, fmt.Errorf("claims span %d, which has landed", run[0].Span)
		}
	}
	return time.Since(began), nil
}

// PathOf is where the body of o is.
func PathOf(o *Object) string { return o.o.file.f.Name() }

// CompareNow compares the digest of an object with the directory's, without the
// wait that spreads the nodes.
func CompareNow(c *Cache, id ObjectID) error {
	o, err := c.open(id)
	if err != nil {
		return err
	}
	defer o.file.Release()
	c.compare(context.Background(), o)
	return nil
}

// ReadPieces reads the pieces of f from body and returns their hashes.
func ReadPieces(f *File, body io.Reader) (hashes []byte, err error) {
	r := newPieceReader(f, body, func(int) {})
	defer r.close()
	n := f.layout.Pieces()
	for i := range n {
		more := r.read(i)
		sums, err := r.take(!more || i+1 == n)
		if hashes = append(hashes, sums...); err != nil {
			return hashes, err
		}
	}
	return hashes, nil
}

// Suspect tells c that a piece is damaged.
func Suspect(c *Cache, id ObjectID, piece int) { c.suspect(id, piece) }

// OSFiles is the real file system.
var OSFiles Files = osFiles{}

// SetLeft has a volume, the home being 0, tell that its disk has so many bytes left.
func SetLeft(c *Cache, i int, n int64) {
	c.volumes[i].avail = func() (int64, bool) { return n, true }
}

// DropInactive looks for what nobody uses, now.
func DropInactive(c *Cache) { c.dropInactive() }

// Users are the handles and transfers of an object.
func Users(c *Cache, id ObjectID) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.objects[id]; o != nil {
		return o.users.Load()
	}
	return 0
}

// StillThere asks whether a volume is.
func StillThere(c *Cache, i int) error { return c.stillThere(c.volumes[i]) }

// EndBar ends that a volume which let nobody in is left alone.
func EndBar(c *Cache, i int) {
	v := c.volumes[i]
	v.mu.Lock()
	defer v.mu.Unlock()
	v.again = time.Now()
}

// SetCopies is what the tracker says of an object.
func SetCopies(c *Cache, id ObjectID, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[id].seen, c.entries[id].spare = n, time.Now().Add(spareFor)
}

// Complete reports whether an object is here, all of it and on record.
func Complete(c *Cache, id ObjectID) bool { return c.sealedHere(id) }

// OpenFileOn opens the body of v on another disk than the operating system's.
func OpenFileOn(disk Files, path string, v Version, rec *Record) (*File, error) {
	return openFile(disk, path, v, rec)
}

// Flush flushes f as for the catalogue.
func Flush(f *File) error {
	_, err := f.snapshot()
	return err
}

// Condemn has the cache forget an object that turned out to be wrong.
func Condemn(o *Object) { o.o.condemn() }

func CountNow(c *Cache, ctx context.Context) error { return c.countNow(ctx) }

// OthersLeft has others leave so many bytes on the disk of a volume, the home being 0,
// and looks, until what went for them is seen to have gone.
func OthersLeft(c *Cache, i int, n int64) {
	v := c.volumes[i]
	untilLeft(c)
	room := n + objectsHold(v)
	v.avail = func() (int64, bool) { return room - objectsHold(v), true }
	LookAtOthers(c)
	LookAtOthers(c)
}

// LookAtOthers looks what others have left, and waits until what goes for them has gone.
func LookAtOthers(c *Cache) {
	c.lookAtOthers()
	untilLeft(c)
}

// untilLeft waits until what is leaving has gone.
func untilLeft(c *Cache) {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.leaving))
	c.mu.Unlock()
	for _, l := range all {
		l.wait()
	}
}

// objectsHold is how many bytes the files on a volume take on its disk.
func objectsHold(v *volume) (n int64) {
	filepath.WalkDir(v.Objects, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && !d.IsDir() && unix.Stat(path, &st) == nil {
			n += st.Blocks * 512
		}
		return err
	})
	return n
}

// PatienceComing is in how many looks what was removed is left again.
const PatienceComing = patienceComing
