package swarm

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring"
	"github.com/anacrolix/torrent"
)

// A connection thinks about what to ask for when nothing that it asked for is left,
// but not when the last answer is a rejection: of what another peer was asked for
// instead, say. While peers get pieces it hears of them, and thinks again. Those who
// have everything get none: to who came last of 16 nodes one of the others gave the
// rest, for up to three seconds, while nothing was asked of the 14 others.

// againAfter is how soon after a rejection such connections are made to think again,
// if anything came since the last time; else it takes longer, up to nudgeAfter.
const againAfter = 50 * time.Millisecond

// rejects are the connections of a torrent that heard a rejection not long ago.
type rejects struct {
	mu    sync.Mutex // guards the fields below; a leaf
	by    []*torrent.PeerConn
	read  int64 // payload received by the last time
	wait  time.Duration
	asked map[*torrent.PeerConn]int // requests that are not answered
}

// ask counts the requests.
func (r *rejects) ask(c *torrent.PeerConn, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[*torrent.PeerConn]int{}
	}
	if r.asked[c] += n; r.asked[c] <= 0 {
		delete(r.asked, c)
	}
}

// add reports how soon the connections are to think again, if that is not known.
func (r *rejects) add(c *torrent.PeerConn) (wait time.Duration, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = len(r.by) == 0
	if !slices.Contains(r.by, c) {
		r.by = append(r.by, c)
	}
	return max(r.wait, againAfter), first
}

// take returns those that have a use for it. Where each of the wanted chunks is asked
// for, and nobody for two, they could but take away what is about to come.
func (r *rejects) take(read int64, wanted int) (idle []*torrent.PeerConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wait = max(againAfter, min(2*r.wait, nudgeAfter)); read != r.read {
		r.wait = againAfter
	}
	all, most := 0, 0
	for _, n := range r.asked {
		all, most = all+n, max(most, n)
	}
	for _, c := range r.by {
		if r.asked[c] == 0 && (all < wanted || most > 1) {
			idle = append(idle, c)
		}
	}
	r.by, r.read = nil, read
	return idle
}

// rejected is told of a rejection. The engine's lock is held.
func (s *Swarm) rejected(c *torrent.PeerConn) {
	if t := s.torrentOf(c); t != nil {
		if wait, first := t.rejects.add(c); first {
			time.AfterFunc(wait, t.askAgain)
		}
	}
}

// askAgain makes the connections that heard a rejection, and ask for nothing now,
// think again: something that they might ask for is wished for anew.
func (t *joined) askAgain() {
	read := t.Stats().BytesRead
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted, anew := t.wantedLocked(), roaring.New()
	pieceLen := t.file.Version().PieceLen
	chunks := (pieceLen + chunkLen(pieceLen) - 1) / chunkLen(pieceLen)
	idle := t.rejects.take(read, int(wanted.GetCardinality())*int(chunks))
	if t.users == 0 || !t.hasReady || t.dropped {
		return
	}
	for _, c := range idle {
		might := c.PeerPieces() // as the engine knows them: across a border not all are shown
		if might.And(wanted); might.IsEmpty() || might.Intersects(anew) {
			continue
		}
		i, _ := might.Select(uint32(rand.IntN(int(might.GetCardinality()))))
		anew.Add(i)
		t.wishAnewLocked(int(i))
	}
}

// wishAnewLocked makes each connection that asks for nothing, and could give a piece,
// think about all that it could ask for.
func (t *joined) wishAnewLocked(i int) {
	t.t.Piece(i).SetPriority(torrent.PiecePriorityNone)
	t.t.Piece(i).SetPriority(t.current[i])
}
