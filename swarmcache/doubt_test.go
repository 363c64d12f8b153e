package swarmcache_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// teller is a directory of which a test says what it tells of purges, and does
// something when it is asked.
type teller struct {
	swarmcache.Directory
	say     chan swarmcache.Standing
	asked   func() // nil: nothing
	claimed func() // likewise
	lookups atomic.Int32
	orders  atomic.Int32
}

func (d *teller) Purges(ctx context.Context, f func(swarmcache.Standing)) error {
	for {
		select {
		case s := <-d.say:
			f(s)
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *teller) ClaimFirst(ctx context.Context, key policy.Key) (release func(), fresh bool, err error) {
	release, fresh, err = d.Directory.ClaimFirst(ctx, key)
	if d.claimed != nil && err == nil {
		d.claimed()
	}
	return release, fresh, err
}

func (d *teller) Lookup(ctx context.Context, key policy.Key) (*swarmcache.Version, *swarmcache.FillRecord, error) {
	d.lookups.Add(1)
	if d.asked != nil {
		d.asked()
	}
	return d.Directory.Lookup(ctx, key)
}

func (d *teller) Purge(ctx context.Context, p swarmcache.Purge) error {
	d.orders.Add(1)
	return d.Directory.Purge(ctx, p)
}

// doubter is a node whose directory, clock and disk are the test's.
type doubter struct {
	*swarmcache.Cache
	t          *testing.T
	cfg        swarmcache.Config
	all        *cachetest.Directories
	directory  *teller
	index      *slowIndex
	ahead      atomic.Int64
	distrusted atomic.Int32
}

func newDoubter(t *testing.T, change func(*swarmcache.Config)) *doubter {
	d := &doubter{t: t, all: cachetest.NewDirectory(), index: &slowIndex{Index: cachetest.NewIndex()}}
	d.cfg = swarmcache.Config{
		Dir: t.TempDir(), Index: d.index, Node: swarmcache.Node{ID: "me"}, Settle: time.Millisecond,
		Now:        func() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) },
		Distrusted: func() { d.distrusted.Add(1) },
		Logger:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	change(&d.cfg)
	d.start(0)
	return d
}

// start runs it, after it was away.
func (d *doubter) start(away time.Duration) {
	if d.Cache != nil {
		d.Close()
	}
	d.index.Reopen()
	d.ahead.Add(int64(away))
	d.directory = &teller{Directory: d.all.Node(d.cfg.Node), say: make(chan swarmcache.Standing)}
	d.cfg.Directory = d.directory
	c, err := swarmcache.Open(d.cfg)
	must(d.t, err)
	d.Cache = c
	d.t.Cleanup(func() { c.Close() })
}

// tell has it told, and waits until it has heard.
func (d *doubter) tell(s swarmcache.Standing) {
	d.directory.say <- s
	s.Afresh = false
	d.directory.say <- s
}

// remembers waits until it has obeyed all that it was told.
func (d *doubter) remembers() {
	eventually(d.t, func() bool { _, err := d.index.Setting("purges"); return err == nil })
}

// find looks m up, and tells of which version it is and whether the origin has to confirm it.
func (d *doubter) find(m memory) (v swarmcache.Version, err error) {
	obj, err := d.Lookup(d.t.Context(), policy.Key(m.name), m)
	if err != nil {
		return v, err
	}
	defer obj.Close()
	return obj.Version(), nil
}

func nothing(*swarmcache.Config) {}

// Where purges may have been missed nothing is used without the origin, from that
// moment on, however long the catalogue takes: not what is in memory, not what is
// opened meanwhile, nor what is opened after the next start. And purges are obeyed.
func TestDistrustWaitsForNoRecord(t *testing.T) {
	d := newDoubter(t, nothing)
	m, other, purged := newMemory("a", 300<<10), newMemory("other", 300<<10), newMemory("purged", 300<<10)
	d.tell(swarmcache.Standing{Era: swarmcache.Era{Cluster: "c", Epoch: 1}, Afresh: true})
	d.remembers()
	open := fill(t, d.Cache, m)
	defer open.Close()
	fill(t, d.Cache, other).Close()
	fill(t, d.Cache, purged).Close()

	d.ahead.Add(int64(3 * time.Hour))
	free := hold(t, &d.index.disk)
	now := swarmcache.Standing{Era: swarmcache.Era{Cluster: "c", Epoch: 2}, Afresh: true}
	d.directory.say <- now
	eventually(t, func() bool { return d.distrusted.Load() == 1 })
	now.Purges = []swarmcache.Purge{{ID: "1", Key: policy.Key(purged.name), At: d.cfg.Now()}}
	d.directory.say <- now
	eventually(t, func() bool { return !here(d.Cache, purged) })
	if !open.Version().Stored.Invalid {
		t.Error("what was open is believed")
	}
	wantStale := func(m memory) {
		t.Helper()
		obj, err := d.Local(policy.Key(m.name), m)
		must(t, err)
		defer obj.Close()
		if !obj.Version().Stored.Invalid {
			t.Errorf("%s is believed", m.name)
		}
	}
	wantStale(m)
	wantStale(other)
	free()
	d.start(0)
	wantStale(other)

	open, err := d.Local(policy.Key(m.name), m)
	must(t, err)
	defer open.Close()
	must(t, d.Refresh(t.Context(), open, m.version().Stored))
	d.start(0)
	if v, err := d.find(m); err != nil || v.Stored.Invalid {
		t.Errorf("what the origin has confirmed is not believed: %v", err)
	}
}

// Who was away for long and has not heard of the purges has the origin confirm all: also
// a part of an object, also what the directory knows nothing of, being purged, and
// each time.
func TestUnheardOfIsConfirmed(t *testing.T) {
	d := newDoubter(t, nothing)
	part, purged := newMemory("part", 12<<20), newMemory("purged", 300<<10)
	d.tell(swarmcache.Standing{Afresh: true})
	d.remembers()
	fillHalf(t, d.Cache, part)
	fill(t, d.Cache, purged).Close()
	d.start(24 * time.Hour)
	must(t, d.all.Node(swarmcache.Node{ID: "other"}).Purge(t.Context(), swarmcache.Purge{ID: "1", Key: policy.Key(purged.name), At: d.cfg.Now()}))
	for range 2 {
		if v, err := d.find(purged); err != nil || !v.Stored.Invalid {
			t.Errorf("what was purged is served: %v", err)
		}
	}
	d.all.SetAvailable(false)
	if v, err := d.find(part); err != nil || !v.Stored.Invalid {
		t.Errorf("a part of an object is served: %v", err)
	}
	if obj, err := d.Local(policy.Key(part.name), part); err != nil || !obj.Version().Stored.Invalid {
		t.Errorf("it is found here, and served: %v", err)
	} else {
		obj.Close()
	}
	d.all.SetAvailable(true)
	d.tell(swarmcache.Standing{Afresh: true})
	if v, err := d.find(part); err != nil || v.Stored.Invalid {
		t.Errorf("it has heard, and does not believe: %v", err)
	}
}

// onCreate does something when a file is created.
type onCreate struct {
	swarmcache.Files
	do atomic.Pointer[func()]
}

func (f *onCreate) Create(path string) (swarmcache.Body, error) {
	if do := f.do.Swap(nil); do != nil {
		(*do)()
	}
	return f.Files.Create(path)
}

// What the directory has of something that is here does not come in once it is purged,
// at whatever moment that is; nor where there is no room for it: then what is here
// stays, for the origin to confirm.
func TestNewerVersionThatCannotCome(t *testing.T) {
	files := &onCreate{Files: swarmcache.OSFiles}
	d := newDoubter(t, func(c *swarmcache.Config) { c.Files, c.Size = files, 3<<20 })
	m := newMemory("a", 2<<20)
	have := fill(t, d.Cache, m)
	have.Close()
	d.tell(swarmcache.Standing{Afresh: true})
	other := d.all.Node(swarmcache.Node{ID: "other"})
	eventually(t, func() bool { r, err := d.Selected(policy.Key(m.name)); return err == nil && !r.Untold })
	must(t, other.Withdraw(t.Context(), policy.Key(m.name)))
	newer := dated(m, time.Now().Add(time.Minute), `"2"`)
	newer.PieceLen = have.Version().PieceLen
	newer.Identify()
	must(t, other.Publish(t.Context(), newer))
	obj, err := d.Lookup(t.Context(), policy.Key(m.name), m)
	must(t, err)
	if v := obj.Version(); v.ID != have.Version().ID || !v.Stored.Invalid || !here(d.Cache, m) {
		t.Errorf("found %s, to be confirmed: %t", v.Validator, v.Stored.Invalid)
	}
	obj.Close()

	d.cfg.Size = 0
	d.start(0)
	d.tell(swarmcache.Standing{Afresh: true})
	purged := make(chan error, 1)
	purge := func() {
		since := d.Mark(policy.Key(m.name))
		must(t, other.Withdraw(t.Context(), policy.Key(m.name))) // who looks again finds nothing
		go func() {
			_, err := d.Purge(context.Background(), policy.Key(m.name))
			purged <- err
		}()
		eventually(t, func() bool { return since.Past() && !here(d.Cache, m) })
	}
	files.do.Store(&purge)
	if v, err := d.find(m); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("found %q, %v", v.Validator, err)
	}
	must(t, <-purged)
}

