package swarm_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"github.com/anacrolix/torrent/storage"
	"golang.org/x/time/rate"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/swarm"
)

// stranger is a storage that has everything: all of it wrong, or, if silent is
// set, nothing until that is closed.
type stranger struct {
	read   atomic.Int64
	silent chan struct{}
	once   sync.Once
}

// speak ends the silence.
func (l *stranger) speak() { l.once.Do(func() { close(l.silent) }) }

func (l *stranger) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{Piece: func(metainfo.Piece) storage.PieceImpl { return l }, Close: func() error { return nil }}, nil
}

func (l *stranger) ReadAt(b []byte, off int64) (int, error) {
	l.read.Add(int64(len(b)))
	if l.silent != nil {
		<-l.silent
	}
	for i := range b {
		b[i] = byte(rand.Int())
	}
	return len(b), nil
}

func (*stranger) WriteAt(b []byte, off int64) (int, error) { return len(b), nil }
func (*stranger) MarkComplete() error                      { return nil }
func (*stranger) MarkNotComplete() error                   { return nil }
func (*stranger) Completion() storage.Completion {
	return storage.Completion{Ok: true, Complete: true}
}

// seed offers a torrent from an address.
func (l *stranger) seed(t *testing.T, host string, info []byte, ih metainfo.Hash, chunk int64) netip.AddrPort {
	c := torrent.NewDefaultClientConfig()
	c.DefaultStorage = l
	c.ListenHost = func(string) string { return host }
	c.ListenPort = 0
	c.NoDHT, c.DisablePEX, c.DisableTrackers, c.DisableUTP, c.DisableIPv6 = true, true, true, true, true
	c.DisableWebtorrent, c.DisableWebseeds, c.NoDefaultPortForwarding = true, true, true
	c.Seed = true
	c.MaxAllocPeerRequestDataPerConn = 8 << 20
	client, err := torrent.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.silent != nil {
			l.speak()
		}
		client.Close()
		<-client.Closed()
	})
	client.AddTorrentOpt(torrent.AddTorrentOpts{InfoHash: ih, InfoBytes: info, ChunkSize: pp.Integer(chunk), DisableInitialPieceCheck: true})
	return netip.AddrPortFrom(netip.MustParseAddr(host), uint16(client.LocalPort()))
}

// join takes part in the fill of s as a member.
func (l *stranger) join(t *testing.T, lab *lab, r swarmcache.FillRecord, host string) netip.AddrPort {
	info, ih := swarm.FillInfo(r.Version, secret())
	addr := l.seed(t, host, info, ih, r.Version.PieceLen)
	board, err := lab.dir.Node(swarmcache.Node{ID: "stranger", Peers: []netip.AddrPort{addr}}).JoinFill(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { board.Leave(context.Background()) })
	return addr
}

// A peer that sends corrupt data is never believed, and it alone is avoided,
// also when it shares its address with honest ones.
func TestCorruptPeerAloneIsAvoided(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.2", "127.0.0.1"} {
		t.Run("at "+host, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 24<<20)
			s.limit = rate.NewLimiter(8<<20, 64<<10)
			l := newLab(t, 3)
			done := make(chan struct{})
			go func() { defer close(done); l.all(t, s) }()
			evil := &stranger{}
			addr := evil.join(t, l, l.fill(t, s), host)
			<-done
			avoided := 0
			for i, n := range l.nodes {
				for _, a := range n.swarm.Avoided() {
					if avoided++; a != addr {
						t.Errorf("node %d avoids %s", i, a)
					}
				}
			}
			// Each piece goes out once, and then nobody listens any more.
			if sent := evil.read.Load(); sent == 0 || avoided == 0 || sent > 6<<20 {
				t.Errorf("the corrupt peer sent %d bytes and is avoided by %d nodes", sent, avoided)
			}
			if s.times() > 1.5 { // each for itself would make it 3
				t.Errorf("the origin sent %.3f x the object", s.times())
			}
		})
	}
}

// A peer that takes requests and answers none is worked around, and is not
// avoided: it may only be slow.
func TestSilentPeer(t *testing.T) {
	t.Parallel()
	s := newSite(t, 24<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 3)
	done := make(chan struct{})
	go func() { defer close(done); l.all(t, s) }()
	mute := &stranger{silent: make(chan struct{})}
	mute.join(t, l, l.fill(t, s), "127.0.0.1")
	<-done
	if mute.read.Load() == 0 {
		t.Error("the silent peer was asked for nothing")
	}
	for i, n := range l.nodes {
		if a := n.swarm.Avoided(); len(a) > 0 {
			t.Errorf("node %d avoids %s", i, a)
		}
	}
	if s.times() > 1.5 { // each for itself would make it 3
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// Pieces so large that several peers send parts of one: who spoils them is found
// out all the same, and the honest seeder stays.
func TestCorruptChunksOfLargePieces(t *testing.T) {
	t.Parallel()
	x := newThing("large pieces", 64<<20, 4<<20)
	seeder, leecher := newEngine(t, limits{Upload: 16 << 20}), newEngine(t, limits{})
	seeder.join(t, x.open(t, true))
	evil := &stranger{}
	info, ih := swarm.SealedInfo(x.v, x.hashes)
	addr := evil.seed(t, "127.0.0.1", info, ih, 1<<20)
	f := x.open(t, false)
	tt := leecher.join(t, f)
	tt.AddPeers([]netip.AddrPort{addr})
	seeder.feed(tt, x)
	waitFor(t, func() bool { return f.Left() == 0 })
	if a := leecher.Avoided(); len(a) != 1 || a[0] != addr {
		t.Errorf("avoided: %v, want %v", a, addr)
	}
	t.Logf("the liar sent %d bytes", evil.read.Load())
}

// The last piece comes corrupt, when nothing else is under way that would make the
// engine look at its peers again: it comes from somebody else.
func TestCorruptLastPieceComesFromAnother(t *testing.T) {
	t.Parallel()
	asked := false
	for k := 0; !asked; k++ { // until the liar is asked before the honest one
		x := newThing(fmt.Sprint("one piece ", k), 128<<10, 128<<10)
		seeder, leecher := newEngine(t, limits{}), newEngine(t, limits{})
		seeder.join(t, x.open(t, true))
		evil := &stranger{silent: make(chan struct{})}
		info, ih := swarm.SealedInfo(x.v, x.hashes)
		addr := evil.seed(t, "127.0.0.1", info, ih, 128<<10)
		f := x.open(t, false)
		tt := leecher.join(t, f)
		tt.AddPeers([]netip.AddrPort{addr})
		seeder.feed(tt, x)
		waitFor(t, func() bool { return f.Left() == 0 || evil.read.Load() > 0 && tt.Stats().Peers == 2 })
		asked = evil.read.Load() > 0
		evil.speak()
		waitFor(t, func() bool { return f.Left() == 0 })
	}
}

// Hashes that arrive long after the data: nobody is avoided, for nobody asks for
// what could not be verified.
func TestHashesArriveLate(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 3)
	l.dir.SetDelay(1500 * time.Millisecond)
	l.all(t, s)
	for i, n := range l.nodes {
		if a := n.swarm.Avoided(); len(a) > 0 {
			t.Errorf("node %d avoids %v", i, a)
		}
	}
	t.Logf("origin %.3f x, %+v", s.times(), l.dir.Counts())
	if s.times() > 1.6 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}
