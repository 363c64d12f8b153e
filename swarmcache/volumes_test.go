package swarmcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// rack is a store on several volumes that outlives its cache.
type rack struct {
	shelf
	t     *testing.T
	sizes []int64  // of the home, and of the others
	dirs  []string // of the others
	files swarmcache.Files
}

func newRack(t *testing.T, sizes ...int64) *rack {
	r := &rack{shelf: newShelf(t), t: t, sizes: sizes}
	for range sizes[1:] {
		r.dirs = append(r.dirs, t.TempDir())
	}
	return r
}

func (r *rack) config() swarmcache.Config {
	r.t.Helper()
	volumes, err := swarmcache.OpenVolumes(r.index, r.dir, r.dirs)
	must(r.t, err)
	for i := range volumes {
		volumes[i].Size = r.sizes[i+1]
	}
	self := swarmcache.Node{ID: "me"}
	return swarmcache.Config{
		Dir: r.dir, Size: r.sizes[0], Volumes: volumes, Files: r.files, Index: r.index, Directory: cachetest.NewDirectory().Node(self), Node: self,
		Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil)),
	}
}

func (r *rack) open() *swarmcache.Cache {
	r.t.Helper()
	c, err := swarmcache.Open(r.config())
	must(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	return c
}

func (r *rack) check(repair bool) []string {
	r.t.Helper()
	known, err := swarmcache.KnownVolumes(r.index, r.dir)
	must(r.t, err)
	found, err := swarmcache.Check(swarmcache.CheckConfig{Dir: r.dir, Volumes: known, Index: r.index, Deep: true, Repair: repair})
	must(r.t, err)
	return whats(found)
}

// unmount leaves an empty directory in the place of a volume, until mount.
func (r *rack) unmount(i int) {
	must(r.t, os.Rename(r.dirs[i], r.dirs[i]+".away"))
	must(r.t, os.Mkdir(r.dirs[i], 0o700))
}

func (r *rack) mount(i int) {
	must(r.t, os.RemoveAll(r.dirs[i]))
	must(r.t, os.Rename(r.dirs[i]+".away", r.dirs[i]))
}

// on is the volume that m is on: 0 is the home.
func (r *rack) on(c *swarmcache.Cache, m memory) int {
	r.t.Helper()
	obj, err := c.Local(policy.Key(m.name), m)
	must(r.t, err)
	defer obj.Close()
	return slices.IndexFunc(append([]string{r.dir}, r.dirs...), func(dir string) bool {
		return strings.HasPrefix(swarmcache.PathOf(obj), dir+"/")
	})
}

// is reports that m is here, with the right bytes.
func (r *rack) is(c *swarmcache.Cache, m memory) bool {
	r.t.Helper()
	obj, err := c.Local(policy.Key(m.name), m)
	if errors.Is(err, swarmcache.ErrNotFound) {
		return false
	}
	must(r.t, err)
	defer obj.Close()
	b, err := read(r.t, obj)
	if err != nil || !bytes.Equal(b, m.data) {
		r.t.Errorf("%s: wrong bytes, %v", m.name, err)
	}
	return true
}

// numbered are objects of different names and bytes.
func numbered(n, size int) (all []memory) {
	for i := range n {
		m := newMemory(strings.Repeat("x", i+1), size)
		all = append(all, m)
	}
	return all
}

// A volume that is not mounted when a node starts takes its objects along, and they
// are here again when it comes back: but not what was purged, replaced or brought in
// again meanwhile.
func TestVolumeIsMissingForARun(t *testing.T) {
	r := newRack(t, 8<<20, 8<<20, 8<<20)
	all := numbered(12, 300<<10)
	c := r.open()
	place := map[int][]memory{}
	for _, m := range all {
		fill(t, c, m).Close()
		place[r.on(c, m)] = append(place[r.on(c, m)], m)
	}
	for i := range 3 {
		if len(place[i]) != 4 {
			t.Fatalf("%d objects on volume %d", len(place[i]), i)
		}
	}
	must(t, c.Close())

	r.unmount(0)
	c = r.open()
	stays, purged, again, replaced := place[1][0], place[1][1], place[1][2], place[1][3]
	for _, m := range all {
		if was := slices.ContainsFunc(place[1], func(o memory) bool { return o.name == m.name }); r.is(c, m) == was {
			t.Errorf("%s is here: %t", m.name, !was)
		}
	}
	if v := c.Volumes(); v[1].State != swarmcache.VolumeMissing || v[1].Reason == "" || v[0].Objects != 4 || v[2].State != swarmcache.VolumeWell {
		t.Errorf("%+v", v)
	}
	if had, err := c.Purge(t.Context(), policy.Key(purged.name)); err != nil || had != 1 {
		t.Errorf("purged %d, %v", had, err)
	}
	fillHalf(t, c, again)
	newer := replaced
	newer.data = bytes.Repeat([]byte("newer"), 60<<10)
	v := newer.version()
	v.Validator = `"2"`
	obj, err := c.Fill(t.Context(), v, true, io.NopCloser(bytes.NewReader(newer.data)), newer)
	must(t, err)
	_, err = read(t, obj)
	must(t, err)
	obj.Close()
	eventually(t, func() bool {
		r, err := c.Selected(v.Key)
		return err == nil && r.Complete && r.Version.Validator == v.Validator
	})
	must(t, c.Close())
	for _, repair := range []bool{false, true, false} {
		if found := r.check(repair); !slices.Equal(found, []string{swarmcache.FoundVolume}) {
			t.Errorf("found %q", found)
		}
	}

	r.mount(0)
	c = r.open()
	for m, want := range map[*memory]bool{&stays: true, &purged: false, &newer: true} {
		if r.is(c, *m) != want {
			t.Errorf("%s is here: %t", m.name, !want)
		}
	}
	if !here(c, again) || !r.is(c, again) || r.on(c, again) != 1 {
		t.Error("what was whole was given up for half of it")
	}
	must(t, c.Close())
	if found := r.check(false); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

// sick are files of which those under a directory fail in some step.
type sick struct {
	swarmcache.Files
	fails atomic.Pointer[func(step, path string) error]
}

func (s *sick) do(step, path string) error {
	if f := s.fails.Load(); f != nil {
		return (*f)(step, path)
	}
	return nil
}

func (s *sick) Create(path string) (swarmcache.Body, error) {
	if err := s.do("create", path); err != nil {
		return nil, err
	}
	b, err := s.Files.Create(path)
	return sickBody{b, s}, err
}

type sickBody struct {
	swarmcache.Body
	s *sick
}

func (b sickBody) Sync() error {
	if err := b.s.do("sync", b.Name()); err != nil {
		return err
	}
	return b.Body.Sync()
}

func (b sickBody) WriteAt(p []byte, off int64) (int, error) {
	if err := b.s.do("write", b.Name()); err != nil {
		return 0, err
	}
	return b.Body.WriteAt(p, off)
}

// A disk that is full or fails leads what is new to another one: at once where a file
// cannot even be made, and otherwise from the next object on. What is there is served.
func TestSickVolumeIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		step  string
		err   error
		state string
	}{
		{"create", syscall.ENOSPC, swarmcache.VolumeFull},
		{"create", syscall.EIO, swarmcache.VolumeFailed},
		{"write", syscall.ENOSPC, swarmcache.VolumeFull},
		{"write", syscall.EIO, swarmcache.VolumeFailed},
		{"others fill it", nil, swarmcache.VolumeFull},
		{"unmount", nil, swarmcache.VolumeMissing},
	} {
		t.Run(fmt.Sprint(c.step, " ", c.err), func(t *testing.T) {
			t.Parallel()
			r, disk := newRack(t, 8<<20, 64<<20), &sick{Files: swarmcache.OSFiles}
			r.files = disk
			cache := r.open()
			all := numbered(5, 300<<10)
			fill(t, cache, all[0]).Close()
			if r.on(cache, all[0]) != 1 {
				t.Fatal("it is not where most room is")
			}
			f := func(step, path string) error {
				if step == c.step && strings.HasPrefix(path, r.dirs[0]) {
					return c.err
				}
				return nil
			}
			disk.fails.Store(&f)
			switch c.step {
			case "unmount":
				r.unmount(0)
			case "others fill it":
				swarmcache.SetLeft(cache, 1, 299<<10)
			}
			obj, err := cache.Fill(t.Context(), all[1].version(), true, io.NopCloser(bytes.NewReader(all[1].data)), all[1])
			if err == nil {
				_, err = read(t, obj)
				obj.Close()
			}
			if c.step != "write" && (err != nil || r.on(cache, all[1]) != 0) {
				t.Errorf("it did not lead to the other one: %v", err)
			}
			fill(t, cache, all[2]).Close()
			v := all[3].version()
			v.Length = 0
			s := cache.Spool(v)
			_, err = s.Write(all[3].data)
			must(t, errors.Join(err, s.Commit(t.Context(), 1)))
			for _, m := range all[2:4] {
				if r.on(cache, m) != 0 {
					t.Errorf("%s is on the volume that is not well", m.name)
				}
			}
			if v := cache.Volumes()[1]; v.State != c.state {
				t.Errorf("%+v", v)
			}
			if r.is(cache, all[0]) != (c.step != "unmount") {
				t.Error("what was there before is not as it should be")
			}
			must(t, cache.Close())
			if c.step == "unmount" {
				if l, err := os.ReadDir(r.dirs[0]); err != nil || len(l) > 0 {
					t.Errorf("in the place of the volume are %v, %v", l, err)
				}
				r.mount(0)
			}
			disk.fails.Store(nil)
			cache = r.open()
			for _, m := range []memory{all[0], all[2], all[3]} {
				if !r.is(cache, m) {
					t.Errorf("%s is lost", m.name)
				}
			}
			fill(t, cache, all[4]).Close()
			if r.on(cache, all[4]) != 1 {
				t.Error("the volume is not used again after a restart")
			}
			must(t, cache.Close())
			if found := r.check(false); len(found) > 0 {
				t.Errorf("found %q", found)
			}
		})
	}
}

