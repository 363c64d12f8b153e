package swarm

import (
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring"
	"github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"shatabdi/swarmcache"
)

// The engine takes a request back from a peer that has many and makes it of one
// that has few. Within a zone that is what keeps all busy. Between zones what was
// taken back has mostly left already, and comes as well: of what crossed a link
// that was full a third came a second time. So of each piece that this node may
// fetch across the engine knows one peer there that has it, its giver.
//
// Who has given all that it had to give takes over from those who have not, what
// was not asked of them yet; and what was, from those who give nothing.

const (
	// stuckAfter is how long at least a piece may have been asked of its giver, and
	// stuckTimes how many times as long as the slowest of late took, before it has
	// another one: where all wait it is the link that is slow.
	stuckAfter = 5 * time.Second
	stuckTimes = 2
	// forgetSlowest is how much of that counts when the next one has come.
	forgetSlowest = 0.95
)

// chunk names one that was asked for.
type chunk struct{ index, begin pp.Integer }

// giving is what a peer in another zone is to give.
type giving struct {
	pieces *roaring.Bitmap     // whose giver it is
	asked  map[chunk]time.Time // of it, since when
	unused time.Time           // since when it has some to give and is asked for none: it may choke us
	load   int                 // how many of the pieces are lacking here, in shareOut
}

func newGiving() giving {
	return giving{pieces: roaring.New(), asked: map[chunk]time.Time{}}
}

// asked notes a request that was made of a peer, or is not any more. The engine's
// lock is held.
func (b *border) asked(c *torrent.PeerConn, r torrent.Request, yes bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.peers[c]
	switch {
	case n == nil || !n.far:
	case yes:
		n.asked[chunk{r.Index, r.Begin}] = now
	default:
		delete(n.asked, chunk{r.Index, r.Begin})
	}
}

// cameLocked learns how long a chunk took to come across.
func (b *border) cameLocked(n *neighbour, m *pp.Message, now time.Time) {
	b.fars += int64(len(m.Piece))
	if at, asked := n.asked[chunk{m.Index, m.Begin}]; asked {
		b.took = max(now.Sub(at), time.Duration(forgetSlowest*float64(b.took)))
	}
}

// stuckLocked reports whether a peer lets this node wait for longer than others.
func (b *border) stuckLocked(n *neighbour, now time.Time) bool {
	patience := max(stuckAfter, stuckTimes*b.took)
	if !n.unused.IsZero() && now.Sub(n.unused) > patience {
		return true
	}
	for _, at := range n.asked {
		if now.Sub(at) > patience {
			return true
		}
	}
	return false
}

// givenLocked reports whether a piece has a giver, or the engine knows of one.
func (b *border) givenLocked(i uint32) bool {
	for _, n := range b.peers {
		if n.far && (n.pieces.Contains(i) || n.shown.Contains(i)) {
			return true
		}
	}
	return b.crossing.elsewhere(b, i)
}

// shareOutLocked gives each piece that this node may fetch across, and lacks, a giver.
func (b *border) shareOutLocked(lacking func(int) bool, now time.Time) {
	may, lack, free := b.importsLocked(), roaring.New(), roaring.New()
	for it := may.Iterator(); it.HasNext(); {
		if i := it.Next(); lacking(int(i)) {
			lack.Add(i)
		}
	}
	free.Or(lack)
	free.AndNot(b.crossing.others(b))
	var givers, stuck []*neighbour
	for _, n := range b.peers {
		switch {
		case !n.far:
			continue
		case b.stuckLocked(n, now):
			stuck = append(stuck, n)
		default:
			givers = append(givers, n)
		}
		n.pieces.And(may)
		n.pieces.And(n.has)
		n.load = int(n.pieces.AndCardinality(lack))
		if n.load == 0 || len(n.asked) > 0 {
			n.unused = time.Time{}
		} else if n.unused.IsZero() {
			n.unused = now
		}
	}
	for _, n := range givers {
		free.AndNot(n.pieces)
	}
	for it := free.Iterator(); it.HasNext(); {
		i := it.Next()
		if n := leastLoaded(givers, i); n != nil {
			n.pieces.Add(i)
			n.load++
			for _, s := range stuck {
				s.pieces.Remove(i)
			}
		} else if n := leastLoaded(stuck, i); n != nil && !slices.ContainsFunc(stuck, func(s *neighbour) bool { return s.pieces.Contains(i) }) {
			n.pieces.Add(i)
			n.load++
		}
	}
	for _, n := range givers {
		if n.load == 0 {
			n.takeOver(givers, lack)
		}
	}
	given := roaring.New()
	for _, n := range givers {
		given.Or(n.pieces)
		given.Or(n.shown)
	}
	given.And(lack)
	b.crossing.put(b, given)
}

