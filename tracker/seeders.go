package tracker

// EachSeeder calls f for the nodes that say they have all of a swarm until it
// returns false. f must be quick, and must not call the Tracker.
func (t *Tracker) EachSeeder(infohash [20]byte, f func(node string) bool) {
	sh := t.store.shard(infohash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.swarms[infohash]
	if w == nil {
		return
	}
	for i := range w.peers[:w.seeders] {
		if m := w.peers[i].member; m != nil && !m.gone.Load() && !f(m.node) {
			return
		}
	}
}
