package swarmcache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
	"shatabdi/swarmcache/cluster/embedded"
	"shatabdi/swarmcache/index"
)

// realm is an etcd that can be wiped and restored, and the nodes that meet there.
type realm struct {
	t    *testing.T
	dir  string
	addr string
	etcd *embedded.Server
}

func newRealm(t *testing.T) *realm {
	r := &realm{t: t, dir: filepath.Join(t.TempDir(), "etcd")}
	r.start()
	t.Cleanup(func() { r.etcd.Stop() })
	return r
}

func (r *realm) start() {
	r.t.Helper()
	cfg := embedded.Config{Dir: r.dir}
	if r.addr != "" {
		cfg.ListenClient = r.addr
	}
	s, err := embedded.Start(cfg)
	must(r.t, err)
	r.etcd, r.addr = s, s.Endpoints()[0]
	<-s.Ready()
}

// copy stops etcd for a moment and keeps a copy of what it has.
func (r *realm) copy() (kept string) {
	r.t.Helper()
	kept = filepath.Join(r.t.TempDir(), "copy")
	r.etcd.Stop()
	must(r.t, os.CopyFS(kept, os.DirFS(r.dir)))
	r.start()
	return kept
}

// lose puts a copy in the place of what etcd has; "" is nothing at all.
func (r *realm) lose(kept string) {
	r.t.Helper()
	r.etcd.Stop()
	must(r.t, os.RemoveAll(r.dir))
	if kept != "" {
		must(r.t, os.CopyFS(r.dir, os.DirFS(kept)))
	}
	r.start()
}

// resident is a node with all that it keeps from run to run.
type resident struct {
	*swarmcache.Cache
	directory *cluster.Cluster
	index     *index.Index
	leave     func()

	r     *realm
	id    swarmcache.NodeID
	dir   string
	known atomic.Pointer[cluster.Known]
	ahead time.Duration // of its clock
	also  func(*swarmcache.Config)
	pace  int // of it; without a swarm a node has to wait until what others landed is held for lost
}

func (r *realm) settle(id swarmcache.NodeID) *resident {
	return r.settleWith(id, func(*swarmcache.Config) {})
}

// settleWith settles a node of which something else is configured.
func (r *realm) settleWith(id swarmcache.NodeID, also func(*swarmcache.Config)) *resident {
	n := &resident{r: r, id: id, dir: r.t.TempDir(), pace: 30, also: also}
	n.known.Store(&cluster.Known{})
	n.come()
	n.meet()
	return n
}

