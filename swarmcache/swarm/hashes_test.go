package swarm

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
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

// Who asks is told once what was not told yet, and at each question whether there is a
// directory here; nobody else is told anything, and nor is who has not asked for long.
func TestAnswers(t *testing.T) {
	var h hashTalk
	known := map[int][]byte{0: make([]byte, 20), 8: make([]byte, 40)}
	seal := func(from int, _ []byte) []byte { return binary.BigEndian.AppendUint32(nil, uint32(from)) }
	told := func(guided bool) (froms []int) {
		for _, news := range h.news(guided, maps.All(known), seal) {
			for _, msg := range news {
				froms = append(froms, int(binary.BigEndian.Uint32(msg)))
			}
		}
		slices.Sort(froms)
		return froms
	}
	expect := func(what string, got []int, want ...int) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: told %v, want %v", what, got, want)
		}
	}
	expect("nobody has asked", told(true))
	peer := new(torrent.PeerConn)
	h.asked(peer)
	expect("asked", told(true), 0, 8, ofNoPiece)
	expect("nothing new", told(true))
	known[0] = make([]byte, 60)
	expect("more of a span", told(true), 0)
	h.asked(peer)
	expect("asked again, of one that has no directory now", told(false))
	expect("and now it has one", told(true), ofNoPiece)
	h.askers[peer].last = time.Now().Add(-swarmcache.AnswerFor)
	known[9] = make([]byte, 20)
	expect("long ago", told(true))
	if len(h.askers) != 0 {
		t.Error("remembered for ever")
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
