package swarm

// Limits are the rates at which this node gives to peers and takes from them, in
// payload bytes a second; 0: no limit.
func (s *Swarm) Limits() (upload, download int64) {
	return s.store.up.rate(), s.store.down.rate()
}

// Uplink is what the link carries, where it does not keep up with the limit; else 0.
func (s *Swarm) Uplink() int64 { return s.store.up.holding() }

// SetLimits holds at once, for running transfers too, and until the swarm is
// closed.
func (s *Swarm) SetLimits(upload, download int64) {
	s.store.up.setRate(upload)
	s.store.down.setRate(download)
}
