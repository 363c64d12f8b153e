package swarm

// Limits are the rates at which this node gives to peers and takes from them, in
// payload bytes a second; 0: no limit.
type Limits struct{ Upload, Download int64 }

// Limits returns what holds now.
func (s *Swarm) Limits() Limits {
	return Limits{s.store.up.rate(), s.store.down.rate()}
}

// SetLimits holds at once, for running transfers too, and until the swarm is
// closed.
func (s *Swarm) SetLimits(l Limits) {
	s.store.up.setRate(l.Upload)
	s.store.down.setRate(l.Download)
}
