package swarm

import (
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/anacrolix/torrent"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
	"shatabdi/tracker/wire"
)

// Who talks to whom. Every piece that a node gets it tells to each of its
// neighbours, so that among many they must be few: with 55 of them 128 nodes
// spent their time on telling. Where each dials somePeers at random, about as
// many dial it, and that graph stays in one piece when a third of it dies.
//
// Where nodes have zones that holds within one, among many those of the own rack
// first, and each has a few long links out of it.
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
	// comeFirst is how long one that comes may take to dial, who finds on the board
	// that we are there. Two that came together did not find each other: then one of
	// them dials after that, and the other leaves it to that one till names are gathered.
	comeFirst = 60 * time.Millisecond
	// longLinks is how many in other zones a node dials at least, and about as many
	// dial it: a zone of eight then has some fifty ways out.
	longLinks = 3
)

// peers are those that were named to a torrent. joined.mu guards it.
type peers struct {
	named     map[netip.AddrPort]*named
	tried     int // how many of those near were dialed,
	out       int // and how many of those far
	gathering bool
}

// named is somebody who listens at an address.
type named struct {
	dialed     time.Time // when last; zero: never
	later      time.Time // it is dialed from then on, or when the names are gathered
	far, close bool      // in another zone, in the own rack
	id         torrent.PeerID
}

// spot is where somebody listens, and stands.
type spot struct {
	addr  netip.AddrPort
	at    place
	id    torrent.PeerID // zero: not known
	later time.Duration  // until it is dialed
}

// AddPeers implements swarmcache.Torrent.
func (t *joined) AddPeers(addrs []netip.AddrPort) {
	var spots []spot
	for _, a := range addrs {
		spots = append(spots, spot{addr: a})
	}
	t.meet(spots)
}

// Meet implements swarmcache.Torrent. Two that dial each other make two connections
// and drop one, and that in the moment in which a fill begins.
func (t *joined) Meet(n swarmcache.Node, comes bool) {
	at, who := placeOf(n.Zone, n.Rack), memberOf(n.ID)
	t.nameMember(at, who)
	var later time.Duration
	switch {
	case !comes:
	case memberOf(t.s.cfg.Node).dials(who):
		later = comeFirst
	default:
		later = gatherFor
	}
	var id torrent.PeerID
	hex.Decode(id[:], []byte(n.PeerID)[:min(len(n.PeerID), 2*len(id))]) // of one that tells none: nobody's
	var spots []spot
	for _, a := range n.Peers {
		spots = append(spots, spot{a, at, id, later})
	}
	t.meet(spots)
}

// told takes in whom the tracker named.
func (t *joined) told(ps []wire.Peer) {
	var spots []spot
	for _, p := range ps {
		at, who := readPeerID(torrent.PeerID(p.ID))
		t.nameMember(at, who)
		spots = append(spots, spot{p.Addr, at, torrent.PeerID(p.ID), 0})
	}
	t.meet(spots)
}

// nameMember notes that a node of a place takes part.
func (t *joined) nameMember(at place, who member) {
	if t.border != nil && at != (place{}) && !t.s.place.far(at) {
		t.border.name(who, time.Now())
	}
}