// The directory is asked once about an object that is here, by whoever comes first; and
// if it does not answer, not again for a while.
func TestDirectoryIsAskedOnce(t *testing.T) {
	d := newDoubter(t, nothing)
	m := newMemory("a", 300<<10)
	fill(t, d.Cache, m).Close()
	ask := func() (lookups int32) {
		d.tell(swarmcache.Standing{Afresh: true})
		before := d.directory.lookups.Load()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if v, err := d.find(m); err != nil || v.Stored.Invalid {
					t.Errorf("invalid: %t, %v", v.Stored.Invalid, err)
				}
			})
		}
		all.Wait()
		return d.directory.lookups.Load() - before
	}
	eventually(t, func() bool { r, err := d.Selected(policy.Key(m.name)); return err == nil && !r.Untold })
	if n := ask(); n != 1 {
		t.Errorf("it is asked %d times", n)
	}
	d.all.SetAvailable(false)
	if n := ask(); n != 1 {
		t.Errorf("it is asked %d times while it is away", n)
	}
}

// A directory that hears of nothing for long makes the node not believe that it is in
// touch, and write nothing down.
func TestRetriesAreNotBeingInTouch(t *testing.T) {
	d := newDoubter(t, nothing)
	_, err := d.Purge(t.Context(), "k")
	must(t, err)
	p := swarmcache.Purge{ID: "1", Key: "k", At: d.cfg.Now()}
	d.tell(swarmcache.Standing{Purges: []swarmcache.Purge{p}, Afresh: true})
	eventually(t, func() bool { return len(remembered(d.index)) == 1 })
	d.all.SetAvailable(false)
	orders := d.directory.orders.Load()
	d.tell(swarmcache.Standing{}) // it has lost the purge
	eventually(t, func() bool { return d.directory.orders.Load() > orders+1 })
	was, err := d.index.Setting("purges")
	must(t, err)
	writes := d.index.Writes()
	orders = d.directory.orders.Load()
	eventually(t, func() bool { return d.directory.orders.Load() > orders+1 })
	now, err := d.index.Setting("purges")
	must(t, err)
	if string(was) != string(now) || d.index.Writes() != writes {
		t.Errorf("%d writes: %s, was %s", d.index.Writes()-writes, now, was)
	}
}

// What came when the clock showed more than now is of no known age, and must be confirmed.
func TestTheClockWasSetBack(t *testing.T) {
	d := newDoubter(t, nothing)
	for _, tt := range []struct {
		back time.Duration
		want bool
	}{{0, false}, {time.Hour, true}} {
		d.ahead.Store(int64(time.Hour))
		rec, err := d.Put(t.Context(), "f", keyOf, strings.NewReader(tt.back.String()))
		must(t, err)
		d.ahead.Add(-int64(tt.back))
		d.start(0)
		if rec, err = d.Record(rec.Version.ID); err != nil || rec.Version.Stored.Invalid != tt.want {
			t.Errorf("back by %v: invalid %t, %v", tt.back, rec.Version.Stored.Invalid, err)
		}
	}
}
