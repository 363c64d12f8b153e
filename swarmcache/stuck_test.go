package swarmcache_test

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// fullIndex has no room to forget so many times.
type fullIndex struct {
	*cachetest.Index
	full atomic.Int32
}

func (x *fullIndex) Delete(id swarmcache.ObjectID) error {
	if x.full.Add(-1) >= 0 {
		return fmt.Errorf("delete record %s: %w", id, swarmcache.ErrNoSpace)
	}
	return x.Index.Delete(id)
}

// Where the catalogue has no room to forget an object, its file makes that; and where
// that is not enough, it is forgotten once there is room.
func TestForgottenWithoutRoom(t *testing.T) {
	r := newRack(t, 0)
	cfg, x := r.config(), &fullIndex{Index: r.index}
	cfg.Index = x
	c, err := swarmcache.Open(cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	for i, m := range numbered(2, 300<<10) {
		obj := fill(t, c, m)
		id, path := obj.Version().ID, swarmcache.PathOf(obj)
		obj.Close()
		x.full.Store(int32(2*i + 1))
		if err := c.Withdraw(t.Context(), policy.Key(m.name)); errors.Is(err, swarmcache.ErrNoSpace) != (i > 0) {
			t.Errorf("withdraw with %d deletions that fail: %v", 2*i+1, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the file is still there")
		}
		eventually(t, func() bool {
			_, err := r.index.Get(id)
			return errors.Is(err, swarmcache.ErrNotFound) && c.Volumes()[0].Objects == 0
		})
	}
}
