package swarmcache_test

import (
	"bytes"
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// asked counts the bytes that an origin is asked for.
type asked struct {
	memory
	n *atomic.Int64
}

func (a asked) Get(ctx context.Context, r layout.Range, v string) (*http.Response, error) {
	a.n.Add(r.Len())
	return a.memory.Get(ctx, r, v)
}

// A bit that a disk turned over is found although nobody asks for the object; its
// piece is dropped and not served, and the next reader's origin gives that piece
// and hardly more. The other objects stay as they are, and unused.
func TestScrubFindsAFlippedBit(t *testing.T) {
	s := newShelf(t)
	first := s.open(t)
	a, b := newMemory("a", 8<<20), newMemory("bb", 8<<20)
	hurt, well := fill(t, first, a), fill(t, first, b)
	id, other := hurt.Version().ID, well.Version().ID
	hurt.Close()
	well.Close()
	must(t, first.Close())
	flip(t, s.path(id), 3<<20+1)
	before, err := s.index.Get(other)
	must(t, err)

	later := time.Now().Add(time.Hour)
	s.scrub, s.now = 1<<30, func() time.Time { return later }
	c := s.open(t)
	eventually(t, func() bool { r, err := c.Record(id); return err == nil && !r.Complete && !r.Suspect })
	eventually(t, func() bool { r, err := c.Record(other); return err == nil && r.Verified == later.Unix() })
	if r, err := c.Record(other); err != nil || !r.Complete || r.LastUsed != before.LastUsed {
		t.Errorf("the other object: complete %v, %v, last used %d, was %d", r.Complete, err, r.LastUsed, before.LastUsed)
	}
	origin := asked{a, new(atomic.Int64)}
	obj, err := c.Local(policy.Key(a.name), origin)
	must(t, err)
	defer obj.Close()
	if obj.Complete() {
		t.Error("the damaged object is complete")
	}
	if got, err := read(t, obj); err != nil || !bytes.Equal(got, a.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := origin.n.Load(); n == 0 || n > 1<<20 {
		t.Errorf("the origin was asked for %d bytes", n)
	}
	eventually(t, func() bool { r, err := c.Record(id); return err == nil && r.Complete && !r.Suspect })
	must(t, c.Close())
	if found := s.check(t, true, false); len(found.Findings) > 0 {
		t.Errorf("%+v", found.Findings)
	}
}

// What a node had begun to doubt when it was killed is verified before it is
// served, also where nothing is scrubbed any more.
func TestSuspectObjectIsVerifiedWhenRead(t *testing.T) {
	s, m := newShelf(t), newMemory("a", 8<<20)
	first := s.open(t)
	obj := fill(t, first, m)
	id := obj.Version().ID
	obj.Close()
	must(t, first.Close())
	r, err := s.index.Get(id)
	must(t, err)
	r.Complete, r.Suspect, r.Pieces = false, true, bytes.Repeat([]byte{0xff}, 8)
	r.Pieces[2] = 0xfe // one piece is known to be lost
	must(t, s.index.Put(r))
	for _, off := range []int64{1 << 20, 2<<20 + 5, 8<<20 - 1} {
		flip(t, s.path(id), off)
	}

	c := s.open(t)
	origin := asked{m, new(atomic.Int64)}
	obj, err = c.Local(policy.Key(m.name), origin)
	must(t, err)
	defer obj.Close()
	if got, err := read(t, obj); err != nil || !bytes.Equal(got, m.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := origin.n.Load(); n == 0 || n > 4<<20 {
		t.Errorf("the origin was asked for %d bytes", n)
	}
	eventually(t, func() bool { r, err := c.Record(id); return err == nil && r.Complete && !r.Suspect })
}

// Who reads an object when its damage is found gets no byte of it.
func TestLostPieceIsNotRead(t *testing.T) {
	c := open(t, 0)
	m := newMemory("a", 8<<20)
	obj := fill(t, c, m)
	defer obj.Close()
	r := obj.NewReader(t.Context(), 0, int64(len(m.data)))
	defer r.Close()
	swarmcache.Suspect(c, obj.Version().ID, 40)
	n, err := bytes.NewBuffer(nil).ReadFrom(r)
	if n != 40*layout.MinPieceLen || err == nil {
		t.Errorf("%d bytes, %v; want those before the piece", n, err)
	}
	if obj.Complete() {
		t.Error("still complete")
	}
}
