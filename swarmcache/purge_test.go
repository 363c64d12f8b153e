package swarmcache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/index"
)

// site is one node's disk.
type site struct {
	id    swarmcache.NodeID
	index *cachetest.Index
	dir   string

	small func(policy.Key) int // purges what is kept elsewhere; nil: nothing is

	mu     sync.Mutex // guards the fields below
	purged []policy.Key
	doubts int
}

func newSite(t *testing.T, id swarmcache.NodeID) *site {
	return &site{id: id, index: cachetest.NewIndex(), dir: t.TempDir()}
}

// start runs the node, by a clock that is ahead, and fast: without a swarm it has
// to wait until what others landed is held for lost.
func (s *site) start(t *testing.T, d *cachetest.Directories, ahead time.Duration) *swarmcache.Cache {
	self := swarmcache.Node{ID: s.id}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: s.dir, Index: s.index, Directory: d.Node(self), Node: self,
		Now: func() time.Time { return began.Add(30 * time.Since(began)).Add(ahead) },
		Purged: func(key policy.Key) int {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.purged = append(s.purged, key)
			if s.small != nil {
				return s.small(key)
			}
			return 0
		},
		Distrusted: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.doubts++
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// heard reports whether what is kept elsewhere on the node was told of key.
func (s *site) heard(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.purged, policy.Key(key))
}

var began = time.Now()

func (s *site) restart(t *testing.T, c *swarmcache.Cache, d *cachetest.Directories, ahead time.Duration) *swarmcache.Cache {
	c.Close()
	s.index = s.index.Reopen()
	return s.start(t, d, ahead)
}

// A purge reaches the nodes of now and the one that was away, and takes only what
// they had before it.
func TestPurgeReachesEveryNode(t *testing.T) {
	d := cachetest.NewDirectory()
	m, other := newMemory("a", 8<<20), newMemory("other", 8<<20)
	sites := []*site{newSite(t, "asked"), newSite(t, "there"), newSite(t, "away")}
	var nodes []*swarmcache.Cache
	for _, s := range sites {
		c := s.start(t, d, 0)
		fill(t, c, m).Close()
		fill(t, c, other).Close()
		nodes = append(nodes, c)
	}
	nodes[2].Close()

	if had, err := nodes[0].Purge(t.Context(), policy.Key(m.name)); err != nil || had != 1 {
		t.Fatal(had, err)
	}
	if here(nodes[0], m) {
		t.Error("the node that was asked still has it")
	}
	eventually(t, func() bool { return !here(nodes[1], m) })
	nodes[2] = sites[2].restart(t, nodes[2], d, 0)
	eventually(t, func() bool { return !here(nodes[2], m) })
	for _, s := range sites {
		if !s.heard(m.name) || s.heard(other.name) {
			t.Errorf("%s told what is kept elsewhere of %v", s.id, s.purged)
		}
	}

	for i, c := range nodes {
		if !here(c, other) {
			t.Errorf("node %d lost something else", i)
		}
		fill(t, c, m).Close()
	}
	// Another purge comes through, and the first one is not obeyed twice, not even
	// after a restart.
	nodes[1] = sites[1].restart(t, nodes[1], d, 0)
	if _, err := nodes[0].Purge(t.Context(), policy.Key(other.name)); err != nil {
		t.Fatal(err)
	}
	for i, c := range nodes {
		eventually(t, func() bool { return !here(c, other) })
		if !here(c, m) {
			t.Errorf("node %d lost what came after the purge", i)
		}
	}
}

// Who ordered a purge and did not wait for it has ordered it all the same.
func TestPurgeOutlivesWhoOrderedIt(t *testing.T) {
	d := cachetest.NewDirectory()
	m := newMemory("a", 1<<20)
	asked, there := newSite(t, "asked").start(t, d, 0), newSite(t, "there").start(t, d, 0)
	fill(t, asked, m).Close()
	fill(t, there, m).Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if had, err := asked.Purge(gone, policy.Key(m.name)); err != nil || had != 1 {
		t.Error(had, err)
	}
	eventually(t, func() bool { return !here(there, m) })
	if v, _, err := d.Node(swarmcache.Node{ID: "any"}).Lookup(t.Context(), policy.Key(m.name)); err == nil {
		t.Errorf("the directory still has %v", v)
	}
}

