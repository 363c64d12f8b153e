package swarm

import (
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring"
	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// joined is a torrent in the engine. Several users may share it; when the last
// one drops it, it stays until its peers are idle.
type joined struct {
	s      *Swarm
	t      *torrent.Torrent
	ih     metainfo.Hash
	file   *swarmcache.File
	fill   bool          // the torrent from before the hashes were known
	ready  chan struct{} // closed when the metadata is here
	gone   chan struct{} // closed when it left the engine
	hashes hashTalk
	border *border // to other zones; nil: this node has no zone

	rejects  rejects
	seedless atomic.Bool  // so says the tracker
	met      atomic.Int64 // when a peer last came, in Unix nanoseconds

	mu       sync.Mutex // guards the fields below; the engine's lock may be taken under it, never the other way
	users    int
	idle     time.Time // since when nobody here needs it and no bytes flow
	written  int64     // payload at that time
	read     int64     // payload received, and
	readAt   time.Time // when that last changed
	waking   bool      // the writers are about to be woken
	pace     pace
	dropped  bool
	peers    peers
	share    uint32                  // one in so many pieces is this node's own
	base     []torrent.PiecePriority // without windows; none where nobody wants the piece
	current  []torrent.PiecePriority
	windows  map[*window]bool
	hasReady bool
}

// Fill implements swarmcache.Swarm.
func (s *Swarm) Fill(f *swarmcache.File) (swarmcache.Torrent, error) {
	info, ih := fillInfo(f.Version(), s.cfg.Secret())
	return s.join(f, ih, info, true)
}

// Sealed implements swarmcache.Swarm.
func (s *Swarm) Sealed(f *swarmcache.File) (swarmcache.Torrent, error) {
	v := f.Version()
	var info []byte
	ih := metainfo.Hash(v.InfoHash)
	if hashes := f.Hashes(); hashes != nil {
		info, ih = sealedInfo(v, hashes)
	} else if v.InfoHash.IsZero() {
		return nil, errors.New("neither hashes nor infohash are known")
	}
	return s.join(f, ih, info, false)
}

// Seal returns the infohash of the sealed torrent over f, all of whose hashes
// are known.
func (s *Swarm) Seal(f *swarmcache.File) swarmcache.InfoHash {
	ih := SealedInfoHash(f.Version(), f.Hashes())
	if f.Left() == 0 {
		s.announce.sealed(ih)
	}
	return ih
}

func (s *Swarm) join(f *swarmcache.File, ih metainfo.Hash, info []byte, fill bool) (*joined, error) {
	s.joining.Lock()
	defer s.joining.Unlock()
	s.mu.Lock()
	old := s.torrents[ih]
	s.mu.Unlock()
	if old != nil {
		if old.file == f && old.use() {
			return old, nil
		}
		old.leaveLocked() // over another file of the same object: that one was replaced
	}
	chunk := chunkLen(f.Version().PieceLen)
	s.chunks.Store(ih, chunk)
	s.store.bind(ih, binding{f, fill})
	tt, _ := s.client.AddTorrentOpt(torrent.AddTorrentOpts{
		InfoHash: ih, InfoBytes: info, ChunkSize: pp.Integer(chunk), DisableInitialPieceCheck: true,
	})
	n := f.Layout().Pieces()
	t := &joined{
		s: s, t: tt, ih: ih, file: f, fill: fill, users: 1,
		ready: make(chan struct{}), gone: make(chan struct{}),
		share: 2, peers: peers{named: map[netip.AddrPort]*named{}}, windows: map[*window]bool{},
		base: make([]torrent.PiecePriority, n), current: make([]torrent.PiecePriority, n),
	}
	if s.zoned() {
		t.border = newBorder(s.place, memberOf(s.cfg.Node), f.Layout(), s.crossingOf(f))
	}
	s.mu.Lock()
	s.torrents[ih] = t
	s.mu.Unlock()
	if info != nil {
		t.gotInfo()
	} else {
		s.goWork(func() {
			select {
			case <-tt.GotInfo():
				t.gotInfo()
			case <-t.gone:
			case <-s.done:
			}
		})
	}
	s.announce.add(t)
	return t, nil
}

// use adds a user, unless the torrent has left.
func (t *joined) use() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped {
		return false
	}
	t.users++
	return true
}

