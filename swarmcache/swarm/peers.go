package swarm

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/torrent"

	"shatabdi/swarmcache/layout"
)

// Who talks to whom. Every piece that a node gets it tells to each of its
// neighbours, so that among many they must be few: with 55 of them 128 nodes
// spent their time on telling. Where each dials somePeers at random, about as
// many dial it, and that graph stays in one piece when a third of it dies.
const (
	// Up to allPeers a node dials everybody it hears of, above that somePeers.
	allPeers  = 32
	somePeers = 10
	// maxPeers is how many a node talks to at most. Those who came first are named
	// to all who come later: with 80 neighbours they were hubs, and who had only
	// hubs for neighbours had nothing to give them.
	maxPeers = 40
	// gatherFor is how long names are gathered beyond the first somePeers: only
	// then it is known whether they are many.
	gatherFor = time.Second
	// redialAfter is how long a peer that was dialed before is not dialed again. The
	// engine forgets a peer after one failed or lost connection.
	redialAfter = 10 * time.Second
)

// peers are those that were named to a torrent. joined.mu guards it.
type peers struct {
	dialed    map[netip.AddrPort]time.Time // when last; zero: named, and never dialed
	tried     int                          // how many of them were dialed
	gathering bool
}

// AddPeers implements swarmcache.Torrent.
func (t *joined) AddPeers(addrs []netip.AddrPort) {
	t.mu.Lock()
	for _, a := range addrs {
		if _, known := t.peers.dialed[a]; !known {
			t.peers.dialed[a] = time.Time{}
		}
	}
	if n := uint32(len(t.peers.dialed) + 1); n >= 2*t.share {
		t.share = n
		t.spreadLocked(layout.Range{From: 0, To: int64(len(t.base))})
	}
	begin, enough := !t.peers.gathering, t.peers.tried >= somePeers
	t.peers.gathering = true
	t.mu.Unlock()
	if !enough {
		t.dial(false)
	}
	if begin {
		t.s.goWork(t.gather)
	}
}

// gather dials when the names of a while are together.
func (t *joined) gather() {
	select {
	case <-time.After(gatherFor):
	case <-t.gone:
	case <-t.s.done:
	}
	t.mu.Lock()
	t.peers.gathering = false
	t.mu.Unlock()
	t.dial(true)
}

// dial names some of those that were named to the engine.
func (t *joined) dial(gathered bool) {
	connected := t.t.Stats().ActivePeers
	now := time.Now()
	t.mu.Lock()
	var ps []torrent.PeerInfo
	if !t.dropped {
		for _, a := range t.peers.draw(connected, gathered, now, t.s.judge.avoidsAddr) {
			ps = append(ps, torrent.PeerInfo{
				Addr:   &net.TCPAddr{IP: a.Addr().AsSlice(), Port: int(a.Port()), Zone: a.Addr().Zone()},
				Source: torrent.PeerSourceTracker,
			})
		}
	}
	t.mu.Unlock()
	if len(ps) > 0 {
		t.t.AddPeers(ps)
	}
}

// draw picks whom to dial: the first somePeers as they are named, all others
// once it is known that they are not many; and again whom it may be, as long as
// connections are lacking.
func (p *peers) draw(connected int, gathered bool, now time.Time, avoids func(netip.AddrPort, time.Time) bool) (l []netip.AddrPort) {
	fresh := max(0, somePeers-p.tried)
	again := 0
	if gathered {
		again = max(0, min(len(p.dialed), somePeers)-connected)
		if len(p.dialed) <= allPeers {
			fresh = len(p.dialed)
			again *= len(p.dialed) // who is connected already is drawn as well
		} else {
			fresh = max(fresh, again)
		}
	}
	var first, second []netip.AddrPort
	for a, last := range p.dialed {
		switch {
		case avoids(a, now):
		case last.IsZero():
			first = append(first, a)
		case again > 0 && now.Sub(last) >= redialAfter:
			second = append(second, a)
		}
	}
	first, second = some(first, fresh), some(second, again)
	p.tried += len(first)
	for _, a := range append(first, second...) {
		p.dialed[a] = now
		l = append(l, a)
	}
	return l
}

// some are up to n of l at random.
func some(l []netip.AddrPort, n int) []netip.AddrPort {
	rand.Shuffle(len(l), func(i, k int) { l[i], l[k] = l[k], l[i] })
	return l[:min(n, len(l))]
}
