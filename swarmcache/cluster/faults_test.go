package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/cluster/embedded"
)

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noErr(t, err)
	defer l.Close()
	return l.Addr().String()
}

// callsOf are all that ask etcd, of a member and, if it has one, of its board.
// None of them changes what a test looks at later.
func callsOf(ctx context.Context, m *member, b swarmcache.Board) map[string]func() error {
	v := version("http://o/away", `"1"`)
	calls := map[string]func() error{
		"Lookup":     func() error { _, _, err := m.Lookup(ctx, v.Key); return err },
		"Publish":    func() error { return m.Publish(ctx, v) },
		"Withdraw":   func() error { return m.Withdraw(ctx, v.Key) },
		"ClaimFirst": func() error { _, _, err := m.ClaimFirst(ctx, v.Key); return err },
		"ClaimSlot":  func() error { _, err := m.ClaimSlot(ctx, "http://away:80", 8); return err },
		"OpenFill":   func() error { _, _, err := m.OpenFill(ctx, fill(v)); return err },
		"JoinFill":   func() error { _, err := m.JoinFill(ctx, fill(v)); return err },
		"Nodes":      func() error { _, err := m.Nodes(ctx); return err },
		"SetMode":    func() error { return m.SetMode(ctx, m.Mode()) },
		"Announce":   func() error { return m.Announce(ctx, node(1)) },
	}
	if b != nil {
		calls["Claim"] = func() error { _, err := b.Claim(ctx, []swarmcache.SpanRecord{{Span: 63, Rev: 1}}); return err }
		calls["Progress"] = func() error { return b.Progress(ctx, 62, make([]byte, 20)) }
		calls["Land"] = func() error { return b.Land(ctx, 61, make([]byte, 20)) }
		calls["Update"] = func() error { return b.Update(ctx, fill(v)) }
	}
	return calls
}

// answersUnavailable checks the promise: no call blocks while etcd is away.
func answersUnavailable(t *testing.T, m *member, within time.Duration) {
	t.Helper()
	for name, call := range callsOf(t.Context(), m, nil) {
		begin := time.Now()
		err := call()
		if d := time.Since(begin); d > within {
			t.Errorf("%s took %v", name, d)
		}
		if !errors.Is(err, swarmcache.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func version(key policy.Key, etag string) swarmcache.Version {
	v := swarmcache.Version{Key: key, URL: string(key), Validator: etag, Length: 8 << 20, PieceLen: 128 << 10}
	v.Stored.ResponseTime = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	v.Identify()
	return v
}

func fill(v swarmcache.Version) swarmcache.FillRecord {
	return swarmcache.FillRecord{Version: v, MaxSpan: 4, Opener: "node-1"}
}

// board opens or joins the fill of v.
func board(t *testing.T, m *member, v swarmcache.Version) swarmcache.Board {
	t.Helper()
	r, b, err := m.OpenFill(t.Context(), fill(v))
	noErr(t, err)
	if b == nil {
		b, err = m.JoinFill(t.Context(), r)
		noErr(t, err)
	}
	return b
}

func claims(t *testing.T, b swarmcache.Board, spans ...int) []bool {
	t.Helper()
	var records []swarmcache.SpanRecord
	for _, i := range spans {
		records = append(records, swarmcache.SpanRecord{Span: i})
	}
	won, err := b.Claim(t.Context(), records)
	noErr(t, err)
	return won
}

// view is a board as its watcher was told.
type view struct {
	mu     sync.Mutex
	spans  map[int]swarmcache.SpanRecord
	nodes  map[swarmcache.NodeID]bool
	fill   swarmcache.FillRecord
	caught bool
	events int
}

func watch(t *testing.T, b swarmcache.Board) *view {
	v := &view{spans: map[int]swarmcache.SpanRecord{}, nodes: map[swarmcache.NodeID]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Watch(ctx, v.apply)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return v
}

func (v *view) apply(e swarmcache.BoardEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events++
	switch {
	case e.Span != nil:
		v.spans[e.Span.Span] = *e.Span
	case e.Freed != nil:
		delete(v.spans, *e.Freed)
	case e.Joined != nil:
		v.nodes[e.Joined.ID] = true
	case e.Left != "":
		delete(v.nodes, e.Left)
	case e.Fill != nil:
		v.fill = *e.Fill
	case e.Caught:
		v.caught = true
	}
}

func (v *view) until(t *testing.T, what string, ok func(v *view) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return ok(v)
	})
}

func TestEtcdAwayAtStart(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	m := run(t, cluster.Config{Endpoints: []string{"http://" + addr}, Self: node(1)})
	answersUnavailable(t, m, 500*time.Millisecond)
	if len(m.Secret()) != 32 || m.State() == nil {
		t.Fatal(m.Secret(), m.State())
	}
	select {
	case <-m.FirstContact():
		t.Fatal("contact with nothing")
	default:
	}
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), ListenClient: "http://" + addr})
	noErr(t, err)
	t.Cleanup(s.Stop)
	select {
	case <-m.FirstContact():
	case <-time.After(15 * time.Second):
		t.Fatal("no contact: ", m.State())
	}
	noErr(t, m.Publish(t.Context(), version("k", `"1"`)))
}

