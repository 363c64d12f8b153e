package swarm

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring"
	"github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"shatabdi/swarmcache/layout"
)

// What connects two zones is thinner and dearer than what connects the nodes of
// one, so a piece should cross once, and go round from there. Each piece has one
// node in each zone whose it is to fetch it across: its importer. The engine asks
// every peer for whatever it has, so it is shown of a peer in another zone only
// the pieces that this node may fetch from there: those that it imports, as long
// as no neighbour in its own zone has them.
//
// What is shown is changed in the messages that come in. The engine takes a
// bitfield at any time, also one that has less than the one before; where no
// message is on its way, the peer is asked for one (seeAgain).
//
// An importer may be slow, or dead, or have no use for the piece. Where nothing
// comes, or a reader stands still, the next in line steps in, and so on, as with
// claims: the border costs time at worst, never bytes that exist.

const (
	// borderEvery is how often a node looks at what it may fetch across, and how
	// long after it met a peer it first does: by then it knows its neighbours.
	borderEvery = 100 * time.Millisecond
	// settledAfter is how long the line must have stood before a node fetches more
	// across than what its readers need at once, in the first settlingFor: what it
	// has asked for it gets, though it turns out to be another's.
	settledAfter = 500 * time.Millisecond
	settlingFor  = 3 * time.Second
	// namedFor is how long somebody who was named, but is not connected, counts as
	// a member of the zone. A board names its participants every 5 s.
	namedFor = 15 * time.Second
	// quietFor is how long a neighbour may get nothing before its pieces are those
	// of others, if this node gets quietPieces meanwhile.
	quietFor    = 5 * time.Second
	quietPieces = 16
	// hungryAfter is how long nothing may come, and hungryTurn how long a piece
	// then waits for each node that is in line for it.
	hungryAfter = time.Second
	hungryTurn  = time.Second
	// readerTurn is the same for the piece in which a reader stands.
	readerTurn = 3 * time.Second
	// hungryPieces is how many pieces a node without any is interested in at a time.
	hungryPieces = 16
)

// seeAgain is a message whose answer is of the same kind and carries nothing: it
// is replaced by a bitfield where it arrives.
const (
	seeAgain = pp.ExtensionName("shatabdi_again")
	askAgain = "?"
	again    = "!"
)

// border is what a torrent knows of its peers' places.
type border struct {
	me     place
	self   member
	layout layout.Layout
	pieces int

	crossing *crossing

	mu      sync.Mutex // guards the fields below; a leaf, taken under the engine's lock too
	peers   map[*torrent.PeerConn]*neighbour
	named   map[member]time.Time // of this zone, and when last
	line    []member             // those of this zone who are in the swarm, this node included,
	lined   time.Time            // and since when
	began   time.Time            // when somebody in another zone was first met
	settled bool                 // the line stood for a while
	readers []int                // pieces in which readers stand
	mine    *roaring.Bitmap      // pieces that this node imports
	near    *roaring.Bitmap      // pieces that a neighbour in this zone has
	granted *roaring.Bitmap      // pieces that another should have imported and did not
	waiting map[int]time.Time    // pieces that this node may import when it is its turn, since then
	got     time.Time            // when something last came
	read    int64                // payload that had come by then
	fars    int64                // payload that came across
	took    time.Duration        // how long the slowest of it took of late, from when it was asked for
}

// neighbour is a connected peer.
type neighbour struct {
	far   bool
	name  member
	since time.Time
	heard time.Time       // when it last told of a piece,
	read  int64           // and what had come to this node by then
	has   *roaring.Bitmap // what it has
	shown *roaring.Bitmap // what the engine knows of that, if it is far
	dirty bool            // the engine should know another part of it
	giving
}

func newBorder(me place, self member, l layout.Layout, x *crossing) *border {
	return &border{
		me: me, self: self, layout: l, pieces: l.Pieces(), crossing: x,
		peers: map[*torrent.PeerConn]*neighbour{}, named: map[member]time.Time{}, waiting: map[int]time.Time{},
		mine: roaring.New(), near: roaring.New(), granted: roaring.New(),
	}
}

