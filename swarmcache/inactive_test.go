package swarmcache_test

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// What nobody has used for as long as an operator says goes, from the disk too; what is
// pinned, being read, coming in or kept by the cluster stays, and after a restart
// everything has its time anew.
func TestInactiveGoes(t *testing.T) {
	var later atomic.Int64
	r := newRack(t, 64<<20)
	open := func(inactive time.Duration) *swarmcache.Cache {
		cfg := r.config()
		cfg.Inactive, cfg.Now = inactive, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		cfg.Replicas = func(v swarmcache.Version) int { return len(v.Key) / 6 } // of the last one
		c, err := swarmcache.Open(cfg)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := open(time.Hour)
	all := numbered(6, 300<<10)
	unused, used, pinned, read, coming, kept := all[0], all[1], all[2], all[3], all[4], all[5]
	for _, m := range []memory{unused, used, pinned, kept} {
		fill(t, c, m).Close()
	}
	rec, err := c.Selected(policy.Key(kept.name))
	must(t, err)
	swarmcache.SetCopies(c, rec.Version.ID, 3) // more than wanted: those who have it all know that, and none must go by it
	held := fill(t, c, read)
	defer held.Close()
	rec, err = c.Selected(policy.Key(pinned.name))
	must(t, err)
	must(t, c.SetPinned(rec.Version.ID, true))
	later.Store(int64(50 * time.Minute))
	here(c, used)
	later.Store(int64(70 * time.Minute))
	body, origin := io.Pipe()
	obj, err := c.Fill(t.Context(), coming.version(), false, body, coming)
	must(t, err)
	defer obj.Close()
	_, err = origin.Write(coming.data[:1000])
	must(t, err)
	swarmcache.DropInactive(c)
	for m, stays := range map[*memory]bool{&unused: false, &used: true, &pinned: true, &read: true, &kept: true} {
		if here(c, *m) != stays {
			t.Errorf("%s is here: %t", m.name, !stays)
		}
	}
	if _, err := c.Local(policy.Key(coming.name), coming); err != nil {
		t.Errorf("what is coming in is gone: %v", err)
	}
	origin.Close()
	must(t, c.Close())
	if found := r.check(false); len(found) > 0 {
		t.Errorf("found %q", found)
	}

	later.Store(int64(240 * time.Minute))
	c = open(time.Hour)
	swarmcache.DropInactive(c)
	if !here(c, used) {
		t.Error("nobody could use it while the node was down")
	}
	must(t, c.Close())

	c = open(50 * time.Millisecond)                              // and looks by itself
	eventually(t, func() bool { return c.Stats().Objects == 2 }) // what is pinned, and what is kept
}

// What takes long to read, or to come in, has its time from when that ends.
func TestInactiveFromTheEndOfAUse(t *testing.T) {
	var later atomic.Int64
	r := newRack(t, 64<<20)
	cfg := r.config()
	cfg.Inactive, cfg.Now = time.Hour, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	c, err := swarmcache.Open(cfg)
	must(t, err)
	defer c.Close()
	all := numbered(2, 300<<10)
	held := fill(t, c, all[0])
	slow := all[1]
	body, origin := io.Pipe()
	obj, err := c.Fill(t.Context(), slow.version(), false, body, slow)
	must(t, err)
	reader := obj.NewReader(t.Context(), 0, int64(len(slow.data)))
	defer reader.Close()
	go origin.Write(slow.data[:250<<10])
	_, err = io.CopyN(io.Discard, reader, 200<<10)
	must(t, err)
	obj.Close() // the rest comes all the same, while the reader stands

	later.Store(int64(70 * time.Minute))
	held.Close()
	go func() { origin.Write(slow.data[250<<10:]); origin.Close() }()
	eventually(t, func() bool {
		rec, err := c.Record(obj.Version().ID)
		return err == nil && rec.Complete && swarmcache.Users(c, rec.Version.ID) == 0
	})
	swarmcache.DropInactive(c)
	if n := c.Stats().Objects; n != 2 {
		t.Errorf("%d are left", n)
	}
	later.Store(int64(140 * time.Minute))
	swarmcache.DropInactive(c)
	if n := c.Stats().Objects; n != 0 {
		t.Errorf("%d stay", n)
	}
}
