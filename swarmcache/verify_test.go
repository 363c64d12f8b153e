package swarmcache_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// What is read back is what was stored, and what a disk has changed is neither
// called intact nor handed out.
func TestVerifyAndExport(t *testing.T) {
	s := newShelf(t)
	c := s.open(t)
	m := newMemory("a", 8<<20)
	obj := fill(t, c, m)
	id := obj.Version().ID
	obj.Close()
	eventually(t, func() bool { r, err := c.Record(id); return err == nil && r.Complete })
	must(t, c.Verify(t.Context(), id))
	if r, err := c.Record(id); err != nil || r.Verified == 0 {
		t.Errorf("verified at %d, %v", r.Verified, err)
	}
	var whole bytes.Buffer
	must(t, c.Export(t.Context(), id, &whole))
	if !bytes.Equal(whole.Bytes(), m.data) {
		t.Errorf("%d bytes, and not those that were stored", whole.Len())
	}
	if err := c.Verify(t.Context(), swarmcache.ObjectID(strings.Repeat("f", 64))); !errors.Is(err, swarmcache.ErrNotFound) {
		t.Errorf("of nothing: %v", err)
	}

	flip(t, s.path(id), 3<<20+1)
	var part bytes.Buffer
	if err := c.Export(t.Context(), id, &part); !errors.Is(err, swarmcache.ErrDamaged) || !bytes.Equal(part.Bytes(), m.data[:part.Len()]) || part.Len() > 3<<20 {
		t.Errorf("damaged: %v after %d bytes", err, part.Len())
	}
	if err := c.Verify(t.Context(), id); !errors.Is(err, swarmcache.ErrIncomplete) {
		t.Errorf("with a piece that was dropped: %v", err)
	}
}

// Who makes an object stale keeps it, and the next use asks the origin.
func TestInvalidate(t *testing.T) {
	s := newShelf(t)
	c := s.open(t)
	obj := fill(t, c, newMemory("a", 8<<20))
	defer obj.Close()
	key := obj.Version().Key
	mark := c.Mark(key)
	if had, err := c.Expire(key); !had || err != nil || !obj.Version().Stored.Invalid || !mark.Past() {
		t.Errorf("%t, %v, invalid %t, past %t", had, err, obj.Version().Stored.Invalid, mark.Past())
	}
	if had, err := c.Expire(policy.Key("http://none.test/")); had || err != nil {
		t.Errorf("of nothing: %t, %v", had, err)
	}
}
