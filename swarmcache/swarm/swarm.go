// Package swarm moves pieces between nodes with anacrolix/torrent, and is the
// only package that knows it.
//
// Two torrents may stand over one swarmcache.File: the fill torrent, which
// exists before the bytes do, and the sealed one, which is a standard torrent.
// Data is believed only when it matches a hash that the directory or the sealed
// metadata gave.
//
// The engine holds one client-wide lock and calls back under it: no callback
// here does I/O on anything but a piece, or takes a lock that is held across
// I/O.
package swarm

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"shatabdi/swarmcache"
)

// maxChunk bounds one wire request. Chunks are whole pieces up to here: one
// request, one message, one contributor to blame.
const maxChunk = 1 << 20

// maxBuffered bounds what is read for one peer and not sent, and so the largest
// chunk that a peer may ask for.
const maxBuffered = 4 * maxChunk

// reqBytes is what a connection keeps requested: enough to cover the delay,
// little enough that a slow peer holds back few pieces.
const reqBytes = 512 << 10

// lingerIdle is how long a torrent nobody here needs stays for its peers.
const lingerIdle = 30 * time.Second

// Config is what a swarm needs. The zero value of an optional field works.
type Config struct {
	Listen        netip.AddrPort // where peers connect; port 0 picks one
	UploadLimit   int64          // bytes a second to peers; 0: none
	DownloadLimit int64          // bytes a second from peers; 0: none
	Secret        func() []byte  // of the cluster, for capability infohashes
	Node          swarmcache.NodeID
	Zone, Rack    string                          // where it stands; without a zone it is near to all
	Tracker       func() string                   // announce URL of the leader now; "": none
	Reached       func(url string, answered bool) // is told of each announce there; nil: nobody is
	// Member reports whether a peer is a node of the cluster, by the address it comes
	// from or its peer id; nil: all are. It may do I/O.
	Member func(netip.Addr, [20]byte) bool
	// AllowOutside says from where others may take part too; nil: from nowhere.
	AllowOutside func(netip.Addr) bool
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
}

// Swarm implements swarmcache.Swarm.
type Swarm struct {
	cfg    Config
	place  place
	log    *slog.Logger
	client *torrent.Client
	socks  *sockets
	uplink *uplink
	store  *store
	judge  *judge
	done   chan struct{}
	wg     sync.WaitGroup

	chunks  sync.Map     // metainfo.Hash -> int64, read under the engine's lock
	refused atomic.Int64 // connections
	awake   sync.Map     // *torrent.PeerConn, those that were answered just now
	joining sync.Mutex   // one torrent is added at a time; taken before mu

	mu       sync.Mutex // guards the fields below; never held across a call into the engine
	closed   bool
	torrents map[metainfo.Hash]*joined
	held     swarmcache.Held
	announce *announcer
	past     totals // of torrents that left
}

// New opens the listener and starts the engine.
func New(cfg Config) (*Swarm, error) {
	s := &Swarm{
		cfg: cfg, place: placeOf(cfg.Zone, cfg.Rack), log: cfg.Logger.With("component", "swarm"),
		torrents: map[metainfo.Hash]*joined{},
		judge:    newJudge(),
		done:     make(chan struct{}),
	}
	s.store = &store{
		bound: map[metainfo.Hash]binding{}, judge: s.judge, hashed: s.hashed, needs: newNeeds(),
		up: newShaper(cfg.UploadLimit, true), down: newShaper(cfg.DownloadLimit, false),
	}
	var err error
	if s.socks, err = listen(cfg.Listen, s.admit); err != nil {
		return nil, fmt.Errorf("listen for peers on %s: %w", cfg.Listen, err)
	}
	if s.client, err = torrent.NewClient(s.engineConfig()); err != nil {
		s.socks.Close()
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	s.client.AddListener(s.socks)
	s.client.AddDialer(s.socks)
	s.uplink = &uplink{shaper: s.store.up, sockets: s.socks}
	s.announce = newAnnouncer(s)
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(newMetrics(s))
	}
	s.wg.Go(s.janitor)
	if s.zoned() {
		s.wg.Go(s.guard)
	}
	s.wg.Go(func() { s.uplink.run(s.done) })
	s.wg.Go(s.announce.run)
	return s, nil
}

