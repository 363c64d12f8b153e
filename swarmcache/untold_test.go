package swarmcache_test

import (
	"context"
	"errors"
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
)

// What became complete while the directory was away is published when it is
// back, and be it after a restart; what was purged meanwhile is not.
func TestCompletedWhileTheDirectoryWasAway(t *testing.T) {
	dir, index, objects := cachetest.NewDirectory(), cachetest.NewIndex(), t.TempDir()
	self := swarmcache.Node{ID: "me"}
	start := func() *swarmcache.Cache {
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: objects, Index: index.Reopen(), Directory: dir.Node(self), Node: self,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	published := func(m memory) bool {
		v, _, err := dir.Node(swarmcache.Node{ID: "other"}).Lookup(t.Context(), policy.Key(m.name))
		return err == nil && v != nil
	}
	early, kept, purged := newMemory("early", 300_000), newMemory("kept", 300_000), newMemory("purged", 300_000)
	c := start()
	fill(t, c, early).Close()
	eventually(t, func() bool { return published(early) })
	dir.SetAvailable(false)
	fill(t, c, kept).Close()
	fill(t, c, purged).Close()
	if err := c.Withdraw(t.Context(), policy.Key(purged.name)); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Fatal(err)
	}
	c.Close()

	dir.SetAvailable(true)
	before := dir.Counts().Publishes
	c = start()
	defer c.Close()
	eventually(t, func() bool { return published(kept) && c.Untold() == 0 })
	if published(purged) {
		t.Error("a purged object came back")
	}
	if n := dir.Counts().Publishes - before; n != 1 {
		t.Errorf("%d objects published again, want 1", n)
	}
}

// awayForPurges is a directory that goes away when it is told of a purge.
type awayForPurges struct {
	swarmcache.Directory
	owed []policy.Key
}

func (d *awayForPurges) Purge(context.Context, swarmcache.Purge) error {
	return swarmcache.ErrUnavailable
}

func (d *awayForPurges) Invalidate(_ context.Context, p swarmcache.Purge) (bool, error) {
	d.owed = append(d.owed, p.Key)
	return true, swarmcache.ErrUnavailable
}

// What was changed through a node that has it, while the directory is away, others hear of.
func TestInvalidationOfWhatIsHereIsOwed(t *testing.T) {
	d := &awayForPurges{Directory: cachetest.NewDirectory().Node(swarmcache.Node{ID: "me"})}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: d, Node: swarmcache.Node{ID: "me"},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	must(t, err)
	defer c.Close()
	m := newMemory("a", 300_000)
	fill(t, c, m).Close()
	if err := c.Invalidate(t.Context(), policy.Key(m.name)); !errors.Is(err, swarmcache.ErrUnavailable) || here(c, m) || len(d.owed) != 1 {
		t.Errorf("%v, here %t, owed %v", err, here(c, m), d.owed)
	}
}

// What the directory was not told of others change without a purge. It is the origin's
// to confirm when it is told.
func TestChangedBeforeItWasTold(t *testing.T) {
	dir, index, objects := cachetest.NewDirectory(), cachetest.NewIndex(), t.TempDir()
	self, other := swarmcache.Node{ID: "me"}, dir.Node(swarmcache.Node{ID: "other"})
	start := func() *swarmcache.Cache {
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: objects, Index: index.Reopen(), Directory: dir.Node(self), Node: self,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		must(t, err)
		return c
	}
	change := func(m memory) {
		told, err := other.Invalidate(t.Context(), swarmcache.Purge{ID: m.name, Key: policy.Key(m.name), At: time.Now()})
		must(t, err)
		if told {
			t.Errorf("the directory knew of %s", m.name)
		}
	}
	believed := func(c *swarmcache.Cache, m memory) bool {
		obj, err := c.Local(policy.Key(m.name), m)
		must(t, err)
		defer obj.Close()
		return !obj.Version().Stored.Invalid
	}
	changed, overheard := newMemory("changed", 300_000), newMemory("overheard", 300_000)
	c := start()
	dir.SetAvailable(false)
	fill(t, c, changed).Close()
	c.Close()
	dir.SetAvailable(true)
	change(changed)
	c = start()
	defer c.Close()
	eventually(t, func() bool { return c.Untold() == 0 })
	if believed(c, changed) {
		t.Error("what was changed is believed")
	}
	if v, _, err := other.Lookup(t.Context(), policy.Key(changed.name)); err != nil || !v.Stored.Invalid {
		t.Errorf("others are told %+v, %v", v, err)
	}

	s := c.Spool(overheard.version())
	_, err := s.Write(overheard.data)
	must(t, err)
	must(t, s.Commit(t.Context(), 0))
	eventually(t, func() bool { return c.Untold() == 0 })
	if !believed(c, overheard) {
		t.Error("what could be told at once is in doubt")
	}

	obj, err := c.Local(policy.Key(changed.name), changed)
	must(t, err)
	defer obj.Close()
	must(t, c.Refresh(t.Context(), obj, changed.version().Stored)) // by the origin, now
	if _, _, err := other.Lookup(t.Context(), policy.Key(changed.name)); err != nil || !believed(c, changed) {
		t.Errorf("confirmed: %v, believed %t", err, believed(c, changed))
	}
}

