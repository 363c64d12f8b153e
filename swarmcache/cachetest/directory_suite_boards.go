package cachetest

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// Who takes part in a fill, and what stays when they go.

func participants(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a := l.join(t, l.node(1), v)
	w := l.watch(t, a)
	b := l.join(t, l.node(2), v)
	w.until(t, "it joined, with its addresses", func(w *view) bool {
		return len(w.nodes) == 1 && slices.Equal(w.nodes["node-2"].Peers, labNode(2).Peers)
	})
	l.claim(t, b, free(0))
	w.until(t, "it claimed", func(w *view) bool { return w.spans[0].Owner == "node-2" })
	noErr(t, b.Leave(l.ctx))
	w.until(t, "it left, with its claims", func(w *view) bool { return len(w.nodes) == 0 && len(w.spans) == 0 })
}

// Who comes again may have lost what it landed the first time.
func comesAgain(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, d := l.join(t, l.node(1), v), l.node(2)
	w := l.watch(t, a)
	b := l.join(t, d, v)
	l.claim(t, b, free(0))
	noErr(t, b.Land(l.ctx, 0, hashes("x", 2)))
	w.until(t, "it landed after it joined", func(w *view) bool {
		m, s := w.nodes["node-2"], w.spans[0]
		return s.Landed && s.By == "node-2" && m.Rev != 0 && m.Rev <= s.Rev
	})
	noErr(t, b.Leave(l.ctx))
	l.join(t, d, v)
	w.until(t, "it joined after it landed", func(w *view) bool {
		return w.nodes["node-2"].Rev > w.spans[0].Rev
	})
}

func manyParticipants(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	one := l.join(t, l.node(1), v)
	var wg sync.WaitGroup
	for i := 2; i <= swarmcache.MaxListed; i++ {
		d := l.node(i)
		wg.Go(func() {
			if _, err := d.JoinFill(l.ctx, fillOf(v)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	listed := l.watch(t, one)
	listed.until(t, "all are there", func(w *view) bool { return w.listed && len(w.nodes) == swarmcache.MaxListed-1 })
	late := l.join(t, l.node(100), v)
	w := l.watch(t, late)
	w.until(t, "who comes late is told of all", func(w *view) bool { return len(w.nodes) == swarmcache.MaxListed })
	noErr(t, one.Leave(l.ctx))
	l.claim(t, late, free(0))
	w.until(t, "it takes part", func(w *view) bool { return w.spans[0].Owner == "node-100" })
	if w.isListed() {
		t.Error("who comes to a full list is told that it is on it")
	}
	if !w.lists("node-1") {
		t.Error("who is not listed is told that another one left")
	}
	listed.until(t, "the others see that", func(w *view) bool { return w.spans[0].Owner == "node-100" })
	if listed.lists("node-100") {
		t.Error("who comes to a full list is on it")
	}
}

func updateFill(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	r := fillOf(v)
	r.Single = true
	noErr(t, a.Update(l.ctx, r))
	w.until(t, "single", func(w *view) bool { return w.fill.Single && w.fill.Ended == "" })
	r = fillOf(v)
	r.Ended = swarmcache.EndPoisoned
	noErr(t, a.Update(l.ctx, r))
	r.Ended = swarmcache.EndChanged
	noErr(t, b.Update(l.ctx, r))
	w.until(t, "ended, for the first reason", func(w *view) bool {
		return w.fill.Single && w.fill.Ended == swarmcache.EndPoisoned
	})
}

func lastLeaves(t *testing.T, l lab) {
	for name, finish := range map[string]func(d swarmcache.Directory, b swarmcache.Board, r swarmcache.FillRecord) error{
		"published sealed": func(d swarmcache.Directory, _ swarmcache.Board, r swarmcache.FillRecord) error {
			r.Version.InfoHash = swarmcache.InfoHash{1}
			return d.Publish(l.ctx, r.Version)
		},
		"marked sealed": func(_ swarmcache.Directory, b swarmcache.Board, r swarmcache.FillRecord) error {
			r.Version.InfoHash = swarmcache.InfoHash{1}
			return b.Update(l.ctx, r)
		},
		"ended": func(_ swarmcache.Directory, b swarmcache.Board, r swarmcache.FillRecord) error {
			r.Ended = swarmcache.EndLost
			return b.Update(l.ctx, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := version(policy.Key("http://o/"+name), `"1"`, noon)
			d1, d2 := l.node(1), l.node(2)
			a, b := l.join(t, d1, v), l.join(t, d2, v)
			w := l.watch(t, b)
			l.claim(t, a, free(0))
			noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
			noErr(t, finish(d1, a, fillOf(v)))
			noErr(t, a.Leave(l.ctx))
			again, err := d2.JoinFill(l.ctx, fillOf(v))
			if err != nil {
				t.Fatalf("deleted under a participant: %v", err)
			}
			noErr(t, again.Leave(l.ctx))
			noErr(t, b.Leave(l.ctx))
			select {
			case err := <-w.ended:
				wantErr(t, err, swarmcache.ErrNotFound)
			case <-l.ctx.Done():
				t.Fatal("the watcher of a deleted board was not told")
			}
			wantErr(t, b.Land(l.ctx, 1, hashes("x", 1)), swarmcache.ErrNotFound)
			_, err = b.Claim(l.ctx, []swarmcache.SpanRecord{free(1)})
			wantErr(t, err, swarmcache.ErrNotFound)
			_, err = d1.JoinFill(l.ctx, fillOf(v))
			wantErr(t, err, swarmcache.ErrNotFound)
			if _, f, err := d1.Lookup(l.ctx, v.Key); f != nil {
				t.Fatalf("the key still leads to the fill (%v)", err)
			}
			noErr(t, b.Leave(l.ctx)) // of what is gone: nothing to do
		})
	}
}

func unfinishedStays(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a := l.join(t, l.node(1), v)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	noErr(t, a.Leave(l.ctx))
	b := l.join(t, l.node(2), v)
	w := l.watch(t, b)
	w.until(t, "what landed is still there", func(w *view) bool { return w.caught && w.spans[0].Landed })
}

func lostLease(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0), free(1))
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	w.until(t, "one landed, one claimed", func(w *view) bool {
		return w.spans[0].Landed && w.spans[1].Owner == "node-1" && len(w.nodes) == 1
	})
	l.Expire("node-1")
	w.until(t, "the claim is free and the node gone", func(w *view) bool {
		_, claimed := w.spans[1]
		return w.spans[0].Landed && !claimed && len(w.nodes) == 0
	})
	if won := l.claim(t, b, free(1)); !won[0] {
		t.Fatal("the span is not free")
	}
}

func lostReclaim(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	w.until(t, "landed", func(w *view) bool { return w.spans[0].Landed })
	l.claim(t, a, w.span(0))
	w.until(t, "claimed again", func(w *view) bool { return w.spans[0].Owner == "node-1" })
	l.Expire("node-1")
	w.until(t, "nobody's, and its hashes stand", func(w *view) bool {
		r := w.spans[0]
		return r.Owner == "" && r.Landed && bytes.Equal(r.Hashes, hashes("x", 1))
	})
	if won := l.claim(t, b, w.span(0)); !won[0] {
		t.Fatal("it cannot be claimed")
	}
}
