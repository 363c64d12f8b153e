package cachetest_test

import (
	"testing"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

func TestIndexInMemory(t *testing.T) {
	disks := map[string]*cachetest.Index{}
	cachetest.TestIndex(t, func(_ testing.TB, dir string) swarmcache.Index {
		if disks[dir] == nil {
			disks[dir] = cachetest.NewIndex()
		}
		return disks[dir].Reopen()
	})
}
