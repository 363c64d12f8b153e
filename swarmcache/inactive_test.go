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
	held := fill(t, c, read)
	defer held.Close()
	rec, err := c.Selected(policy.Key(pinned.name))
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
