package swarm

import (
	"math"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"shatabdi/swarmcache/layout"
)

// Where an upload limit makes peers wait, the one goes first that comes on least.
// In turns, or by lot, who lacks only what few have gets a share from those few,
// and who has just come one from everybody: of 16 nodes that came one a second the
// first needed 1.3 x the time that it might have.
//
// Of what alike ones wait for, what fewer have goes first: each copy is one more
// that can be copied. An origin that sends all in order gives what is new to one
// node; by lot that one sent a sixth of it a second time, while what others might
// have passed on was not out yet, and they had nothing to do.

// needs knows what peers asked of this node and how fast they come on. The
// engine tells the storage what to read, and not for whom: where several asked
// for the same, who got it is known when it says that it has it.
type needs struct {
	now func() time.Time

	mu     sync.Mutex // guards the fields below; taken under the engine's lock
	peers  map[*torrent.PeerConn]*needy
	asked  map[ask][]*needy
	copies copies
}

// ask is a chunk that peers may ask for.
type ask struct {
	ih           metainfo.Hash
	index, begin pp.Integer
}

// needy is a peer of one torrent.
type needy struct {
	since time.Time    // it has been connected, or as good as
	got   int          // pieces since then
	asks  map[ask]bool // it neither has nor cancelled

	ih  metainfo.Hash // what it has is of
	has holding
}

// maxAsks bounds what is kept for a peer: the engine rejects more.
const maxAsks = 1024

// paceOver is over how many pieces at most a pace is taken. Since they came, those who
// came last had been faster than all others, who had come when few could give them
// something, and so they waited until the others were through.
const paceOver = 64

// firstPieces are given to a peer however many have them: a client waits for its first
// byte, which all others have.
const firstPieces = 4

func newNeeds() *needs {
	return &needs{now: time.Now, peers: map[*torrent.PeerConn]*needy{}, asked: map[ask][]*needy{}, copies: copies{}}
}

// met is told of a new peer.
func (n *needs) met(pc *torrent.PeerConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers[pc] = &needy{since: n.now(), asks: map[ask]bool{}}
}

// parted is told of one that is gone.
func (n *needs) parted(pc *torrent.PeerConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[pc]
	if p == nil {
		return
	}
	delete(n.peers, pc)
	for a := range p.asks {
		n.takeLocked(a, p)
	}
	n.copies.drop(p.ih, &p.has)
}

// heard is told of every message, under the engine's lock. Asks are noted only
// while they have to wait.
func (n *needs) heard(pc *torrent.PeerConn, ih metainfo.Hash, m *pp.Message, waiting bool) {
	switch {
	case m.Type == pp.Have, m.Type == pp.Bitfield, m.Type == pp.HaveAll:
	case m.Type == pp.Cancel, m.Type == pp.Request && waiting:
	default:
		return
	}
	a := ask{ih, m.Index, m.Begin}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[pc]
	if p == nil {
		return
	}
	p.ih = ih
	switch m.Type {
	case pp.HaveAll:
		n.copies.addWhole(ih, &p.has)
	case pp.Bitfield:
		for i, has := range m.Bitfield[:min(len(m.Bitfield), layout.MaxPieces)] { // the engine cuts it later
			if has {
				n.copies.add(ih, &p.has, i)
			}
		}
	case pp.Have:
		n.copies.add(ih, &p.has, int(m.Index))
		p.gotLocked(n.now())
		for a := range p.asks {
			if a.index == m.Index {
				n.takeLocked(a, p)
			}
		}
	case pp.Cancel:
		n.takeLocked(a, p)
	case pp.Request:
		if !p.asks[a] && len(p.asks) < maxAsks {
			p.asks[a] = true
			n.asked[a] = append(n.asked[a], p)
		}
	}
}

func (n *needs) takeLocked(a ask, p *needy) {
	if !p.asks[a] {
		return
	}
	delete(p.asks, a)
	l := slices.DeleteFunc(n.asked[a], func(x *needy) bool { return x == p })
	if n.asked[a] = l; len(l) == 0 {
		delete(n.asked, a)
	}
}

// rank says what goes first of what waits: the least. It is the pace of the slowest
// peer that waits for a chunk, for whoever is given it first, the others are waited
// with; and the more, the more have it, in powers of two, for of what many have it
// does not matter how many.
func (n *needs) rank(a ask) func() float64 {
	last := alike() // it was asked for before there was a limit
	return func() float64 {
		n.mu.Lock()
		defer n.mu.Unlock()
		many := 1 + bits.Len(uint(n.copies.of(a.ih, a.index)))
		least := math.Inf(1)
		for _, p := range n.asked[a] {
			least = min(least, n.rankLocked(p, many))
		}
		if !math.IsInf(least, 1) {
			last = least
		}
		return last
	}
}

func (n *needs) rankLocked(p *needy, many int) float64 {
	if p.got < firstPieces {
		return n.paceLocked(p)
	}
	return n.paceLocked(p) * float64(many)
}

// alike is the rank of those among whom no difference is made.
func alike() float64 { return 0 }

// gotLocked counts one more piece.
func (p *needy) gotLocked(now time.Time) {
	if p.got++; p.got >= paceOver {
		p.got /= 2
		p.since = now.Add(-now.Sub(p.since) / 2)
	}
}

// paceLocked is how many pieces a second a peer got of late; the half second lets those
// who come together begin alike.
func (n *needs) paceLocked(p *needy) float64 {
	return float64(p.got+1) / (n.now().Sub(p.since).Seconds() + 0.5)
}
