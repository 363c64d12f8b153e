package content

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"testing"
)

func TestAnyOffsetReadsTheSameBytes(t *testing.T) {
	o := Object{Seed: 7, Size: 3*blockLen + 123}
	whole, err := io.ReadAll(o.Reader())
	if err != nil || int64(len(whole)) != o.Size {
		t.Fatalf("read %d bytes, %v; want %d", len(whole), err, o.Size)
	}
	for _, off := range []int64{0, 1, headLen - 1, headLen, blockLen - 1, blockLen, 2*blockLen + 8, o.Size - 1} {
		part, err := io.ReadAll(io.NewSectionReader(o, off, o.Size-off))
		if err != nil || !bytes.Equal(part, whole[off:]) {
			t.Errorf("from %d: other bytes than in the whole (%v)", off, err)
		}
	}
	if sum := sha256.Sum256(whole); o.SHA256() != hex.EncodeToString(sum[:]) {
		t.Error("SHA256 is not that of the bytes")
	}
}

func TestNoTwoBlocksAndNoTwoSeedsAreAlike(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range []Object{{1, 4 * blockLen}, {2, 4 * blockLen}} {
		b, _ := io.ReadAll(o.Reader())
		for ; len(b) > 0; b = b[blockLen:] {
			if seen[string(b[:blockLen])] {
				t.Fatal("a block repeats")
			}
			seen[string(b[:blockLen])] = true
		}
	}
}

func TestFileHoldsTheObject(t *testing.T) {
	o := Object{Seed: 3, Size: 100_000}
	path, err := o.File(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(path)
	want, _ := io.ReadAll(o.Reader())
	if !bytes.Equal(got, want) {
		t.Error("the file holds other bytes")
	}
}
