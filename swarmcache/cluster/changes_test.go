package cluster_test

import (
	"errors"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/clock"
)

// What a node could not tell, because etcd was away for it, another one changed while it
// was away for that one too: it does not come back.
func TestChangeOfTheUntoldIsOwed(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints = k.endpoints()
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	v.Stored.RequestTime = time.Now()
	k.Cut()
	eventually(t, "away", func() bool { return !a.Healthy() })
	for id, at := range map[string]time.Duration{"1": time.Minute, "2": time.Second} { // in any order
		change := swarmcache.Purge{ID: id, Key: v.Key, At: v.Stored.RequestTime.Add(at)}
		if _, err := a.Invalidate(t.Context(), change); !errors.Is(err, swarmcache.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	k.Mend()
	eventually(t, "it is not taken", func() bool {
		noErr(t, b.Withdraw(t.Context(), v.Key))
		return errors.Is(b.Publish(t.Context(), v), swarmcache.ErrStale)
	})
	v.Stored.RequestTime = v.Stored.RequestTime.Add(59 * time.Second)
	wantErr(t, b.Publish(t.Context(), v), swarmcache.ErrStale)
	v.Stored.RequestTime = v.Stored.RequestTime.Add(2 * time.Second)
	noErr(t, b.Publish(t.Context(), v))
}

// A change of which nobody knows when it was, for its scale is gone, counts as one of now:
// the first response that comes after that was seen is taken.
func TestChangeInAScaleThatIsGone(t *testing.T) {
	p := prefix()
	a := joinSkewed(t, p, 1, 0, time.Millisecond)
	told, err := a.Invalidate(t.Context(), swarmcache.Purge{ID: "1", Key: "http://o/a", At: a.now()})
	if noErr(t, err); told {
		t.Error("something was known")
	}
	a.reading.Store(&clock.Reading{Scale: "two", Offset: time.Hour, Doubt: time.Millisecond})
	received := func(at time.Time) swarmcache.Version {
		v := a.received("http://o/a", `"1"`, at, true)
		v.Stored.Ahead = -time.Hour
		return v
	}
	wantErr(t, a.Publish(t.Context(), received(time.Now())), swarmcache.ErrStale)
	noErr(t, a.Publish(t.Context(), received(time.Now().Add(time.Second))))
}
