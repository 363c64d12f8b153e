package cachetest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"shatabdi/swarmcache"
)

// Who fetches a span, and what is known of it then.

func claimRace(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	boards := make([]swarmcache.Board, 4)
	for i := range boards {
		boards[i] = l.join(t, l.node(i), v)
	}
	const spans, claimers = 8, 16
	winners := make([]int, spans)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range claimers {
		wg.Go(func() {
			var want []swarmcache.SpanRecord
			for s := range spans {
				want = append(want, free((s+i)%spans))
			}
			won, err := boards[i%4].Claim(l.ctx, want)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for j, ok := range won {
				if ok {
					winners[want[j].Span]++
				}
			}
		})
	}
	wg.Wait()
	for s, n := range winners {
		if n != 1 {
			t.Errorf("span %d was won %d times", s, n)
		}
	}
}

func claimMany(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	l.claim(t, a, free(1), free(3))
	if won := l.claim(t, b, free(0), free(1), free(2), free(3)); !slices.Equal(won, []bool{true, false, true, false}) {
		t.Fatal(won)
	}
	var many []swarmcache.SpanRecord
	for i := range 200 {
		many = append(many, free(10+i))
	}
	if won := l.claim(t, a, many...); slices.Contains(won, false) || len(won) != 200 {
		t.Fatal(won)
	}
	if won := l.claim(t, a); len(won) != 0 {
		t.Fatal(won)
	}
}

func claimOldRevision(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0))
	w.until(t, "the claim is seen", func(w *view) bool { return w.spans[0].Owner == "node-1" })
	seen := w.span(0)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 1)))
	if won := l.claim(t, b, seen); won[0] {
		t.Fatal("won a span that had landed since")
	}
	w.until(t, "the span landed", func(w *view) bool { return w.spans[0].Landed })
	if won := l.claim(t, b, w.span(0)); !won[0] {
		t.Fatal("lost at the current revision")
	}

	l.claim(t, a, free(1)) // and a claim that does not move may be taken over
	w.until(t, "the claim is seen", func(w *view) bool { return w.spans[1].Owner == "node-1" })
	if won := l.claim(t, b, w.span(1)); !won[0] {
		t.Fatal("a stalled claim could not be taken over")
	}
	w.until(t, "the taker is seen", func(w *view) bool { return w.spans[1].Owner == "node-2" })
	noErr(t, a.Release(l.ctx, 1))
	l.claim(t, a, free(2))
	w.until(t, "a later change is seen", func(w *view) bool { return w.spans[2].Owner == "node-1" })
	if w.span(1).Owner != "node-2" {
		t.Fatal("the former claimer released what is another's now")
	}
}

func landed(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(5))
	noErr(t, a.Land(l.ctx, 5, hashes("x", 4)))
	w.until(t, "the hashes are known", func(w *view) bool {
		r := w.spans[5]
		return r.Landed && r.Owner == "" && r.Rev > 0 && bytes.Equal(r.Hashes, hashes("x", 4))
	})
}

func reclaimed(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0))
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	w.until(t, "it landed", func(w *view) bool { return w.spans[0].Landed })
	seen := w.span(0)
	if won := l.claim(t, b, seen); !won[0] {
		t.Fatal("could not claim a landed span")
	}
	if won := l.claim(t, a, seen); won[0] {
		t.Fatal("claimed twice at one revision")
	}
	same := func(r swarmcache.SpanRecord) bool { return r.Landed && bytes.Equal(r.Hashes, hashes("x", 2)) }
	w.until(t, "the claim is seen, with the hashes", func(w *view) bool {
		return w.spans[0].Owner == "node-2" && w.spans[0].Rev > seen.Rev && same(w.spans[0])
	})
	noErr(t, b.Release(l.ctx, 0))
	w.until(t, "released, with the hashes", func(w *view) bool { return w.spans[0].Owner == "" && same(w.spans[0]) })
	if won := l.claim(t, b, w.span(0)); !won[0] {
		t.Fatal("could not claim it once more")
	}
	noErr(t, b.Land(l.ctx, 0, hashes("x", 2)))
	w.until(t, "landed again", func(w *view) bool { return w.spans[0].Owner == "" && same(w.spans[0]) })
}

