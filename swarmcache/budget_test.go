package swarmcache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

const host = "http://origin.test:80"

// inBubble runs f in virtual time, with a directory of its own. Ushers end with
// the context that f gets.
func inBubble(t *testing.T, f func(t *testing.T, ctx context.Context, dir *cachetest.Directories)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f(t, ctx, cachetest.NewDirectory())
		cancel()
	})
}

func budgetOf(ctx context.Context, dir *cachetest.Directories, i, node, cluster int) swarmcache.Budget {
	self := swarmcache.Node{ID: swarmcache.NodeID(fmt.Sprintf("node-%d", i))}
	return swarmcache.NewBudget(ctx, dir.Node(self), node, cluster, nil)
}

// taken takes in the background, and tells whether the stream may run by the
// time that everything has settled.
type taken struct {
	done    chan struct{} // closed after the fields below were set
	release func()
	err     error
}

func take(ctx context.Context, b swarmcache.Budget, origin string) *taken {
	s := &taken{done: make(chan struct{})}
	go func() {
		s.release, s.err = b.Take(ctx, origin)
		close(s.done)
	}()
	synctest.Wait()
	return s
}

func (s *taken) ended() bool {
	synctest.Wait()
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *taken) runs() bool { return s.ended() && s.err == nil }

func TestBudgetOfANodeIsServedInOrderOfArrival(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		b := budgetOf(ctx, dir, 1, 2, 64)
		var l []*taken
		for range 5 {
			l = append(l, take(ctx, b, host))
		}
		other := take(ctx, b, "http://other.test:80")
		if !other.runs() {
			t.Error("another origin has to wait")
		}
		for i, want := range []bool{true, true, false, false, false} {
			if l[i].runs() != want {
				t.Fatalf("stream %d runs: %v", i, !want)
			}
		}
		if !b.Busy(host) || b.Busy("http://other.test:80") {
			t.Error("busy is who has room, or the other way round")
		}
		l[1].release()
		l[1].release() // once is what counts
		if !l[2].runs() || l[3].runs() {
			t.Fatal("not the first in line, or not alone")
		}
		l[0].release()
		l[2].release()
		if !l[3].runs() || !l[4].runs() {
			t.Fatal("room is left unused")
		}
		l[3].release()
		l[4].release()
		other.release()
		synctest.Wait()
		if n := b.Lines(); n != 0 || b.Busy(host) {
			t.Errorf("%d origins are remembered", n)
		}
	})
}

func TestBudgetOfTheCluster(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		var l []*taken
		for i := range 4 {
			b := budgetOf(ctx, dir, i, 16, 3)
			l = append(l, take(ctx, b, host))
		}
		for i, want := range []bool{true, true, true, false} {
			if l[i].runs() != want {
				t.Fatalf("node %d runs: %v", i, !want)
			}
		}
		time.Sleep(time.Hour) // no patience ever sends another one to the origin
		if l[3].runs() {
			t.Fatal("went to a busy origin all the same")
		}
		dir.Expire("node-1") // its slots come back by themselves
		if !l[3].runs() {
			t.Fatal("the slot of a dead node is lost")
		}
	})
}

func TestWaitForABudgetEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		for name, limits := range map[string][2]int{"node": {1, 64}, "cluster": {16, 1}} {
			origin := "http://" + name + ":80"
			b := budgetOf(ctx, dir, 1, limits[0], limits[1])
			first := take(ctx, b, origin)
			why := errors.New("nobody wants it any more")
			gone, cancel := context.WithCancelCause(ctx)
			second, third := take(gone, b, origin), take(ctx, b, origin)
			cancel(why)
			if !second.ended() || !errors.Is(second.err, why) {
				t.Errorf("%s: %v", name, second.err)
			}
			first.release()
			if !third.runs() {
				t.Errorf("%s: who left holds the others up", name)
			}
			third.release()
		}
	})
}

// The last one to leave takes the claim back that is under way for it.
func TestNobodyWaitsForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		a, b := budgetOf(ctx, dir, 1, 16, 1), budgetOf(ctx, dir, 2, 16, 1)
		first := take(ctx, a, host)
		gone, cancel := context.WithCancel(ctx)
		take(gone, b, host)
		cancel()
		synctest.Wait()
		if n := b.Lines(); n != 0 {
			t.Error("it still waits")
		}
		first.release()
		if !take(ctx, a, host).runs() {
			t.Error("the slot went to nobody")
		}
	})
}

func TestForcedStreamCountsAndNeverWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		a, b := budgetOf(ctx, dir, 1, 2, 3), budgetOf(ctx, dir, 2, 2, 3)
		one, two := take(ctx, a, host), take(ctx, a, host)
		over := a.Force(host)
		three := take(ctx, a, host)
		if three.runs() {
			t.Fatal("forced streams do not count here")
		}
		elsewhere := take(ctx, b, host)
		if elsewhere.runs() {
			t.Fatal("forced streams do not count in the cluster")
		}
		one.release()
		if three.runs() {
			t.Fatal("the room was overdrawn")
		}
		if !elsewhere.runs() {
			t.Fatal("the slot is not passed on")
		}
		over()
		over()
		if !three.runs() {
			t.Fatal("a forced stream never ends")
		}
		two.release()
		three.release()

		full := []func(){b.Force(host), b.Force(host), b.Force(host)} // returns at once
		synctest.Wait()
		if b.Busy(host) != true {
			t.Error("not busy")
		}
		for _, release := range full {
			release()
		}
		elsewhere.release()
		synctest.Wait()
		if a.Lines()+b.Lines() != 0 {
			t.Error("something is left behind")
		}
	})
}

func TestBudgetWithoutDirectory(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		dir.SetAvailable(false)
		const nodes = 10
		began := map[time.Duration]int{}
		var mu sync.Mutex
		var l []*taken
		budgets := make([]swarmcache.Budget, nodes)
		start := time.Now()
		for i := range nodes {
			budgets[i] = budgetOf(ctx, dir, i, 16, 64)
			for range 4 {
				s := &taken{done: make(chan struct{})}
				l = append(l, s)
				go func() {
					s.release, s.err = budgets[i].Take(ctx, host)
					close(s.done)
					mu.Lock()
					defer mu.Unlock()
					began[time.Since(start)]++
				}()
			}
		}
		time.Sleep(time.Minute)
		running := 0
		for _, s := range l {
			if s.runs() {
				running++
			}
		}
		mu.Lock()
		if running != 2*nodes || len(began) < nodes/2 {
			t.Errorf("%d streams of %d nodes, begun at %v", running, nodes, began)
		}
		mu.Unlock()

		// A node that fetches one span after the other does not wait before each.
		for _, s := range l {
			if s.runs() {
				s.release()
				break
			}
		}
		at := time.Now()
		for range 100 {
			if s := take(ctx, budgets[0], "http://new.test:80"); s.runs() {
				s.release()
			} else {
				time.Sleep(time.Second)
			}
		}
		if d := time.Since(at); d > 3*time.Second {
			t.Errorf("100 spans waited %v", d)
		}

		dir.SetAvailable(true)
		time.Sleep(2 * time.Second)
		running = 0
		for _, s := range l {
			if s.runs() {
				running++
			}
		}
		if running != 4*nodes {
			t.Errorf("%d streams with the directory back, want all %d", running, 4*nodes)
		}
	})
}

// Among many nodes each begins so rarely that together they keep about to the
// cluster's budget.
func TestBudgetOfALargeClusterWithoutDirectory(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		const nodes, cluster = 320, 16
		dir.SetSize(nodes)
		dir.SetAvailable(false)
		var began sync.Map
		for i := range nodes {
			b := budgetOf(ctx, dir, i, 16, cluster)
			go func() {
				if release, err := b.Take(ctx, host); err == nil {
					defer release()
					began.Store(i, true)
				}
			}()
		}
		time.Sleep(5 * time.Second)
		n := 0
		began.Range(func(any, any) bool { n++; return true })
		if n == 0 || n > 10*cluster {
			t.Errorf("%d of %d nodes began within 5 s, where %d streams are allowed", n, nodes, cluster)
		}
		time.Sleep(10 * time.Minute)
		n = 0
		began.Range(func(any, any) bool { n++; return true })
		if n != nodes {
			t.Errorf("%d of %d nodes had their turn", n, nodes)
		}
	})
}

// What was under way counts when the directory goes away.
func TestDirectoryGoesAwayWhileWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		a, b := budgetOf(ctx, dir, 1, 16, 2), budgetOf(ctx, dir, 2, 16, 2)
		one, two := take(ctx, a, host), take(ctx, a, host)
		three, four := take(ctx, a, host), take(ctx, b, host)
		dir.SetAvailable(false)
		time.Sleep(10 * time.Second)
		if three.runs() || !four.runs() {
			t.Fatalf("the node with two streams got a third: %v; the other none: %v", three.runs(), !four.runs())
		}
		one.release()
		time.Sleep(10 * time.Second)
		if !three.runs() {
			t.Fatal("room is left unused")
		}
		two.release()
	})
}

