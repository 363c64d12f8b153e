package swarm

import (
	"testing"
	"time"

	"github.com/anacrolix/torrent"
)

// Rejections that come together are taken together, and those of a peer that gives
// nothing else do not keep this node busy.
func TestRejections(t *testing.T) {
	var r rejects
	one, other := &torrent.PeerConn{PeerListenPort: 1}, &torrent.PeerConn{PeerListenPort: 2}
	if wait, first := r.add(one); !first || wait != againAfter {
		t.Errorf("at first %v, %v", wait, first)
	}
	if _, first := r.add(other); first {
		t.Error("the second one is the first")
	}
	r.add(one)
	if n := len(r.take(1, 8)); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	waits := func() (wait time.Duration) {
		wait, first := r.add(one)
		if !first {
			t.Fatal("it was not taken")
		}
		return wait
	}
	if wait := waits(); wait != againAfter {
		t.Errorf("where something comes, %v", wait)
	}
	for range 10 {
		r.take(1, 8)
		waits()
	}
	if wait, _ := r.add(one); wait != nudgeAfter {
		t.Errorf("where nothing comes, %v", wait)
	}
	r.take(2, 8)
	if wait := waits(); wait != againAfter {
		t.Errorf("where something comes again, %v", wait)
	}
}

// Who asks for something need not think again, and nobody where the others ask for
// all that is wanted, one piece each.
func TestWhoMayAskAgain(t *testing.T) {
	for _, x := range []struct {
		own, others, wanted int
		again               bool
	}{
		{0, 0, 1, true},
		{1, 0, 8, false},
		{0, 1, 2, true},
		{0, 1, 1, false},
		{0, 2, 2, true},
	} {
		var r rejects
		one, other := &torrent.PeerConn{PeerListenPort: 1}, &torrent.PeerConn{PeerListenPort: 2}
		r.ask(one, 3)
		r.ask(one, x.own-3)
		r.ask(other, x.others)
		r.add(one)
		if idle := r.take(1, x.wanted); (len(idle) > 0) != x.again {
			t.Errorf("%+v: %d", x, len(idle))
		}
	}
}
