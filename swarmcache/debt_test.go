package swarmcache

import (
	"context"
	"testing"
	"time"

	"shatabdi/swarmcache/layout"
)

// turns is a transfer of "m" among other nodes, without anything that moves.
func turns(length int64, others ...NodeID) (*transfer, *peers) {
	v := Version{Length: length, PieceLen: layout.PieceLenFor(length), URL: "http://origin/"}
	p := &peers{}
	t := &transfer{
		c:    &Cache{cfg: Config{Node: Node{ID: "m"}, Streams: 4, Swarm: limited{}}, rates: rates{m: map[string]float64{}}, metrics: newMetrics(nil)},
		file: &File{version: v, layout: v.Layout()}, rec: &FillRecord{Version: v}, fill: p,
		wants: map[*want]bool{}, nodes: map[NodeID]Member{}, departed: map[NodeID]bool{}, lazy: map[NodeID]time.Time{}, streams: map[*stream]bool{}, listed: len(others) < MaxListed,
	}
	t.file.init(v.Layout().Pieces())
	rec := newFill("opener", v, false, nil)
	t.spanBook = newSpanBook("m", &rec)
	for _, id := range others {
		t.nodes[id] = Member{Node: Node{ID: id}}
	}
	t.participants()
	return t, p
}

// A link that carries less than it was told does not take spans that it could pass on
// only after the others have the rest.
func TestSlowLinkLeavesTheLastSpansToOthers(t *testing.T) {
	tr, _ := turns(64<<20, "a", "b", "z")
	now := time.Now()
	tr.started = now.Add(-10 * time.Second)
	for i := range len(tr.spans)/2 + 1 { // 10 s to go
		tr.spans[i].Landed = true
	}
	span := int64(tr.plan.MaxSpan) * tr.plan.PieceLen
	for link, last := range map[limited]bool{
		{}:                                    false,
		{carries: span}:                       false,
		{carries: span / 4}:                   false,
		{carries: span / 6}:                   true,
		{carries: span / 6, upload: span / 5}: false, // about what it was told
	} {
		tr.c.cfg.Swarm, tr.debt = link, debt{}
		if tr.inDebt(now); tr.debt.slow != last {
			t.Errorf("a link of %d B/s, told %d, %d a span: %v", link.carries, link.upload, span, !last)
		}
	}
	tr.c.cfg.Swarm, tr.debt = limited{carries: span / 4}, debt{}
	tr.owe(20, now)
	if tr.inDebt(now); !tr.debt.slow {
		t.Error("what it owes does not count")
	}
	i := len(tr.spans) - 1
	for i%4 != 2 {
		i--
	}
	if tr.turn(i, now) {
		t.Error("it takes its turn")
	}
	if now = now.Add(grace + (slowBehind+1)*grace/4); !tr.turn(i, now) {
		t.Error("nobody takes the span, and the slow node does not either")
	}
	clear(tr.nodes)
	if tr.inDebt(now.Add(debtEvery)); tr.debt.slow {
		t.Error("alone it leaves spans to others")
	}
}

// peers is a swarm that has what it is told to have.
type peers struct {
	Torrent
	have          map[int]bool
	sent          int64
	seedless      bool
	peers, pieces int
}

func (p *peers) PeersHave() func(int) bool            { return func(i int) bool { return p.have[i] } }
func (p *peers) Stats() TorrentStats                  { return TorrentStats{BytesWritten: p.sent} }
func (p *peers) PieceChanged(int)                     {}
func (p *peers) Seedless() bool                       { return p.seedless }
func (p *peers) Neighbours([]layout.Range) (int, int) { return p.peers, p.pieces }

