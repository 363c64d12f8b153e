package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRoomForObjects(t *testing.T) {
	const gib = 1 << 30
	share := func(text string) (s Share) {
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, tt := range map[string]struct {
		size, minFree string
		v             volume
		want          int64
	}{
		"an empty volume":              {"80%", "5%", volume{100 * gib, 100 * gib, 0}, 80 * gib},
		"others use half of it":        {"80%", "5%", volume{100 * gib, 50 * gib, 0}, 45 * gib},
		"we use half of it":            {"80%", "5%", volume{100 * gib, 50 * gib, 50 * gib}, 80 * gib},
		"both":                         {"80%", "5%", volume{100 * gib, 10 * gib, 40 * gib}, 45 * gib},
		"bytes":                        {"20GiB", "1GiB", volume{100 * gib, 50 * gib, 0}, 20 * gib},
		"nothing is to be left":        {"100%", "0%", volume{100 * gib, 50 * gib, 10 * gib}, 60 * gib},
		"others left nothing":          {"80%", "5%", volume{100 * gib, 2 * gib, 0}, 1},
		"others left less than we use": {"80%", "5%", volume{100 * gib, 0, 10 * gib}, 5 * gib},
		"larger than the volume":       {"1TiB", "5%", volume{100 * gib, 100 * gib, 0}, 95 * gib},
	} {
		if got := tt.v.room(Cache{Size: share(tt.size), MinFree: share(tt.minFree)}); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// What counts is what an object occupies, and not how long it is.
func TestSparseObjectsCountForWhatTheyOccupy(t *testing.T) {
	dir := t.TempDir()
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := sparse.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "ab"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ab", "full"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := taken(dir); err != nil || n < 1<<20 || n > 2<<20 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := taken(filepath.Join(dir, "none")); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c := DefaultConfig().Cache
	if v, err := lookAt(dir, dir); err != nil || v.room(c) < 1 {
		t.Errorf("%+v, %v", v, err)
	}
}