func (t *joined) gotInfo() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hasReady = true
	close(t.ready)
	t.applyLocked(layout.Range{From: 0, To: int64(len(t.base))})
}

func (t *joined) InfoHash() swarmcache.InfoHash { return swarmcache.InfoHash(t.ih) }

// Want implements swarmcache.Torrent. Priorities are random, for the engine
// breaks ties of rarity by the lowest index: without that all nodes ask for the
// same pieces. A few pieces are this node's own, so that nodes differ even more
// when one seeder has everything.
func (t *joined) Want(pieces layout.Range) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := pieces.From; i < pieces.To; i++ {
		if t.base[i] == torrent.PiecePriorityNone {
			t.base[i] = torrent.PiecePriorityNormal
		}
	}
	t.spreadLocked(pieces)
}

// manyPeers all want the same piece first, so that it comes late: from there on
// a reader's piece comes with this node's own ones and not before them. For a
// few it would be a waste: half the pieces are the own ones of a node alone with
// a seeder, and its reader waited for a quarter of the object.
const manyPeers = 8

// spreadLocked draws the priorities of the wanted ones among pieces.
func (t *joined) spreadLocked(pieces layout.Range) {
	own, others := torrent.PiecePriorityNow, 4
	if t.share < manyPeers {
		own, others = torrent.PiecePriorityNext, 3
	}
	for i := pieces.From; i < pieces.To; i++ {
		switch {
		case t.base[i] == torrent.PiecePriorityNone:
		case t.own(i):
			t.base[i] = own
		default:
			t.base[i] = torrent.PiecePriority(1 + rand.IntN(others))
		}
	}
	t.applyLocked(pieces)
}

