package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shatabdi/swarmcache"
)

func openBodies(t *testing.T, o BodiesOptions) *Bodies {
	t.Helper()
	b, err := OpenBodies(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func putBody(t *testing.T, b *Bodies, key string, n int) (turned bool) {
	t.Helper()
	turned, err := b.Put(map[string][]byte{key: bodyOf(key, n)})
	if err != nil {
		t.Fatal(err)
	}
	return turned
}

func bodyOf(key string, n int) []byte { return bytes.Repeat([]byte(key), n/len(key)+1)[:n] }

// has reports whether key is there, with the body that putBody gave it.
func has(t *testing.T, b *Bodies, key string, n int) bool {
	t.Helper()
	got, err := b.Get([]byte(key))
	if err == nil && !bytes.Equal(got, bodyOf(key, n)) {
		t.Errorf("%s has other bytes", key)
	}
	if err != nil && !errors.Is(err, swarmcache.ErrNotFound) {
		t.Error(err)
	}
	return err == nil
}

// image is what a crash would leave of a directory.
func image(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestBodiesOutliveARestartAndACrash(t *testing.T) {
	o := BodiesOptions{Dir: filepath.Join(t.TempDir(), "small"), Size: 64 << 20, Token: "1"}
	b := openBodies(t, o)
	for i := range 50 {
		putBody(t, b, fmt.Sprint("k", i), 10_000*(1+i%3))
	}
	if err := b.Delete(true, []byte("k7"), []byte("nobody")); err != nil {
		t.Fatal(err)
	}
	crashed := o
	crashed.Dir = image(t, o.Dir)
	b.Close()
	for name, o := range map[string]BodiesOptions{"restart": o, "crash": crashed} {
		b := openBodies(t, o)
		for i := range 50 {
			if key := fmt.Sprint("k", i); has(t, b, key, 10_000*(1+i%3)) != (i != 7) {
				t.Errorf("%s: %s: %v", name, key, i != 7)
			}
		}
		b.Close()
	}
	o.Token = "2"
	if has(t, openBodies(t, o), "k1", 20_000) {
		t.Error("what was another's is found")
	}
}

// However much is put, no more disk is taken than was said; what is the latest stays.
func TestBodiesAreBounded(t *testing.T) {
	o := BodiesOptions{Dir: filepath.Join(t.TempDir(), "small"), Size: 16 << 20, Token: "1"}
	b := openBodies(t, o)
	turns := 0
	for i := range 75 {
		if putBody(t, b, fmt.Sprint("k", i%60), 250_000) {
			turns++
		}
		if taken := b.Taken(); taken > o.Size*9/8 {
			t.Fatalf("%d: %d bytes are taken", i, taken)
		}
		if i == 40 {
			b.Close()
			b = openBodies(t, o)
		}
	}
	if turns < 2 || !has(t, b, "k14", 250_000) || !has(t, b, "k45", 250_000) || has(t, b, "k20", 250_000) {
		t.Errorf("%d turns; the latest are not here, or the oldest are", turns)
	}
	if _, err := b.Put(map[string][]byte{"large": make([]byte, 9<<20)}); !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Errorf("a quarter and more: %v", err)
	}
	// What is given anew is not found as it was before, wherever that lies.
	b.Put(map[string][]byte{"k25": []byte("new")})
	if got, _ := b.Get([]byte("k25")); string(got) != "new" {
		t.Errorf("%.10q", got)
	}
	if err := b.Delete(false, []byte("k25")); err != nil || has(t, b, "k25", 250_000) {
		t.Errorf("deleted: %v", err)
	}
}

func TestBodiesWithoutRoom(t *testing.T) {
	o := BodiesOptions{Dir: filepath.Join(t.TempDir(), "small"), Size: 64 << 20, Token: "1"}
	b := openBodies(t, o)
	putBody(t, b, "k", 1000)
	b.o.Free = 1 << 60
	if _, err := b.Put(map[string][]byte{"l": []byte("x")}); !errors.Is(err, swarmcache.ErrNoSpace) {
		t.Errorf("put: %v", err)
	}
	if !has(t, b, "k", 1000) {
		t.Error("what is there is not found")
	}
	if err := b.Clear(); err != nil || has(t, b, "k", 1000) {
		t.Errorf("cleared: %v", err)
	}
	b.o.Free = 0
	putBody(t, b, "k2", 1000)
	b.Close()
	if err := b.Delete(true, []byte("k2")); err != nil || has(t, b, "k2", 1000) {
		t.Errorf("closed: %v", err)
	}
	if b = openBodies(t, o); !has(t, b, "k2", 1000) {
		t.Error("what came after Clear is gone")
	}
	b.Close()
	if err := RemoveBodies(o.Dir); err != nil {
		t.Error(err)
	}
	if err := RemoveBodies(o.Dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("the directory is there")
	}
}

// What is damaged is not served. What another version wrote is refused, and left as
// it is.
func TestBodiesDamagedOrForeign(t *testing.T) {
	o := BodiesOptions{Dir: filepath.Join(t.TempDir(), "small"), Size: 64 << 20, Token: "1"}
	b := openBodies(t, o)
	for i := range 20 {
		putBody(t, b, fmt.Sprint("key", i), 50_000)
	}
	b.Close()
	intact := image(t, o.Dir)

	logs, err := filepath.Glob(filepath.Join(o.Dir, "0", "*.vlog"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	flip(t, logs[0], 300_000)
	b = openBodies(t, o)
	found := 0
	for i := range 20 {
		if has(t, b, fmt.Sprint("key", i), 50_000) {
			found++
		}
	}
	if found == 20 {
		t.Error("a flipped byte was not noticed")
	}
	putBody(t, b, "after", 1000)
	b.Close()

	o.Dir = intact
	manifest := filepath.Join(o.Dir, "0", badger.ManifestFilename)
	head, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func([]byte){
		"foreign": func(b []byte) { binary.BigEndian.PutUint16(b[4:], BodiesFormat+1) },
		"damaged": func(b []byte) { b[0] = 'X' },
	} {
		changed := bytes.Clone(head)
		change(changed)
		if err := os.WriteFile(manifest, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := OpenBodies(o)
		var format *FormatError
		if what == "foreign" {
			if now, _ := os.ReadFile(manifest); !errors.As(err, &format) || !bytes.Equal(now, changed) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		putBody(t, b, "k", 1000)
		if !has(t, b, "k", 1000) || has(t, b, "key1", 50_000) {
			t.Errorf("%s: it is not begun anew", what)
		}
		b.Close()
		if err := os.WriteFile(manifest, head, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
