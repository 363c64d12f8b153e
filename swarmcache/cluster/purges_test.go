package cluster_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"shatabdi/swarmcache"
)

// What a node tells of a key that another one has purged, before it has heard of that,
// nobody takes for current: a version is refused, and a fill is for the origin to confirm.
// What it tells once it has obeyed counts, and what the purging node tells does at once.
func TestToldBeforeThePurgeIsObeyed(t *testing.T) {
	p := prefix()
	a, b := join(t, config(p, 1)), join(t, config(p, 2))
	hears, obeys := make(chan int, 8), make(chan struct{})
	obey := sync.OnceFunc(func() { close(obeys) })
	var following sync.WaitGroup
	t.Cleanup(following.Wait)
	t.Cleanup(obey)
	following.Go(func() {
		b.Purges(t.Context(), func(s swarmcache.Standing) {
			if len(s.Purges) == 1 {
				hears <- 1
				<-obeys
			}
			hears <- 0
		})
	})
	<-hears // it follows
	v := swarmcache.Version{ID: "1", Key: "http://o/a", Length: 1}
	fill := swarmcache.FillRecord{Version: v, MaxSpan: 1, Opener: "x"}
	opens := func(m *member, id swarmcache.ObjectID, obeyed int64) (doubtful bool) {
		t.Helper()
		fill.Version.ID, fill.Version.Obeyed = id, obeyed
		opened, board, err := m.OpenFill(t.Context(), fill)
		noErr(t, err)
		defer board.Leave(t.Context())
		_, told, err := a.Lookup(t.Context(), v.Key)
		noErr(t, err)
		if told.Version.Stored.Invalid != opened.Version.Stored.Invalid {
			t.Errorf("fill %s: others are told otherwise than its opener", id)
		}
		return opened.Version.Stored.Invalid
	}
	before := b.Obeyed()
	noErr(t, a.Purge(t.Context(), swarmcache.Purge{ID: "p", Key: v.Key, At: time.Now()}))
	if opens(a, "of who purged", 0) {
		t.Error("the purging node's own fill is in doubt")
	}
	noErr(t, a.Publish(t.Context(), v))
	noErr(t, a.Withdraw(t.Context(), v.Key))

	if !opens(b, "not obeyed", 0) {
		t.Error("a fill from before the purge, as far as its opener knows, is taken for current")
	}
	if err := b.Publish(t.Context(), v); !errors.Is(err, swarmcache.ErrPurged) {
		t.Errorf("published what may be from before the purge: %v", err)
	}
	other := v
	other.Key = "http://o/another"
	noErr(t, b.Publish(t.Context(), other))

	<-hears
	obey()
	eventually(t, "what is told after the purge counts", func() bool { return b.Publish(t.Context(), v) == nil })
	noErr(t, b.Withdraw(t.Context(), v.Key))
	old := v
	if old.Obeyed = before; !errors.Is(b.Publish(t.Context(), old), swarmcache.ErrPurged) {
		t.Error("published what is from before the purge")
	}
	if !opens(b, "of before", before) {
		t.Error("a fill from before the purge is taken for current")
	}
	if opens(b, "obeyed", 0) {
		t.Error("a fill from after the purge is in doubt")
	}
}
