package swarmcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/index"
)

// What becomes of a step that fails.
const (
	undone = "not done" // the error tells the truth
	done   = "done"     // and the error comes all the same
	half   = "half"     // of what was to be written
	lost   = "lost"     // with all that was written since the last flush that succeeded
)

// fault is the failing of one step of the store.
type fault struct {
	step  string
	nth   int // time that it is taken from when the fault is armed
	err   error
	what  string
	stays bool // it fails ever after
}

func (f fault) String() string {
	s := fmt.Sprintf("%s %d, %v, %s", f.step, f.nth, f.err, f.what)
	if f.stays {
		s += ", for good"
	}
	return s
}

// faulty is a disk, files and catalogue, with one fault.
type faulty struct {
	osFiles swarmcache.Files
	swarmcache.Index

	mu       sync.Mutex
	fault    fault
	armed    bool
	taken    int
	struck   int
	promised map[swarmcache.ObjectID]bool // complete, as the catalogue has said
}

func (d *faulty) arm(armed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = armed
}

// strikes reports whether the step fails now.
func (d *faulty) strikes(step string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.armed || step != d.fault.step {
		return false
	}
	if d.taken++; d.taken == d.fault.nth || d.fault.stays && d.taken > d.fault.nth {
		d.struck++
		return true
	}
	return false
}

// do takes a step, or not.
func (d *faulty) do(step string, f func() error) error {
	if !d.strikes(step) {
		return f()
	}
	if d.fault.what == done {
		if err := f(); err != nil {
			return err
		}
	}
	return d.fault.err
}

func (d *faulty) MkdirAll(dir string) error {
	return d.do("mkdir", func() error { return d.osFiles.MkdirAll(dir) })
}

func (d *faulty) Remove(path string) error {
	return d.do("remove", func() error { return d.osFiles.Remove(path) })
}

func (d *faulty) Rename(from, to string) error {
	return d.do("rename", func() error { return d.osFiles.Rename(from, to) })
}

func (d *faulty) Create(path string) (swarmcache.Body, error) {
	return d.body(d.osFiles.Create(path))
}

func (d *faulty) Open(path string) (swarmcache.Body, error) { return d.body(d.osFiles.Open(path)) }

func (d *faulty) body(b swarmcache.Body, err error) (swarmcache.Body, error) {
	if err != nil {
		return nil, err
	}
	if err := d.do("create", func() error { return nil }); err != nil {
		b.Close() // it is there, whatever the error says
		return nil, err
	}
	return &faultyBody{Body: b, d: d}, nil
}

type faultyBody struct {
	swarmcache.Body
	d *faulty

	mu      sync.Mutex
	written [][2]int64 // since the last flush
	lost    [][2]int64
}

func (b *faultyBody) WriteAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	b.written = append(b.written, [2]int64{off, int64(len(p))})
	b.mu.Unlock()
	if !b.d.strikes("write") {
		return b.Body.WriteAt(p, off)
	}
	switch b.d.fault.what {
	case half:
		p = p[:len(p)/2]
		fallthrough
	case done:
		n, err = b.Body.WriteAt(p, off)
	}
	return n, errors.Join(err, b.d.fault.err)
}

func (b *faultyBody) Truncate(size int64) error {
	return b.d.do("truncate", func() error { return b.Body.Truncate(size) })
}

func (b *faultyBody) Sync() error {
	strikes := b.d.strikes("sync")
	b.mu.Lock()
	defer b.mu.Unlock()
	if strikes && b.d.fault.what == lost {
		b.lost = append(b.lost, b.written...)
	}
	b.written = nil
	if strikes {
		return b.d.fault.err
	}
	return b.Body.Sync()
}

// Close forgets what was lost: until then the kernel may still have it in memory.
func (b *faultyBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.lost {
		if _, err := b.Body.WriteAt(make([]byte, w[1]), w[0]); err != nil {
			return err
		}
	}
	return b.Body.Close()
}

func (d *faulty) Put(r swarmcache.Record) error {
	step := "put a part"
	if r.Complete {
		step = "put the whole"
	}
	err := d.do(step, func() error { return d.Index.Put(r) })
	if err == nil && r.Complete {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.promised[r.Version.ID] = true
	}
	return err
}

func (d *faulty) SetCurrent(key policy.Key, id swarmcache.ObjectID) error {
	return d.do("select", func() error { return d.Index.SetCurrent(key, id) })
}

func (d *faulty) Delete(id swarmcache.ObjectID) error {
	d.mu.Lock()
	delete(d.promised, id)
	d.mu.Unlock()
	return d.do("delete", func() error { return d.Index.Delete(id) })
}

// faults is the table: each step of the store, with each way in which it fails.
func faults() (all []fault) {
	add := func(step string, times []int, errs []error, whats ...string) {
		for _, n := range times {
			for _, what := range whats {
				for _, err := range errs {
					all = append(all, fault{step, n, err, what, errors.Is(err, syscall.ENOSPC)})
				}
			}
		}
	}
	disk := []error{syscall.EIO, syscall.ENOSPC}
	add("mkdir", []int{1, 2}, disk, undone)
	add("create", []int{1, 2, 3}, disk, undone)
	add("truncate", []int{1}, disk, undone, done)
	add("write", []int{1, 2, 9}, disk, undone, half, done)
	add("sync", []int{1, 2, 3}, disk, undone, done, lost)
	add("rename", []int{1}, disk, undone, done)
	add("remove", []int{1, 2, 3}, []error{syscall.EIO}, undone, done)
	add("put a part", []int{1}, disk, undone, done)
	add("put the whole", []int{1, 2, 3}, disk, undone, done)
	add("select", []int{1, 2}, disk, undone, done)
	add("delete", []int{1}, disk, undone, done)
	return all
}

