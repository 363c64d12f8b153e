package swarmcache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

func keyOf(u *url.URL) policy.Key { return policy.KeyOf(u, policy.KeyRule{}) }

// What is put is an object with all its hashes, sealed and found by its address.
func TestPut(t *testing.T) {
	c := open(t, 20<<20)
	m := newMemory("a", 3<<20)
	rec, err := c.Put(t.Context(), "a b.bin", keyOf, bytes.NewReader(m.data))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(m.data)
	want := "http://objects.shatabdi/" + hex.EncodeToString(sum[:]) + "/a%20b.bin"
	v := rec.Version
	if v.URL != want || v.SHA256 != hex.EncodeToString(sum[:]) || !rec.Complete || rec.Untold || v.Length != 3<<20 {
		t.Errorf("%+v", rec)
	}
	u, err := url.Parse(swarmcache.Resolve(swarmcache.PutAddress(swarmcache.PutURL(v.SHA256, "a b.bin"))))
	if err != nil || u.String() != want || swarmcache.Resolve("http://x/y") != "http://x/y" {
		t.Errorf("%v, %v", u, err)
	}
	obj, err := c.Lookup(t.Context(), keyOf(u), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if b, err := read(t, obj); err != nil || !bytes.Equal(b, m.data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	again, err := c.Put(t.Context(), "a b.bin", keyOf, bytes.NewReader(m.data))
	if err != nil || again.Version.ID != v.ID || c.Stats().Objects != 1 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if other, err := c.Put(t.Context(), "c", keyOf, strings.NewReader("c")); err != nil || other.Version.ID == v.ID {
		t.Errorf("another: %+v, %v", other, err)
	}
}

func TestPutFails(t *testing.T) {
	c := open(t, 1<<20)
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 600<<10)), failing{})
	for name, tt := range map[string]struct {
		r    io.Reader
		want error
	}{
		"empty": {strings.NewReader(""), swarmcache.ErrEmpty}, "broken off": {broken, context.Canceled},
		"larger than the cache": {bytes.NewReader(make([]byte, 2<<20)), swarmcache.ErrNoSpace},
	} {
		if _, err := c.Put(t.Context(), name, keyOf, tt.r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	rec, err := c.Put(t.Context(), "fits", keyOf, strings.NewReader("x"))
	if err != nil || c.Stats().Objects != 1 {
		t.Fatalf("%+v, %v", c.Stats(), err)
	}
	obj, err := c.Local(rec.Version.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(swarmcache.PathOf(obj))), "spool-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, fmt.Errorf("the client went: %w", context.Canceled)
}
