package swarmcache

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// What a check finds wrong. A stray file is what a crash may leave, as a file is
// made before its record: the next start removes it. Nothing else may be there
// whenever a node was killed.
const (
	FoundMissing  = "missing file"   // a record speaks of it
	FoundLength   = "wrong length"   // of a file
	FoundStray    = "stray file"     // no record speaks of it
	FoundRecord   = "wrong record"   // it contradicts itself
	FoundPieces   = "damaged pieces" // they are recorded, and are not what was stored
	FoundDangling = "dangling entry" // of the catalogue: it speaks of no record
	FoundDamaged  = "damaged entry"  // of the catalogue: it cannot be read
	FoundVolume   = "missing volume" // what is recorded of it was not looked at
)

// lseek(2) on Linux.
const (
	seekData = 3
	seekHole = 4
)

// Finding is one thing that is wrong with a store.
type Finding struct {
	What     string   `json:"what"`
	Object   ObjectID `json:"object,omitempty"`
	File     string   `json:"file,omitempty"`
	Detail   string   `json:"detail,omitempty"`
	Repaired string   `json:"repaired,omitempty"` // what was done about it; empty: nothing
}

// CheckConfig says what to check. Nobody else may have the store open.
type CheckConfig struct {
	Dir     string   // of object files: the home
	Volumes []Volume // as KnownVolumes returns them
	Index   Index
	Deep    bool // hash every piece whose hash is known
	Repair  bool // set right what is found
}

// Checked is what a check saw.
type Checked struct {
	Objects   int       `json:"objects"` // as recorded
	Away      int       `json:"away"`    // of them, on volumes that are missing
	Complete  int       `json:"complete"`
	Bytes     int64     `json:"bytes"`     // of the objects, as if they were complete
	Allocated int64     `json:"allocated"` // of disk: incomplete objects are sparse files
	Hashed    int64     `json:"hashed"`    // bytes that were read and compared with their hashes
	Findings  []Finding `json:"findings"`
}

// Check compares files with the catalogue. Its repairs take nothing away that is
// known to be right: they forget records without bytes and pieces that are
// damaged, which come again from peers or the origin, and remove files that
// nobody can find. What is on a volume that is missing they leave alone.
func Check(cfg CheckConfig) (Checked, error) {
	c := checker{CheckConfig: cfg, volumes: map[string]Volume{}, away: map[string]int{}, files: map[string]bool{}, zeros: map[int64][sha1.Size]byte{}}
	for _, v := range append([]Volume{{Objects: cfg.Dir}}, cfg.Volumes...) {
		c.volumes[v.ID] = v
	}
	c.Findings = []Finding{}
	var all []Record
	err := cfg.Index.Each(func(r Record) bool { all = append(all, r); return true })
	for _, r := range all {
		if err != nil {
			return c.Checked, err
		}
		err = c.object(r)
	}
	c.missing()
	for _, v := range c.volumes {
		if v.Missing == nil {
			err = errors.Join(err, c.strays(v.Objects))
		}
	}
	return c.Checked, err
}

// missing tells of the volumes that are, if anything is recorded of them.
func (c *checker) missing() {
	for _, id := range slices.Sorted(maps.Keys(c.away)) {
		v, why := c.volumes[id], "it is not known"
		if v.Missing != nil {
			why = v.Missing.Error()
		}
		c.Findings = append(c.Findings, Finding{What: FoundVolume, File: cmp.Or(v.Dir, id), Detail: fmt.Sprintf("%d objects: %s", c.away[id], why)})
	}
}

type checker struct {
	CheckConfig
	Checked
	volumes map[string]Volume
	away    map[string]int  // objects on volumes that are missing, by volume
	files   map[string]bool // that records speak of
	zeros   map[int64][sha1.Size]byte
}

// found notes what is wrong and, where that is wanted, has it repaired.
func (c *checker) found(f Finding, done string, repair func() error) error {
	if c.Repair {
		if err := repair(); err != nil {
			return fmt.Errorf("repair %s %s: %w", f.What, f.Object, err)
		}
		f.Repaired = done
	}
	c.Findings = append(c.Findings, f)
	return nil
}

// object checks one record and its file.
func (c *checker) object(r Record) error {
	v := r.Version
	c.Objects++
	c.Bytes += v.Length
	if r.Complete {
		c.Complete++
	}
	forget := func() error { return c.Index.Delete(v.ID) }
	if len(v.ID) < 2 || v.Length <= 0 || v.PieceLen <= 0 {
		f := Finding{What: FoundRecord, Object: v.ID, Detail: fmt.Sprintf("%d bytes in pieces of %d", v.Length, v.PieceLen)}
		return c.found(f, "forgotten", forget)
	}
	at, known := c.volumes[r.Volume]
	if !known || at.Missing != nil {
		c.Away++
		c.away[r.Volume]++
		return nil
	}
	path := pathOf(at.Objects, v.ID)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c.found(Finding{What: FoundMissing, Object: v.ID, File: path}, "the record was removed", forget)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	c.files[path] = true
	c.Allocated += st.Sys().(*syscall.Stat_t).Blocks * 512 // stat(2)
	if st.Size() != v.Length {
		d := fmt.Sprintf("%d bytes, the record says %d", st.Size(), v.Length)
		return c.found(Finding{What: FoundLength, Object: v.ID, File: path, Detail: d}, "both were removed", func() error {
			return errors.Join(forget(), os.Remove(path))
		})
	}
	return c.pieces(r, f)
}

