package swarmcache

import (
	"sync/atomic"

	"shatabdi/swarmcache/layout"
)

// want is one reader's interest: the pieces of a byte range, and where it is.
type want struct {
	pieces layout.Range
	pos    atomic.Int64
	ended  atomic.Bool

	// Owned by the run of the transfer that has the want.
	windows map[Torrent]Window
	told    int64 // the position that the windows have
	here    int64 // the pieces below it are here
}

func newWant(pieces layout.Range, pos int64) *want {
	w := &want{pieces: pieces, windows: map[Torrent]Window{}, here: pieces.From}
	w.pos.Store(pos)
	return w
}

// ahead is how far in front of a reader pieces are preferred.
func (t *transfer) ahead() int64 { return max(t.file.layout.Length/8, 4*t.file.layout.PieceLen) }

// add registers a reader's interest. It may be called before run.
func (t *transfer) add(w *want, origin Origin) {
	t.mu.Lock()
	t.wants[w] = true
	t.fresh = append(t.fresh, w)
	if origin != nil {
		t.origin = origin
	}
	t.mu.Unlock()
	t.poke()
}

// takeWants makes new interest known to the torrents.
func (t *transfer) takeWants() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.fresh {
		t.introduce(w)
		t.asked, t.interest = true, nil
	}
	t.fresh = nil
}

// introduceAll tells a torrent that was just joined what readers want.
func (t *transfer) introduceAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		t.introduce(w)
	}
}

// introduce tells the torrents that do not know it yet of w. It needs mu.
func (t *transfer) introduce(w *want) {
	for _, tor := range t.torrents() {
		if w.windows[tor] == nil && !w.ended.Load() {
			tor.Want(w.pieces)
			w.windows[tor] = tor.Window(t.ahead())
			w.told = -1
		}
	}
}

// followReaders moves the windows to where readers are, and forgets the readers
// that are gone. What a gone reader wanted is still fetched when most of the
// object is here: finishing costs less than what was spent. Not so where nobody
// can ask the origin, as it might never end.
func (t *transfer) followReaders() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		if w.ended.Load() {
			w.close()
			if !t.mostIsHere() || t.covers(w) || t.origin == nil {
				delete(t.wants, w)
				t.interest = nil
			}
			continue
		}
		if pos := w.pos.Load(); w.told != pos {
			w.told = pos
			for _, win := range w.windows {
				win.MoveTo(pos)
			}
		}
	}
}

// wantedPieces are the runs of pieces that readers here want.
func (t *transfer) wantedPieces() []layout.Range {
	t.mu.Lock()
	defer t.mu.Unlock()
	var l []layout.Range
	for w := range t.wants {
		if !w.pieces.Empty() {
			l = append(l, w.pieces)
		}
	}
	return merge(l)
}

// close takes the reader's windows away.
func (w *want) close() {
	for tor, win := range w.windows {
		win.Close()
		delete(w.windows, tor)
	}
}

func (t *transfer) mostIsHere() bool { return t.file.Left()*2 <= len(t.file.state) }

// covers reports whether all that w wants is here.
func (t *transfer) covers(w *want) bool {
	for w.here < w.pieces.To && t.file.Has(int(w.here)) {
		w.here++
	}
	return w.here >= w.pieces.To
}

// unwanted reports whether nobody here wants what is missing, and nobody
// elsewhere depends on this node: as the only streamer of a fill without
// ranges, or as a holder of landed pieces while others are at it.
func (t *transfer) unwanted() bool {
	t.mu.Lock()
	n := len(t.wants)
	t.mu.Unlock()
	now := t.c.now()
	switch {
	case n > 0:
		return false
	case !t.asked: // whoever opened this is about to read
		return now.Sub(t.started) > patienceFirst
	case len(t.nodes) == 0:
		return true
	case t.rec != nil && t.rec.Single && len(t.streams) > 0:
		return false
	}
	return now.Sub(t.progress) > lingerFill
}