// A volume goes while something comes in there, and that is purged then: it does not
// come back with the volume, whatever was written to it after that. Nor does a disk that
// hangs in a flush, as one does whose server is gone, hold the purge up.
func TestPurgeReachesWhatWentWithItsVolume(t *testing.T) {
	t.Run("a disk that is gone", func(t *testing.T) { t.Parallel(); purgeWhatWent(t, false) })
	t.Run("a disk that hangs", func(t *testing.T) { t.Parallel(); purgeWhatWent(t, true) })
}

func purgeWhatWent(t *testing.T, hangs bool) {
	r, disk := newRack(t, 8<<20, 64<<20), &sick{Files: swarmcache.OSFiles}
	r.files = disk
	c := r.open()
	m, other := newMemory("coming", 2<<20), newMemory("other", 300<<10)
	body, origin := io.Pipe()
	obj, err := c.Fill(t.Context(), m.version(), false, body, m)
	must(t, err)
	var client []byte
	ended := make(chan error, 1)
	go func() {
		var err error
		client, err = read(t, obj)
		ended <- err
	}()
	_, err = origin.Write(m.data[:1<<19])
	must(t, err)
	eventually(t, func() bool { _, err := c.Record(obj.Version().ID); return err == nil })
	hung, goOn := make(chan struct{}), make(chan struct{})
	if hangs {
		var once sync.Once
		disk.fails.Store(new(func(step, path string) error {
			if step == "sync" && strings.HasPrefix(path, r.dirs[0]) {
				once.Do(func() { close(hung) })
				<-goOn
			}
			return nil
		}))
	}
	_, err = origin.Write(m.data[1<<19 : 1<<20])
	must(t, err)
	if hangs {
		<-hung
	}
	r.unmount(0)
	fill(t, c, other).Close()
	if r.on(c, other) != 0 || c.Volumes()[1].State != swarmcache.VolumeMissing {
		t.Fatal("that the volume is gone was not seen")
	}
	purged := make(chan error, 1)
	go func() {
		had, err := c.Purge(t.Context(), policy.Key(m.name))
		if had != 1 {
			err = errors.Join(err, fmt.Errorf("purged %d", had))
		}
		purged <- err
	}()
	select {
	case err := <-purged:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Error("the purge waits for the disk")
	}
	close(goOn)
	go func() { origin.Write(m.data[1<<20:]); origin.Close() }()
	if err := <-ended; err != nil || !bytes.Equal(client, m.data) {
		t.Errorf("who reads it gets %d bytes, %v", len(client), err)
	}
	obj.Close()
	must(t, c.Close())
	r.mount(0)
	c = r.open()
	if _, err := c.Record(obj.Version().ID); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("it is back: %v", err)
	}
	must(t, c.Close())
	if found := r.check(false); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

