package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// What keys select, and how they cease to.

func unknownKey(t *testing.T, l lab) {
	v, f, err := l.node(1).Lookup(l.ctx, "http://o/none")
	wantErr(t, err, swarmcache.ErrNotFound)
	if v != nil || f != nil {
		t.Fatal("something came with ErrNotFound")
	}
}

func sharedSecret(t *testing.T, l lab) {
	a, b := l.node(1).Secret(), l.node(2).Secret()
	if len(a) != 32 || !bytes.Equal(a, b) {
		t.Fatalf("secrets %x and %x", a, b)
	}
}

func published(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	noErr(t, l.node(1).Publish(l.ctx, v))
	got, f, err := l.node(2).Lookup(l.ctx, v.Key)
	noErr(t, err)
	if got.ID != v.ID || got.Length != v.Length || got.Stored.Header.Get("Etag") != `"1"` || f != nil {
		t.Fatalf("got %+v, fill %v", got, f)
	}
}

func publishOther(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	noErr(t, l.node(1).Publish(l.ctx, v))
	v.SHA256 = "one"
	noErr(t, l.node(1).Publish(l.ctx, v))
	noErr(t, l.node(2).Publish(l.ctx, v))
	v.SHA256 = "two"
	wantErr(t, l.node(2).Publish(l.ctx, v), swarmcache.ErrPoisoned)
	got, _, err := l.node(2).Lookup(l.ctx, v.Key)
	noErr(t, err)
	if got.SHA256 != "one" {
		t.Fatalf("the digest is now %q", got.SHA256)
	}
}

func olderDate(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	newer, older := version("http://o/a", `"2"`, noon), version("http://o/a", `"1"`, noon.Add(-time.Second))
	noErr(t, a.Publish(l.ctx, older))
	noErr(t, b.Publish(l.ctx, newer))
	wantErr(t, a.Publish(l.ctx, older), swarmcache.ErrStale)
	got, _, err := a.Lookup(l.ctx, newer.Key)
	noErr(t, err)
	if got.ID != newer.ID {
		t.Fatal("the older version is current")
	}
}

func refreshKeeps(t *testing.T, l lab) {
	d := l.node(1)
	sealed := version("http://o/a", `"1"`, noon)
	sealed.SHA256, sealed.InfoHash = fmt.Sprintf("%064d", 7), swarmcache.InfoHash{1, 2, 3}
	noErr(t, d.Publish(l.ctx, sealed))
	for _, at := range []time.Duration{time.Hour, -time.Hour} { // a 304, then a late sealer
		noErr(t, d.Publish(l.ctx, version("http://o/a", `"1"`, noon.Add(at))))
	}
	got, _, err := d.Lookup(l.ctx, sealed.Key)
	noErr(t, err)
	if got.SHA256 != sealed.SHA256 || got.InfoHash != sealed.InfoHash {
		t.Fatalf("lost: %q %v", got.SHA256, got.InfoHash)
	}
	if !date(*got).Equal(noon.Add(time.Hour)) {
		t.Fatalf("facts of %v stand, want the most recent", date(*got))
	}
}

// Who publishes late what came earlier in the same second takes nothing back.
func sameSecond(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	first := version("http://o/a", `"1"`, noon)
	first.Stored.Header.Set("Age", "7200")
	then := version("http://o/a", `"1"`, noon)
	then.Stored.ResponseTime = noon.Add(100 * time.Millisecond)
	for _, v := range []swarmcache.Version{first, then, first} {
		noErr(t, b.Publish(l.ctx, v))
	}
	got, _, err := a.Lookup(l.ctx, first.Key)
	noErr(t, err)
	if got.Stored.Header.Get("Age") != "" {
		t.Error("what came first stands")
	}
}

func withdrawn(t *testing.T, l lab) {
	d := l.node(1)
	v := version("http://o/a", `"1"`, noon)
	noErr(t, d.Publish(l.ctx, v))
	noErr(t, d.Withdraw(l.ctx, v.Key))
	noErr(t, d.Withdraw(l.ctx, v.Key))
	_, _, err := d.Lookup(l.ctx, v.Key)
	wantErr(t, err, swarmcache.ErrNotFound)
	// One version, of which another one has taken the place, or is being filled.
	next := version("http://o/a", `"2"`, noon.Add(time.Second))
	_, b, err := d.OpenFill(l.ctx, fillOf(next))
	noErr(t, err)
	defer b.Leave(l.ctx)
	noErr(t, d.Publish(l.ctx, v))
	noErr(t, d.WithdrawVersion(l.ctx, v.Key, v.ID))
	if got, f, err := d.Lookup(l.ctx, v.Key); err != nil || got != nil || f == nil || f.Version.ID != next.ID {
		t.Errorf("of two versions, one withdrawn: %v, %v, %v", got, f, err)
	}
	noErr(t, d.WithdrawVersion(l.ctx, v.Key, next.ID))
	_, _, err = d.Lookup(l.ctx, v.Key)
	wantErr(t, err, swarmcache.ErrNotFound)
}