// leastLoaded is who has piece i and the least to give; nil: nobody has it.
func leastLoaded(givers []*neighbour, i uint32) (least *neighbour) {
	for _, n := range givers {
		if n.has.Contains(i) && (least == nil || n.load < least.load) {
			least = n
		}
	}
	return least
}

// takeOver takes half of what can be taken from the one with the most to give.
func (n *neighbour) takeOver(givers []*neighbour, lack *roaring.Bitmap) {
	most := n
	for _, m := range givers {
		if m.load > most.load {
			most = m
		}
	}
	spare := roaring.And(most.pieces, lack)
	spare.And(n.has)
	for c := range most.asked {
		spare.Remove(uint32(c.index))
	}
	take := false
	for it := spare.Iterator(); it.HasNext(); take = !take {
		if i := it.Next(); take {
			most.pieces.Remove(i)
			n.pieces.Add(i)
			most.load--
			n.load++
		}
	}
}

// crossing is what has givers in the torrents over one file: who comes while a
// fill ends is in its torrent and in the sealed one.
type crossing struct {
	mu sync.Mutex // guards by; a leaf, taken under those of borders
	by map[*border]*roaring.Bitmap
}

// put notes the pieces that have givers in b's torrent.
func (x *crossing) put(b *border, pieces *roaring.Bitmap) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.by[b] = pieces
}

// add notes one more.
func (x *crossing) add(b *border, i uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.by[b] == nil {
		x.by[b] = roaring.New()
	}
	x.by[b].Add(i)
}

// elsewhere reports whether a piece has a giver in another torrent.
func (x *crossing) elsewhere(b *border, i uint32) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for o, pieces := range x.by {
		if o != b && pieces.Contains(i) {
			return true
		}
	}
	return false
}

// drop forgets what has givers in b's torrent.
func (x *crossing) drop(b *border) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.by, b)
}

// others are the pieces that have givers in other torrents.
func (x *crossing) others(b *border) *roaring.Bitmap {
	x.mu.Lock()
	defer x.mu.Unlock()
	others := roaring.New()
	for o, pieces := range x.by {
		if o != b {
			others.Or(pieces)
		}
	}
	return others
}

// crossingOf is that of the torrents over f.
func (s *Swarm) crossingOf(f *swarmcache.File) *crossing {
	for _, t := range s.list() {
		if t.file == f {
			return t.border.crossing
		}
	}
	return &crossing{by: map[*border]*roaring.Bitmap{}}
}

// asked notes a request that was made of a peer, or is not any more. The engine's
// lock is held.
func (s *Swarm) asked(e torrent.PeerRequestEvent, yes bool) {
	c, ok := e.Peer.TryAsPeerConn()
	if !ok {
		return
	}
	t := s.torrentOf(c)
	if t == nil {
		return
	}
	n := -1
	if yes {
		n = 1
	}
	t.rejects.ask(c, n)
	if t.border != nil {
		t.border.asked(c, e.Request, yes, time.Now())
	}
}
