package swarmcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

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
