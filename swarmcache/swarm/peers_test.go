package swarm_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
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

// liar is a storage that has everything, and all of it wrong.
type liar struct{ read atomic.Int64 }

func (l *liar) OpenTorrent(context.Context, *metainfo.Info, metainfo.Hash) (storage.TorrentImpl, error) {
	return storage.TorrentImpl{Piece: func(metainfo.Piece) storage.PieceImpl { return l }, Close: func() error { return nil }}, nil
}

func (l *liar) ReadAt(b []byte, off int64) (int, error) {
	l.read.Add(int64(len(b)))
	for i := range b {
		b[i] = byte(rand.Int())
	}
	return len(b), nil
}

func (*liar) WriteAt(b []byte, off int64) (int, error) { return len(b), nil }
func (*liar) MarkComplete() error                      { return nil }
func (*liar) MarkNotComplete() error                   { return nil }
func (*liar) Completion() storage.Completion           { return storage.Completion{Ok: true, Complete: true} }

// startLiar seeds wrong bytes for a fill, from an address of its own.
func startLiar(t *testing.T, r swarmcache.FillRecord) (*liar, netip.AddrPort) {
	l := &liar{}
	c := torrent.NewDefaultClientConfig()
	c.DefaultStorage = l
	c.ListenHost = func(string) string { return "127.0.0.2" }
	c.ListenPort = 0
	c.NoDHT, c.DisablePEX, c.DisableTrackers, c.DisableUTP, c.DisableIPv6 = true, true, true, true, true
	c.DisableWebtorrent, c.DisableWebseeds, c.NoDefaultPortForwarding = true, true, true
	c.Seed = true
	client, err := torrent.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); <-client.Closed() })
	info, ih := swarm.FillInfo(r.Version, secret())
	client.AddTorrentOpt(torrent.AddTorrentOpts{InfoHash: ih, InfoBytes: info, ChunkSize: pp.Integer(r.Version.PieceLen), DisableInitialPieceCheck: true})
	return l, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), uint16(client.LocalPort()))
}

// A peer that sends corrupt data is never believed, and it alone is banned.
func TestCorruptPeerAloneIsBanned(t *testing.T) {
	t.Parallel()
	s := newSite(t, 24<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 3)
	done := make(chan struct{})
	go func() { defer close(done); l.all(t, s) }()
	r := l.fill(t, s)
	evil, addr := startLiar(t, r)
	board, err := l.dir.Node(swarmcache.Node{ID: "evil", Peers: []netip.AddrPort{addr}}).JoinFill(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer board.Leave(t.Context())
	<-done
	banned := 0
	for i, n := range l.nodes {
		for _, ip := range n.swarm.Banned() {
			if banned++; netip.MustParseAddr(ip).Unmap().String() != "127.0.0.2" {
				t.Errorf("node %d banned %s", i, ip)
			}
		}
	}
	if evil.read.Load() == 0 || banned == 0 {
		t.Errorf("the corrupt peer sent %d bytes and was banned by %d nodes", evil.read.Load(), banned)
	}
	if s.times() > 1.2 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// Hashes that arrive long after the data: nobody is banned, for nobody asks for
// what could not be verified.
func TestHashesArriveLate(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 3)
	l.dir.SetDelay(1500 * time.Millisecond)
	l.all(t, s)
	for i, n := range l.nodes {
		if b := n.swarm.Banned(); len(b) > 0 {
			t.Errorf("node %d banned %v", i, b)
		}
	}
	t.Logf("origin %.3f x, %+v", s.times(), l.dir.Counts())
	if s.times() > 1.6 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}
