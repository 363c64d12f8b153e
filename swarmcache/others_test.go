package swarmcache_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Where others leave less of a disk than they are to have, what is wanted least goes for
// them, and no more of it than that takes; what is pinned or in use stays. What is new is
// kept where something can go for it. What others free may be taken again.
func TestOthersHaveTheirShare(t *testing.T) {
	const quota, free, size = 64 << 20, 1 << 20, 300 << 10
	r := newRack(t, quota)
	cfg := r.config()
	cfg.MinFree, cfg.OthersEvery = free, time.Hour
	c, err := swarmcache.Open(cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	all := numbered(6, size)
	is := func(when string, here ...bool) {
		t.Helper()
		for i, want := range here {
			if r.is(c, all[i]) != want {
				t.Errorf("%s: object %d is here: %t", when, i, !want)
			}
		}
	}
	letGo := func(obj *swarmcache.Object) {
		id := obj.Version().ID
		obj.Close()
		eventually(t, func() bool { return swarmcache.Users(c, id) == 0 }) // what brought it, too
	}
	var held *swarmcache.Object
	for i := range 4 {
		obj := fill(t, c, all[i])
		switch i {
		case 0:
			must(t, c.SetPinned(obj.Version().ID, true))
		case 1:
			held = obj
			continue
		}
		letGo(obj)
	}

	swarmcache.OthersLeft(c, 0, free)
	is("others have what they are to have", true, true, true, true)
	swarmcache.OthersLeft(c, 0, free-1)
	is("a byte is missing", true, true, false, true)
	swarmcache.OthersLeft(c, 0, 0)
	is("all is theirs", true, true, false, false)
	if _, err := c.Fill(t.Context(), all[4].version(), true, nil, all[4]); !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Errorf("%v with nothing that could go; want ErrNoSpace", err)
	}

	letGo(held)
	swarmcache.OthersLeft(c, 0, free+size/2)
	is("some is free", true, true)
	letGo(fill(t, c, all[4]))
	is("something goes for what is new", true, false, false, false, true)

	swarmcache.OthersLeft(c, 0, 2*quota)
	if limit := c.Volumes()[0].Limit; limit != quota {
		t.Errorf("a limit of %d with an empty disk, want %d", limit, quota)
	}

	// What is reserved and not written yet is still to be had from what is left.
	body, origin := io.Pipe()
	defer origin.Close()
	obj, err := c.Fill(t.Context(), all[5].version(), false, body, all[5])
	must(t, err)
	defer obj.Close()
	_, err = io.Copy(origin, bytes.NewReader(all[5].data[:1000]))
	must(t, err)
	swarmcache.OthersLeft(c, 0, free+size)
	is("there is room for what comes", true, false, false, false, true)
	swarmcache.OthersLeft(c, 0, free+size-(8<<10)) // what has come takes a page, perhaps
	is("there is none", true, false, false, false, false)
	if _, err := c.Local(policy.Key(all[5].name), all[5]); err != nil {
		t.Errorf("what is coming in: %v", err)
	}
}

// What is in doubt is on the disk: nothing else goes for it.
func TestNothingGoesForWhatIsInDoubt(t *testing.T) {
	const free = 1 << 20
	r := newRack(t, 64<<20)
	hurt, other := newMemory("a", 8<<20), newMemory("bb", 300<<10)
	first := r.open()
	obj := fill(t, first, hurt)
	id := obj.Version().ID
	obj.Close()
	fill(t, first, other).Close()
	must(t, first.Close())
	rec, err := r.index.Get(id)
	must(t, err)
	rec.Complete, rec.Suspect, rec.Pieces = false, true, bytes.Repeat([]byte{0xff}, 8)
	must(t, r.index.Put(rec))

	cfg := r.config()
	cfg.MinFree, cfg.OthersEvery = free, time.Hour
	c, err := swarmcache.Open(cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	swarmcache.OthersLeft(c, 0, free)
	if !r.is(c, other) {
		t.Error("another object went for one that was recorded as in doubt")
	}
	obj, err = c.Local(policy.Key(hurt.name), hurt)
	must(t, err)
	swarmcache.OthersLeft(c, 0, free)
	if !r.is(c, other) {
		t.Error("another object went for one that is open, and in doubt")
	}
	obj.Close()
	swarmcache.OthersLeft(c, 0, free)
	if !r.is(c, other) {
		t.Error("another object went for one that was closed while it was in doubt")
	}
}

// Where a disk has what was removed left again only after some looks, nothing more goes
// for the same need; if it never has, it does.
func TestOneNeedIsMetOnce(t *testing.T) {
	const free, size = 1 << 20, 300 << 10
	r := newRack(t, 64<<20)
	cfg := r.config()
	cfg.MinFree, cfg.OthersEvery = free, time.Hour
	c, err := swarmcache.Open(cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	all := numbered(4, size)
	for _, m := range all {
		obj := fill(t, c, m)
		obj.Close()
		eventually(t, func() bool { return swarmcache.Users(c, obj.Version().ID) == 0 })
	}
	look := func(when string, left int64, want int) {
		t.Helper()
		swarmcache.SetLeft(c, 0, left)
		swarmcache.LookAtOthers(c)
		if n := c.Volumes()[0].Objects; n != want {
			t.Errorf("%s: %d objects are here, want %d", when, n, want)
		}
	}
	look("enough is left", free, 4)
	look("a byte is missing", free-1, 3)
	for range swarmcache.PatienceComing - 1 {
		look("it is coming", free-1, 3)
	}
	look("it has come", free-1+size, 3)
	look("and others have taken it", free-1, 2)
	for range swarmcache.PatienceComing {
		look("it is coming", free-1, 2)
	}
	look("it has never come", free-1, 1)
}
