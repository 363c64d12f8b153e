package swarm

// FillInfo lets tests seed a fill torrent of their own.
var FillInfo = fillInfo

// Banned are the addresses that this node does not talk to any more.
func (s *Swarm) Banned() []string { return s.client.BadPeerIPs() }

// Torrents counts what is in the engine.
func (s *Swarm) Torrents() int { return len(s.list()) }
