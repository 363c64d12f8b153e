package replica_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/replica"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster without bytes: who lives, who has what, which orders stand.
type world struct {
	mu      sync.Mutex
	nodes   []swarmcache.Node
	kept    map[string]swarmcache.Kept
	has     map[swarmcache.InfoHash][]swarmcache.NodeID
	orders  map[string]swarmcache.Order
	given   []swarmcache.Order
	health  swarmcache.Health
	told    int
	leads   bool
	follow  func(all bool, kept map[string]swarmcache.Kept, gone []string)
	reads   int
	most    int                          // orders at a time
	failing map[swarmcache.NodeID]string // what a node says of every order
}

func newWorld(nodes ...swarmcache.Node) *world {
	return &world{
		nodes: nodes, leads: true, kept: map[string]swarmcache.Kept{}, has: map[swarmcache.InfoHash][]swarmcache.NodeID{},
		orders: map[string]swarmcache.Order{}, failing: map[swarmcache.NodeID]string{},
	}
}

func (w *world) Nodes(context.Context) ([]swarmcache.Node, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes), nil
}

func (w *world) FollowKept(ctx context.Context, f func(all bool, kept map[string]swarmcache.Kept, gone []string)) error {
	w.mu.Lock()
	f(true, maps.Clone(w.kept), nil)
	w.follow = f
	w.mu.Unlock()
	<-ctx.Done()
	return nil
}

func name(o swarmcache.Order) string { return string(o.Node) + "/" + string(o.Kept.ID) }

func (w *world) Orders(context.Context) ([]swarmcache.Order, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	return slices.Collect(maps.Values(w.orders)), nil
}

func (w *world) Order(_ context.Context, o swarmcache.Order) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.given = append(w.given, o)
	o.Failed = w.failing[o.Node]
	w.orders[name(o)] = o
	w.most = max(w.most, len(w.orders))
	return nil
}

func (w *world) EndOrder(_ context.Context, o swarmcache.Order) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.orders, name(o))
	return nil
}

func (w *world) TellHealth(_ context.Context, h swarmcache.Health) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.health = h
	w.told++
	return nil
}

// keep has n copies of object i kept, which these nodes have.
func (w *world) keep(i, n int, url string, has ...swarmcache.NodeID) swarmcache.InfoHash {
	ih := swarmcache.InfoHash{1, byte(i), byte(i >> 8)}
	w.kept[fmt.Sprint(i)] = swarmcache.Kept{Key: policy.Key(url), ID: swarmcache.ObjectID(fmt.Sprint(i)), URL: url, InfoHash: ih, Length: 1, Replicas: n}
	w.has[ih] = has
	return ih
}

// obey makes all copies that are ordered now.
func (w *world) obey() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, o := range w.orders {
		if o.Failed == "" {
			w.has[o.Kept.InfoHash] = append(w.has[o.Kept.InfoHash], o.Node)
			delete(w.orders, k)
		}
	}
}

func (w *world) kill(ids ...swarmcache.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = slices.DeleteFunc(w.nodes, func(n swarmcache.Node) bool { return slices.Contains(ids, n.ID) })
}

func (w *world) run(t *testing.T, f func()) {
	synctest.Test(t, func(t *testing.T) {
		l := replica.NewLeader(replica.LeaderConfig{
			Directory: w, Leads: func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.leads },
			EachSeeder: func(ih swarmcache.InfoHash, f func(swarmcache.NodeID) bool) {
				w.mu.Lock()
				has := w.has[ih]
				w.mu.Unlock()
				for _, id := range has {
					if !f(id) {
						return
					}
				}
			},
			After: 30 * time.Second, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.Run(ctx) })
		f()
		cancel()
		wg.Wait()
	})
}

// wait lets time pass; what is ordered meanwhile is done.
func (w *world) wait(d time.Duration) {
	for range d / time.Second {
		time.Sleep(time.Second)
		synctest.Wait()
		w.obey()
	}
}

func node(id, zone, rack string) swarmcache.Node {
	return swarmcache.Node{ID: swarmcache.NodeID(id), Zone: zone, Rack: rack}
}

const someURL, putURL = "http://origin.test/f", "http://objects.shatabdi/00/f"

func TestMissingCopiesAreMadeElsewhere(t *testing.T) {
	w := newWorld(node("a1", "a", "1"), node("a1b", "a", "1"), node("a2", "a", "2"), node("a3", "a", "3"), node("b1", "b", "1"))
	ih := w.keep(1, 3, someURL, "a1")
	w.run(t, func() {
		w.wait(30 * time.Second)
		if len(w.given) > 0 {
			t.Errorf("%d copies are made of what may come back", len(w.given))
		}
		if w.health.Degraded != 1 || !strings.Contains(w.health.Ill[0].Why, "waiting for missing nodes") {
			t.Errorf("%+v", w.health)
		}
		w.wait(30 * time.Second)
		// One goes into the other zone, the next into another rack.
		if has := w.has[ih]; len(has) != 3 || !slices.Contains(has, "b1") || slices.Contains(has, "a1b") {
			t.Errorf("copies on %v", has)
		}
		if w.health.Healthy != 1 || len(w.health.Ill) > 0 {
			t.Errorf("%+v", w.health)
		}
		for _, o := range w.given {
			if o.Origin {
				t.Error("from the origin")
			}
		}
	})
}

