package proxy

import (
	"context"
	"crypto/sha1"
	"iter"
	"net/netip"
	"sync"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// barter is a swarm without a network: whoever joins the torrent of a sealed
// object gets all of it from a node that has it, at once.
type barter struct {
	mu    sync.Mutex
	nodes []swarmcache.Held
}

// node is the swarm as one node sees it.
func (b *barter) node() swarmcache.Swarm { return barterer{b} }

type barterer struct{ *barter }

func (barterer) Vouch(context.Context, swarmcache.InfoHash) error { return nil }
func (barterer) Withdraw(swarmcache.InfoHash)                     {}
func (barterer) Limits() (upload, download int64)                 { return 0, 0 }
func (barterer) Uplink() int64                                    { return 0 }

func (b barterer) Offer(h swarmcache.Held) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = append(b.nodes, h)
}

func (b barterer) Seal(f *swarmcache.File) swarmcache.InfoHash {
	return sha1.Sum(append([]byte(f.Version().ID), f.Hashes()...))
}

func (b barterer) Fill(*swarmcache.File) (swarmcache.Torrent, error) { return bartered{}, nil }

func (b barterer) Sealed(f *swarmcache.File) (swarmcache.Torrent, error) {
	ih := f.Version().InfoHash
	if ih.IsZero() {
		return nil, swarmcache.ErrNotFound
	}
	b.mu.Lock()
	nodes := b.nodes
	b.mu.Unlock()
	for _, n := range nodes {
		if of, release, ok := n.Held(ih); ok {
			defer release()
			if of != f {
				give(of, f)
			}
			break
		}
	}
	return bartered{ih: ih}, nil
}

func give(from, to *swarmcache.File) {
	hashes := from.Hashes()
	for i := range to.Layout().Pieces() {
		to.Learn(i, hashes[i*sha1.Size:(i+1)*sha1.Size])
		b := make([]byte, to.Layout().Piece(i).Len())
		if n, _ := from.ReadPieceAt(i, b, 0); n == len(b) {
			to.WriteChunk(i, b, 0)
			to.Verify(i)
		}
	}
}

func (barterer) Close() error { return nil }

// bartered is a torrent in which there is nothing left to do.
type bartered struct{ ih swarmcache.InfoHash }

func (t bartered) InfoHash() swarmcache.InfoHash                      { return t.ih }
func (bartered) AddPeers([]netip.AddrPort)                            {}
func (bartered) Meet(swarmcache.Node, bool)                           {}
func (bartered) Want(layout.Range)                                    {}
func (bartered) Window(int64) swarmcache.Window                       { return window{} }
func (bartered) PieceChanged(int)                                     {}
func (bartered) Tell(int, []byte)                                     {}
func (bartered) Hear(swarmcache.Hearing)                              {}
func (bartered) Ask()                                                 {}
func (bartered) Answer(bool, iter.Seq2[int, []byte])                  {}
func (bartered) Askers() (_ swarmcache.NodeID, _ []swarmcache.NodeID) { return "", nil }
func (bartered) PeersHave() func(int) bool                            { return func(int) bool { return false } }
func (bartered) Seedless() bool                                       { return false }
func (bartered) Neighbours([]layout.Range) (int, int)                 { return 0, 0 }
func (bartered) Stats() (none swarmcache.TorrentStats)                { return none }
func (bartered) Drop()                                                {}

type window struct{}

func (window) MoveTo(int64) {}
func (window) Close()       {}