// Where no volume has room, what is least likely to be used again goes, wherever it is;
// and what fits into no volume is refused, whatever they have together.
func TestOldestGoesOnWhicheverVolume(t *testing.T) {
	r := newRack(t, 1<<20, 1<<20, 1<<20)
	c := r.open()
	all := numbered(12, 500<<10)
	for i, m := range all {
		fill(t, c, m).Close()
		for j, old := range all[:i+1] {
			if here(c, old) != (i-j < 6) {
				t.Fatalf("after object %d: object %d is here: %t", i, j, i-j >= 6)
			}
		}
	}
	if _, err := c.Fill(t.Context(), newMemory("large", 1<<20+1).version(), true, nil, all[0]); !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Error(err)
	}
}

// What a directory may be a volume of.
func TestVolumesAreKnownByTheirMarkers(t *testing.T) {
	x, dir := cachetest.NewIndex(), t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	must(t, errors.Join(os.Mkdir(a, 0o700), os.Mkdir(b, 0o700)))
	open := func(x swarmcache.Index, dirs ...string) ([]swarmcache.Volume, error) {
		t.Helper()
		return swarmcache.OpenVolumes(x, filepath.Join(dir, "home"), dirs)
	}
	refused := func(x swarmcache.Index, dirs ...string) {
		t.Helper()
		var not *swarmcache.VolumeError
		if _, err := open(x, dirs...); !errors.As(err, &not) || not.Hint == "" {
			t.Errorf("%v: %v", dirs, err)
		}
	}
	refused(x, filepath.Join(dir, "nowhere"))
	first, err := open(x, a, b)
	must(t, err)
	refused(x, a, a)
	refused(cachetest.NewIndex(), a)

	// Where the two have changed places each is itself.
	must(t, errors.Join(os.Rename(a, a+".new"), os.Rename(b, a), os.Rename(a+".new", b)))
	moved, err := open(x, a, b)
	must(t, err)
	if moved[0].ID != first[1].ID || moved[1].ID != first[0].ID || moved[0].Missing != nil || moved[1].Missing != nil {
		t.Errorf("%+v, were %+v", moved, first)
	}
	for name, damage := range map[string]func() error{
		"not mounted":      func() error { return os.Remove(filepath.Join(a, "VOLUME")) },
		"no directory":     func() error { return os.RemoveAll(a) },
		"another's":        func() error { return os.WriteFile(filepath.Join(a, "VOLUME"), []byte(`{"id":"x","home":"y"}`), 0o600) },
		"marker of zeroes": func() error { return os.WriteFile(filepath.Join(a, "VOLUME"), make([]byte, 30), 0o600) },
	} {
		kept, err := os.ReadFile(filepath.Join(a, "VOLUME"))
		must(t, errors.Join(err, damage()))
		l, err := open(x, a, b)
		must(t, err)
		if l[0].ID != moved[0].ID || l[0].Missing == nil || l[1].Missing != nil {
			t.Errorf("%s: %+v", name, l)
		}
		must(t, errors.Join(os.MkdirAll(a, 0o700), os.WriteFile(filepath.Join(a, "VOLUME"), kept, 0o600)))
	}

	// One that is given up is new when it comes again.
	must(t, os.Remove(filepath.Join(a, "VOLUME")))
	m := newMemory("a", 300<<10)
	v := m.version()
	v.Identify()
	must(t, x.Put(swarmcache.Record{Version: v, Volume: moved[0].ID, Complete: true}))
	if n, err := swarmcache.ForgetVolume(x, a); err != nil || n != 1 {
		t.Errorf("%d objects, %v", n, err)
	}
	if _, err := swarmcache.ForgetVolume(x, a); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Error(err)
	}
	if _, err := x.Get(v.ID); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Error(err)
	}
	l, err := open(x, a)
	must(t, err)
	if l[0].Missing != nil || l[0].ID == moved[0].ID {
		t.Errorf("%+v", l)
	}
}