func createOnly(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	noErr(t, b.Land(l.ctx, 0, hashes("x", 2)))
	wantErr(t, b.Land(l.ctx, 0, hashes("y", 2)), swarmcache.ErrPoisoned)
	wantErr(t, b.Land(l.ctx, 0, hashes("x", 1)), swarmcache.ErrPoisoned)
	wantErr(t, b.Progress(l.ctx, 0, hashes("y", 1)), swarmcache.ErrPoisoned)
	w.until(t, "the first hashes stand", func(w *view) bool { return bytes.Equal(w.spans[0].Hashes, hashes("x", 2)) })

	l.claim(t, a, free(1)) // what was published early counts as well
	noErr(t, a.Progress(l.ctx, 1, hashes("x", 1)))
	wantErr(t, b.Land(l.ctx, 1, hashes("y", 2)), swarmcache.ErrPoisoned)
}

func landWithoutClaim(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, a)
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	l.claim(t, a, free(1))
	noErr(t, b.Land(l.ctx, 1, hashes("z", 2))) // while another's claim stands
	w.until(t, "both landed", func(w *view) bool { return w.spans[0].Landed && w.spans[1].Landed })
	noErr(t, a.Release(l.ctx, 1))
	noErr(t, a.Land(l.ctx, 2, hashes("x", 2)))
	w.until(t, "a later change is seen", func(w *view) bool { return w.spans[2].Landed })
	if !w.span(1).Landed {
		t.Fatal("releasing a claim that was lost took the hashes away")
	}
}

func progress(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0))
	for n := 1; n <= 3; n++ {
		noErr(t, a.Progress(l.ctx, 0, hashes("x", n)))
		w.until(t, "early hashes", func(w *view) bool {
			r := w.spans[0]
			return !r.Landed && r.Owner == "node-1" && bytes.Equal(r.Hashes, hashes("x", n))
		})
	}
	noErr(t, a.Land(l.ctx, 0, hashes("x", 4)))
	w.until(t, "landed", func(w *view) bool { return w.spans[0].Landed && len(w.spans[0].Hashes) == 80 })

	l.claim(t, a, free(1))
	var held *swarmcache.ClaimedError
	if err := b.Progress(l.ctx, 1, hashes("x", 1)); !errors.As(err, &held) || held.Holder != "node-1" {
		t.Fatalf("progress on another's span: %v", err)
	}
}

func released(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	w := l.watch(t, b)
	l.claim(t, a, free(0), free(1), free(2))
	w.until(t, "claims are seen", func(w *view) bool { return len(w.spans) == 3 })
	noErr(t, a.Release(l.ctx, 0, 2))
	noErr(t, b.Release(l.ctx, 1)) // not ours
	w.until(t, "two are free", func(w *view) bool { _, ok := w.spans[1]; return ok && len(w.spans) == 1 })
	if won := l.claim(t, b, free(0), free(1), free(2)); !slices.Equal(won, []bool{true, false, true}) {
		t.Fatal(won)
	}
}

func lateWatcher(t *testing.T, l lab) {
	v := version("http://o/a", `"1"`, noon)
	a, b := l.join(t, l.node(1), v), l.join(t, l.node(2), v)
	l.claim(t, a, free(0), free(1), free(2))
	noErr(t, a.Land(l.ctx, 0, hashes("x", 2)))
	noErr(t, a.Release(l.ctx, 1))
	w := l.watch(t, b)
	w.until(t, "caught up", func(w *view) bool { return w.caught })
	w.until(t, "all that stood was told first", func(w *view) bool {
		_, freed := w.spans[1]
		return w.spans[0].Landed && !freed && w.spans[2].Owner == "node-1" &&
			w.fill.Version.ID == v.ID && w.nodes["node-1"].Zone == "z"
	})
}