func TestEtcdRestartsMidway(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), freePort(t)
	start := func() *embedded.Server {
		s, err := embedded.Start(embedded.Config{Dir: dir, ListenClient: "http://" + addr})
		noErr(t, err)
		return s
	}
	s := start()
	cfg := cluster.Config{Endpoints: []string{"http://" + addr}, Self: node(1)}
	a := join(t, cfg)
	cfg.Self = node(2)
	b := join(t, cfg)
	v := version("k", `"1"`)
	ab, bb := board(t, a, v), board(t, b, v)
	w := watch(t, bb)
	claims(t, ab, 0)
	noErr(t, ab.Land(t.Context(), 0, make([]byte, 20)))
	w.until(t, "landed", func(w *view) bool { return w.spans[0].Landed })

	s.Stop()
	answersUnavailable(t, a, 2*time.Second+500*time.Millisecond)
	answersUnavailable(t, a, 500*time.Millisecond)
	if err := ab.Land(t.Context(), 1, make([]byte, 20)); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Fatal(err)
	}
	s = start()
	t.Cleanup(s.Stop)
	healthy(t, a)
	healthy(t, b)
	noErr(t, ab.Land(t.Context(), 1, make([]byte, 20)))
	w.until(t, "the watch goes on", func(w *view) bool { return w.spans[0].Landed && w.spans[1].Landed })
}

// A network that swallows everything is found out by the first call, or by the first that
// hopes for an etcd that is only slow. What a client's request waits for is bounded more
// tightly, unless it would go to the origin for something large on its own.
func TestSilentNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		call     func(*testing.T, *member) error
		min, max time.Duration
	}{
		"Lookup": {func(t *testing.T, m *member) error {
			_, _, err := m.Lookup(t.Context(), "k")
			return err
		}, 0, 1800 * time.Millisecond},
		"ClaimFirst": {func(t *testing.T, m *member) error {
			_, _, err := m.ClaimFirst(t.Context(), "k")
			return err
		}, 0, 4 * time.Second},
		"Publish": {func(t *testing.T, m *member) error {
			return m.Publish(t.Context(), version("k", `"1"`))
		}, 1500 * time.Millisecond, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newLink(t, etcd)
			cfg := config(prefix(), 1)
			cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
			m := join(t, cfg)
			k.silent.Lock()
			begin := time.Now()
			err := c.call(t, m)
			if d := time.Since(begin); !errors.Is(err, swarmcache.ErrUnavailable) || d < c.min || d > c.max {
				t.Errorf("after %v: %v", d, err)
			}
			answersUnavailable(t, m, 4*time.Second)
			answersUnavailable(t, m, 500*time.Millisecond)
			k.silent.Unlock()
			healthy(t, m)
			if _, _, err := m.Lookup(t.Context(), "k"); err != nil && !errors.Is(err, swarmcache.ErrNotFound) {
				t.Error(err)
			}
		})
	}
}