// What is in a volume's objects and no record speaks of is removed: no volume may be
// where somebody else has files, however its name is written.
func TestVolumeIsNobodyElses(t *testing.T) {
	dir := t.TempDir()
	in := func(path string) string { return filepath.Join(dir, path) }
	for _, d := range []string{"data/home/objects/ab", "mine/below", "other/objects/cd", "node/index", "stamped"} {
		must(t, os.MkdirAll(in(d), 0o700))
	}
	must(t, errors.Join(
		os.WriteFile(in("other/objects/cd/file"), nil, 0o600), os.WriteFile(in("stamped/VERSION"), nil, 0o600),
		os.Symlink(in("data/home"), in("link")), os.Symlink(in("mine"), in("again"))))
	for _, dirs := range [][]string{
		{"data/home"}, {"link"}, {"data/home/objects"}, {"link/objects/ab"}, {"data"},
		{"mine", "again"}, {"mine", "mine/below"}, {"mine/below", "again"}, {"other"}, {"node"}, {"stamped"},
	} {
		var all []string
		for _, d := range dirs {
			all = append(all, in(d))
		}
		var not *swarmcache.VolumeError
		if _, err := swarmcache.OpenVolumes(cachetest.NewIndex(), in("data/home"), all); !errors.As(err, &not) || not.Hint == "" {
			t.Errorf("%v: %v", dirs, err)
		}
		if _, err := os.Stat(filepath.Join(all[0], "VOLUME")); len(all) == 1 && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v was made a volume: %v", dirs, err)
		}
	}

	// A check leaves alone what an earlier program took for one.
	x := cachetest.NewIndex()
	_, err := swarmcache.OpenVolumes(x, in("elsewhere"), []string{in("mine")})
	must(t, err)
	known, err := swarmcache.KnownVolumes(x, in("mine"))
	if err != nil || len(known) != 1 || known[0].Missing == nil {
		t.Errorf("%+v, %v", known, err)
	}
}