func TestOriginThatAsksForPatience(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		b := budgetOf(ctx, dir, 1, 8, 64)
		var l []*taken
		for range 8 {
			l = append(l, take(ctx, b, host))
		}
		for range 8 { // all of them are told so
			b.Cool(host, time.Now().Add(10*time.Second))
		}
		for _, s := range l {
			s.release()
		}
		other := take(ctx, b, "http://other.test:80")
		if !other.runs() || !b.Busy(host) {
			t.Error("the wrong origin waits")
		}
		forced := b.Force(host)
		l = l[:0]
		for range 8 {
			l = append(l, take(ctx, b, host))
		}
		running := func() (n int) {
			for _, s := range l {
				if s.runs() {
					n++
				}
			}
			return n
		}
		time.Sleep(10*time.Second - time.Millisecond)
		if n := running(); n != 0 {
			t.Fatalf("%d began before the origin wanted it", n)
		}
		time.Sleep(1100 * time.Millisecond)
		if n := running(); n != 3 && n != 4 { // half of 8, less the forced one; perhaps a step later
			t.Fatalf("%d run after the cooldown, want half", n)
		}
		time.Sleep(time.Second)
		if n := running(); n != 4 && n != 5 {
			t.Fatalf("%d run a second later, want one more", n)
		}
		time.Sleep(10 * time.Second)
		if n := running(); n != 7 {
			t.Fatalf("%d run in the end, want all there is room for", n)
		}
		forced()
		if n := running(); n != 8 {
			t.Fatalf("%d run, want 8", n)
		}
		b.Cool(host, time.Now().Add(240*time.Hour))
		l[0].release()
		again := take(ctx, b, host)
		time.Sleep(61 * time.Second)
		l[1].release()
		l[2].release()
		l[3].release()
		l[4].release()
		if !again.runs() {
			t.Error("an origin can stop this node for days")
		}
	})
}

// Whatever nodes do and wherever they are interrupted: never too many, and in
// the end nothing is left and everybody can begin anew.
func TestBudgetsNeverLeakNorLock(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		const nodes, own, all = 4, 3, 5
		var mu sync.Mutex
		total, lone := 0, 0
		var wg sync.WaitGroup
		budgets := make([]swarmcache.Budget, nodes)
		for i := range nodes {
			budgets[i] = budgetOf(ctx, dir, i, own, all)
			for range 8 {
				wg.Go(func() {
					for range 40 {
						ctx, cancel := context.WithTimeout(ctx, rand.N(20*time.Second))
						if rand.N(20) == 0 {
							budgets[i].Cool(host, time.Now().Add(rand.N(3*time.Second)))
						}
						release, err := budgets[i].Take(ctx, host)
						cancel()
						if err != nil {
							continue
						}
						mu.Lock()
						if total++; total > all && lone == 0 {
							t.Errorf("%d streams", total)
						}
						mu.Unlock()
						time.Sleep(rand.N(2 * time.Second))
						mu.Lock()
						total--
						mu.Unlock()
						release()
					}
				})
			}
		}
		wg.Go(func() {
			time.Sleep(60 * time.Second)
			mu.Lock()
			lone++ // from now on each is for itself, for some time
			mu.Unlock()
			dir.SetAvailable(false)
			time.Sleep(20 * time.Second)
			dir.SetAvailable(true)
		})
		wg.Wait()
		time.Sleep(time.Minute)
		for i, b := range budgets {
			if n := b.Lines(); n != 0 && b.Busy(host) {
				t.Errorf("node %d: %d lines, busy", i, n)
			}
		}
		var l []*taken
		for range all {
			l = append(l, take(ctx, budgets[len(l)%nodes], host))
		}
		for _, s := range l {
			if !s.runs() {
				t.Error("a slot is lost")
			}
		}
	})
}

func TestBudgetMetrics(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, dir *cachetest.Directories) {
		reg := prometheus.NewRegistry()
		b := swarmcache.NewBudget(ctx, dir.Node(swarmcache.Node{ID: "n"}), 1, 64, reg)
		release := take(ctx, b, host)
		gone, cancel := context.WithCancel(ctx)
		take(gone, b, host)
		take(ctx, b, host)
		cancel()
		synctest.Wait()
		b.Force(host)
		b.Cool(host, time.Now())
		synctest.Wait()
		got := map[string]float64{}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := strings.TrimPrefix(f.GetName(), "shatabdi_origin_budget_")
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		want := map[string]float64{
			"streams": 2, "waiting": 1, "cooldowns_total": 1, "wait_seconds": 0,
			"takes_total forced": 1, "takes_total gave_up": 1, "takes_total slot": 1,
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		release.release()
	})
}

func TestOriginOfAURL(t *testing.T) {
	for url, want := range map[string]string{
		"http://Example.ORG/a":        "http://example.org:80",
		"https://example.org:443/a?b": "https://example.org:443",
		"HTTPS://example.org":         "https://example.org:443",
		"http://[2001:DB8::1]/":       "http://[2001:db8::1]:80",
		"http://u:p@example.org:8080": "http://example.org:8080",
	} {
		if got := swarmcache.OriginOf(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