// A caller that gives up early has learnt nothing about etcd.
func TestImpatientCallerDoesNotTripTheCircuit(t *testing.T) {
	m := join(t, config(prefix(), 1))
	for _, ctx := range []func() (context.Context, context.CancelFunc){
		func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, cancel
		},
		func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Nanosecond) },
	} {
		ctx, cancel := ctx()
		if _, _, err := m.Lookup(ctx, "k"); err == nil || errors.Is(err, swarmcache.ErrNotFound) {
			t.Error(err)
		}
		cancel()
		if err := m.State(); err != nil {
			t.Fatal(err)
		}
	}
}

// A wiped etcd is filled again by those who know: same cluster, same secret.
func TestWipedEtcdKeepsTheSecret(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	start := func() *embedded.Server {
		s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), ListenClient: "http://" + addr})
		noErr(t, err)
		return s
	}
	s := start()
	cfg := cluster.Config{Endpoints: []string{"http://" + addr}, Self: node(1), LeaseTTL: 2 * time.Second}
	a := join(t, cfg)
	id, secret := a.ID(), a.Secret()
	v := version("k", `"1"`)
	b := board(t, a, v)
	ended := make(chan error, 1)
	go func() { ended <- b.Watch(t.Context(), func(swarmcache.BoardEvent) {}) }()
	s.Stop()
	s = start()
	t.Cleanup(s.Stop)
	select {
	case err := <-ended:
		if !errors.Is(err, swarmcache.ErrNotFound) {
			t.Fatal(err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("the watcher was not told that the board is gone")
	}
	healthy(t, a)
	if a.ID() != id || !bytes.Equal(a.Secret(), secret) {
		t.Fatal("another cluster")
	}
	if _, mine, err := a.OpenFill(t.Context(), fill(v)); err != nil || mine == nil {
		t.Fatal("the fill cannot be opened anew", err)
	}
}

func TestSecretIsMadeOnceAndTold(t *testing.T) {
	p := prefix()
	const nodes = 8
	ch := make(chan cluster.Known, nodes)
	for i := range nodes {
		cfg := config(p, i)
		once := sync.Once{}
		cfg.OnKnown = func(k cluster.Known) { once.Do(func() { ch <- k }) }
		run(t, cfg)
	}
	first := <-ch
	for range nodes - 1 {
		if other := <-ch; other.ID != first.ID || !bytes.Equal(other.Secret, first.Secret) || other.Epoch != first.Epoch {
			t.Fatal("two clusters under one prefix")
		}
	}
	cfg := config(p, nodes)
	cfg.Known = first
	c, err := cluster.Open(cfg)
	noErr(t, err)
	if !bytes.Equal(c.Secret(), first.Secret) {
		t.Fatal("the cached secret is not used before contact")
	}
	join(t, cfg)
}

func TestLostLeaseIsReplaced(t *testing.T) {
	t.Parallel()
	p := prefix()
	a, b := join(t, config(p, 1)), join(t, config(p, 2))
	v := version("k", `"1"`)
	ab, bb := board(t, a, v), board(t, b, v)
	w := watch(t, bb)
	claims(t, ab, 0, 1)
	w.until(t, "claimed", func(w *view) bool { return len(w.spans) == 2 && w.nodes["node-1"] })

	lease := a.LeaseID()
	_, err := raw(t, etcd).Revoke(t.Context(), clientv3.LeaseID(lease))
	noErr(t, err)
	w.until(t, "the claims are free", func(w *view) bool { return len(w.spans) == 0 })
	eventually(t, "a new lease", func() bool { return a.Healthy() && a.LeaseID() != 0 && a.LeaseID() != lease })
	w.until(t, "it takes part again", func(w *view) bool { return w.nodes["node-1"] })
	nodes, err := b.Nodes(t.Context())
	noErr(t, err)
	if len(nodes) != 2 {
		t.Fatalf("%d nodes", len(nodes))
	}
	w.until(t, "it has its claims again", func(w *view) bool {
		return w.spans[0].Owner == "node-1" && w.spans[1].Owner == "node-1"
	})
	if won := claims(t, ab, 2); !won[0] {
		t.Fatal("it cannot claim under the new lease")
	}
}

func TestDeadNodesClaimsEnd(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), 2*time.Second
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	ab, bb := board(t, a, v), board(t, b, v)
	w := watch(t, bb)
	claims(t, ab, 0)
	w.until(t, "claimed", func(w *view) bool { return w.spans[0].Owner == "node-1" })
	k.Cut()
	begin := time.Now()
	w.until(t, "free, and the node gone", func(w *view) bool { return len(w.spans) == 0 && !w.nodes["node-1"] })
	if d := time.Since(begin); d > 6*time.Second {
		t.Fatalf("after %v", d)
	}
	answersUnavailable(t, a, 500*time.Millisecond)
	k.Mend()
	w.until(t, "it is back", func(w *view) bool { return w.nodes["node-1"] })
}