// The bytes of what is on a missing volume come again. Until they are whole, the whole
// body that is away is what the catalogue speaks of, whatever becomes of the new one.
func TestMissingVolumeKeepsWhatComesAgain(t *testing.T) {
	r := newRack(t, 8<<20, 64<<20)
	all := numbered(5, 300<<10)
	half, condemned, spooled, whole, evicted := all[0], all[1], all[2], all[3], all[4]
	c := r.open()
	for _, m := range all {
		obj := fill(t, c, m)
		must(t, c.SetPinned(obj.Version().ID, true))
		obj.Close()
		if r.on(c, m) != 1 {
			t.Fatal("it is not where most room is")
		}
	}
	must(t, c.Close())
	r.unmount(0)
	c = r.open()
	fillHalf(t, c, half)
	for m, leaves := range map[*memory]func(*swarmcache.Object){
		&condemned: swarmcache.Condemn,
		&evicted:   func(o *swarmcache.Object) { must(t, c.Forget(o.Version().ID)) },
	} {
		obj, err := c.Fill(t.Context(), m.version(), true, nil, m)
		must(t, err)
		leaves(obj)
		obj.Close()
	}
	fill(t, c, whole).Close()
	v := spooled.version()
	v.Length = 0
	s := c.Spool(v)
	_, err := s.Write(spooled.data)
	must(t, err)
	files, err := filepath.Glob(filepath.Join(r.dir, "spool-*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	must(t, os.Remove(files[0])) // so that it cannot be placed
	if err := s.Commit(t.Context(), 1); err == nil {
		t.Error("a spool is placed without its file")
	}
	must(t, c.Close())
	if found := r.check(false); !slices.Equal(found, []string{swarmcache.FoundVolume}) {
		t.Errorf("found %q", found)
	}

	r.mount(0)
	c = r.open()
	for _, m := range all {
		if !r.is(c, m) || (r.on(c, m) == 0) != (m.name == whole.name) {
			t.Errorf("%s is not where it should be", m.name)
			continue
		}
		if rec, err := c.Selected(policy.Key(m.name)); err != nil || !rec.Complete || !rec.Pinned {
			t.Errorf("%s: %+v, %v", m.name, rec, err)
		}
	}
	must(t, c.Close())
	if found := r.check(false); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

// A file that cannot be reached is left where it is, takes its space, and may be whole.
func TestUnreachableFileIsLeftAlone(t *testing.T) {
	r := newRack(t, 8<<20, 64<<20)
	m := newMemory("x", 300<<10)
	c := r.open()
	obj := fill(t, c, m)
	path := swarmcache.PathOf(obj)
	obj.Close()
	must(t, c.Close())
	must(t, errors.Join(os.Rename(path, path+".kept"), os.Symlink(path, path))) // it leads nowhere
	must(t, os.Rename(path+".kept", filepath.Join(r.dirs[0], "kept")))
	c = r.open()
	if v := c.Volumes()[1]; v.Bytes != 300<<10 {
		t.Errorf("%+v", v)
	}
	fillHalf(t, c, m)
	must(t, c.Close())
	must(t, os.Rename(filepath.Join(r.dirs[0], "kept"), path))
	c = r.open()
	if !r.is(c, m) || r.on(c, m) != 1 {
		t.Error("it is not where it was")
	}
	must(t, c.Close())
}

// A volume is not given up because nobody could look whether it is there, or may make a
// file: what is new goes elsewhere for a while, and what is there is served.
func TestVolumeThatLetsNobodyIn(t *testing.T) {
	for name, shut := range map[string]func(r *rack, disk *sick) (open func() error){
		"unreadable marker": func(r *rack, _ *sick) func() error {
			marker := filepath.Join(r.dirs[0], "VOLUME")
			must(t, errors.Join(os.Rename(marker, marker+".kept"), os.Mkdir(marker, 0o700)))
			return func() error { return errors.Join(os.Remove(marker), os.Rename(marker+".kept", marker)) }
		},
		"permission denied": func(r *rack, disk *sick) func() error {
			disk.fails.Store(new(func(step, path string) error {
				if step == "create" && strings.HasPrefix(path, r.dirs[0]) {
					return syscall.EACCES
				}
				return nil
			}))
			return func() error { disk.fails.Store(nil); return nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, disk := newRack(t, 8<<20, 64<<20), &sick{Files: swarmcache.OSFiles}
			r.files = disk
			all := numbered(5, 300<<10)
			c := r.open()
			fill(t, c, all[0]).Close()
			open := shut(r, disk)
			for _, m := range all[1:3] {
				fill(t, c, m).Close()
				if r.on(c, m) != 0 {
					t.Errorf("%s is where nobody gets in", m.name)
				}
			}
			if v := c.Volumes()[1]; v.State != swarmcache.VolumeFailed || v.Reason == "" || !r.is(c, all[0]) {
				t.Errorf("%+v", v)
			}
			must(t, open())
			fill(t, c, all[3]).Close()
			if r.on(c, all[3]) != 0 {
				t.Error("it is tried again at once")
			}
			swarmcache.EndBar(c, 1)
			fill(t, c, all[4]).Close()
			if v := c.Volumes()[1]; v.State != swarmcache.VolumeWell || r.on(c, all[4]) != 1 {
				t.Errorf("it is not used again: %+v", v)
			}
		})
	}
}

// What is made stale while its volume is missing is stale when that comes back.
func TestExpiryReachesMissingVolumes(t *testing.T) {
	r := newRack(t, 8<<20, 64<<20)
	all := numbered(3, 300<<10)
	c := r.open()
	for _, m := range all {
		fill(t, c, m).Close()
	}
	must(t, c.Close())
	r.unmount(0)
	c = r.open()
	if had, err := c.Expire(policy.Key(all[0].name)); err != nil || !had {
		t.Errorf("expired: %t, %v", had, err)
	}
	if had, err := c.SoftPurge(t.Context(), policy.Key(all[1].name)); err != nil || had != 1 {
		t.Errorf("purged %d, %v", had, err)
	}
	must(t, c.Close())
	r.mount(0)
	c = r.open()
	for i, m := range all {
		obj, err := c.Local(policy.Key(m.name), m)
		must(t, err)
		if obj.Version().Stored.Invalid != (i < 2) {
			t.Errorf("%s: %+v", m.name, obj.Version().Stored)
		}
		obj.Close()
	}
}

// Who still reads what went with its volume has no say in the body that comes in its place.
func TestLostBodyIsOnItsOwn(t *testing.T) {
	r := newRack(t, 8<<20, 64<<20)
	all := numbered(2, 300<<10)
	c := r.open()
	old := fill(t, c, all[0])
	defer old.Close()
	r.unmount(0)
	fill(t, c, all[1]).Close()
	if c.Volumes()[1].State != swarmcache.VolumeMissing {
		t.Fatal("that the volume is gone was not seen")
	}
	fill(t, c, all[0]).Close()
	swarmcache.Condemn(old)
	if !r.is(c, all[0]) || r.on(c, all[0]) != 0 {
		t.Error("the new body went with the old one")
	}
	must(t, c.Close())
	r.mount(0)
	c = r.open()
	if !r.is(c, all[0]) || r.on(c, all[0]) != 0 {
		t.Error("the catalogue does not speak of the new one")
	}
}

// What is unpinned while its volume is missing is not pinned when that comes back, nor is
// what came in its place meanwhile; and what is pinned then is.
func TestPinsReachMissingVolumes(t *testing.T) {
	r := newRack(t, 8<<20, 64<<20)
	all := numbered(4, 300<<10)
	away, coming, again, pinned := all[0], all[1], all[2], all[3]
	ids := map[string]swarmcache.ObjectID{}
	c := r.open()
	for _, m := range all {
		obj := fill(t, c, m)
		ids[m.name] = obj.Version().ID
		must(t, c.SetPinned(ids[m.name], m.name != pinned.name))
		must(t, c.SetPriority(ids[m.name], policy.PriorityHigh))
		obj.Close()
	}
	must(t, c.Close())
	r.unmount(0)
	c = r.open()
	fillHalf(t, c, coming)
	half, err := c.Fill(t.Context(), again.version(), true, nil, again)
	must(t, err)
	defer half.Close()
	for _, m := range all {
		must(t, c.SetPinned(ids[m.name], m.name == pinned.name))
		must(t, c.SetPriority(ids[m.name], ""))
	}
	_, err = read(t, half)
	must(t, err)
	eventually(t, func() bool { return here(c, again) })
	if err := c.SetPinned("none", true); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Error(err)
	}
	must(t, c.Close())
	r.mount(0)
	c = r.open()
	for _, m := range []memory{away, coming, again, pinned} {
		rec, err := c.Selected(policy.Key(m.name))
		if err != nil || !rec.Complete || rec.Pinned != (m.name == pinned.name) || rec.Priority != "" {
			t.Errorf("%s: complete %t, pinned %t, priority %q, %v", m.name, rec.Complete, rec.Pinned, rec.Priority, err)
		}
	}
}

// A process that has no descriptor left says nothing of a volume.
func TestVolumeOfAProcessWithoutDescriptors(t *testing.T) {
	c := newRack(t, 8<<20, 64<<20).open()
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: limit.Max}))
	err := swarmcache.StillThere(c, 1)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if v := c.Volumes()[1]; !errors.Is(err, syscall.EMFILE) || v.State != swarmcache.VolumeWell {
		t.Errorf("%v: %+v", err, v)
	}
}