// pieces checks that what is recorded of an open file's pieces is there.
func (c *checker) pieces(r Record, f *os.File) error {
	full, err := c.Index.Get(r.Version.ID) // Each leaves the hashes out
	if err != nil {
		return err
	}
	l := r.Version.Layout()
	n := l.Pieces()
	r.Hashes = full.Hashes
	known := len(r.Hashes) == n*sha1.Size
	hollow, err := hollowPieces(f, r.Version)
	if err != nil {
		return err
	}
	if r.Complete && !known { // as it was recorded whole, its pieces are believed, but for holes
		var bad []int
		for i, is := range hollow {
			if is {
				bad = append(bad, i)
			}
		}
		d := fmt.Sprintf("it is complete, and has %d bytes of hashes for %d pieces, of which %d lie in holes", len(r.Hashes), n, len(bad))
		keep := r.demoted(bad)
		return c.found(Finding{What: FoundRecord, Object: r.Version.ID, Detail: d}, "its pieces will be hashed anew", func() error {
			return c.Index.Put(keep)
		})
	}
	var bad []int
	for i := range n {
		if !r.has(i) {
			continue
		}
		switch size := l.Piece(i).Len(); {
		case hollow[i] && (!known || c.zerosOf(size) != [sha1.Size]byte(r.Hashes[i*sha1.Size:])):
			bad = append(bad, i)
		case !hollow[i] && known && c.Deep:
			c.Hashed += size
			if !pieceIs(f, l.Piece(i).From, size, r.Hashes[i*sha1.Size:(i+1)*sha1.Size]) {
				bad = append(bad, i)
			}
		}
	}
	if len(bad) == 0 {
		return nil
	}
	d := fmt.Sprintf("%d of %d, the first is %d", len(bad), n, bad[0])
	keep := r.demoted(bad)
	return c.found(Finding{What: FoundPieces, Object: r.Version.ID, File: f.Name(), Detail: d}, "they were forgotten", func() error {
		return c.Index.Put(keep)
	})
}

// has reports whether a record promises piece i.
func (r *Record) has(i int) bool {
	return r.Complete || i/8 < len(r.Pieces) && r.Pieces[i/8]&(1<<(i%8)) != 0
}

// demoted is the record of an object that lacks the pieces lost. Their hashes,
// where they are known, stand: what comes in their place must be the same.
func (r Record) demoted(lost []int) Record {
	n := r.Version.Layout().Pieces()
	pieces := make([]byte, (n+7)/8)
	for i := range n {
		if r.has(i) {
			pieces[i/8] |= 1 << (i % 8)
		}
	}
	for _, i := range lost {
		pieces[i/8] &^= 1 << (i % 8)
	}
	r.Complete, r.Untold, r.Pieces = false, false, pieces
	return r
}

// hollowPieces tells which pieces lie in holes of the file. A piece of zeros may:
// some file systems do not store zeros.
func hollowPieces(f *os.File, v Version) ([]bool, error) {
	l := v.Layout()
	hollow := make([]bool, l.Pieces())
	for off := int64(0); off < l.Length; {
		data, err := f.Seek(off, seekData)
		if errors.Is(err, syscall.ENXIO) {
			data, err = l.Length, nil
		}
		if err != nil {
			return nil, err
		}
		for i := int((off + l.PieceLen - 1) / l.PieceLen); i < len(hollow) && l.Piece(i).To <= data; i++ {
			hollow[i] = true
		}
		if data == l.Length {
			break
		}
		if off, err = f.Seek(data, seekHole); err != nil {
			return nil, err
		}
	}
	return hollow, nil
}

// pieceIs reports whether n bytes at off have that hash. What cannot be read does
// not.
func pieceIs(f io.ReaderAt, off, n int64, want []byte) bool {
	h := sha1.New()
	buf := hashBuffers.Get().(*[]byte)
	defer hashBuffers.Put(buf)
	_, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, off, n), *buf)
	return err == nil && bytes.Equal(h.Sum(nil), want)
}

// zerosOf is the hash of n zeros.
func (c *checker) zerosOf(n int64) [sha1.Size]byte {
	if sum, ok := c.zeros[n]; ok {
		return sum
	}
	c.zeros[n] = sha1.Sum(make([]byte, n))
	return c.zeros[n]
}

// strays finds the files in dir that no record speaks of.
func (c *checker) strays(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || c.files[path] {
			return err
		}
		return c.found(Finding{What: FoundStray, File: path}, "it was removed", func() error { return os.Remove(path) })
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a node that never kept anything
	}
	return err
}
