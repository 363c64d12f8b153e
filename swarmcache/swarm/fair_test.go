package swarm_test

import (
	"crypto/sha1"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
	"shatabdi/swarmcache/swarm"
)

// thing is an object whose hashes everybody knows.
type thing struct {
	v      swarmcache.Version
	hashes []byte
	data   []byte
}

func newThing(name string, size, pieceLen int64) *thing {
	x := &thing{v: swarmcache.Version{Key: policy.Key("http://t/" + name), URL: "http://t/" + name, Length: size, PieceLen: pieceLen}}
	x.v.Identify()
	x.data = make([]byte, size)
	rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32s", name)))).Read(x.data)
	l := x.v.Layout()
	for i := range l.Pieces() {
		sum := sha1.Sum(x.data[l.Piece(i).From:l.Piece(i).To])
		x.hashes = append(x.hashes, sum[:]...)
	}
	return x
}

// open gives a node the object, whole or with nothing but its hashes.
func (x *thing) open(t *testing.T, whole bool) *swarmcache.File {
	path := filepath.Join(t.TempDir(), "body")
	if whole {
		if err := os.WriteFile(path, x.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := swarmcache.OpenFile(path, x.v, &swarmcache.Record{Version: x.v, Complete: whole, Hashes: x.hashes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Release() })
	return f
}

func (x *thing) pieces() layout.Range { return layout.Range{To: int64(x.v.Layout().Pieces())} }

type limits struct{ Upload, Download int64 }

// engine is a node without a cache.
type engine struct {
	*swarm.Swarm
	stop func()
}

func newEngine(t *testing.T, l limits) engine {
	s, err := swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: swarmcache.NodeID(fmt.Sprint(rand.Uint64())), Logger: slog.New(slog.DiscardHandler),
		Secret: secret, Tracker: func() string { return "" }, UploadLimit: l.Upload, DownloadLimit: l.Download,
	})
	if err != nil {
		t.Fatal(err)
	}
	e := engine{s, sync.OnceFunc(func() { s.Close() })}
	t.Cleanup(e.stop)
	return e
}

func (e engine) join(t *testing.T, f *swarmcache.File) swarmcache.Torrent {
	t.Helper()
	tt, err := e.Sealed(f)
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// leech makes n new nodes want all of x from e.
func (e engine) leech(t *testing.T, x *thing, n int) (files []*swarmcache.File) {
	for range n {
		f := x.open(t, false)
		e.feed(newEngine(t, limits{}).join(t, f), x)
		files = append(files, f)
	}
	return files
}

func (e engine) feed(tt swarmcache.Torrent, x *thing) {
	tt.AddPeers([]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(e.Port()))})
	tt.Want(x.pieces())
}

// An object whose chunks are large is not starved by peers that ask for small
// ones. The engine by itself would give it nothing as long as those are there.
func TestLargeChunksAreNotStarved(t *testing.T) {
	t.Parallel()
	seeder := newEngine(t, limits{Upload: 4 << 20})
	many, large := newThing("many", 96<<20, 128<<10), newThing("large", 4<<20, 1<<20)
	m := seeder.join(t, many.open(t, true))
	seeder.join(t, large.open(t, true))
	others := seeder.leech(t, many, 4)
	waitFor(t, func() bool { return m.Stats().BytesWritten > 1<<20 })
	got := seeder.leech(t, large, 1)
	waitFor(t, func() bool { return got[0].Left() == 0 })
	left := 0
	for _, f := range others {
		left += f.Left()
	}
	if left == 0 {
		t.Error("the large chunks came after everything else")
	}
}

// A peer that has one source keeps up with one that has the same and another
// one: by lot it would get a third of what that gets.
func TestWhoHasFewSourcesKeepsUp(t *testing.T) {
	t.Parallel()
	x := newThing("few", 8<<20, 128<<10)
	shared, other := newEngine(t, limits{Upload: 1 << 20}), newEngine(t, limits{Upload: 1 << 20})
	shared.join(t, x.open(t, true))
	other.join(t, x.open(t, true))
	rich, poor := x.open(t, false), x.open(t, false)
	tt := newEngine(t, limits{}).join(t, rich)
	shared.feed(newEngine(t, limits{}).join(t, poor), x)
	shared.feed(tt, x)
	other.feed(tt, x)
	waitFor(t, func() bool { return rich.Left() <= 16 })
	if n, most := 64-poor.Left(), 64-rich.Left(); n < most/3 {
		t.Errorf("it has %d pieces, the other one %d", n, most)
	}
}

// Limits that are changed hold for what is under way. At these rates a chunk
// would take minutes.
func TestLimitsAreLive(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]struct{ seeder, leecher limits }{
		"upload":   {limits{Upload: 4 << 10}, limits{}},
		"download": {limits{}, limits{Download: 4 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newThing(name, 8<<20, 1<<20)
			seeder, leecher := newEngine(t, slow.seeder), newEngine(t, slow.leecher)
			tt := seeder.join(t, x.open(t, true))
			f := x.open(t, false)
			seeder.feed(leecher.join(t, f), x)
			waitFor(t, func() bool { return tt.Stats().BytesWritten > 0 })
			if f.Left() < 6 {
				t.Errorf("%d pieces are missing, there was no limit", f.Left())
			}
			for _, e := range []engine{seeder, leecher} {
				e.SetLimits(64<<20, 64<<20)
			}
			waitFor(t, func() bool { return f.Left() == 0 })
		})
	}
}

// A node stops while chunks wait for their turn: nothing waits on, and the
// engine does not panic.
func TestStopWhileChunksWait(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]struct{ seeder, leecher limits }{
		"uploads":   {limits{Upload: 4 << 10}, limits{}},
		"downloads": {limits{}, limits{Download: 4 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newThing(name, 16<<20, 1<<20)
			seeder, leecher := newEngine(t, slow.seeder), newEngine(t, slow.leecher)
			tt := seeder.join(t, x.open(t, true))
			seeder.feed(leecher.join(t, x.open(t, false)), x)
			waitFor(t, func() bool { return tt.Stats().BytesWritten > 0 })
			leecher.stop()
			seeder.stop()
		})
	}
}

// Alone with a seeder, what a reader waits for comes before everything else.
func TestReaderComesFirst(t *testing.T) {
	t.Parallel()
	for range 3 { // which pieces the engine would take first is left to chance
		x := newThing("read", 16<<20, 128<<10)
		seeder, leecher := newEngine(t, limits{Upload: 2 << 20}), newEngine(t, limits{})
		seeder.join(t, x.open(t, true))
		f := x.open(t, false)
		tt := leecher.join(t, f)
		w := tt.Window(1 << 20)
		defer w.Close()
		w.MoveTo(10 << 20)
		seeder.feed(tt, x)
		waitFor(t, func() bool { return f.Has(80) })
		if n := 128 - f.Left(); n > 16 {
			t.Errorf("%d pieces came before the reader's", n)
		}
	}
}