func TestWatchSurvivesCompaction(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	w := watch(t, board(t, a, v))
	bb := board(t, b, v)
	claims(t, bb, 0, 1, 2)
	w.until(t, "seen", func(w *view) bool { return w.caught && len(w.spans) == 3 && w.nodes["node-2"] })

	k.Cut()
	noErr(t, bb.Land(t.Context(), 0, make([]byte, 20)))
	noErr(t, bb.Release(t.Context(), 1))
	claims(t, bb, 3)
	r := fill(v)
	r.Single = true
	noErr(t, bb.Update(t.Context(), r))
	c := raw(t, etcd)
	g, err := c.Get(t.Context(), p)
	noErr(t, err)
	_, err = c.Compact(t.Context(), g.Header.Revision)
	noErr(t, err)
	k.Mend()
	w.until(t, "the differences were told", func(w *view) bool {
		_, one := w.spans[1]
		return w.spans[0].Landed && !one && w.spans[2].Owner == "node-2" && w.spans[3].Owner == "node-2" && w.fill.Single
	})
	noErr(t, bb.Leave(t.Context()))
	w.until(t, "and it goes on", func(w *view) bool { return !w.nodes["node-2"] && len(w.spans) == 1 })
}

// What was released while etcd was away stands under a living lease: it must be
// given back later.
func TestDebtsArePaid(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	ab := board(t, a, v)
	w := watch(t, board(t, b, v))
	claims(t, ab, 0)
	release, _, err := a.ClaimFirst(t.Context(), "first")
	noErr(t, err)
	w.until(t, "claimed", func(w *view) bool { return w.spans[0].Owner == "node-1" && w.nodes["node-1"] })
	k.Cut()
	eventually(t, "away", func() bool { return !a.Healthy() })
	release()
	if err := ab.Leave(t.Context()); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Fatal(err)
	}
	if a.Debts() == 0 {
		t.Fatal("nothing is owed")
	}
	k.Mend()
	w.until(t, "all is given back", func(w *view) bool { return len(w.spans) == 0 && !w.nodes["node-1"] })
	eventually(t, "the first claim too", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		release, _, err := b.ClaimFirst(ctx, "first")
		if err == nil {
			release()
		}
		return err == nil
	})
}

