package swarm

import (
	"math/rand/v2"
	"time"

	"github.com/RoaringBitmap/roaring"
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
	// wakeAfter is how soon after a wish the writers are woken, if nothing came, and
	// maxWake how late.
	wakeAfter = 100 * time.Millisecond
	maxWake   = 5 * time.Second
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
			t.wishAnewLocked(i)
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

// pace is how long a torrent waits before it takes silence for sleep. Bytes are
// counted when a whole chunk is here, which takes seconds where links are slow.
type pace struct {
	chunk  time.Duration // that one took of late; 0: not known
	silent int           // times in a row that nothing came
}

func (p *pace) wait() time.Duration {
	return min(max(wakeAfter, 4*p.chunk)<<p.silent, maxWake)
}

// saw learns from so many chunks in a wait of that length.
func (p *pace) saw(chunks float64, took time.Duration) {
	if chunks > 0 {
		p.chunk, p.silent = time.Duration(min(float64(took)/chunks, float64(maxWake))), 0
		return
	}
	p.silent = min(p.silent+1, 8)
}

// wakeLocked wakes the writers soon, here and at the peers that have what is
// wanted, unless something comes first.
func (t *joined) wakeLocked() {
	if t.waking {
		return
	}
	t.waking = true
	read, began := t.Stats().BytesRead, time.Now()
	time.AfterFunc(t.pace.wait(), func() {
		came := t.Stats().BytesRead - read
		t.mu.Lock()
		t.waking = false
		t.pace.saw(float64(came)/float64(chunkLen(t.file.Version().PieceLen)), time.Since(began))
		var wanted *roaring.Bitmap
		if came == 0 && t.users > 0 && !t.dropped {
			wanted = t.wantedLocked()
		}
		t.mu.Unlock()
		if wanted == nil {
			return
		}
		for _, c := range t.t.PeerConns() {
			if t.border.piecesOf(c).Intersects(wanted) {
				c.WriteExtendedMessage(hashesExtension, wake) // an error: it does not speak this
			}
		}
	})
}

// wantedLocked are the pieces that could be asked for now.
func (t *joined) wantedLocked() *roaring.Bitmap {
	b := roaring.New()
	for i, p := range t.current {
		if p != torrent.PiecePriorityNone && !t.file.Has(i) && t.file.Wantable(i) {
			b.Add(uint32(i))
		}
	}
	return b
}

// answerWake answers who wakes us, but not a flood of it. The engine's lock is held.
func (s *Swarm) answerWake(c *torrent.PeerConn) {
	if _, answered := s.awake.LoadOrStore(c, nil); answered {
		return
	}
	s.goWork(func() { c.WriteExtendedMessage(hashesExtension, awake) })
	time.AfterFunc(wakeAfter, func() { s.awake.Delete(c) })
}
