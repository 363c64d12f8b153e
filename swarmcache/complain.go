package swarmcache

import "time"

// complainAfter is how long nothing may come before the log says why, and how
// often it says so.
const complainAfter = 3 * time.Second

// complain tells the log what a reader waits for.
func (t *transfer) complain(now time.Time) {
	if now.Sub(latest(t.progress, t.complained)) < max(complainAfter, t.roundTime()) {
		return
	}
	t.complained = now
	i := t.awaited()
	if i < 0 {
		return
	}
	_, known := t.file.hash(i)
	facts := []any{
		"since", now.Sub(t.progress).Round(time.Millisecond), "missing", t.left, "piece", i,
		"hash_known", known, "wantable", t.file.Wantable(i), "peers_have", t.peersHave()(i),
		"nodes", len(t.nodes), "alone", t.alone, "streams", len(t.streams), "claiming", t.claiming, "seating", t.seating,
	}
	if t.rec != nil {
		s := t.spans[t.plan.SpanOf(i)]
		facts = append(facts, "span", s.Span, "owner", s.Owner, "landed", s.Landed, "by", s.By, "mine", s.mine, "single", t.rec.Single)
	}
	for _, tor := range t.torrents() {
		st := tor.Stats()
		facts = append(facts, "peers", st.Peers, "received", st.BytesRead)
	}
	t.log.Warn("nothing comes for a reader", facts...)
}

// awaited is the piece that some reader waits for; -1: none does.
func (t *transfer) awaited() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.wants {
		if i := t.file.layout.PieceAt(w.pos.Load()); i < len(t.file.state) && !w.ended.Load() && !t.file.Has(i) {
			return i
		}
	}
	return -1
}
