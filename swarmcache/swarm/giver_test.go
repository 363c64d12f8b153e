package swarm

import (
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring"
	"github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// crossed is the border of a node that is alone in its zone, at a time.
type crossed struct {
	*border
	now time.Time
}

const crossedPieces = 16

func newCrossed(x *crossing) *crossed {
	l := layout.Layout{Length: crossedPieces << 17, PieceLen: 1 << 17}
	c := &crossed{newBorder(placeOf("here", ""), memberOf("me"), l, x), time.Unix(1e9, 0)}
	c.review()
	c.now = c.now.Add(settledAfter)
	c.review()
	return c
}

// peer is one in another zone.
func peer(id swarmcache.NodeID) *torrent.PeerConn {
	return &torrent.PeerConn{PeerID: torrent.PeerID([]byte(placeOf("there", "").peerID(memberOf(id))))}
}

// tells makes the border hear that peers have a piece, and returns those of whom
// the engine is to know.
func (c *crossed) tells(i int, peers ...*torrent.PeerConn) (known []*torrent.PeerConn) {
	for _, p := range peers {
		m := pp.Message{Type: pp.Have, Index: pp.Integer(i)}
		if c.hear(p, &m, c.now); !m.Keepalive {
			known = append(known, p)
		}
	}
	return known
}

// review looks at what this node may fetch, and lets those answer who are asked.
func (c *crossed) review() {
	for range 2 { // what one is to give no more, and then what another one is
		c.now = c.now.Add(borderEvery)
		for _, p := range c.border.review(hunger{lacking: func(int) bool { return true }}, c.now) {
			c.showLocked(c.peers[p], &pp.Message{}, c.now)
		}
	}
}

func (c *crossed) ask(p *torrent.PeerConn, i int) {
	r := torrent.Request{Index: pp.Integer(i)}
	c.asked(p, r, true, c.now)
}

func (c *crossed) known(p *torrent.PeerConn) *roaring.Bitmap { return c.peers[p].shown }

func oneCrossing() *crossing { return &crossing{by: map[*border]*roaring.Bitmap{}} }

func TestPieceHasOneGiver(t *testing.T) {
	c, a, b := newCrossed(oneCrossing()), peer("a"), peer("b")
	if k := c.tells(3, a, b); len(k) != 1 || k[0] != a {
		t.Fatalf("%d givers of a piece", len(k))
	}
	c.review()
	if !c.known(a).Contains(3) || c.known(b).Contains(3) {
		t.Fatal("a review made another one the giver")
	}
	c.parted(a)
	c.review()
	if !c.known(b).Contains(3) {
		t.Error("the giver left, and nobody took its place")
	}
}

func TestGiversShareTheLoad(t *testing.T) {
	c, a, b := newCrossed(oneCrossing()), peer("a"), peer("b")
	for i := range crossedPieces {
		c.tells(i, a)
	}
	c.ask(a, 0)
	for i := range crossedPieces {
		c.tells(i, b)
	}
	c.review()
	n, m := c.known(a).GetCardinality(), c.known(b).GetCardinality()
	if n+m != crossedPieces || m < crossedPieces/3 || c.known(a).Intersects(c.known(b)) {
		t.Errorf("of %d pieces one gives %d, the other %d", crossedPieces, n, m)
	}
	if !c.known(a).Contains(0) {
		t.Error("what was asked of one is to be asked of another")
	}
}

func TestGiverThatGivesNothing(t *testing.T) {
	c, a, b := newCrossed(oneCrossing()), peer("a"), peer("b")
	c.tells(3, a, b)
	c.ask(a, 3)
	c.now = c.now.Add(stuckAfter / 2)
	if c.review(); c.known(b).Contains(3) {
		t.Error("not given time")
	}
	c.now = c.now.Add(stuckAfter)
	if c.review(); !c.known(b).Contains(3) || c.known(a).Contains(3) {
		t.Error("another one has it, and is not to give it")
	}
}

// The engine asks nothing of who chokes it.
func TestGiverThatCannotBeAsked(t *testing.T) {
	c, a, b := newCrossed(oneCrossing()), peer("a"), peer("b")
	c.tells(3, a, b)
	c.review()
	c.now = c.now.Add(2 * stuckAfter)
	if c.review(); !c.known(b).Contains(3) {
		t.Error("another one has it, and is not to give it")
	}
}

// Where all take long another giver would be no better.
func TestGiversBehindASlowLink(t *testing.T) {
	c, a, b := newCrossed(oneCrossing()), peer("a"), peer("b")
	c.tells(3, a, b)
	c.tells(4, b)
	c.ask(b, 4)
	c.now = c.now.Add(2 * stuckAfter)
	c.hear(b, &pp.Message{Type: pp.Piece, Index: 4}, c.now)
	c.asked(b, torrent.Request{Index: 4}, false, c.now)
	c.ask(a, 3)
	c.now = c.now.Add(2 * stuckAfter)
	if c.review(); c.known(b).Contains(3) {
		t.Error("asked of two")
	}
}

// Who comes while a fill ends has two torrents of the same file.
func TestOneGiverInTwoTorrents(t *testing.T) {
	x := oneCrossing()
	fill, sealed, a, b := newCrossed(x), newCrossed(x), peer("a"), peer("b")
	if k := append(fill.tells(3, a), sealed.tells(3, b)...); len(k) != 1 {
		t.Fatalf("%d givers", len(k))
	}
	fill.review()
	sealed.review()
	if sealed.known(b).Contains(3) {
		t.Error("a review made another one the giver")
	}
	fill.parted(a)
	fill.review()
	sealed.review()
	if !sealed.known(b).Contains(3) {
		t.Error("one torrent has no giver any more, and the other did not take over")
	}
}
