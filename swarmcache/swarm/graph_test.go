package swarm_test

import (
	"net/netip"
	"testing"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/swarm"
)

// crowd is so many nodes that want an object and are not told of each other yet.
type crowd struct {
	engines []engine
	members []swarmcache.Torrent
	files   []*swarmcache.File
}

func newCrowd(t *testing.T, x *thing, n int) *crowd {
	c := &crowd{}
	for range n {
		e, f := newEngine(t, limits{}), x.open(t, len(c.files) == 0)
		c.engines, c.files = append(c.engines, e), append(c.files, f)
		c.members = append(c.members, e.join(t, f))
	}
	return c
}

// names are where all but node i listen.
func (c *crowd) names(i int) (l []netip.AddrPort) {
	for k, e := range c.engines {
		if k != i {
			l = append(l, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(e.Port())))
		}
	}
	return l
}

// introduce names everybody to everybody, one after the other as a board does.
func (c *crowd) introduce() {
	for i, tt := range c.members {
		for _, a := range c.names(i) {
			tt.AddPeers([]netip.AddrPort{a})
		}
	}
}

func (c *crowd) connections() (n int) {
	for _, tt := range c.members {
		n += tt.Stats().Peers
	}
	return n
}

// Among few a node dials everybody, not only the first it hears of.
func TestFewAreAllDialed(t *testing.T) {
	t.Parallel()
	const n = 2 * swarm.SomePeers
	c := newCrowd(t, newThing("few", 1<<20, 128<<10), n)
	c.members[0].AddPeers(c.names(0))
	waitFor(t, func() bool { return c.members[0].Stats().Peers == n-1 })
}

// Among many each dials a few, and what one has reaches all.
func TestManyAreSparselyConnected(t *testing.T) {
	t.Parallel()
	const n = 48
	x := newThing("many", 1<<20, 128<<10)
	c := newCrowd(t, x, n)
	c.introduce()
	for _, tt := range c.members {
		tt.Want(x.pieces())
	}
	waitFor(t, func() bool {
		for _, f := range c.files {
			if f.Left() > 0 {
				return false
			}
		}
		return true
	})
	// Everybody with everybody would be 2256; on a slow machine some dial again.
	if most := n * 3 * swarm.SomePeers; c.connections() > most {
		t.Errorf("%d ends of connections, want at most %d", c.connections(), most)
	}
}

// Neighbours that die are replaced, when names are told again.
func TestNeighboursThatDieAreReplaced(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, newThing("mortals", 1<<20, 128<<10), 40)
	first := c.members[0]
	first.AddPeers(c.names(0))
	waitFor(t, func() bool { return first.Stats().Peers == swarm.SomePeers })
	for i, tt := range c.members[1:] {
		if tt.Stats().Peers > 0 {
			c.engines[i+1].stop()
		}
	}
	waitFor(t, func() bool {
		first.AddPeers(c.names(0))
		return first.Stats().Peers == swarm.SomePeers
	})
}
