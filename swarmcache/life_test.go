package swarmcache

import (
	"fmt"
	"testing"
	"time"
)

func TestNobodyIsStuckWhileNeighboursGetPieces(t *testing.T) {
	tr, p := turns(64<<20, "a")
	now := time.Now()
	tr.alive = now
	pass := func(d time.Duration, gets func()) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(time.Second)
			gets()
			tr.lookAround(now)
		}
	}
	p.peers = 3
	if pass(4*overdueAfter, func() { p.pieces++ }); tr.stuck(0, now) {
		t.Error("stuck, though neighbours get pieces")
	}
	// One that comes back again and again brings what it has.
	if pass(2*overdueAfter, func() { p.peers++; p.pieces += 7 }); !tr.stuck(0, now) {
		t.Error("not stuck, though neighbours come and nobody gets anything")
	}
	if pass(2*time.Second, func() { p.pieces++ }); tr.stuck(0, now) {
		t.Error("still stuck after neighbours got pieces")
	}
}

func TestWhoIsNotListedComesAfterAllOthers(t *testing.T) {
	var others []NodeID
	for i := range MaxListed {
		others = append(others, NodeID(fmt.Sprintf("node-%02d", i)))
	}
	listed, _ := turns(256<<20, others[1:]...)
	unlisted, _ := turns(256<<20, others...)
	now := time.Now()
	n := 0
	for i := range unlisted.spans {
		if listed.turn(i, now) {
			n++
		}
		if unlisted.turn(i, now) {
			t.Errorf("span %d is the turn of a node that is not listed", i)
		}
	}
	if n == 0 {
		t.Error("a node that is listed has no turn")
	}
	now = now.Add(grace + MaxListed*grace/4)
	early := 0
	for i := range unlisted.spans {
		if !listed.turn(i, now) {
			t.Errorf("span %d is left lying by all who are listed, and this one does not take it", i)
		}
		if unlisted.turn(i, now) {
			early++
		}
	}
	if early > len(unlisted.spans)/4 {
		t.Errorf("%d of %d spans at once for one that is not listed", early, len(unlisted.spans))
	}
	now = now.Add(unlistedSpread * grace / 4)
	for i := range unlisted.spans {
		if !unlisted.turn(i, now) {
			t.Errorf("nobody takes span %d", i)
		}
	}
}

// With the board away and nothing coming, those who are not listed help
// themselves one after the other.
func TestUnlistedNodesDoNotHerdWhileTheBoardIsAway(t *testing.T) {
	var others []NodeID
	for i := range MaxListed {
		others = append(others, NodeID(fmt.Sprintf("node-%02d", i)))
	}
	now := time.Now()
	for _, c := range []struct {
		after       time.Duration
		least, most int
	}{
		{patiencePeers + awayFew*awayStep + time.Second, 0, 0},
		{patiencePeers + awayFew*awayStep + MaxListed*awayStride, 1, 100},
		{time.Minute, 200, 200},
	} {
		n := 0
		for i := range 200 {
			tr, _ := turns(64<<20, others...)
			tr.c.cfg.Node.ID = NodeID(fmt.Sprintf("unlisted-%d", i))
			tr.alive = now
			if tr.awayTurn(tr.behind(0, now), now.Add(c.after)) {
				n++
			}
		}
		if n < c.least || n > c.most {
			t.Errorf("after %v %d of 200 take the span", c.after, n)
		}
	}
}