// come starts the node. It does not wait until it has met the others.
func (n *resident) come() {
	t := n.r.t
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", n.id)
	self := swarmcache.Node{ID: n.id}
	x, err := index.Open(index.Options{Dir: filepath.Join(n.dir, "index")})
	must(t, err)
	n.index = x
	n.directory, err = cluster.Open(cluster.Config{
		Endpoints: []string{n.r.addr}, Self: self, Logger: log,
		// So long that a lease of the copy still lives when etcd is restored.
		LeaseTTL: 6 * time.Second,
		Known:    *n.known.Load(), OnKnown: func(k cluster.Known) { n.known.Store(&k) },
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() { defer close(gone); n.directory.Run(ctx) }()
	cfg := swarmcache.Config{
		Dir: filepath.Join(n.dir, "objects"), Index: x, Directory: n.directory, Keeper: n.directory, Node: self, Logger: log,
		Now: func() time.Time { return began.Add(time.Duration(n.pace) * time.Since(began)).Add(n.ahead) }, Settle: 50 * time.Millisecond,
	}
	n.also(&cfg)
	n.Cache, err = swarmcache.Open(cfg)
	must(t, err)
	n.leave = func() {
		n.Cache.Close()
		cancel()
		<-gone
		x.Close()
	}
	t.Cleanup(func() { n.leave() })
}

func (n *resident) meet() { eventually(n.r.t, n.directory.Healthy) }

// dated is the version of m of that time.
func dated(m memory, at time.Time, validator string) swarmcache.Version {
	v := m.version()
	v.Validator, v.Stored.ResponseTime = validator, at
	v.Stored.Header = http.Header{"Etag": {validator}, "Date": {at.UTC().Format(http.TimeFormat)}, "Cache-Control": {"max-age=604800"}}
	return v
}

func (n *resident) fill(m memory, v swarmcache.Version) {
	t := n.r.t
	t.Helper()
	obj, err := n.Fill(t.Context(), v, true, io.NopCloser(bytes.NewReader(m.data)), m)
	must(t, err)
	defer obj.Close()
	_, err = read(t, obj)
	must(t, err)
	eventually(t, func() bool { r, err := n.Record(obj.Version().ID); return err == nil && r.Complete && !r.Untold })
}

// finds tells what a client would be served for m without the origin.
func (n *resident) finds(m memory) (validator string) {
	obj, err := n.Lookup(n.r.t.Context(), policy.Key(m.name), m)
	if err != nil {
		return ""
	}
	defer obj.Close()
	if v := obj.Version(); !v.Stored.Invalid {
		return v.Validator
	}
	return ""
}

// published tells what the directory says of m.
func (n *resident) published(m memory) (validator string) {
	v, _, err := n.directory.Lookup(n.r.t.Context(), policy.Key(m.name))
	if err != nil || v == nil {
		return ""
	}
	return v.Validator
}

// purge returns once the node's own catalogue knows of it too: until it has heard from the
// directory what it ordered, that alone does, and may lose it.
func (n *resident) purge(m memory) {
	_, err := n.Purge(n.r.t.Context(), policy.Key(m.name))
	must(n.r.t, err)
	eventually(n.r.t, func() (known bool) {
		must(n.r.t, n.index.EachSetting("purges/", func(_ string, sheet []byte) {
			known = known || bytes.Contains(sheet, []byte(`"`+m.name+`"`))
		}))
		return known
	})
}

// Etcd loses what came after a copy of it, or all it had, while two nodes run and one
// is away. What was purged stays purged, on the node that comes back too; what the
// nodes hold is known again; and they go on hearing of what happens.
func TestDirectoryLosesData(t *testing.T) {
	for _, how := range []string{"restored", "wiped"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRealm(t)
			a, b, away := r.settle("a"), r.settle("b"), r.settle("away")
			bad, good, late, next := newMemory("bad", 300<<10), newMemory("good", 300<<10), newMemory("late", 300<<10), newMemory("next", 300<<10)
			now := time.Now()
			for _, n := range []*resident{a, b, away} {
				n.fill(bad, dated(bad, now, `"1"`))
				n.fill(good, dated(good, now, `"1"`))
			}
			away.leave()
			kept := r.copy()
			a.meet()
			b.meet()
			a.purge(bad)
			eventually(t, func() bool { return !here(b.Cache, bad) })
			b.fill(late, dated(late, now, `"1"`))
			era := a.directory.Era()

			if how == "wiped" {
				kept = ""
			}
			r.lose(kept)
			for _, n := range []*resident{a, b} {
				eventually(t, func() bool { e := n.directory.Era(); return e.Epoch > era.Epoch && e.Cluster == era.Cluster })
			}
			away.ahead = 24 * time.Hour
			away.come()
			if got := away.finds(bad); got != "" {
				t.Errorf("what was purged is served by the node that comes back: %s", got)
			}
			for _, n := range []*resident{a, b, away} {
				eventually(t, func() bool { return n.published(late) != "" && n.published(good) != "" && n.published(bad) == "" })
				if n.finds(bad) != "" {
					t.Errorf("%s serves what was purged", n.id)
				}
			}
			if a.finds(good) == "" || b.finds(late) == "" {
				t.Error("what was not purged is lost")
			}
			b.fill(next, dated(next, now, `"1"`))
			a.fill(next, dated(next, now, `"1"`))
			a.purge(next)
			eventually(t, func() bool { return !here(b.Cache, next) })
		})
	}
}

// Etcd is wiped while nobody runs, and a node that never saw the cluster meets it first
// and publishes. The others come back into its cluster: what was purged stays purged, by
// order of those who know, on one that was away then too; what was put is known again;
// all else is neither served nor told before its origin has confirmed it, for it may be
// another cluster's of the same address.
func TestBlankNodePublishesFirst(t *testing.T) {
	t.Parallel()
	r := newRealm(t)
	a, away := r.settle("a"), r.settle("away")
	bad, good, fresh := newMemory("bad", 300<<10), newMemory("good", 300<<10), newMemory("fresh", 300<<10)
	now := time.Now()
	for _, n := range []*resident{a, away} {
		n.fill(bad, dated(bad, now, `"1"`))
		n.fill(good, dated(good, now, `"1"`))
	}
	put, err := a.Put(t.Context(), "f", keyOf, strings.NewReader("put"))
	must(t, err)
	away.leave()
	a.purge(bad)
	was := a.directory.Era()
	a.leave()

	r.lose("")
	blank := r.settle("blank")
	blank.fill(fresh, dated(fresh, now, `"1"`))
	blank.fill(bad, dated(bad, now.Add(-time.Hour), `"0"`)) // from a mirror that lags behind
	for _, n := range []*resident{a, away} {
		n.come()
		n.meet()
		if era := n.directory.Era(); era.Cluster != blank.directory.ID() || era.After != was.Cluster {
			t.Errorf("%s is in %+v, was in %+v", n.id, era, was)
		}
	}
	for _, n := range []*resident{a, away, blank} {
		eventually(t, func() bool {
			_, _, err := n.directory.Lookup(t.Context(), put.Version.Key)
			return err == nil && n.published(fresh) != "" && n.published(bad) == "" && n.finds(bad) == ""
		})
		if n.finds(good) != "" || n.published(good) != "" {
			t.Errorf("%s takes for good what nobody has confirmed", n.id)
		}
	}
	for _, n := range []*resident{a, away} {
		obj, err := n.Local(policy.Key(good.name), good)
		must(t, err)
		defer obj.Close()
		s := obj.Version().Stored
		s.Invalid = false
		must(t, n.Refresh(t.Context(), obj, s))
		if n.finds(good) == "" || n.published(good) == "" {
			t.Errorf("%s has lost what was not purged", n.id)
		}
	}
	if blank.directory.Era().After != "" || blank.finds(fresh) == "" {
		t.Error("the new node lost what it had")
	}
}