func TestNodeInDebtLetsOthersGoFirst(t *testing.T) {
	tr, p := turns(64<<20, "a", "b", "z") // in order: a b m z
	now := time.Now()
	if !tr.turn(2, now) || tr.turn(3, now) {
		t.Fatal("turns are not i mod participants")
	}
	tr.inDebt(now)
	tr.owe(20, now)
	now = now.Add(time.Second)
	if tr.turn(2, now) {
		t.Error("a node that sent nothing of what it landed takes its turn")
	}
	if now = now.Add(grace + 5*grace/4); !tr.turn(2, now) {
		t.Error("nobody takes the span, and the node in debt does not either")
	}

	p.sent = 64 << 20 // its uplink is quick: what is left is on its way
	tr, p = turns(64<<20, "a", "b", "z")
	tr.inDebt(now)
	tr.owe(20, now)
	now, p.sent = now.Add(time.Second), 64<<20
	if !tr.turn(2, now) {
		t.Error("a quick uplink does not count")
	}
	if now = now.Add(debtTime); tr.turn(2, now) {
		t.Error("what nobody has after so long is not on its way")
	}
	p.have = map[int]bool{}
	for i := range tr.plan.Pieces() {
		p.have[i] = true
	}
	if now = now.Add(debtEvery); !tr.turn(6, now) {
		t.Error("still in debt after all was passed on")
	}
}

func TestNobodyWaitsForWhoLetsTurnsPass(t *testing.T) {
	tr, _ := turns(64<<20, "a", "b", "z")
	now := time.Now()
	claim := func(span int, by NodeID) {
		if err := tr.onBoard(context.Background(), BoardEvent{Span: &SpanRecord{Span: span, Owner: by, Rev: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	tr.c.now = func() time.Time { return now }
	if tr.turn(5, now) || tr.turn(1, now) { // they are b's
		t.Fatal("the turn of b is taken at once")
	}
	claim(1, "a") // at once: b had no chance
	if tr.turn(9, now) {
		t.Error("b is skipped although it let nothing pass")
	}
	now = now.Add(2 * grace)
	claim(5, "z")
	if !tr.turn(9, now) {
		t.Error("the next one does not take the turn of b at once")
	}
	claim(13, "b")
	if tr.turn(17, now) {
		t.Error("b is back, and still skipped")
	}
}

// A peer that says it has a span, and gives nothing, does not hold a reader up
// for ever.
func TestStuckNodeHelpsItself(t *testing.T) {
	tr, p := turns(64<<20, "a", "b", "z")
	now := time.Now()
	tr.alive = now
	tr.wants[newWant(layout.Range{To: int64(tr.plan.Pieces())}, 0)] = true
	tr.put(SpanRecord{Span: 7, Landed: true, By: "a", Rev: 3}, now)
	p.have = map[int]bool{}
	for i := range tr.plan.Pieces() {
		p.have[i] = true
	}
	now = now.Add(overdueAfter - time.Second)
	if tr.findOrphans(now); tr.orphans.has(7) {
		t.Error("fetched again although its holder lives and may give it")
	}
	now = now.Add(2 * time.Second)
	for i := range tr.c.cfg.Streams {
		tr.put(SpanRecord{Span: 20 + i, Owner: NodeID(rune('A' + i)), Rev: 4}, now)
	}
	if tr.findOrphans(now); tr.orphans.has(7) {
		t.Error("fetched again although others help themselves already")
	}
	tr.put(SpanRecord{Span: 20}, now)
	if tr.findOrphans(now); !tr.orphans.has(7) {
		t.Error("nothing came for so long, and nothing is done")
	}
}

// The opener's body goes on where the next span is free, in turn or not: what the
// origin sends while it waits is lost. One that is in debt waits for its turn.
func TestOpenerGoesOnOutOfTurn(t *testing.T) {
	for _, debt := range []bool{false, true} {
		tr, _ := turns(64<<20, "a", "b", "z") // span 4 is the turn of a
		now := time.Now()
		tr.c.now = func() time.Time { return now }
		tr.board, tr.asked, tr.events = aloneBoard{}, true, make(chan any, 1)
		tr.wants[newWant(layout.Range{To: int64(tr.plan.Pieces())}, 0)] = true
		tr.debt.checked, tr.debt.deep = now, debt
		s := newStream(tr, 0, firstRun)
		s.endless = true
		s.beginAt(tr.plan.Span(firstRun).From)
		tr.streams[s] = true
		tr.extend(t.Context(), s, now)
		tr.background.Wait()
		if tr.turn(firstRun, now) || s.stopped() || tr.claiming == debt {
			t.Errorf("in debt: %v; stopped: %v, asked for more: %v", debt, s.stopped(), tr.claiming)
		}
	}
}
