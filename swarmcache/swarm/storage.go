package swarm

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"github.com/anacrolix/torrent/storage"

	"shatabdi/swarmcache"
)

// store is the engine's storage: every torrent is bound to a swarmcache.File
// before it is added. The engine calls it under its client-wide lock, so
// nothing here blocks or does I/O but reading and writing pieces.
type store struct {
	up, down *shaper // what peers get and give waits there
	needs    *needs  // of whom gets them
	judge    *judge
	hashed   func(of evidence, right bool) // is told of every piece from peers

	mu    sync.Mutex
	bound map[metainfo.Hash]binding
}

type binding struct {
	file *swarmcache.File
	fill bool // the info's piece hashes are placeholders
}

func (s *store) bind(ih metainfo.Hash, b binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bound[ih] = b
}

// fileOf is the file that a torrent stands over; nil: it has left.
func (s *store) fileOf(ih metainfo.Hash) *swarmcache.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bound[ih].file
}

func (s *store) unbind(ih metainfo.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bound, ih)
}

// OpenTorrent implements storage.ClientImpl. For a sealed torrent whose
// metadata came from a peer this is where the file learns its hashes.
func (s *store) OpenTorrent(_ context.Context, info *metainfo.Info, ih metainfo.Hash) (storage.TorrentImpl, error) {
	s.mu.Lock()
	b, ok := s.bound[ih]
	s.mu.Unlock()
	if !ok {
		return storage.TorrentImpl{}, fmt.Errorf("torrent %s is not bound to a file", ih)
	}
	l := b.file.Layout()
	if info.PieceLength != l.PieceLen || info.TotalLength() != l.Length || info.NumPieces() != l.Pieces() {
		return storage.TorrentImpl{}, fmt.Errorf("torrent %s: %d bytes in pieces of %d, want %d in %d",
			ih, info.TotalLength(), info.PieceLength, l.Length, l.PieceLen)
	}
	if !b.fill {
		if err := b.file.LearnSealed(info.Pieces); err != nil {
			return storage.TorrentImpl{}, fmt.Errorf("torrent %s, %w", ih, err)
		}
	}
	if !b.file.Acquire() {
		return storage.TorrentImpl{}, fmt.Errorf("torrent %s: its file is closed", ih)
	}
	gone := make(chan struct{})
	as := sharer{b.file.Version().ID, b.file.Priority, gone}
	return storage.TorrentImpl{
		Piece: func(p metainfo.Piece) storage.PieceImpl { return &piece{s, as, b.file, ih, p} },
		Close: sync.OnceValue(func() error {
			close(gone)
			s.judge.forget(b.file)
			return b.file.Release()
		}),
	}, nil
}

type piece struct {
	s  *store
	as sharer
	f  *swarmcache.File
	ih metainfo.Hash
	p  metainfo.Piece
}

// ReadAt is called for what peers asked for, and for nothing else. It does not
// fail once the torrent is dropped: the engine would panic, and has hung up by
// then, so that nothing is sent.
func (p *piece) ReadAt(b []byte, off int64) (int, error) {
	if p.s.up.limited() {
		rank := p.s.needs.rank(ask{p.ih, pp.Integer(p.p.Index()), pp.Integer(off)})
		if !p.s.up.pass(p.as, len(b), rank) {
			return len(b), nil
		}
	}
	n, err := p.f.ReadPieceAt(p.p.Index(), b, off)
	if err != nil && p.as.isGone() {
		return len(b), nil
	}
	return n, err
}

// WriteAt takes what a peer sent. While it waits nothing more is read from that
// peer, so that the peer slows down.
func (p *piece) WriteAt(b []byte, off int64) (int, error) {
	if !p.s.down.pass(p.as, len(b), alike) {
		return 0, fs.ErrClosed
	}
	return p.f.WriteChunk(p.p.Index(), b, off)
}

// Completion is also the gate: the engine never requests a piece of unknown
// completion, whatever readers and priorities say. Without it, data whose hash
// has not arrived yet would convict an honest sender.
func (p *piece) Completion() storage.Completion {
	i := p.p.Index()
	if p.f.Has(i) {
		return storage.Completion{Ok: true, Complete: true}
	}
	return storage.Completion{Ok: p.f.Wantable(i)}
}

// SelfHash answers the info's hash when the bytes match the true one. The piece
// is complete with that: no other torrent can write to it before MarkComplete.
func (p *piece) SelfHash() (metainfo.Hash, error) {
	of := evidence{p.f, p.p.Index()}
	right, err := p.f.Verify(p.p.Index())
	if err != nil {
		p.s.judge.dismiss(of)
		return metainfo.Hash{}, err
	}
	if p.s.hashed(of, right); !right {
		return metainfo.Hash{}, errCorrupt
	}
	return p.p.V1Hash().Unwrap(), nil
}

// MarkComplete: it was when SelfHash returned.
func (p *piece) MarkComplete() error { return nil }

// MarkNotComplete: a piece that is complete stays so.
func (p *piece) MarkNotComplete() error { return nil }