// A node that was away for a day has versions that were replaced and objects that were
// purged meanwhile: it serves neither, from its first request on. What is still good
// it serves without asking the origin.
func TestAwayForADay(t *testing.T) {
	t.Parallel()
	r := newRealm(t)
	away, stays := r.settle("away"), r.settle("stays")
	purged, replaced, good := newMemory("purged", 300<<10), newMemory("replaced", 300<<10), newMemory("good", 300<<10)
	now := time.Now()
	for _, m := range []memory{purged, replaced, good} {
		away.fill(m, dated(m, now, `"1"`))
	}
	away.leave()
	stays.ahead = 12 * time.Hour
	stays.purge(purged)
	stays.fill(replaced, dated(replaced, now.Add(stays.ahead), `"2"`))

	away.ahead = 24 * time.Hour
	away.come()
	if got := away.finds(purged); got != "" {
		t.Errorf("purged: %s", got)
	}
	if got := away.finds(replaced); got != `"2"` {
		t.Errorf("replaced: %s", got)
	}
	if got := away.finds(good); got != `"1"` {
		t.Errorf("good: %s", got)
	}
	obj, err := away.Local(policy.Key(good.name), good)
	must(t, err)
	defer obj.Close()
	if !obj.Certain() {
		t.Error("the directory is asked each time")
	}
}

// Who was away for long and cannot reach the directory has everything confirmed by the
// origin. Who was away for a moment serves what it has.
func TestBackWithoutTheDirectory(t *testing.T) {
	t.Parallel()
	r := newRealm(t)
	n, m := r.settle("me"), newMemory("a", 300<<10)
	n.fill(m, dated(m, time.Now(), `"1"`))
	eventually(t, func() bool { return n.known.Load().Epoch != 0 })
	r.etcd.Stop()
	for away, want := range map[time.Duration]string{time.Minute: `"1"`, 24 * time.Hour: ""} {
		n.leave()
		n.ahead = away
		n.come()
		if got := n.finds(m); got != want {
			t.Errorf("away for %v: finds %q", away, got)
		}
	}
}

// A node that moves from one cluster to another believes nothing that it has without
// asking the origin, and keeps its purges to itself.
func TestMovesToAnotherCluster(t *testing.T) {
	t.Parallel()
	from, to := newRealm(t), newRealm(t)
	n, there := from.settle("me"), to.settle("there")
	m, other := newMemory("a", 300<<10), newMemory("other", 300<<10)
	n.fill(m, dated(m, time.Now(), `"1"`))
	n.fill(other, dated(other, time.Now(), `"1"`))
	there.fill(other, dated(other, time.Now(), `"1"`))
	n.purge(other)
	n.leave()
	n.r = to
	n.come()
	n.meet()
	eventually(t, func() bool { r, err := n.Selected(policy.Key(m.name)); return err == nil && r.Version.Stored.Invalid })
	if got := n.finds(m); got != "" {
		t.Errorf("it serves %s", got)
	}
	eventually(t, func() bool { // it has done all that it was told at first
		var o struct{ Era swarmcache.Era }
		b, err := n.index.Setting("purges")
		return err == nil && json.Unmarshal(b, &o) == nil && o.Era == n.directory.Era()
	})
	if !here(there.Cache, other) || there.published(other) == "" {
		t.Error("it has brought its purges along")
	}
}

// A purge while an object is being filled: the fill is not sealed, published or kept
// here or elsewhere, and who reads it gets the bytes of before.
func TestPurgeDuringAFill(t *testing.T) {
	t.Parallel()
	r := newRealm(t)
	fills, orders := r.settle("fills"), r.settle("orders")
	fills.leave()
	fills.pace = 1 // the origin takes its time
	fills.come()
	fills.meet()
	m := newMemory("a", 2<<20)
	first, rest := m.data[:len(m.data)/2], m.data[len(m.data)/2:]
	body, origin := io.Pipe()
	obj, err := fills.Fill(t.Context(), dated(m, time.Now(), `"1"`), false, body, m)
	must(t, err)
	defer obj.Close()
	var client bytes.Buffer
	read := make(chan error, 1)
	go func() {
		r := obj.NewReader(t.Context(), 0, int64(len(m.data)))
		defer r.Close()
		_, err := client.ReadFrom(r)
		read <- err
	}()
	_, err = origin.Write(first)
	must(t, err)
	orders.purge(m)
	eventually(t, func() bool {
		_, err := fills.Selected(policy.Key(m.name))
		return errors.Is(err, swarmcache.ErrNotFound)
	})
	go func() { origin.Write(rest); origin.Close() }()
	if err := <-read; err != nil || !bytes.Equal(client.Bytes(), m.data) {
		t.Errorf("the client that reads it gets %d bytes, %v", client.Len(), err)
	}
	fills.leave() // everything that was begun has ended
	if got := orders.published(m); got != "" {
		t.Error("it was published")
	}
	fills.come()
	if _, err := fills.Record(obj.Version().ID); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("it was kept: %v", err)
	}
}