// hasty is a directory to which somebody comes before purges do.
type hasty struct {
	swarmcache.Directory
	before func()
}

func (h *hasty) Purge(ctx context.Context, p swarmcache.Purge) error {
	h.before()
	return h.Directory.Purge(ctx, p)
}

// What a look-up takes from the directory before that is told does not outlive the
// purge here.
func TestLookupDuringAPurge(t *testing.T) {
	for name, purge := range map[string]func(*swarmcache.Cache, policy.Key) error{
		"purge": func(c *swarmcache.Cache, k policy.Key) error {
			_, err := c.Purge(t.Context(), k)
			return err
		},
		"invalidate": func(c *swarmcache.Cache, k policy.Key) error { return c.Invalidate(t.Context(), k) },
	} {
		t.Run(name, func(t *testing.T) {
			self, m := swarmcache.Node{ID: "me"}, newMemory("a", 1<<20)
			dir := &hasty{Directory: cachetest.NewDirectory().Node(self)}
			c, err := swarmcache.Open(swarmcache.Config{Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: dir, Node: self, Logger: slog.New(slog.DiscardHandler)})
			must(t, err)
			t.Cleanup(func() { c.Close() })
			fill(t, c, m).Close()
			came := false
			dir.before = func() {
				obj, err := c.Lookup(t.Context(), policy.Key(m.name), m)
				if came = err == nil; came {
					obj.Close()
				}
			}
			must(t, purge(c, policy.Key(m.name)))
			if !came {
				t.Error("the look-up found nothing, and so shows nothing")
			}
			if obj, err := c.Local(policy.Key(m.name), m); err == nil {
				t.Error("what was purged is here")
				obj.Close()
			}
		})
	}
}

// Without the directory a purge counts on this node, and the operator hears that
// the others were not told.
func TestPurgeWithoutTheDirectory(t *testing.T) {
	d := cachetest.NewDirectory()
	c := newSite(t, "me").start(t, d, 0)
	m := newMemory("a", 8<<20)
	fill(t, c, m).Close()
	d.SetAvailable(false)
	if _, err := c.Purge(t.Context(), policy.Key(m.name)); err == nil || here(c, m) {
		t.Errorf("error: %v; still here: %v", err, here(c, m))
	}
}

// Who was away for longer than purges stand believes nothing that it has without
// asking the origin.
func TestAwayForLongerThanPurgesStand(t *testing.T) {
	d := cachetest.NewDirectory()
	s, m := newSite(t, "me"), newMemory("a", 8<<20)
	c := s.start(t, d, 0)
	id := fill(t, c, m).Version().ID
	ahead := time.Duration(0)
	for _, away := range []time.Duration{24 * time.Hour, swarmcache.PurgesStand + time.Hour} {
		eventually(t, func() bool { _, err := s.index.Setting("purges"); return err == nil })
		ahead += away
		c = s.restart(t, c, d, ahead)
		r, err := c.Record(id)
		if want := away > swarmcache.PurgesStand; err != nil || r.Version.Stored.Invalid != want {
			t.Errorf("away for %v: invalid: %v, %v", away, r.Version.Stored.Invalid, err)
		} else if (s.doubts == 1) != want {
			t.Errorf("away for %v: %d times doubted", away, s.doubts)
		}
	}
}

// remembered are the keys of the purges that a catalogue says were obeyed.
func remembered(x swarmcache.Index) (keys []policy.Key) {
	for i := range 32 {
		b, err := x.Setting(fmt.Sprintf("purges/%02d", i))
		var sheet []swarmcache.Purge
		if err == nil && json.Unmarshal(b, &sheet) == nil {
			for _, p := range sheet {
				keys = append(keys, p.Key)
			}
		}
	}
	return keys
}