// doubts reports whether m is for its origin to confirm.
func doubts(c *swarmcache.Cache, m memory) bool {
	obj, err := c.Local(policy.Key(m.name), m)
	if err != nil {
		return false
	}
	defer obj.Close()
	return obj.Version().Stored.Invalid
}

// A body of unknown length is nothing before its last byte. One that takes long others
// find when they change it at its origin, and what nobody could be told of is confirmed.
func TestBodyOnItsWay(t *testing.T) {
	dir := cachetest.NewDirectory()
	self, other := swarmcache.Node{ID: "me"}, dir.Node(swarmcache.Node{ID: "other"})
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: dir.Node(self), Node: self, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	must(t, err)
	defer c.Close()
	begin := func(m memory) *swarmcache.Spool {
		s := c.Spool(m.version())
		_, err := s.Write(m.data)
		must(t, err)
		return s
	}
	expected := func(m memory) bool { return dir.Expects(policy.Key(m.name)) }
	changed, same, broken, untold := newMemory("changed", 300_000), newMemory("the same", 300_000), newMemory("broken", 300_000), newMemory("untold", 300_000)

	bodies := []*swarmcache.Spool{begin(changed), begin(same), begin(broken)}
	eventually(t, func() bool { return expected(changed) && expected(same) && expected(broken) })
	mark := c.Mark(policy.Key(changed.name))
	told, err := other.Invalidate(t.Context(), swarmcache.Purge{ID: "1", Key: policy.Key(changed.name), At: time.Now()})
	if must(t, err); !told {
		t.Error("the directory does not know what is on its way")
	}
	eventually(t, mark.Past)
	must(t, bodies[0].Commit(t.Context(), 0))
	must(t, bodies[1].Commit(t.Context(), 0))
	bodies[2].Abort()
	eventually(t, func() bool { return !expected(changed) && !expected(same) && !expected(broken) })
	if here(c, changed) || !here(c, same) || doubts(c, same) {
		t.Errorf("changed: here %t; the same: here %t, to be confirmed %t", here(c, changed), here(c, same), doubts(c, same))
	}

	dir.SetAvailable(false)
	asked := dir.Counts().Refused
	late := begin(untold)
	eventually(t, func() bool { return dir.Counts().Refused > asked })
	dir.SetAvailable(true)
	must(t, late.Commit(t.Context(), 0))
	eventually(t, func() bool {
		v, _, err := other.Lookup(t.Context(), policy.Key(untold.name))
		return err == nil && v.Stored.Invalid && doubts(c, untold)
	})
}

// marksRefused is a directory of which a node loses the expectations before it has told of
// what was expected, and which then is away when it is told first that this is to be
// confirmed. It notes what was published.
type marksRefused struct {
	swarmcache.Directory
	lose func()

	mu        sync.Mutex // guards those below
	published []bool     // marked
}

