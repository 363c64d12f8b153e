package swarmcache

import (
	"maps"
	"slices"
	"testing"

	"shatabdi/swarmcache/layout"
)

// places is a swarm that shows where windows are.
type places struct {
	peers
	at map[*place]bool
}

type place struct {
	p   *places
	off int64
}

func (p *places) Want(layout.Range) {}
func (p *places) Window(int64) Window {
	w := &place{p, -1}
	p.at[w] = true
	return w
}
func (w *place) MoveTo(off int64) { w.off = off }
func (w *place) Close()           { delete(w.p.at, w) }

// where the windows are, in pieces.
func (p *places) where(l layout.Layout) (at []int) {
	for w := range maps.Keys(p.at) {
		at = append(at, l.PieceAt(w.off))
	}
	slices.Sort(at)
	return at
}

// However many readers there are, a place where something is missing has one window,
// and those who have what is near have none.
func TestReadersShareWindows(t *testing.T) {
	tr, _ := turns(256 << 20)
	p := &places{at: map[*place]bool{}}
	tr.fill = p
	l := tr.file.layout
	read := func(piece int64) *want {
		w := newWant(layout.Range{To: int64(l.Pieces())}, piece*l.PieceLen)
		tr.add(w, nil)
		return w
	}
	see := func(what string, want ...int) {
		t.Helper()
		tr.takeWants()
		tr.followReaders()
		if got := p.where(l); !slices.Equal(got, want) {
			t.Errorf("%s: windows at %v, want %v", what, got, want)
		}
	}
	tr.kick = make(chan struct{}, 1)
	var crowd []*want
	for range 1000 {
		crowd = append(crowd, read(0))
	}
	far := read(1000)
	see("nothing is here", 0, 1000)
	for i := range 100 {
		tr.file.mark(i, FromOrigin)
	}
	see("the beginning is here", 100, 1000)
	for i := range 600 {
		tr.file.mark(i, FromOrigin)
	}
	see("far more than they read is here", 1000)
	crowd[7].pos.Store(590 * l.PieceLen)
	see("one of them has read on", 600, 1000)
	crowd[7].pos.Store(3 * l.PieceLen)
	see("and goes back", 1000)
	far.pos.Store(1005 * l.PieceLen)
	see("the other moves", 1005)
	far.ended.Store(true)
	see("and leaves")
}
