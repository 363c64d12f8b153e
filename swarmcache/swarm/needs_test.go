package swarm

import (
	"testing"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"
)

// Of two peers that ask for the same the engine may serve the fast one first; the
// slow one is still the slowest of all then, and not taken for the fast one.
func TestWhoAskedForTheSameStaysSlow(t *testing.T) {
	n := newNeeds()
	now := time.Now()
	n.now = func() time.Time { return now }
	fast, slow := &torrent.PeerConn{}, &torrent.PeerConn{}
	n.met(fast)
	n.met(slow)
	ih := metainfo.Hash{1}
	say := func(pc *torrent.PeerConn, kind pp.MessageType, i pp.Integer) {
		n.heard(pc, ih, &pp.Message{Type: kind, Index: i, Length: 1 << 17}, true)
	}
	now = now.Add(9500 * time.Millisecond)
	for i := range pp.Integer(39) {
		say(fast, pp.Have, i)
	}
	const both, its = 100, 101
	say(fast, pp.Request, both)
	say(slow, pp.Request, both)
	say(fast, pp.Request, its)
	one, other := n.rank(ask{ih, both, 0}), n.rank(ask{ih, both, 0})
	want := func(what string, rank func() float64, least float64) {
		t.Helper()
		if r := rank(); r != least {
			t.Errorf("%s: %v, want %v", what, r, least)
		}
	}
	want("what both want", one, 0.1)
	want("what only the fast one wants", n.rank(ask{ih, its, 0}), 4)
	say(fast, pp.Have, both) // one was for it
	want("what the slow one still waits for", other, 0.1)
	say(slow, pp.Cancel, both)
	want("what nobody wants any more", other, 0.1)
	n.parted(slow)
	n.parted(fast)
	if len(n.asked)+len(n.peers) > 0 {
		t.Errorf("%d asks of %d peers are left", len(n.asked), len(n.peers))
	}
}

// Of what peers wait for that come on alike, what fewer have goes first, whichever
// way they said what they have, and as long as they are there.
func TestWhatFewHaveGoesFirst(t *testing.T) {
	n := newNeeds()
	now := time.Now()
	n.now = func() time.Time { return now }
	ih := metainfo.Hash{1}
	meet := func(ms ...*pp.Message) *torrent.PeerConn {
		pc := &torrent.PeerConn{}
		n.met(pc)
		for _, m := range ms {
			n.heard(pc, ih, m, true)
		}
		return pc
	}
	seeder := meet(&pp.Message{Type: pp.HaveAll})
	some := meet(&pp.Message{Type: pp.Bitfield, Bitfield: []bool{true, true, false}}, &pp.Message{Type: pp.Have, Index: 0})
	few := meet(&pp.Message{Type: pp.Have, Index: 1}, &pp.Message{Type: pp.Have, Index: 1})
	asks := meet(&pp.Message{Type: pp.Request, Index: 1}, &pp.Message{Type: pp.Request, Index: 2})
	ranks := func() (many, one float64) { return n.rank(ask{ih, 1, 0})(), n.rank(ask{ih, 2, 0})() }
	if many, one := ranks(); many != one {
		t.Errorf("who has nothing yet is given one thing before the other: %v, %v", one, many)
	}
	for i := range pp.Integer(firstPieces) {
		n.heard(asks, ih, &pp.Message{Type: pp.Have, Index: 10 + i}, true)
	}
	copies := func(i pp.Integer, want int) {
		t.Helper()
		if got := n.copies.of(ih, i); got != want {
			t.Errorf("%d have piece %d, want %d", got, i, want)
		}
	}
	copies(0, 2)
	copies(1, 3)
	copies(2, 1)
	if many, one := ranks(); many <= one {
		t.Errorf("what one has comes after what three have: %v, %v", one, many)
	}
	n.parted(some)
	n.parted(seeder)
	copies(0, 0)
	copies(1, 1)
	copies(2, 0)
	n.parted(few)
	n.parted(asks)
	if len(n.copies)+len(n.peers) > 0 {
		t.Errorf("%d torrents of %d peers are left", len(n.copies), len(n.peers))
	}
}

// Who was fast when others were not here is slow when it is slow now.
func TestPaceIsOfLate(t *testing.T) {
	n := newNeeds()
	now := time.Now()
	n.now = func() time.Time { return now }
	pc, ih, got := &torrent.PeerConn{}, metainfo.Hash{1}, pp.Integer(0)
	n.met(pc)
	gets := func(pieces int, each time.Duration) {
		for range pieces {
			now = now.Add(each)
			got++
			n.heard(pc, ih, &pp.Message{Type: pp.Have, Index: got}, true)
		}
	}
	check := func(least, most float64) {
		t.Helper()
		if p := n.paceLocked(n.peers[pc]); p < least || p > most {
			t.Errorf("%.1f pieces/s, want %v to %v", p, least, most)
		}
	}
	gets(1000, 100*time.Millisecond)
	check(8, 11)
	gets(paceOver, time.Second)
	check(0.9, 2)
}