// Many thousand purges are remembered, over a restart too, and those whose time is
// over are forgotten.
func TestManyPurgesAreRemembered(t *testing.T) {
	d, s, dir := cachetest.NewDirectory(), newSite(t, "me"), t.TempDir()
	var x *index.Index
	start := func() *swarmcache.Cache {
		var err error
		x, err = index.Open(index.Options{Dir: dir})
		must(t, err)
		self := swarmcache.Node{ID: s.id}
		c, err := swarmcache.Open(swarmcache.Config{Dir: s.dir, Index: x, Directory: d.Node(self), Node: self, Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		return c
	}
	c := start()
	const many = 8000 / slower // 1 MiB of them, and each is told with all
	orders := d.Node(swarmcache.Node{ID: "other"})
	for i := range many {
		must(t, orders.Purge(t.Context(), swarmcache.Purge{ID: fmt.Sprint(i), Key: policy.Key(fmt.Sprintf("http://origin.example/some/where/%d", i)), At: time.Now()}))
	}
	eventually(t, func() bool { return len(remembered(x)) == many })
	must(t, c.Close())
	must(t, x.Close())
	d = cachetest.NewDirectory()
	c = start()
	defer x.Close()
	defer c.Close()
	told := make(chan int, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go d.Node(swarmcache.Node{ID: "other"}).Purges(ctx, func(s swarmcache.Standing) {
		if len(s.Purges) == many {
			select {
			case told <- many:
			default:
			}
		}
	})
	<-told // all stand again
}

// A directory that was wiped hears of the purges again from those who obeyed them: who
// was away all the time does not bring back what was purged.
func TestPurgesOutliveTheDirectory(t *testing.T) {
	d := cachetest.NewDirectory()
	m, other := newMemory("a", 8<<20), newMemory("other", 8<<20)
	asked, away := newSite(t, "asked"), newSite(t, "away")
	one, two := asked.start(t, d, 0), away.start(t, d, 0)
	for _, c := range []*swarmcache.Cache{one, two} {
		fill(t, c, m).Close()
		fill(t, c, other).Close()
	}
	two.Close()
	if _, err := one.Purge(t.Context(), policy.Key(m.name)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return slices.Contains(remembered(asked.index), "a")
	})
	wiped := cachetest.NewDirectory()
	one = asked.restart(t, one, wiped, 24*time.Hour)
	two = away.restart(t, two, wiped, 24*time.Hour)
	eventually(t, func() bool { return !here(two, m) })
	if !here(one, other) || !here(two, other) {
		t.Error("something else was lost")
	}
	fill(t, one, m).Close() // what came after the purge stays
	one = asked.restart(t, one, wiped, 24*time.Hour)
	if !here(one, m) {
		t.Error("a purge was obeyed twice")
	}
}

// opensLate is a directory that hears of a fill after a purge of its key, and before that
// is known to who ordered it.
type opensLate struct {
	swarmcache.Directory
	purged, opened chan struct{}
}

func (d opensLate) OpenFill(ctx context.Context, r swarmcache.FillRecord, spans ...int) (swarmcache.FillRecord, swarmcache.Board, error) {
	<-d.purged
	defer time.AfterFunc(100*time.Millisecond, func() { close(d.opened) })
	return d.Directory.OpenFill(ctx, r, spans...)
}

func (d opensLate) Purge(ctx context.Context, p swarmcache.Purge) error {
	err := d.Directory.Purge(ctx, p)
	close(d.purged)
	<-d.opened
	return err
}

func TestPurgeWhileAFillIsOpened(t *testing.T) {
	t.Parallel()
	dir, self := cachetest.NewDirectory(), swarmcache.Node{ID: "me"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Node: self, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Directory: opensLate{dir.Node(self), make(chan struct{}), make(chan struct{})},
	})
	must(t, err)
	defer c.Close()
	m := newMemory("held", 300_000)
	key := policy.Key(m.name)
	release, _, err := c.ClaimFirst(t.Context(), key, m, whatever)
	must(t, err)
	defer release()
	obj, err := c.Fill(t.Context(), m.version(), false, io.NopCloser(bytes.NewReader(m.data)), nil)
	must(t, err)
	defer obj.Close()
	had, err := c.Purge(t.Context(), key)
	must(t, err)
	if had != 1 {
		t.Errorf("%d responses were there", had)
	}
	eventually(t, func() bool {
		_, _, err := dir.Node(swarmcache.Node{ID: "other"}).Lookup(t.Context(), key)
		return errors.Is(err, swarmcache.ErrNotFound)
	})
}

// What came before a purge, and was told of only after it, the origin confirms: whoever
// told of it had not heard of the purge.
func TestToldOfAfterAPurge(t *testing.T) {
	t.Parallel()
	dir, self := cachetest.NewDirectory(), swarmcache.Node{ID: "me"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Node: self, Directory: dir.Node(self), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	must(t, err)
	defer c.Close()
	for name, apart := range map[string]time.Duration{"before": -time.Second, "after": time.Second} {
		m := newMemory(name, 300_000)
		_, err = c.Purge(t.Context(), policy.Key(m.name))
		must(t, err)
		v := m.version()
		v.Stored.ResponseTime, v.PieceLen = time.Now().Add(apart), 128<<10
		v.Identify()
		must(t, dir.Node(swarmcache.Node{ID: "other"}).Publish(t.Context(), v))
		obj, err := c.Lookup(t.Context(), policy.Key(m.name), m)
		must(t, err)
		if got := obj.Version().Stored.Invalid; got != (apart < 0) {
			t.Errorf("%s: to be confirmed: %v", name, got)
		}
		obj.Close()
	}
}

// purgedAsTold is a directory where a key is purged at the moment in which a node looks it
// up to publish it. It counts what is published all the same.
type purgedAsTold struct {
	swarmcache.Directory
	purge     func(policy.Key)
	published *atomic.Int32
}

func (d purgedAsTold) Lookup(ctx context.Context, key policy.Key) (*swarmcache.Version, *swarmcache.FillRecord, error) {
	defer d.purge(key)
	return d.Directory.Lookup(ctx, key)
}

func (d purgedAsTold) Publish(ctx context.Context, v swarmcache.Version) error {
	d.published.Add(1)
	return d.Directory.Publish(ctx, v)
}

// What is forgotten while it is about to be published is not: it would stand there until
// somebody withdraws it, for others to take and keep.
func TestPurgeBeforePublishing(t *testing.T) {
	t.Parallel()
	dir, self := cachetest.NewDirectory(), swarmcache.Node{ID: "me"}
	purged := make(chan struct{})
	var once sync.Once
	var c *swarmcache.Cache
	d := purgedAsTold{dir.Node(self), nil, new(atomic.Int32)}
	d.purge = func(key policy.Key) {
		once.Do(func() {
			defer close(purged)
			m := c.Mark(key)
			other := dir.Node(swarmcache.Node{ID: "other"})
			if err := other.Purge(t.Context(), swarmcache.Purge{ID: "p", Key: key, At: time.Now()}); err != nil {
				t.Error(err)
			}
			eventually(t, m.Past)
			eventually(t, func() bool { _, err := c.Local(key, nil); return err != nil })
		})
	}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Node: self, Directory: d, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	must(t, err)
	defer c.Close()
	m := newMemory("body", 300_000)
	s := c.Spool(m.version())
	_, err = s.Write(m.data)
	must(t, err)
	must(t, s.Commit(t.Context(), 0))
	<-purged
	must(t, c.Close()) // what was begun is done
	if n := d.published.Load(); n != 0 {
		t.Errorf("published %d times after it was purged", n)
	}
}
