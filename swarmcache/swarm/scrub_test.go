package swarm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"shatabdi/swarmcache"
)

// A disk turns a bit over on one of two nodes: the node finds it, and has the
// piece again from the other one, while nobody asks for it. The origin is left in
// peace.
func TestFlippedBitComesAgainFromPeers(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	l := &lab{scrub: 64 << 20}
	l.add(t, 0)
	l.track(t)
	l.add(t, 2)
	l.all(t, s)
	var id swarmcache.ObjectID
	whole := func(n *labNode) bool {
		r, err := n.Selected(s.key())
		id = r.Version.ID
		return err == nil && r.Complete && !r.Suspect
	}
	waitFor(t, func() bool { return whole(l.nodes[0]) && whole(l.nodes[1]) })
	sent := s.sent.Load()

	path := filepath.Join(l.nodes[0].files, string(id[:2]), string(id))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{^s.data[5<<20]}, 5<<20); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		got := make([]byte, len(s.data))
		_, err := f.ReadAt(got, 0)
		return err == nil && bytes.Equal(got, s.data) && whole(l.nodes[0])
	})
	if s.sent.Load() != sent {
		t.Errorf("the origin sent %d bytes for it", s.sent.Load()-sent)
	}
	l.all(t, s) // and it is a hit on both
	if s.sent.Load() != sent {
		t.Error("the origin was asked again")
	}
}
