package swarmcache_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

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