// While all is well only the nodes are asked for, and nothing is written.
func TestNothingIsDoneWhileAllIsWell(t *testing.T) {
	w := newWorld(node("a", "", ""), node("b", "", ""))
	for i := range 200 {
		w.keep(i, 5, someURL, "a", "b") // more than there are nodes
	}
	w.run(t, func() {
		w.wait(3 * time.Minute)
		if len(w.given) > 0 || w.told != 1 || w.reads > 2 || w.health.Healthy != 200 {
			t.Errorf("%d orders, told %d times, %d reads, %+v", len(w.given), w.told, w.reads, w.health)
		}
	})
}

func TestAThirdOfTheNodesIsLost(t *testing.T) {
	var nodes []swarmcache.Node
	for i := range 30 {
		nodes = append(nodes, node(fmt.Sprint("n", i), fmt.Sprint("z", i%3), fmt.Sprint("r", i%10)))
	}
	w := newWorld(nodes...)
	for i := range 200 {
		w.keep(i, 3, someURL, nodes[i%30].ID, nodes[(i+7)%30].ID, nodes[(i+16)%30].ID)
	}
	w.run(t, func() {
		w.wait(20 * time.Second)
		var dead []swarmcache.NodeID
		for i := range 10 {
			dead = append(dead, nodes[i].ID)
		}
		w.kill(dead...)
		w.wait(3 * time.Minute)
		if w.health.Healthy != 200 {
			t.Errorf("%d healthy, %d degraded, %d lost", w.health.Healthy, w.health.Degraded, w.health.Lost)
		}
		if w.most > 32 {
			t.Errorf("%d orders at a time", w.most)
		}
		for _, o := range w.given {
			if o.Origin {
				t.Errorf("%s was fetched from its origin", o.Kept.ID)
			}
		}
	})
}

func TestOriginIsTheLastSource(t *testing.T) {
	w := newWorld(node("a", "", ""), node("b", "", ""), node("c", "", ""))
	lost := w.keep(1, 2, someURL)
	w.keep(2, 2, putURL)
	w.run(t, func() {
		w.wait(20 * time.Second)
		if w.health.Lost != 2 {
			t.Errorf("%+v", w.health)
		}
		w.wait(time.Minute)
		if len(w.given) != 2 || !w.given[0].Origin || w.given[1].Origin || len(w.has[lost]) != 2 {
			t.Errorf("orders %+v", w.given)
		}
		if w.health.Healthy != 1 || w.health.Lost != 1 || !strings.Contains(w.health.Ill[0].Why, "it has no origin") {
			t.Errorf("%+v", w.health)
		}
	})
}

func TestWhoCannotIsSpared(t *testing.T) {
	w := newWorld(node("a", "", ""), node("b", "", ""), node("c", "", ""))
	ih := w.keep(1, 2, someURL, "a")
	w.failing["b"], w.failing["c"] = "no space in the cache", "no space in the cache"
	w.run(t, func() {
		w.wait(5 * time.Minute)
		if len(w.given) != 2 || w.given[0].Node == w.given[1].Node {
			t.Errorf("orders %+v", w.given)
		}
		if w.health.Degraded != 1 || !strings.Contains(w.health.Ill[0].Why, "no space") {
			t.Errorf("%+v", w.health)
		}
		w.mu.Lock()
		delete(w.failing, "c")
		w.mu.Unlock()
		w.wait(15 * time.Minute)
		if !slices.Equal(w.has[ih], []swarmcache.NodeID{"a", "c"}) {
			t.Errorf("copies on %v", w.has[ih])
		}
	})
}

// A draining node's copies do not count, but can be had; it gets none.
func TestDrainingNodesAreReplaced(t *testing.T) {
	a := node("a", "", "")
	a.Draining = true
	w := newWorld(a, node("b", "", ""))
	ih := w.keep(1, 1, putURL, "a")
	w.run(t, func() {
		w.wait(time.Minute)
		if !slices.Equal(w.has[ih], []swarmcache.NodeID{"a", "b"}) || w.given[0].Origin {
			t.Errorf("copies on %v, orders %+v", w.has[ih], w.given)
		}
	})
}

// What is not kept any more needs no copies, and a new leader goes on with the
// orders that stand.
func TestOrdersEndWithTheirReason(t *testing.T) {
	w := newWorld(node("a", "", ""), node("b", "", ""))
	w.keep(1, 2, someURL, "a")
	stale := swarmcache.Order{Node: "b", Kept: swarmcache.Kept{ID: "9"}, At: time.Now()}
	stands := swarmcache.Order{Node: "b", Kept: w.kept["1"], At: time.Now().Add(100 * 365 * 24 * time.Hour)}
	w.orders[name(stale)], w.orders[name(stands)] = stale, stands
	w.run(t, func() {
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(w.orders) != 1 || len(w.given) > 0 {
			t.Errorf("orders %v, given %v", w.orders, w.given)
		}
		w.mu.Lock()
		w.follow(false, nil, []string{"1"})
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(w.orders) > 0 {
			t.Errorf("orders %v", w.orders)
		}
	})
}