// meet takes in that there are peers, and dials some of them.
func (t *joined) meet(spots []spot) {
	now, atOnce, soon := time.Now(), false, false
	t.mu.Lock()
	for _, x := range spots {
		atOnce, soon = atOnce || x.later == 0, soon || x.later == comeFirst
		n := t.peers.named[x.addr]
		if n == nil {
			n = &named{later: now.Add(x.later)}
			t.peers.named[x.addr] = n
		}
		if x.id != (torrent.PeerID{}) {
			n.id = x.id
		}
		if x.at != (place{}) {
			n.far, n.close = t.s.place.far(x.at), t.s.place.close(x.at)
		}
	}
	if n := uint32(len(t.peers.named) + 1); n >= 2*t.share {
		t.share = n
		t.spreadLocked(layout.Range{From: 0, To: int64(len(t.base))})
	}
	begin, enough := !t.peers.gathering, t.peers.tried >= somePeers
	t.peers.gathering = true
	t.mu.Unlock()
	if atOnce && !enough {
		t.dial(false)
	}
	if soon && !enough {
		time.AfterFunc(comeFirst, func() { t.s.goWork(func() { t.dial(false) }) })
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
	near, far := t.t.Stats().ActivePeers, 0
	if t.border != nil {
		near, far = t.border.links()
	}
	now, linked := time.Now(), map[torrent.PeerID]bool{}
	for _, c := range t.t.PeerConns() {
		linked[c.PeerID] = true
	}
	t.mu.Lock()
	var ps []torrent.PeerInfo
	if !t.dropped {
		avoids := func(a netip.AddrPort, now time.Time) bool {
			id := t.peers.named[a].id
			return id != (torrent.PeerID{}) && linked[id] || t.s.judge.avoidsAddr(a, now)
		}
		for _, a := range t.peers.draw(near, far, gathered, now, avoids) {
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

// draw picks whom to dial.
func (p *peers) draw(near, far int, gathered bool, now time.Time, avoids func(netip.AddrPort, time.Time) bool) []netip.AddrPort {
	l, left := p.drawNear(near, gathered, now, avoids)
	links := 1 - p.out // at once: it is not known yet how many are near, and who comes first is named to all
	if gathered {
		links = max(longLinks, somePeers-left) - far
	}
	return append(l, p.drawFar(links, gathered, now, avoids)...)
}

// drawNear picks among those in this zone: the first somePeers as they are named,
// all others once it is known that they are not many; and again whom it may be, as
// long as connections are lacking. It returns how many there are, too.
func (p *peers) drawNear(connected int, gathered bool, now time.Time, avoids func(netip.AddrPort, time.Time) bool) (l []netip.AddrPort, all int) {
	for _, n := range p.named {
		if !n.far {
			all++
		}
	}
	fresh := max(0, somePeers-p.tried)
	again := 0
	if gathered {
		again = max(0, min(all, somePeers)-connected)
		if all <= allPeers {
			fresh = all
			again *= all // who is connected already is drawn as well
		} else {
			fresh = max(fresh, again)
		}
	}
	first, second := p.candidates(false, gathered, now, avoids)
	first, second = p.some(first, fresh), p.some(second, again)
	p.tried += len(first)
	return p.note(append(first, second...), now), all
}

// drawFar picks n long links.
func (p *peers) drawFar(n int, gathered bool, now time.Time, avoids func(netip.AddrPort, time.Time) bool) []netip.AddrPort {
	if n <= 0 {
		return nil
	}
	first, second := p.candidates(true, gathered, now, avoids)
	first = p.some(first, n)
	p.out += len(first)
	return p.note(append(first, p.some(second, n-len(first))...), now)
}

// candidates are those who were never dialed, and those who may be again. Once the
// names are gathered nobody is waited for.
func (p *peers) candidates(far, gathered bool, now time.Time, avoids func(netip.AddrPort, time.Time) bool) (first, second []netip.AddrPort) {
	for a, n := range p.named {
		switch {
		case n.far != far || !gathered && now.Before(n.later) || avoids(a, now):
		case n.dialed.IsZero():
			first = append(first, a)
		case now.Sub(n.dialed) >= redialAfter:
			second = append(second, a)
		}
	}
	return first, second
}

// some are up to n of l: half of them of this node's rack, if there are as many,
// and all others at random.
func (p *peers) some(l []netip.AddrPort, n int) []netip.AddrPort {
	n = min(n, len(l))
	rand.Shuffle(len(l), func(i, k int) { l[i], l[k] = l[k], l[i] })
	chosen := 0
	for i := range l {
		if chosen < n/2 && p.named[l[i]].close {
			l[chosen], l[i] = l[i], l[chosen]
			chosen++
		}
	}
	return l[:max(0, n)]
}

// note remembers that they are dialed now.
func (p *peers) note(l []netip.AddrPort, now time.Time) []netip.AddrPort {
	for _, a := range l {
		p.named[a].dialed = now
	}
	return l
}