// engineConfig is where the engine's defaults are overruled. What was measured
// stands beside each line.
func (s *Swarm) engineConfig() *torrent.ClientConfig {
	c := torrent.NewDefaultClientConfig()
	c.Slogger = slog.New(quiet{s.log.Handler()})
	c.PeerID = s.place.peerID(memberOf(s.cfg.Node))
	c.DefaultStorage = s.store

	// One transport, with sockets of our own, and no discovery but ours: nobody
	// outside learns of a swarm.
	c.NoDHT, c.DisablePEX, c.DisableTrackers = true, true, true
	c.DisableTCP, c.DisableUTP, c.DisableWebtorrent, c.DisableWebseeds = true, true, true, true
	c.NoDefaultPortForwarding = true
	c.Bep20 = ourName
	c.HeaderObfuscationPolicy = torrent.HeaderObfuscationPolicy{Preferred: false, RequirePreferred: true}

	// Without Seed a peer gives at most 100 KiB more than it gets.
	c.Seed, c.AlwaysWantConns = true, true
	c.DropDuplicatePeerIds = true
	c.EstablishedConnsPerTorrent, c.HalfOpenConnsPerTorrent = maxPeers, 256
	c.TotalHalfOpenConns, c.TorrentPeersHighWater = 1<<16, 4096
	c.DialRateLimiter = rate.NewLimiter(rate.Inf, 1) // the default is 10 dials a second
	c.KeepAliveTimeout = keepAliveAfter
	c.MaxUnverifiedBytes = 0 // counts pieces the peer lacks and can starve
	c.MaxAllocPeerRequestDataPerConn = maxBuffered

	// Without tokens the engine's own limiter for downloads allows no connections.
	c.UploadRateLimiter = s.store.up.limiter

	c.Callbacks.CompletedHandshake = func(_ *torrent.PeerConn, ih metainfo.Hash) { s.activate(ih) }
	c.Callbacks.ReadExtendedHandshake = func(pc *torrent.PeerConn, m *pp.ExtendedHandshakeMessage) {
		// Under the engine's lock: nothing but a look-up.
		if chunk, ok := s.chunks.Load(pc.Torrent().InfoHash()); ok {
			m.Reqq = int(max(4, reqBytes/chunk.(int64)))
		}
		s.tellAgain(pc)
	}
	needs := s.store.needs
	c.Callbacks.ReadMessage = func(pc *torrent.PeerConn, m *pp.Message) {
		needs.heard(pc, pc.Torrent().InfoHash(), m, s.store.up.limited())
		if m.Type == pp.Reject {
			s.rejected(pc)
		}
		if b := s.borderOf(pc); b != nil {
			b.hear(pc, m, time.Now()) // last: it changes what the engine reads
		}
	}
	c.Callbacks.PeerConnClosed = func(pc *torrent.PeerConn) {
		needs.parted(pc)
		if b := s.borderOf(pc); b != nil {
			b.parted(pc)
		}
	}
	c.Callbacks.SentRequest = append(c.Callbacks.SentRequest, func(e torrent.PeerRequestEvent) { s.asked(e, true) })
	c.Callbacks.DeletedRequest = append(c.Callbacks.DeletedRequest, func(e torrent.PeerRequestEvent) { s.asked(e, false) })
	c.Callbacks.PeerConnAdded = append(c.Callbacks.PeerConnAdded, speak, needs.met, s.welcome)
	c.Callbacks.ReceivedUsefulData = append(c.Callbacks.ReceivedUsefulData, func(e torrent.ReceivedUsefulDataEvent) {
		s.judge.received(e, s.store.fileOf)
	})
	c.Callbacks.PeerConnReadExtensionMessage = append(c.Callbacks.PeerConnReadExtensionMessage, s.hearHashes, s.sayAgain)
	return c
}

// zoned reports whether there are zones as far as this node knows.
func (s *Swarm) zoned() bool { return s.place != place{} }

// borderOf is the border of a connection's torrent; nil: there is none.
func (s *Swarm) borderOf(c *torrent.PeerConn) *border {
	if !s.zoned() {
		return nil
	}
	if t := s.torrentOf(c); t != nil {
		return t.border
	}
	return nil
}

func chunkLen(pieceLen int64) int64 { return min(pieceLen, maxChunk) }

// Port is where the swarm listens.
func (s *Swarm) Port() int { return s.client.LocalPort() }

// PeerID is how this node calls itself among peers.
func (s *Swarm) PeerID() [20]byte { return s.client.PeerID() }

// Offer implements swarmcache.Swarm.
func (s *Swarm) Offer(h swarmcache.Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = h
}

// Withdraw implements swarmcache.Swarm.
func (s *Swarm) Withdraw(ih swarmcache.InfoHash) { s.announce.withdrawn(ih) }

// Vouch implements swarmcache.Swarm.
func (s *Swarm) Vouch(ctx context.Context, ih swarmcache.InfoHash) error {
	return s.announce.vouch(ctx, metainfo.Hash(ih))
}

// activate joins the torrent that a peer's handshake names, if this node holds
// it and it is not in memory. The engine looks the torrent up right after.
func (s *Swarm) activate(ih metainfo.Hash) {
	s.mu.Lock()
	_, here := s.torrents[ih]
	held, closed := s.held, s.closed
	s.mu.Unlock()
	if here || closed || held == nil {
		return
	}
	f, release, ok := held.Held(swarmcache.InfoHash(ih))
	if !ok {
		return
	}
	defer release()
	t, err := s.Sealed(f)
	if err != nil {
		s.log.Warn("a peer's wish could not be met", "infohash", swarmcache.InfoHash(ih), "error", err)
		return
	}
	t.Drop() // it lingers while the peer is there
}

// janitor drops torrents that nobody here needs and no peer uses, and nudges those
// for which nothing comes.
func (s *Swarm) janitor() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case now := <-tick.C:
			for _, t := range s.list() {
				t.settle(now)
				t.nudge(now)
			}
			s.judge.sweep(now)
		}
	}
}

func (s *Swarm) list() []*joined {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make([]*joined, 0, len(s.torrents))
	for _, t := range s.torrents {
		l = append(l, t)
	}
	return l
}

// goWork starts f unless the swarm is closing.
func (s *Swarm) goWork(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(f)
	}
}

// Close says goodbye to the tracker and stops the engine.
func (s *Swarm) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.done)
	s.announce.cancel()
	s.wg.Wait()
	errs := s.client.Close()
	<-s.client.Closed()
	s.socks.Close()
	for _, t := range s.list() {
		t.forget()
	}
	if len(errs) > 0 {
		return fmt.Errorf("close swarm: %w", errs[0])
	}
	return nil
}
