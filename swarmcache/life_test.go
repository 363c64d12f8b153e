package swarmcache

import (
	"fmt"
	"testing"
	"time"

	"shatabdi/swarmcache/layout"
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

// While all streams that the object may have are taken, its other spans lie there
// for everybody to see. When one stream ends they are not left lying yet.
func TestUnlistedNodesDoNotHerdWhenAStreamEnds(t *testing.T) {
	var others []NodeID
	for i := range MaxListed {
		others = append(others, NodeID(fmt.Sprintf("node-%02d", i)))
	}
	now := time.Now()
	n, later := 0, 0
	for i := range 200 {
		tr, _ := turns(256<<20, others...)
		tr.c.cfg.Node.ID = NodeID(fmt.Sprintf("unlisted-%d", i))
		tr.wants[newWant(layout.Range{To: int64(tr.file.layout.Pieces())}, 0)] = true
		tr.next(now)
		for k, id := range others[:tr.c.cfg.Streams] {
			tr.put(SpanRecord{Span: k, Owner: id, Rev: 1}, now)
		}
		end := now.Add(overdueAfter - time.Second)
		if tr.next(end) != nil {
			t.Fatal("a fifth stream")
		}
		tr.put(SpanRecord{Span: 0, Landed: true, By: others[0], Rev: 2}, end)
		for k := 1; k < tr.c.cfg.Streams; k++ {
			tr.put(SpanRecord{Span: k, Owner: others[k], Rev: 2}, end) // they get on
		}
		if tr.next(end.Add(tickEvery)) != nil {
			n++
		}
		if tr.next(end.Add(grace+(MaxListed+unlistedSpread)*grace/4+tickEvery)) != nil {
			later++
		}
	}
	if n > 0 || later < 200 {
		t.Errorf("%d of 200 are there at once, and %d when nobody else was", n, later)
	}
}

// A slow uplink makes patience long: the first piece needs many copies to come
// round to all.
func TestPatienceGrowsWithTheTimeThatAPieceTakes(t *testing.T) {
	for _, c := range []struct {
		uplink int64
		size   int
		stuck  time.Duration
	}{
		{0, 512, overdueAfter},
		{24 << 20, 512, overdueAfter},
		{64 << 10, 10, 2 * 4 * 2 * time.Second},
		{64 << 10, 512, 2 * 10 * 2 * time.Second},
		{32 << 10, 512, 2 * maxRound},
	} {
		tr, _ := turns(16<<20, "a")
		tr.c.cfg.Swarm, tr.c.cfg.Directory = limited{upload: c.uplink}, sized{size: c.size}
		now := time.Now()
		tr.alive = now
		if tr.stuck(0, now.Add(c.stuck-time.Second)) || !tr.stuck(0, now.Add(c.stuck+time.Second)) {
			t.Errorf("%d B/s, %d nodes: not stuck after %v", c.uplink, c.size, c.stuck)
		}
	}
}

type limited struct {
	Swarm
	upload, carries int64
}

func (l limited) Limits() (upload, download int64) { return l.upload, 0 }
func (l limited) Uplink() int64                    { return l.carries }

type sized struct {
	Directory
	size int
}

func (s sized) Size() int { return s.size }

// Who has had nothing to fetch for a while waits for room no longer.
func TestWaitForRoomEndsWithItsUse(t *testing.T) {
	tr, _ := turns(64<<20, "a")
	waits := true
	tr.seating, tr.unseat = true, func() { waits = false }
	now := time.Now()
	tr.needed = now
	if tr.standDown(now.Add(standDownAfter / 2)); !waits {
		t.Error("a moment without use ends the wait")
	}
	if tr.standDown(now.Add(2 * standDownAfter)); waits {
		t.Error("still waits for what it has no use for")
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