func purges(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	v := version("http://o/a", `"1"`, noon)
	noErr(t, a.Publish(l.ctx, v))
	here := l.followPurges(t, b)
	p := swarmcache.Purge{ID: "1", Key: v.Key, At: time.Now()}
	noErr(t, a.Purge(l.ctx, p))
	noErr(t, a.Purge(l.ctx, swarmcache.Purge{ID: "2", Key: "http://o/b", At: time.Now()}))
	_, _, err := b.Lookup(l.ctx, v.Key)
	wantErr(t, err, swarmcache.ErrNotFound)
	w := version("http://o/c", `"1"`, noon)
	again := swarmcache.Purge{ID: "3", Key: w.Key, At: time.Now()}
	noErr(t, a.Purge(l.ctx, again))
	noErr(t, a.Publish(l.ctx, w))
	noErr(t, b.Purge(l.ctx, again)) // who orders it once more does not undo what came after it
	_, _, err = b.Lookup(l.ctx, w.Key)
	noErr(t, err)
	for _, told := range []<-chan []swarmcache.Purge{here, l.followPurges(t, a)} {
		for all := range told {
			if len(all) == 3 {
				if !slices.ContainsFunc(all, func(q swarmcache.Purge) bool { return q.ID == p.ID && q.Key == p.Key && q.At.Equal(p.At) }) {
					t.Fatalf("told of %v", all)
				}
				break
			}
		}
	}
}

// A soft purge is told like others, and takes nothing away; who has marked a version
// is not unmarked by the same facts, but by newer ones.
func softPurges(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	v := version("http://o/a", `"1"`, noon)
	noErr(t, a.Publish(l.ctx, v))
	here := l.followPurges(t, b)
	noErr(t, a.Purge(l.ctx, swarmcache.Purge{ID: "1", Key: v.Key, At: time.Now(), Soft: true}))
	for all := range here {
		if len(all) == 1 {
			if all[0].Key != v.Key || !all[0].Soft {
				t.Fatalf("told of %v", all)
			}
			break
		}
	}
	marked := func() bool {
		got, _, err := b.Lookup(l.ctx, v.Key)
		noErr(t, err)
		return got.Stored.Invalid
	}
	was := v
	was.Stored.Invalid = true
	noErr(t, a.Publish(l.ctx, was))
	noErr(t, b.Publish(l.ctx, v))
	if !marked() {
		t.Error("the same facts count again")
	}
	noErr(t, b.Publish(l.ctx, version("http://o/a", `"1"`, noon.Add(time.Second))))
	if marked() {
		t.Error("newer facts do not count")
	}
}

func variants(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	v := version("http://o/a", `"1"`, noon)
	of := func(i int) swarmcache.Version {
		return version(v.Key.Variant(http.Header{"Accept-Language": {fmt.Sprint(i)}}), `"1"`, noon)
	}
	noErr(t, a.Publish(l.ctx, v))
	for i := range swarmcache.MaxVariants + 1 {
		noErr(t, a.Publish(l.ctx, of(i)))
	}
	for i, want := range map[int]error{0: swarmcache.ErrNotFound, 1: nil, swarmcache.MaxVariants: nil} {
		if _, _, err := b.Lookup(l.ctx, of(i).Key); !errors.Is(err, want) {
			t.Errorf("variant %d: %v, want %v", i, err, want)
		}
	}
	noErr(t, b.Withdraw(l.ctx, v.Key)) // that one alone
	_, _, err := a.Lookup(l.ctx, of(1).Key)
	noErr(t, err)
	if told, err := b.Invalidate(l.ctx, swarmcache.Purge{ID: "1", Key: v.Key, At: time.Now()}); err != nil || !told {
		t.Errorf("told %v, %v", told, err)
	}
	_, _, err = a.Lookup(l.ctx, of(1).Key)
	wantErr(t, err, swarmcache.ErrNotFound)
	if told, err := b.Invalidate(l.ctx, swarmcache.Purge{ID: "2", Key: v.Key, At: time.Now()}); err != nil || told {
		t.Errorf("of what nobody has: told %v, %v", told, err)
	}
	release, _, err := a.ClaimFirst(l.ctx, v.Key)
	noErr(t, err)
	defer release()
	if told, err := b.Invalidate(l.ctx, swarmcache.Purge{ID: "3", Key: v.Key, At: time.Now()}); err != nil || !told {
		t.Errorf("of what is asked for now: told %v, %v", told, err)
	}
}

// What is on its way, and nothing else is known of, is told of a change.
func expectations(t *testing.T, l lab) {
	a, b := l.node(1), l.node(2)
	base := policy.Key("http://o/a")
	changes := 0
	change := func() bool {
		changes++
		told, err := b.Invalidate(l.ctx, swarmcache.Purge{ID: fmt.Sprint(changes), Key: base, At: time.Now()})
		noErr(t, err)
		return told
	}
	expect := func(key policy.Key) func() bool {
		end, err := a.Expect(l.ctx, key)
		noErr(t, err)
		return end
	}
	one, variant := expect(base), expect(base.Variant(http.Header{"Accept-Language": {"de"}}))
	if !change() || !one() || !change() || !variant() || change() {
		t.Error("the directory does not know what is on its way, or still does")
	}
	if one() {
		t.Error("it ends twice")
	}
	lost := expect(base)
	l.Expire("node-1")
	eventually(t, "nobody waits any more", func() bool { return !change() })
	if known, again := lost(), change(); known || again {
		t.Error("what went with its node's lease was known all the time")
	}
}

// followPurges returns what a directory tells of purges.
func (l lab) followPurges(t *testing.T, d swarmcache.Directory) <-chan []swarmcache.Purge {
	told := make(chan []swarmcache.Purge, 16)
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(told)
		d.Purges(ctx, func(s swarmcache.Standing) { told <- s.Purges })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return told
}