func (d *marksRefused) Publish(ctx context.Context, v swarmcache.Version) error {
	d.mu.Lock()
	d.published = append(d.published, v.Stored.Invalid)
	n := len(d.published)
	d.mu.Unlock()
	if n == 2 {
		return swarmcache.ErrUnavailable
	}
	defer d.lose()
	return d.Directory.Publish(ctx, v)
}

// seen is what was published so far.
func (d *marksRefused) seen() []bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.published)
}

// Of what could not be expected nobody hears without that it is to be confirmed; where
// the expectation was lost, they are told so until the directory knows.
func TestUnexpectedBodyIsMarked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away bool // when the body is expected
		want []bool
	}{
		"could not be told": {true, []bool{true}},
		"lost":              {false, []bool{false, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, index := cachetest.NewDirectory(), cachetest.NewIndex()
			self, other := swarmcache.Node{ID: "me"}, dir.Node(swarmcache.Node{ID: "other"})
			d := &marksRefused{Directory: dir.Node(self), lose: func() { dir.Expire("me") }}
			node, err := swarmcache.Open(swarmcache.Config{
				Dir: t.TempDir(), Index: index, Directory: d, Node: self, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
			})
			must(t, err)
			defer node.Close()
			m := newMemory("body", 300_000)
			dir.SetAvailable(!c.away)
			s := node.Spool(m.version())
			_, err = s.Write(m.data)
			must(t, err)
			eventually(t, func() bool { n := dir.Counts(); return dir.Expects("body") || c.away && n.Refused > 0 })
			dir.SetAvailable(true)
			must(t, s.Commit(t.Context(), 0))
			eventually(t, func() bool {
				v, _, err := other.Lookup(t.Context(), policy.Key(m.name))
				return err == nil && v.Stored.Invalid && doubts(node, m) && node.Untold() == 0
			})
			got := d.seen()
			for len(got) > len(c.want) && got[len(got)-1] {
				got = got[:len(got)-1] // the mark may be told again
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("published, marked: %v, want %v", got, c.want)
			}
		})
	}
}

// slowToOpen is a directory that takes long to hear of a fill.
type slowToOpen struct{ swarmcache.Directory }

func (d slowToOpen) OpenFill(ctx context.Context, r swarmcache.FillRecord, spans ...int) (swarmcache.FillRecord, swarmcache.Board, error) {
	time.Sleep(1200 * time.Millisecond)
	return d.Directory.OpenFill(ctx, r, spans...)
}

