package swarm

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
)

// By itself the engine bans the address of who sent a corrupt piece, for as long
// as it runs: one node with bad memory takes all others behind its address with
// it, and ten nodes on one machine are lost to each other. And where a piece has
// chunks from several peers it bans nobody. So it is told of an error instead of
// a mismatch, and peers are judged here, by their peer ids.

const (
	// sentence is how long a peer is avoided. Honest ones may have had bad luck
	// once, and liars cost one piece each time.
	sentence = 10 * time.Minute
	// manyLiars behind one address are one that changes its name: then the address
	// is avoided.
	manyLiars = 3
	// suspicions is how many more corrupt pieces than right ones a peer may have
	// had a part in, together with others, before it is convicted.
	suspicions = 3
)

var errCorrupt = errors.New("the piece does not match its hash")

// name is how a peer calls itself, and from where.
type name struct {
	id   torrent.PeerID
	addr netip.Addr
}

// sender is a peer that sent a chunk, and where it may be dialed.
type sender struct {
	name
	listens netip.AddrPort
}

// judge knows who sent what, and who is to be avoided.
type judge struct {
	mu       sync.Mutex // guards the fields below; never held across a call into the engine
	senders  map[evidence][]sender
	suspects map[torrent.PeerID]*suspect
	avoided  map[name]time.Time           // until when
	dialed   map[netip.AddrPort]time.Time // where they listen
}

// evidence is a piece that is being received, over one torrent of its file or both.
type evidence struct {
	file  *swarmcache.File
	piece int
}

type suspect struct {
	corrupt int // pieces it had a part in, less the right ones
	last    time.Time
}

func newJudge() *judge {
	return &judge{
		senders: map[evidence][]sender{}, suspects: map[torrent.PeerID]*suspect{},
		avoided: map[name]time.Time{}, dialed: map[netip.AddrPort]time.Time{},
	}
}

// received notes who sent a chunk. It is called under the engine's lock, before
// the chunk is written.
func (j *judge) received(e torrent.ReceivedUsefulDataEvent, fileOf func(metainfo.Hash) *swarmcache.File) {
	c, ok := e.Peer.TryAsPeerConn()
	if !ok {
		return
	}
	file := fileOf(e.Peer.Torrent().InfoHash())
	if file == nil {
		return
	}
	of := evidence{file, int(e.Message.Index)}
	from := sender{nameOf(c), listensAt(c)}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Contains(j.senders[of], from) {
		j.senders[of] = append(j.senders[of], from)
	}
}

// verified judges those who sent a piece, and returns the names of those whom
// that convicts.
func (j *judge) verified(of evidence, right bool, now time.Time) (convicts []name) {
	j.mu.Lock()
	defer j.mu.Unlock()
	senders := j.senders[of]
	delete(j.senders, of)
	worst := 0
	for _, from := range senders {
		s := j.suspects[from.id]
		if s == nil {
			s = &suspect{}
			j.suspects[from.id] = s
		}
		s.last = now
		if right {
			s.corrupt = max(s.corrupt-1, -suspicions)
		} else {
			s.corrupt++
			worst = max(worst, s.corrupt)
		}
	}
	if right || len(senders) > 1 && worst < suspicions {
		return nil
	}
	for _, from := range senders {
		if len(senders) == 1 || j.suspects[from.id].corrupt == worst {
			j.convictLocked(from, now.Add(sentence))
			convicts = append(convicts, from.name)
		}
	}
	return convicts
}

func (j *judge) convictLocked(n sender, until time.Time) {
	j.avoided[n.name], j.dialed[n.listens] = until, until
	liars := 0
	for other := range j.avoided {
		if other.addr == n.addr {
			liars++
		}
	}
	if liars >= manyLiars {
		j.avoided[name{addr: n.addr}] = until
	}
}

// dismiss forgets who sent a piece.
func (j *judge) dismiss(of evidence) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.senders, of)
}

// avoids reports whether this node wants nothing to do with a peer.
func (j *judge) avoids(n name, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return now.Before(j.avoided[n]) || now.Before(j.avoided[name{addr: n.addr}])
}

// avoidsAddr is avoids for a peer that is not connected.
func (j *judge) avoidsAddr(a netip.AddrPort, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return now.Before(j.dialed[a]) || now.Before(j.avoided[name{addr: a.Addr()}])
}

// count is how many peers are avoided.
func (j *judge) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.avoided)
}

// forget drops what a torrent of that file leaves behind.
func (j *judge) forget(file *swarmcache.File) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.DeleteFunc(j.senders, func(e evidence, _ []sender) bool { return e.file == file })
}

// sweep forgives.
func (j *judge) sweep(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.DeleteFunc(j.avoided, func(_ name, until time.Time) bool { return !now.Before(until) })
	maps.DeleteFunc(j.dialed, func(_ netip.AddrPort, until time.Time) bool { return !now.Before(until) })
	maps.DeleteFunc(j.suspects, func(_ torrent.PeerID, s *suspect) bool { return now.Sub(s.last) > sentence })
}

// hashed is called when a piece was, without the engine's lock. Convicts are hung
// up on, in every torrent.
func (s *Swarm) hashed(of evidence, right bool) {
	now := time.Now()
	convicts := s.judge.verified(of, right, now)
	if len(convicts) == 0 {
		return
	}
	for _, n := range convicts {
		s.log.Warn("a peer sent a corrupt piece, it is avoided for a while", "peer", n.addr, "piece", of.piece)
	}
	for _, t := range s.list() {
		for _, c := range t.t.PeerConns() {
			if s.judge.avoids(nameOf(c), now) {
				c.Close()
			}
		}
	}
}

// welcome hangs up on a convict that comes back. For all others the torrent stays a
// while. The engine's lock is held.
func (s *Swarm) welcome(c *torrent.PeerConn) {
	if s.judge.avoids(nameOf(c), time.Now()) {
		s.goWork(func() { c.Close() })
		return
	}
	if t := s.torrentOf(c); t != nil {
		t.met.Store(time.Now().UnixNano())
	}
}

func nameOf(c *torrent.PeerConn) name { return name{c.PeerID, remoteOf(c).Addr()} }

func remoteOf(c *torrent.PeerConn) netip.AddrPort {
	if c.RemoteAddr == nil {
		return netip.AddrPort{}
	}
	a, _ := netip.ParseAddrPort(c.RemoteAddr.String()) // invalid: like any other
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// listensAt is where a peer could be dialed: where it was, or where it says. It
// needs the engine's lock.
func listensAt(c *torrent.PeerConn) netip.AddrPort {
	a := remoteOf(c)
	if p := c.PeerListenPort; p > 0 && p < 1<<16 {
		a = netip.AddrPortFrom(a.Addr(), uint16(p))
	}
	return a
}
