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
	known   map[Torrent]bool // that were told of the range
	windows map[Torrent]Window
	told    int64 // the position that the windows have
	here    int64 // the pieces below it are here
	from    int64 // the piece that front was looked for from
	front   int64 // the first piece from there on that is not here
}

func newWant(pieces layout.Range, pos int64) *want {
	w := &want{pieces: pieces, known: map[Torrent]bool{}, windows: map[Torrent]Window{}, here: pieces.From}
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
		if !w.known[tor] && !w.ended.Load() {
			w.known[tor] = true
			tor.Want(w.pieces)
		}
	}
}

// followReaders moves the windows to where readers are, and forgets the readers
// that are gone. What a gone reader wanted is still fetched when most of the
// object is here: finishing costs less than what was spent. Not so where nobody
// can ask the origin, as it might never end.
//
// There may be thousands of readers, most of them behind what is here already:
// windows are where something is missing, one in each place.
func (t *transfer) followReaders() {
	t.mu.Lock()
	defer t.mu.Unlock()
	served := map[int64]bool{}
	var rest []*want
	for w := range t.wants {
		switch {
		case w.ended.Load():
			w.close()
			if !t.mostIsHere() || t.covers(w) || t.origin == nil {
				delete(t.wants, w)
				t.interest = nil
			}
		case !t.waits(w):
			w.close()
		case len(w.windows) == 0:
			rest = append(rest, w)
		default: // who has a place keeps it
			t.place(w, served)
		}
	}
	for _, w := range rest {
		t.place(w, served)
	}
}

// waits reports whether something is missing near the reader, and finds it.
func (t *transfer) waits(w *want) bool {
	l := t.file.layout
	at := int64(l.PieceAt(w.pos.Load()))
	if at < w.from || at > w.front {
		w.front = at
	}
	for w.from = at; w.front < w.pieces.To && t.file.Has(int(w.front)); {
		w.front++
	}
	return w.front < w.pieces.To && (w.front-at)*l.PieceLen <= t.ahead()
}

// place gives w windows where it waits, unless another reader has some there. It
// needs mu.
func (t *transfer) place(w *want, served map[int64]bool) {
	if served[w.front] {
		w.close()
		return
	}
	served[w.front] = true
	pos := max(w.pos.Load(), t.file.layout.Piece(int(w.front)).From)
	for _, tor := range t.torrents() {
		if w.windows[tor] == nil {
			w.windows[tor], w.told = tor.Window(t.ahead()), -1
		}
	}
	if w.told != pos {
		w.told = pos
		for _, win := range w.windows {
			win.MoveTo(pos)
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