// own reports whether this node should fetch piece i before others do.
func (t *joined) own(i int64) bool {
	h := fnv.New32a()
	h.Write([]byte(t.s.cfg.Node))
	h.Write([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	return h.Sum32()%t.share == 0
}

// applyLocked brings the engine's priorities of pieces up to date.
func (t *joined) applyLocked(pieces layout.Range) {
	if !t.hasReady || t.dropped {
		return
	}
	wished := false
	for i := pieces.From; i < pieces.To; i++ {
		p := t.base[i]
		for w := range t.windows {
			p = max(p, w.priority(int(i)))
		}
		if p != t.current[i] {
			wished = wished || p > t.current[i]
			t.current[i] = p
			t.t.Piece(int(i)).SetPriority(p)
		}
	}
	if wished {
		t.wakeLocked()
	}
}

// window is a reader's place: the piece it stands in is needed now, those
// behind it soon.
type window struct {
	t      *joined
	ahead  int64
	pieces layout.Range
}

// Window implements swarmcache.Torrent.
func (t *joined) Window(ahead int64) swarmcache.Window {
	w := &window{t: t, ahead: ahead}
	t.mu.Lock()
	t.windows[w] = true
	t.mu.Unlock()
	return w
}

func (w *window) priority(i int) torrent.PiecePriority {
	switch r := w.pieces; {
	case int64(i) == r.From && !r.Empty():
		return torrent.PiecePriorityNow
	case int64(i) > r.From && int64(i) < r.To:
		return torrent.PiecePriorityReadahead
	}
	return torrent.PiecePriorityNone
}

// MoveTo implements swarmcache.Window.
func (w *window) MoveTo(off int64) {
	l := w.t.file.Layout()
	w.set(l.PiecesOf(layout.Range{From: off, To: off + max(1, w.ahead)}))
}

func (w *window) set(to layout.Range) {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	from := w.pieces
	if from == to {
		return
	}
	w.pieces = to
	t.applyLocked(layout.Range{From: from.From, To: min(from.To, max(to.From+1, from.From))})
	t.applyLocked(layout.Range{From: to.From, To: min(to.From+1, to.To)})
	t.applyLocked(layout.Range{From: max(from.To, to.From), To: to.To})
	if to.To < from.To { // moved back, or the end was cut
		t.applyLocked(layout.Range{From: to.To, To: from.To})
	}
}

// Close implements swarmcache.Window.
func (w *window) Close() {
	w.set(layout.Range{})
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	delete(w.t.windows, w)
}

// PieceChanged implements swarmcache.Torrent.
func (t *joined) PieceChanged(i int) {
	t.mu.Lock()
	ok := t.hasReady && !t.dropped
	if ok && t.current[i] != torrent.PiecePriorityNone {
		t.wakeLocked()
	}
	t.mu.Unlock()
	if ok {
		t.t.Piece(i).UpdateCompletion()
	}
}

// PeersHave implements swarmcache.Torrent.
func (t *joined) PeersHave() func(int) bool {
	have := roaring.New()
	select {
	case <-t.ready:
		for _, c := range t.t.PeerConns() {
			have.Or(t.border.piecesOf(c))
		}
	default:
	}
	return func(i int) bool { return have.Contains(uint32(i)) }
}

// Seedless implements swarmcache.Torrent.
func (t *joined) Seedless() bool { return t.seedless.Load() }

// Neighbours implements swarmcache.Torrent.
func (t *joined) Neighbours(wanted []layout.Range) (peers, copies int) {
	select {
	case <-t.ready:
	default:
		return 0, 0
	}
	lacking := roaring.New()
	for _, r := range wanted {
		for i := r.From; i < r.To; i++ {
			if !t.file.Has(int(i)) {
				lacking.Add(uint32(i))
			}
		}
	}
	for _, c := range t.t.PeerConns() {
		peers++
		copies += int(lacking.AndCardinality(t.border.piecesOf(c)))
	}
	return peers, copies
}

// Stats implements swarmcache.Torrent.
func (t *joined) Stats() swarmcache.TorrentStats {
	s := t.t.Stats()
	return swarmcache.TorrentStats{
		Peers:     s.ActivePeers,
		BytesRead: s.BytesReadData.Int64(), BytesWritten: s.BytesWrittenData.Int64(),
		BytesUseful: s.BytesReadUsefulData.Int64(), BytesAcross: t.border.imported(),
	}
}

// Drop implements swarmcache.Torrent: this user is done. The torrent stays
// while peers take bytes from it.
func (t *joined) Drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users > 0 {
		t.users--
	}
	t.idle = time.Now()
}

// settle drops the torrent when nobody here needs it and no peer used it for a
// while, or at once when the cache has forgotten the object.
func (t *joined) settle(now time.Time) {
	t.mu.Lock()
	used := t.users > 0 || t.dropped
	t.mu.Unlock()
	if used {
		return
	}
	written := t.Stats().BytesWritten
	t.mu.Lock()
	if written != t.written {
		t.written, t.idle = written, now
	}
	wait := t.lingersLocked(now) && !t.file.Condemned()
	t.mu.Unlock()
	if !wait {
		t.leave()
	}
}

// lingersLocked reports whether it stays for its peers: bytes flowed of late, or one has
// just come for some.
func (t *joined) lingersLocked(now time.Time) bool {
	return now.Sub(t.idle) < lingerIdle || now.Sub(time.Unix(0, t.met.Load())) < lingerIdle
}

// leave takes the torrent out of the engine, unless somebody came to use it. It
// and join are one at a time, or a join could find the torrent half gone.
func (t *joined) leave() {
	t.s.joining.Lock()
	defer t.s.joining.Unlock()
	t.mu.Lock()
	used := t.users > 0
	t.mu.Unlock()
	if !used {
		t.leaveLocked()
	}
}

// leaveLocked needs s.joining.
func (t *joined) leaveLocked() {
	t.mu.Lock()
	if t.dropped {
		t.mu.Unlock()
		return
	}
	t.dropped = true
	t.mu.Unlock()
	t.s.count(t.Stats())
	t.forget()
	t.s.announce.remove(t)
	t.t.Drop()
}

// forget removes the torrent from the swarm's books.
func (t *joined) forget() {
	select {
	case <-t.gone:
		return
	default:
		close(t.gone)
	}
	if t.border != nil {
		t.border.crossing.drop(t.border)
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.torrents[t.ih] == t {
		delete(t.s.torrents, t.ih)
		t.s.store.unbind(t.ih)
		t.s.chunks.Delete(t.ih)
	}
}
