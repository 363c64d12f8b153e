package swarmcache

import (
	"crypto/sha1"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"shatabdi/swarmcache/layout"
)

// wantAll adds a reader of the whole object.
func (t *transfer) wantAll() {
	w := newWant(layout.Range{To: int64(t.file.layout.Pieces())}, 0)
	t.wants[w] = true
	t.interest = nil
}

// What a node landed before it came again it may have evicted since: a fill's
// board may stand for long when nobody could take it down.
func TestLandedSpanOfWhoCameAgainIsAnOrphan(t *testing.T) {
	for name, c := range map[string]struct {
		joined int64 // revision
		have   bool  // a peer has the bytes
		orphan bool
	}{
		"joined before it landed":             {joined: 5},
		"came again":                          {joined: 15, orphan: true},
		"came again, and somebody has it all": {joined: 15, have: true},
	} {
		t.Run(name, func(t *testing.T) {
			tr, p := turns(64<<20, "a", "b")
			tr.wantAll()
			tr.nodes["a"] = Member{Node: Node{ID: "a"}, Rev: c.joined}
			now := time.Now()
			tr.alive = now
			tr.put(SpanRecord{Span: 3, Rev: 10, Landed: true, By: "a"}, now)
			if c.have {
				p.have = map[int]bool{}
				for i := tr.plan.Span(3).From; i < tr.plan.Span(3).To; i++ {
					p.have[int(i)] = true
				}
			}
			tr.findOrphans(now.Add(lostAfter / 2))
			if tr.orphans.has(3) {
				t.Fatal("not even waited for")
			}
			tr.findOrphans(now.Add(lostAfter + 2*time.Second))
			if tr.orphans.has(3) != c.orphan {
				t.Errorf("orphan: %v, want %v", !c.orphan, c.orphan)
			}
		})
	}
}

// Who is not listed is not told who comes. It takes nobody for gone whom it was not
// told of: in a fill of 64 nodes such spans were read from the origin again.
func TestWhoIsNotListedTakesNobodyForGone(t *testing.T) {
	for _, listed := range []bool{true, false} {
		tr, _ := turns(64<<20, "a", "b")
		tr.listed, tr.rank = listed, nil
		if tr.participants(); (tr.self >= 0) != listed {
			t.Errorf("listed: %v, place %d", listed, tr.self)
		}
		tr.wantAll()
		now := time.Now()
		tr.put(SpanRecord{Span: 3, Rev: 10, Landed: true, By: "later"}, now)
		now = now.Add(lostAfter + 2*time.Second)
		tr.alive = now
		tr.findOrphans(now)
		if tr.orphans.has(3) != listed {
			t.Errorf("listed: %v, orphan: %v", listed, !listed)
		}
	}
}

// As soon as one of the listed had left a large fill, all that those who are not listed
// had landed seemed lost. Only who was seen to leave is gone, and nobody in whose name
// nothing was told.
func TestInACrowdOnlyWhoLeftIsGone(t *testing.T) {
	tr, _ := turns(64<<20, "a", "b")
	tr.c.now, tr.crowded = time.Now, true
	tr.wantAll()
	now := time.Now()
	for i, by := range []NodeID{"a", "unlisted", ""} {
		tr.put(SpanRecord{Span: i, Rev: 10, Landed: true, By: by}, now)
	}
	if err := tr.onBoard(t.Context(), BoardEvent{Left: "a"}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lostAfter + 2*time.Second)
	tr.alive = now
	tr.findOrphans(now)
	if !tr.orphans.has(0) || tr.orphans.has(1) || tr.orphans.has(2) {
		t.Errorf("orphans: %v %v %v, want the first only", tr.orphans.has(0), tr.orphans.has(1), tr.orphans.has(2))
	}
	now = now.Add(overdueAfter)
	tr.alive = now
	tr.findOrphans(now)
	if tr.orphans.has(1) || !tr.orphans.has(2) {
		t.Errorf("orphans later: %v %v, want what was told in nobody's name", tr.orphans.has(1), tr.orphans.has(2))
	}
}

// Where the tracker knows of nobody who has everything, seeders that the
// directory speaks of are not waited for.
func TestNobodyWaitsForSeedersThatAreNotThere(t *testing.T) {
	tr, p := turns(64 << 20)
	tr.sealed = p
	tr.log = slog.New(slog.DiscardHandler)
	now := time.Now()
	tr.alive, tr.seedsFrom = now, now
	now = now.Add(time.Second)
	if !tr.seedersGive(now) {
		t.Error("seeders have a second")
	}
	p.seedless, p.pieces = true, 3
	if !tr.seedersGive(now) {
		t.Error("peers with a part have a second too")
	}
	if p.pieces = 0; tr.seedersGive(now) {
		t.Error("waited for nobody")
	}
	tr.seedsFrom, tr.alive = now, now
	if !tr.seedersGive(now.Add(patienceSeedless / 2)) {
		t.Error("pieces come, from somebody who has a part")
	}
}

// Hashes that the sealed torrent's metadata brings open the gate of the fill
// torrent too.
func TestHashesOfTheSealedTorrentAreNewsForTheFill(t *testing.T) {
	v := Version{Length: 4 << 20, PieceLen: 1 << 20}
	f, err := OpenFile(filepath.Join(t.TempDir(), "f"), v, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	hashes := make([]byte, 4*sha1.Size)
	f.Learn(2, hashes[:sha1.Size])
	if err := f.LearnSealed(hashes); err != nil {
		t.Fatal(err)
	}
	if got := f.takeNews(); !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("news of %v", got)
	}
	if hashes[0] = 1; !errors.Is(f.LearnSealed(hashes), ErrPoisoned) {
		t.Error("other hashes were taken")
	}
}