func TestFirstClaimWaiterIsToldThatEtcdWentAway(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints = k.endpoints()
	a, b := join(t, cfg), join(t, config(p, 2))
	release, _, err := b.ClaimFirst(t.Context(), "key")
	noErr(t, err)
	defer release()
	waited := make(chan error, 1)
	go func() {
		_, _, err := a.ClaimFirst(t.Context(), "key")
		waited <- err
	}()
	select {
	case err := <-waited:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	k.Cut()
	select {
	case err := <-waited:
		if !errors.Is(err, swarmcache.ErrUnavailable) {
			t.Fatal(err)
		}
	case <-time.After(4 * time.Second):
		t.Fatal("waits for an etcd that is away")
	}
}

// Etcd may go away between any two steps of waiting.
func TestFirstClaimWaitersAreToldAtEveryStep(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), time.Minute
	a, b := join(t, cfg), join(t, config(p, 2))
	release, _, err := b.ClaimFirst(t.Context(), "key")
	noErr(t, err)
	defer release()
	const waiters = 100
	waited := make(chan error, waiters)
	for i := range waiters {
		time.AfterFunc(time.Duration(i)*100*time.Microsecond, func() {
			var taken *swarmcache.ClaimedError
			_, _, err := a.ClaimFirst(t.Context(), "key")
			for errors.As(err, &taken) { // etcd went between its watch and what that missed
				_, _, err = a.ClaimFirst(t.Context(), "key")
			}
			waited <- err
		})
	}
	time.AfterFunc(waiters*50*time.Microsecond, k.Cut)
	late := time.After(4 * time.Second)
	for range waiters {
		select {
		case err := <-waited:
			if !errors.Is(err, swarmcache.ErrUnavailable) {
				t.Error(err)
			}
		case <-late:
			t.Fatal("waits for an etcd that is away")
		}
	}
}

func TestSixteenRaceForOneFill(t *testing.T) {
	p := prefix()
	v := version("k", `"1"`)
	const nodes, spans = 16, 24
	var mu sync.Mutex
	opened, won := 0, map[int]int{}
	var wg sync.WaitGroup
	for i := range nodes {
		m := join(t, config(p, i))
		wg.Go(func() {
			r, b, err := m.OpenFill(t.Context(), fill(v))
			mine := b != nil
			if err == nil && !mine {
				b, err = m.JoinFill(t.Context(), r)
			}
			if err != nil {
				t.Error(err)
				return
			}
			var all []swarmcache.SpanRecord
			for s := range spans {
				all = append(all, swarmcache.SpanRecord{Span: s})
			}
			got, err := b.Claim(t.Context(), all)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if mine {
				opened++
			}
			for s, ok := range got {
				if ok {
					won[s]++
				}
			}
		})
	}
	wg.Wait()
	if opened != 1 || len(won) != spans {
		t.Fatalf("opened %d times, %d spans won", opened, len(won))
	}
	for s, n := range won {
		if n != 1 {
			t.Errorf("span %d was won %d times", s, n)
		}
	}
}

func TestManyParticipantsAreNotAllListed(t *testing.T) {
	t.Parallel()
	p := prefix()
	m := run(t, config(p, 1), func(c *cluster.Cluster) { c.RelistEvery(100 * time.Millisecond) })
	healthy(t, m)
	v := version("k", `"1"`)
	_, b, err := m.OpenFill(t.Context(), fill(v))
	noErr(t, err)
	noErr(t, b.Leave(t.Context()))
	c := raw(t, etcd)
	members := p + "fills/" + string(v.ID) + "/nodes/"
	for i := range swarmcache.MaxListed {
		_, err := c.Put(t.Context(), fmt.Sprintf("%sother-%02d", members, i), fmt.Sprintf(`{"id":"other-%02d","peers":[]}`, i))
		noErr(t, err)
	}
	_, err = m.JoinFill(t.Context(), fill(v))
	noErr(t, err)
	listed := func() bool {
		g, err := c.Get(t.Context(), members+"node-1")
		noErr(t, err)
		return len(g.Kvs) == 1
	}
	if listed() {
		t.Fatal("one too many is listed")
	}
	_, err = c.Delete(t.Context(), members+"other-07")
	noErr(t, err)
	eventually(t, "it takes the free place", listed)
}
