package swarm

import (
	"math/rand/v2"
	"time"

	"github.com/anacrolix/torrent"
)

// The engine thinks about what to request from a peer when something happens to
// the connection, and there are cases in which nothing does: a request that was
// rejected is not made of another peer, and a piece that did not match its hash is
// still marked as being hashed when the peers are looked through. Where all else
// is done, nobody asks for that last piece. So a torrent for which nothing comes
// is made to look again.

const (
	// nudgeAfter is how long nothing may come.
	nudgeAfter = time.Second
	// nudgePieces is how many pieces are looked at again: each makes the connections
	// that could give it think about all they could request.
	nudgePieces = 16
)

// nudge is called by the janitor, every second.
func (t *joined) nudge(now time.Time) {
	read := t.Stats().BytesRead
	t.mu.Lock()
	defer t.mu.Unlock()
	if read != t.read {
		t.read, t.readAt = read, now
	}
	if t.users == 0 || !t.hasReady || t.dropped || now.Sub(t.readAt) < nudgeAfter {
		return
	}
	n := len(t.current)
	left := nudgePieces
	for k, from := 0, rand.IntN(max(1, n)); k < n && left > 0; k++ {
		i := (from + k) % n
		if p := t.current[i]; p != torrent.PiecePriorityNone && !t.file.Has(i) && t.file.Wantable(i) {
			t.t.Piece(i).SetPriority(torrent.PiecePriorityNone)
			t.t.Piece(i).SetPriority(p)
			left--
		}
	}
}
