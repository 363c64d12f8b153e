package swarm

import (
	"github.com/RoaringBitmap/roaring"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"shatabdi/swarmcache/layout"
)

// copies tells how many peers have the pieces of each torrent, by what they say.
type copies map[metainfo.Hash]*census

// census is that of one torrent.
type census struct {
	whole, partial int // peers that said that they have everything, or something
	of             []int32
}

// holding is what a peer said it has.
type holding struct {
	whole  bool
	pieces *roaring.Bitmap
}

// of is how many have piece i of a torrent.
func (c copies) of(ih metainfo.Hash, i pp.Integer) int {
	switch s := c[ih]; {
	case s == nil:
		return 0
	case int(i) < len(s.of):
		return s.whole + int(s.of[i])
	default:
		return s.whole
	}
}

func (c copies) census(ih metainfo.Hash) *census {
	if c[ih] == nil {
		c[ih] = &census{}
	}
	return c[ih]
}

// addWhole takes in that h, of whom nothing is known, has everything.
func (c copies) addWhole(ih metainfo.Hash, h *holding) {
	if !h.whole && h.pieces == nil {
		h.whole = true
		c.census(ih).whole++
	}
}

// add takes in that h has piece i.
func (c copies) add(ih metainfo.Hash, h *holding, i int) {
	if h.whole || i >= layout.MaxPieces {
		return
	}
	s := c.census(ih)
	if h.pieces == nil {
		h.pieces = roaring.New()
		s.partial++
	}
	if h.pieces.CheckedAdd(uint32(i)) {
		for i >= len(s.of) {
			s.of = append(s.of, 0)
		}
		s.of[i]++
	}
}

// drop takes out what h has.
func (c copies) drop(ih metainfo.Hash, h *holding) {
	s := c[ih]
	switch {
	case h.whole:
		s.whole--
	case h.pieces != nil:
		s.partial--
		h.pieces.Iterate(func(i uint32) bool { s.of[i]--; return true })
	default:
		return
	}
	if s.whole+s.partial == 0 {
		delete(c, ih)
	}
}
