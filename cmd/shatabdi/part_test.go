package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A file that came to be while another one of its name was downloaded stays, and so
// do the bytes that came; only who says -o replaces it.
func TestPartReplacesOnlyWhatItMay(t *testing.T) {
	for _, replace := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "x.bin")
		p, err := openPart(name, "http://origin.test/x.bin", replace)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte("new")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err = p.finish()
		p.close(true)
		got, _ := os.ReadFile(name)
		kept, _ := os.ReadFile(name + ".part")
		if want := map[bool]string{false: "old", true: "new"}[replace]; string(got) != want || (err == nil) != replace || !replace && string(kept) != "new" {
			t.Errorf("replace %t: %q, kept %q, %v", replace, got, kept, err)
		}
	}
}

// What was begun is known again, also when it was killed before it knew a version.
func TestPartKnowsItsOwn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.bin")
	for range 2 {
		p, err := openPart(name, "http://origin.test/x.bin", false)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte("some")); err != nil {
			t.Fatal(err)
		}
		p.f.Close() // as if killed
	}
	if err := os.Remove(name + ".part.json"); err != nil {
		t.Fatal(err)
	}
	if _, err := openPart(name, "http://origin.test/x.bin", false); err == nil {
		t.Error("took what it did not begin")
	}
}