// A fill that the directory hears of late, because it is slow or was away, others may
// have changed before: they, too, have the origin confirm it.
func TestFillToldLate(t *testing.T) {
	as := func(_ *cachetest.Directories, d swarmcache.Directory) swarmcache.Directory { return d }
	for name, c := range map[string]struct {
		late bool
		open func(*cachetest.Directories, swarmcache.Directory) swarmcache.Directory
		then func(*cachetest.Directories) // under a claim
		// useless: without a validator; then others find nothing, and one may fetch it.
		useless bool
	}{
		"nothing to confirm it by": {late: true, open: func(_ *cachetest.Directories, d swarmcache.Directory) swarmcache.Directory {
			return slowToOpen{d}
		}, useless: true},
		"at once": {late: false, open: as},
		"slow":    {late: true, open: func(_ *cachetest.Directories, d swarmcache.Directory) swarmcache.Directory { return slowToOpen{d} }},
		"away": {late: true, open: func(dir *cachetest.Directories, d swarmcache.Directory) swarmcache.Directory {
			dir.SetAvailable(false)
			time.AfterFunc(500*time.Millisecond, func() { dir.SetAvailable(true) })
			return d
		}},
		"under a claim": {late: false, open: as, then: func(*cachetest.Directories) {}},
		"under a claim that is lost": {late: true, open: as, then: func(dir *cachetest.Directories) {
			dir.Expire("me")
			dir.SetAvailable(false)
			time.AfterFunc(1500*time.Millisecond, func() { dir.SetAvailable(true) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := cachetest.NewDirectory()
			self, other := swarmcache.Node{ID: "me"}, dir.Node(swarmcache.Node{ID: "other"})
			node, err := swarmcache.Open(swarmcache.Config{
				Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: c.open(dir, dir.Node(self)), Node: self,
				Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
			})
			must(t, err)
			defer node.Close()
			m, held := newMemory("held", 300_000), make(chan struct{})
			if c.then != nil {
				release, _, err := node.ClaimFirst(t.Context(), policy.Key(m.name), m, whatever)
				must(t, err)
				defer release()
				c.then(dir)
			}
			body, rest := io.Pipe()
			go func() {
				rest.Write(m.data[:100_000])
				<-held
				rest.Write(m.data[100_000:])
				rest.Close()
			}()
			v := m.version()
			if c.useless {
				v.Validator, v.Stored.Header = "", nil
			}
			obj, err := node.Fill(t.Context(), v, false, body, nil)
			must(t, err)
			defer obj.Close()
			end := sync.OnceFunc(func() { close(held) })
			defer end()
			reader := obj.NewReader(t.Context(), 0, int64(len(m.data)))
			defer reader.Close()
			if c.useless {
				unknown := func() bool {
					_, _, err := other.Lookup(t.Context(), policy.Key(m.name))
					return errors.Is(err, swarmcache.ErrNotFound) && doubts(node, m)
				}
				eventually(t, unknown)
				end()
				eventually(t, func() bool { return obj.Complete() && node.Untold() == 0 && dir.Counts().Leaves > 0 })
				release, _, err := other.ClaimFirst(t.Context(), policy.Key(m.name))
				if must(t, err); !unknown() {
					t.Error("what nobody can use is published")
				}
				release()
				return
			}
			eventually(t, func() bool {
				_, f, err := other.Lookup(t.Context(), policy.Key(m.name))
				return err == nil && f != nil && f.Version.Stored.Invalid == c.late && doubts(node, m) == c.late
			})
		})
	}
}

// slowToAnswer is a directory that knows of a fill long before its opener hears of that,
// and is away when it is told first what to make of it.
type slowToAnswer struct{ swarmcache.Directory }

func (d slowToAnswer) OpenFill(ctx context.Context, r swarmcache.FillRecord, spans ...int) (swarmcache.FillRecord, swarmcache.Board, error) {
	r, b, err := d.Directory.OpenFill(ctx, r, spans...)
	time.Sleep(1200 * time.Millisecond)
	return r, &awayAtFirst{Board: b}, err
}

type awayAtFirst struct {
	swarmcache.Board
	asked atomic.Bool
}

func (b *awayAtFirst) Update(ctx context.Context, r swarmcache.FillRecord) error {
	if !b.asked.Swap(true) {
		return swarmcache.ErrUnavailable
	}
	return b.Board.Update(ctx, r)
}

// Who joins a fill before its opener knows how late the directory has heard of it has the
// origin confirm it too.
func TestJoinedBeforeItWasToldLate(t *testing.T) {
	t.Parallel()
	dir := cachetest.NewDirectory()
	start := func(id swarmcache.NodeID, wrap func(swarmcache.Directory) swarmcache.Directory) *swarmcache.Cache {
		self := swarmcache.Node{ID: id}
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: wrap(dir.Node(self)), Node: self,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	opener := start("opener", func(d swarmcache.Directory) swarmcache.Directory { return slowToAnswer{d} })
	joiner := start("joiner", func(d swarmcache.Directory) swarmcache.Directory { return d })
	m, held, begun := newMemory("held", 300_000), make(chan struct{}), make(chan struct{})
	body, rest := io.Pipe()
	go func() {
		<-held
		rest.Close()
	}()
	go func() {
		defer close(begun)
		if obj, err := opener.Fill(context.Background(), m.version(), false, body, nil); err == nil {
			obj.Close()
		}
	}()
	defer func() { <-begun }()
	defer close(held)
	var obj *swarmcache.Object
	eventually(t, func() (found bool) {
		var err error
		obj, err = joiner.Lookup(t.Context(), policy.Key(m.name), nil)
		return err == nil
	})
	defer obj.Close()
	if obj.Version().Stored.Invalid {
		t.Fatal("the joiner knew before")
	}
	reader := obj.NewReader(t.Context(), 0, int64(len(m.data)))
	defer reader.Close()
	eventually(t, func() bool { return doubts(joiner, m) })
}