// hear takes in a message of a peer, and makes of it what the engine may know.
// The engine's lock is held.
func (b *border) hear(c *torrent.PeerConn, m *pp.Message, now time.Time) {
	if m.Keepalive {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.meetLocked(c, now)
	switch m.Type {
	case pp.Have:
		if m.Index >= pp.Integer(b.pieces) {
			return // the engine hangs up
		}
		n.has.Add(uint32(m.Index))
		n.heard, n.read = now, b.read
	case pp.Bitfield:
		n.has = bitmapOf(m.Bitfield)
	case pp.HaveAll:
		n.has = roaring.New()
		n.has.AddRange(0, uint64(b.pieces))
	case pp.HaveNone:
		n.has = roaring.New()
	case pp.Piece:
		if n.far {
			b.cameLocked(n, m, now)
		}
		return
	case pp.Extended:
		if n.far && n.dirty && isAgain(c, m) {
			b.showLocked(n, m, now)
		}
		return
	default:
		return
	}
	switch {
	case !n.far:
		b.near.Or(n.has)
	case m.Type == pp.Have && b.mayLocked(uint32(m.Index)) && !b.givenLocked(uint32(m.Index)):
		n.pieces.Add(uint32(m.Index))
		n.shown.Add(uint32(m.Index))
		b.crossing.add(b, uint32(m.Index))
	case n.dirty:
		b.showLocked(n, m, now)
	default:
		*m = pp.Message{Keepalive: true}
	}
}

func (b *border) meetLocked(c *torrent.PeerConn, now time.Time) *neighbour {
	n := b.peers[c]
	if n == nil {
		at, name := readPeerID(c.PeerID)
		n = &neighbour{far: b.me.far(at), name: name, since: now, heard: now, read: b.read, has: roaring.New(), shown: roaring.New(), giving: newGiving()}
		b.peers[c] = n
	}
	return n
}

func (b *border) parted(c *torrent.PeerConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.peers, c)
}

// name notes that somebody in this zone takes part.
func (b *border) name(m member, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.named[m] = now
}

// showLocked makes of a message the bitfield that the engine should know.
func (b *border) showLocked(n *neighbour, m *pp.Message, now time.Time) {
	n.shown, n.dirty = b.viewLocked(n, now), false
	field := make([]bool, (b.pieces+7)/8*8)
	for it := n.shown.Iterator(); it.HasNext(); {
		if i := int(it.Next()); i < len(field) {
			field[i] = true
		}
	}
	*m = pp.Message{Type: pp.Bitfield, Bitfield: field}
}

// viewLocked is what the engine should know of a peer in another zone: what that
// is to give, and of this nothing that the engine expects from another one still.
func (b *border) viewLocked(n *neighbour, now time.Time) *roaring.Bitmap {
	fresh := roaring.AndNot(n.pieces, n.shown)
	for _, o := range b.peers {
		if o != n && o.far && !fresh.IsEmpty() && !b.stuckLocked(o, now) {
			fresh.AndNot(o.shown)
		}
	}
	view := roaring.And(n.pieces, n.shown)
	view.Or(fresh)
	view.And(b.importsLocked())
	view.And(n.has)
	return view
}

// importsLocked are the pieces that this node may fetch across.
func (b *border) importsLocked() *roaring.Bitmap {
	may := roaring.AndNot(b.mine, b.near)
	if !b.settled {
		urgent := roaring.New()
		for _, i := range b.readers {
			urgent.Add(uint32(i))
		}
		may.And(urgent)
	}
	may.Or(b.granted)
	return may
}

// mayLocked is the same for one piece.
func (b *border) mayLocked(i uint32) bool {
	return b.granted.Contains(i) || b.mine.Contains(i) && !b.near.Contains(i) && (b.settled || slices.Contains(b.readers, int(i)))
}

// piecesOf is what a peer has, which may be more than the engine is shown.
func (b *border) piecesOf(c *torrent.PeerConn) *roaring.Bitmap {
	if b == nil {
		return c.PeerPieces()
	}
	b.mu.Lock()
	if n := b.peers[c]; n != nil && n.far {
		defer b.mu.Unlock()
		return n.has.Clone()
	}
	b.mu.Unlock() // before the engine's lock is taken
	return c.PeerPieces()
}

// links counts connections: in this zone, and out of it.
func (b *border) links() (near, far int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.peers {
		if n.far {
			far++
		} else {
			near++
		}
	}
	return near, far
}

// imported is how many bytes came across.
func (b *border) imported() int64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fars
}

// hunger is what a torrent lacks just now.
type hunger struct {
	read    int64          // payload received
	readers []int          // the pieces in which readers stand
	lacking func(int) bool // pieces to be had from peers, and not here
}

// review brings up to date what this node may fetch across, and returns the peers
// whom to ask for a message, so that the engine learns of it.
func (b *border) review(h hunger, now time.Time) (ask []*torrent.PeerConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.read != b.read || b.got.IsZero() {
		b.read, b.got = h.read, now
	}
	b.readers = h.readers
	far := b.lookLocked(now)
	b.grantLocked(h, far, now)
	b.shareOutLocked(h.lacking, now)
	for c, n := range b.peers {
		if n.far && now.Sub(n.since) >= borderEvery && !b.viewLocked(n, now).Equals(n.shown) {
			n.dirty = true
			ask = append(ask, c)
		}
	}
	return ask
}

