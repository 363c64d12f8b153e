package swarmcache_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// A node with all the transfers it may have takes on no other, but who wants what is
// coming in gets it; what is complete does not count.
func TestTransfersAreLimited(t *testing.T) {
	self := swarmcache.Node{ID: "me"}
	c, err := swarmcache.Open(swarmcache.Config{
		Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: cachetest.NewDirectory().Node(self), Node: self,
		MaxTransfers: 2, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fill(t, c, newMemory("complete", 1<<20)).Close()
	var bodies []func() // that come once these are called
	for _, name := range []string{"one", "three"} {
		m := newMemory(name, 2<<20)
		body, origin := io.Pipe()
		obj, err := c.Fill(t.Context(), m.version(), false, body, m)
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Close()
		bodies = append(bodies, func() {
			go origin.Write(m.data)
			if got, err := read(t, obj); err != nil || !bytes.Equal(got, m.data) {
				t.Errorf("%s: %d bytes, %v", m.name, len(got), err)
			}
		})
	}
	m := newMemory("fourteen", 2<<20)
	untouched := strings.NewReader("untouched")
	_, err = c.Fill(t.Context(), m.version(), true, io.NopCloser(untouched), m)
	if !errors.Is(err, swarmcache.ErrBusy) || untouched.Len() == 0 {
		t.Errorf("a third transfer: %v", err)
	}
	if _, err := c.Lookup(t.Context(), policy.Key(m.name), m); !errors.Is(err, swarmcache.ErrBusy) {
		t.Errorf("looking for another object: %v", err)
	}
	if _, _, err := c.ClaimFirst(t.Context(), policy.Key(m.name), m, whatever); !errors.Is(err, swarmcache.ErrBusy) {
		t.Errorf("claiming the first GET of another one: %v", err)
	}
	for _, name := range []string{"one", "complete"} {
		obj, err := c.Lookup(t.Context(), policy.Key(name), m)
		if err != nil {
			t.Errorf("looking for %s, which is here: %v", name, err)
			continue
		}
		obj.Close()
	}
	for _, come := range bodies {
		come()
	}
	eventually(t, func() bool {
		obj, err := c.Fill(t.Context(), m.version(), true, nil, m)
		if err == nil {
			obj.Close()
		}
		return err == nil
	})
}