// faultPlay is what a node does while a step fails, and what comes of it.
type faultPlay struct {
	t     *testing.T
	dir   string
	disk  *faulty
	c     *swarmcache.Cache
	dirs  *cachetest.Directories
	right map[policy.Key][]byte
}

func (p *faultPlay) start() {
	x, err := index.Open(index.Options{Dir: filepath.Join(p.dir, "index")})
	must(p.t, err)
	self := swarmcache.Node{ID: "me"}
	p.disk.Index = x
	p.c, err = swarmcache.Open(swarmcache.Config{
		Dir: p.objects(), Files: p.disk, Index: p.disk, Directory: p.dirs.Node(self), Node: self,
		Logger: slog.New(slog.NewTextHandler(p.t.Output(), nil)),
	})
	must(p.t, err)
}

func (p *faultPlay) objects() string { return filepath.Join(p.dir, "objects") }

func (p *faultPlay) stop() {
	must(p.t, p.c.Close())
	must(p.t, p.disk.Index.(*index.Index).Close())
}

// get asks for an object as a client does: from what is here, or else the origin.
// What it gets is right, and all of it unless there is an error.
func (p *faultPlay) get(m memory) error {
	p.right[policy.Key(m.name)] = m.data
	obj, err := p.c.Lookup(p.t.Context(), policy.Key(m.name), m)
	if err != nil {
		obj, err = p.c.Fill(p.t.Context(), m.version(), true, io.NopCloser(bytes.NewReader(m.data)), m)
	}
	if err != nil {
		return err // the response passes through
	}
	defer obj.Close()
	got, err := read(p.t, obj)
	if !bytes.HasPrefix(m.data, got) || err == nil && len(got) < len(m.data) {
		p.t.Errorf("%s: a client got %d bytes that are not right, or not all (%v)", m.name, len(got), err)
	}
	return err
}

// put spools a body without a length.
func (p *faultPlay) put(m memory) error {
	p.right[policy.Key(m.name)] = m.data
	v := m.version()
	v.Length = 0
	s := p.c.Spool(v)
	if _, err := s.Write(m.data); err != nil {
		s.Abort()
		return err
	}
	return s.Commit(p.t.Context(), 1)
}

func (p *faultPlay) check() (found []string) {
	x, err := index.Open(index.Options{Dir: filepath.Join(p.dir, "index")})
	must(p.t, err)
	defer x.Close()
	checked, err := swarmcache.Check(swarmcache.CheckConfig{Dir: p.objects(), Index: x, Deep: true})
	must(p.t, err)
	return whats(checked)
}

// Whatever step of the store fails, and whether or not it was taken all the same:
// no client gets wrong bytes; what a restart finds is right; no object is claimed
// complete that is not, and none is lost of which the catalogue had said that it
// is; and the same objects can be had again.
func TestEveryStepFails(t *testing.T) {
	first, part, goes := newMemory("first", 1<<20), newMemory("part", 1<<20+512<<10), newMemory("goes-", 300<<10)
	second, spooled := newMemory("second", 1<<20), newMemory("spooled", 1<<20)
	var table rows
	t.Cleanup(func() { t.Logf("faults tried x outcome:\n%s", table.String()) })
	for i, f := range faults() {
		if i%(3*slower) > 0 && os.Getenv("SHATABDI_KILLS") == "" {
			continue // make kill plays the whole table
		}
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			p := &faultPlay{t: t, dir: t.TempDir(), dirs: cachetest.NewDirectory(), right: map[policy.Key][]byte{}}
			p.disk = &faulty{osFiles: swarmcache.OSFiles, fault: f, promised: map[swarmcache.ObjectID]bool{}}
			p.start()
			must(t, p.get(first))
			must(t, p.get(goes))
			id := fillHalf(t, p.c, part)
			eventually(t, func() bool { r, err := p.c.Record(id); return err == nil && len(bytes.Trim(r.Pieces, "\x00")) > 0 })
			eventually(t, func() bool { return here(p.c, first) && here(p.c, goes) })

			p.disk.arm(true)
			errs := []error{p.get(second), p.put(spooled), p.get(part), p.forget(goes), p.get(first)}
			p.stop()
			p.disk.arm(false)
			if p.disk.struck == 0 {
				t.Fatal("the step was not taken so often")
			}
			for _, what := range p.check() {
				if what != swarmcache.FoundStray {
					t.Errorf("found before the restart: %s", what)
				}
			}

			p.dirs = cachetest.NewDirectory() // the fills of before have ended
			p.start()
			kept := 0
			for id := range p.disk.promised {
				r, err := p.c.Record(id)
				if err != nil || !r.Complete {
					t.Errorf("an object that was complete is lost: %v", err)
				}
				kept++
			}
			for _, m := range []memory{first, second, spooled, part, goes} {
				must(t, p.get(m))
			}
			eventually(t, func() bool { return here(p.c, first) && here(p.c, second) && here(p.c, part) && here(p.c, goes) })
			p.stop()
			if found := p.check(); len(found) > 0 {
				t.Errorf("found after the restart: %q", found)
			}
			outcome := func(err error) string {
				if err != nil {
					return "fails"
				}
				return "right"
			}
			table.add("%-50s second %s, spooled %s, rest of a part %s, forget %s, first %s; %d kept\n",
				f, outcome(errs[0]), outcome(errs[1]), outcome(errs[2]), outcome(errs[3]), outcome(errs[4]), kept)
		})
	}
}

// rows are lines that are written at once.
type rows struct {
	mu sync.Mutex
	strings.Builder
}

func (r *rows) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r, format, args...)
}

func (p *faultPlay) forget(m memory) error {
	r, err := p.c.Selected(policy.Key(m.name))
	if err != nil {
		return err
	}
	return p.c.Forget(r.Version.ID)
}
