package swarm

import (
	"bytes"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
)

// Only who knows the cluster's secret can tell hashes, for the torrent that they
// are of, and no byte of a message may be changed.
func TestHashesNeedTheSecret(t *testing.T) {
	secret, hashes := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte("h"), 60)
	ih := metainfo.HashBytes([]byte("one"))
	msg := sealHashes(secret, ih, 12, hashes)
	from, got, ok := openHashes(secret, ih, msg)
	if !ok || from != 12 || !bytes.Equal(got, hashes) {
		t.Fatalf("from %d, %d bytes, %v", from, len(got), ok)
	}
	if _, _, ok := openHashes(make([]byte, 32), ih, msg); ok {
		t.Error("accepted under another secret")
	}
	if _, _, ok := openHashes(secret, metainfo.HashBytes([]byte("two")), msg); ok {
		t.Error("accepted for another torrent")
	}
	for i := range msg {
		bad := bytes.Clone(msg)
		bad[i] ^= 1
		if _, _, ok := openHashes(secret, ih, bad); ok {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}

func FuzzHashesMessage(f *testing.F) {
	secret, ih := make([]byte, 32), metainfo.HashBytes([]byte("one"))
	f.Add([]byte{})
	f.Add(make([]byte, hashesHead))
	f.Add(sealHashes(secret, ih, 3, make([]byte, 40)))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if from, hashes, ok := openHashes(secret, ih, msg); ok && !bytes.Equal(sealHashes(secret, ih, from, hashes), msg) {
			t.Error("a message that nobody made was accepted")
		}
	})
}
