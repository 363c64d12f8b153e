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
	one, other := n.pace(ask{ih, both, 0}), n.pace(ask{ih, both, 0})
	want := func(what string, pace func() float64, least float64) {
		t.Helper()
		if p := pace(); p != least {
			t.Errorf("%s: %v pieces/s, want %v", what, p, least)
		}
	}
	want("what both want", one, 0.1)
	want("what only the fast one wants", n.pace(ask{ih, its, 0}), 4)
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
