package swarmcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"shatabdi/swarmcache"
)

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
