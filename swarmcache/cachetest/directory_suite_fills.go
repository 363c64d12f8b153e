package cachetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"shatabdi/swarmcache"
)

// Fills that open, end, and begin anew.

func oneOpens(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	nodes := make([]swarmcache.Directory, 4)
	for i := range nodes {
		nodes[i] = l.node(i)
	}
	type result struct {
		r    swarmcache.FillRecord
		mine bool
		err  error
	}
	results := make([]result, 16)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			r := fillOf(v)
			r.Opener = swarmcache.NodeID(fmt.Sprint("opener-", i))
			got, board, err := nodes[i%4].OpenFill(l.ctx, r)
			results[i] = result{got, board != nil, err}
		})
	}
	wg.Wait()
	opened := 0
	for i, r := range results {
		noErr(t, r.err)
		if r.r.Opener != results[0].r.Opener {
			t.Fatal("two records for one fill")
		}
		if r.mine {
			opened++
			if want := swarmcache.NodeID(fmt.Sprint("opener-", i)); r.r.Opener != want {
				t.Fatalf("opened by %s, want %s", r.r.Opener, want)
			}
		}
	}
	if opened != 1 {
		t.Fatalf("%d opened the fill", opened)
	}
}

func openerTakesPart(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	_, a, err := l.node(1).OpenFill(l.ctx, fillOf(v), 0, 1)
	noErr(t, err)
	b := l.join(t, l.node(2), v)
	w := l.watch(t, b)
	w.until(t, "the opener is there", func(w *view) bool {
		_, there := w.nodes["node-1"]
		return there && w.caught && w.spans[0].Owner == "node-1" && w.spans[1].Owner == "node-1" && len(w.spans) == 2
	})
	if won := l.claim(t, b, free(1)); won[0] {
		t.Fatal("two have one span")
	}
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	w.until(t, "it landed one", func(w *view) bool { return w.spans[0].Landed && w.spans[0].By == "node-1" })
	noErr(t, a.Leave(l.ctx))
	w.until(t, "the other one is free", func(w *view) bool {
		_, there := w.nodes["node-1"]
		return !there && w.spans[1].Owner == ""
	})
}

func findsFill(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	_, _, err := l.node(1).OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	got, f, err := l.node(2).Lookup(l.ctx, v.Key)
	noErr(t, err)
	if got != nil || f == nil || f.Version.ID != v.ID || f.MaxSpan != 4 || f.Opener != "node-1" {
		t.Fatalf("version %v, fill %+v", got, f)
	}
}

func endedFill(t *testing.T, l lab) {
	d := l.node(1)
	v := version("http://o/a", `"1"`, noon)
	b := l.join(t, d, v)
	r := fillOf(v)
	r.Ended = swarmcache.EndChanged
	noErr(t, b.Update(l.ctx, r))
	_, _, err := d.Lookup(l.ctx, v.Key)
	wantErr(t, err, swarmcache.ErrNotFound)
	got, mine, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	if mine != nil || got.Ended != swarmcache.EndChanged {
		t.Fatalf("mine %v, ended %q: an ended fill is not opened again under its id", mine, got.Ended)
	}
	v.Attempt++
	v.Identify()
	if _, mine, err = d.OpenFill(l.ctx, fillOf(v)); err != nil || mine == nil {
		t.Fatal(mine, err)
	}
	if _, f, err := d.Lookup(l.ctx, v.Key); err != nil || f == nil || f.Version.ID != v.ID {
		t.Fatalf("fill %v, error %v; want the restarted one", f, err)
	}
}

func newerFill(t *testing.T, l lab) {
	d := l.node(1)
	newer, older := version("http://o/a", `"2"`, noon), version("http://o/a", `"1"`, noon.Add(-time.Minute))
	for _, v := range []swarmcache.Version{newer, older, newer} {
		_, _, err := d.OpenFill(l.ctx, fillOf(v))
		noErr(t, err)
	}
	_, f, err := d.Lookup(l.ctx, newer.Key)
	noErr(t, err)
	if f.Version.ID != newer.ID {
		t.Fatal("the key leads to the older version's fill")
	}
	if _, err := d.JoinFill(l.ctx, fillOf(older)); err != nil {
		t.Fatalf("the older fill goes on for those who have it: %v", err)
	}
}

// end opens a fill, ends it for a reason and leaves it, and returns its record.
func (l lab) end(t *testing.T, d swarmcache.Directory, v swarmcache.Version, why string) swarmcache.FillRecord {
	t.Helper()
	r, b, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	r.Ended = why
	noErr(t, b.Update(l.ctx, r))
	noErr(t, b.Update(l.ctx, r)) // every participant may say so
	noErr(t, b.Leave(l.ctx))
	return r
}

func restarts(t *testing.T, l lab) {
	d := l.node(1)
	for i, single := range []bool{false, false, true} {
		v := version("http://o/a", fmt.Sprintf(`"%d"`, i), noon)
		if r := l.end(t, d, v, swarmcache.EndChanged); r.Single != single {
			t.Fatalf("fill %d: single %v", i, r.Single)
		}
	}
	if r := l.end(t, d, version("http://o/b", `"1"`, noon), swarmcache.EndChanged); r.Single {
		t.Fatal("another key is single too")
	}
}

func poisonSingle(t *testing.T, l lab) {
	d := l.node(1)
	v := version("http://o/a", `"1"`, noon)
	l.end(t, d, v, swarmcache.EndPoisoned)
	v.Attempt++
	v.Identify()
	r, mine, err := d.OpenFill(l.ctx, fillOf(v))
	noErr(t, err)
	if mine == nil || !r.Single {
		t.Fatalf("mine %v, single %v", mine, r.Single)
	}
}

func joinUnknown(t *testing.T, l lab) {
	_, err := l.node(1).JoinFill(l.ctx, fillOf(version("http://o/a", `"1"`, noon)))
	wantErr(t, err, swarmcache.ErrNotFound)
}
