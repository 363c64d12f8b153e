package cluster_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
)

// All that is published is told of, however many pages that takes, and what is
// being filled too; not what was withdrawn.
func TestPublished(t *testing.T) {
	t.Parallel()
	a := run(t, cluster.Config{Endpoints: etcd.Endpoints(), Prefix: prefix(), Self: swarmcache.Node{ID: "a"}})
	version := func(i int) swarmcache.Version {
		name := fmt.Sprintf("http://o.test/%d", i)
		return swarmcache.Version{ID: swarmcache.ObjectID("id of " + name), Key: policy.Key(name), URL: name, Length: 1, PieceLen: 1 << 17}
	}
	ctx, want := t.Context(), map[policy.Key]bool{}
	eventually(t, "etcd answers", func() bool { return a.Publish(ctx, version(0)) == nil })
	for i := range cluster.PublishedPage + 10 {
		v := version(i)
		noErr(t, a.Publish(ctx, v))
		want[v.Key] = true
	}
	noErr(t, a.Withdraw(ctx, version(3).Key))
	delete(want, version(3).Key)
	filling := version(-1)
	_, board, err := a.OpenFill(ctx, swarmcache.FillRecord{Version: filling, MaxSpan: 1, Opener: "a"})
	noErr(t, err)
	defer board.Leave(ctx)
	want[filling.Key] = true

	got := map[policy.Key]bool{}
	noErr(t, a.Published(ctx, func(v swarmcache.Version) { got[v.Key] = true }))
	if !maps.Equal(got, want) {
		t.Errorf("told of %d, want %d: %v", len(got), len(want), slices.Sorted(maps.Keys(got)))
	}
}
