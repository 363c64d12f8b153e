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

// And it misses calls: a connection's writer that finds nothing to say goes to
// sleep, and does not hear what it was told between the two. Nor does it later, for
// who has a reason to think is not given another one. What wakes it is something to
// say. It happens at both ends: a wish is not asked for, or an answer is not sent.
const (
	// wakeAfter is how long after a wish the writers are woken, if nothing came.
	wakeAfter = 100 * time.Millisecond
	// keepAliveAfter wakes them where we have nothing to say: other programs.
	keepAliveAfter = 10 * time.Second
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
	t.wakeLocked()
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

// What is said in order to wake: the first by who waits, and the second by who
// heard it. Neither tells a hash.
var (
	wake  = []byte{}
	awake = []byte{0}
)

// wakeLocked wakes the writers soon, here and at the peers, unless something comes
// first.
func (t *joined) wakeLocked() {
	if t.waking {
		return
	}
	t.waking = true
	read := t.Stats().BytesRead
	time.AfterFunc(wakeAfter, func() {
		t.mu.Lock()
		t.waking = false
		asleep := t.users > 0 && !t.dropped && t.Stats().BytesRead == read
		t.mu.Unlock()
		if !asleep {
			return
		}
		for _, c := range t.t.PeerConns() {
			c.WriteExtendedMessage(hashesExtension, wake) // an error: it does not speak this
		}
	})
}