// lookLocked finds out who is in line and what neighbours have. It returns what
// peers in other zones have.
func (b *border) lookLocked(now time.Time) (far *roaring.Bitmap) {
	maps.DeleteFunc(b.named, func(_ member, at time.Time) bool { return now.Sub(at) > namedFor })
	here := maps.Clone(b.named)
	far, b.near = roaring.New(), roaring.New()
	quiet, heard := map[member]bool{}, map[member]bool{} // for a while there may be two connections
	for _, n := range b.peers {
		if n.far {
			if far.Or(n.has); b.began.IsZero() {
				b.began = now
			}
			continue
		}
		b.near.Or(n.has)
		if b.quietLocked(n, now) {
			quiet[n.name] = true
		} else {
			heard[n.name] = true
		}
	}
	for m := range quiet {
		delete(here, m)
	}
	for m := range heard {
		here[m] = now
	}
	delete(here, member{}) // it does not import
	here[b.self] = now
	line := slices.SortedFunc(maps.Keys(here), func(x, y member) int { return bytes.Compare(x[:], y[:]) })
	if !slices.Equal(line, b.line) {
		b.line, b.lined, b.mine = line, now, roaring.New()
		for i := range b.pieces {
			if b.beforeLocked(i) == 0 {
				b.mine.Add(uint32(i))
			}
		}
	}
	b.settled = b.settled || now.Sub(b.lined) >= settledAfter || !b.began.IsZero() && now.Sub(b.began) >= settlingFor
	return far
}

// quietLocked reports whether a neighbour gets nothing although this node does.
func (b *border) quietLocked(n *neighbour, now time.Time) bool {
	return now.Sub(n.heard) > quietFor && b.read-n.read > quietPieces*b.layout.PieceLen && int(n.has.GetCardinality()) < b.pieces
}

// beforeLocked is how many nodes of the zone are before this one in the line for
// piece i.
func (b *border) beforeLocked(i int) (before int) {
	own := b.self.weight(i)
	for _, m := range b.line {
		if m.weight(i) > own {
			before++
		}
	}
	return before
}

// grantLocked lets this node import what those before it in the line did not.
func (b *border) grantLocked(h hunger, far *roaring.Bitmap, now time.Time) {
	was := b.waiting
	b.waiting = map[int]time.Time{}
	consider := func(i int, turn time.Duration) {
		since, known := was[i]
		if !known {
			since = now
		}
		b.waiting[i] = since
		if now.Sub(since) >= time.Duration(1+b.beforeLocked(i))*turn {
			b.granted.Add(uint32(i))
		}
	}
	wants := func(i int) bool {
		return far.Contains(uint32(i)) && !b.mayLocked(uint32(i)) && h.lacking(i)
	}
	for _, i := range h.readers {
		if wants(i) {
			consider(i, readerTurn)
		}
	}
	if now.Sub(b.got) < hungryAfter {
		return
	}
	// Each begins elsewhere, and there again, for their patience counts.
	left, n := hungryPieces, b.pieces
	for k, from := 0, int(b.self.weight(n)%uint64(max(1, n))); k < n && left > 0; k++ {
		if i := (from + k) % n; wants(i) {
			consider(i, hungryTurn)
			left--
		}
	}
}

// isAgain reports whether a message answers one that asked for it.
func isAgain(c *torrent.PeerConn, m *pp.Message) bool {
	return isExtension(c, m.ExtendedID, seeAgain) && string(m.ExtendedPayload) == again
}

func isExtension(c *torrent.PeerConn, id pp.ExtensionNumber, want pp.ExtensionName) bool {
	if id == pp.HandshakeExtendedID {
		return false
	}
	name, _, err := c.LocalLtepProtocolMap.LookupId(id)
	return err == nil && name == want
}

// sayAgain answers a peer in another zone. The engine's lock is held.
func (s *Swarm) sayAgain(e torrent.PeerConnReadExtensionMessageEvent) {
	if isExtension(e.PeerConn, e.ExtensionNumber, seeAgain) && string(e.Payload) == askAgain {
		c := e.PeerConn
		s.goWork(func() { c.WriteExtendedMessage(seeAgain, []byte(again)) })
	}
}

// guard reviews the borders of all torrents. Only a node with a zone has any.
func (s *Swarm) guard() {
	tick := time.NewTicker(borderEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case now := <-tick.C:
			for _, t := range s.list() {
				t.guard(now)
			}
		}
	}
}

func (t *joined) guard(now time.Time) {
	h := hunger{read: t.Stats().BytesRead}
	t.mu.Lock()
	if t.users == 0 || !t.hasReady || t.dropped {
		t.mu.Unlock()
		t.border.crossing.drop(t.border) // others may fetch what it does not
		return
	}
	wanted := slices.Clone(t.current)
	for w := range t.windows {
		if !w.pieces.Empty() {
			h.readers = append(h.readers, int(w.pieces.From))
		}
	}
	t.mu.Unlock()
	h.lacking = func(i int) bool {
		return wanted[i] != torrent.PiecePriorityNone && !t.file.Has(i) && t.file.Wantable(i)
	}
	for _, c := range t.border.review(h, now) {
		// An error: it is gone, or does not speak this; then it is not asked for what
		// it has.
		c.WriteExtendedMessage(seeAgain, []byte(askAgain))
	}
}

func bitmapOf(field []bool) *roaring.Bitmap {
	b := roaring.New()
	for i, has := range field {
		if has {
			b.Add(uint32(i))
		}
	}
	return b
}
