package cachetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// TestIndex holds a body of swarmcache.Index to its contract. open opens the
// catalogue that lives in dir, empty the first time; after Close it is opened
// again and must have everything.
func TestIndex(t *testing.T, open func(t testing.TB, dir string) swarmcache.Index) {
	for _, c := range []struct {
		name string
		rule func(*testing.T, swarmcache.Index)
	}{
		{"AbsentIsNotFound", testAbsent},
		{"PutReplacesAndGetReturnsAll", testPutGet},
		{"HashesStayWhenPutWithout", testHashesStay},
		{"LargestRecord", testLargest},
		{"KeySelectsOneObject", testCurrent},
		{"DeleteForgetsKeyOnlyIfSelected", testDelete},
		{"EachShowsEveryRecordOnce", testEach},
		{"EachMayUseTheIndex", testEachReentrant},
		{"SettingsAreKept", testSettings},
		{"ValuesAreCopies", testCopies},
		{"ConcurrentUse", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := open(t, t.TempDir())
			defer closeIndex(t, x)
			c.rule(t, x)
		})
	}
	t.Run("ClosedFails", func(t *testing.T) { testClosed(t, open(t, t.TempDir())) })
	t.Run("LikeAMapAcrossReopening", func(t *testing.T) {
		root := t.TempDir()
		rapid.Check(t, func(r *rapid.T) { indexMachine(t, r, root, open) })
	})
}

// NewRecord returns the record of a made-up object: n tells objects apart,
// pieces sets the amount of hashes. Equal arguments give equal records.
func NewRecord(n, pieces int) swarmcache.Record {
	const pieceLen = 256 << 10
	rnd := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(pieces), byte(pieces >> 8)})
	hashes := make([]byte, 20*pieces)
	rnd.Read(hashes)
	url := fmt.Sprintf("http://data.example.com/team-%d/models/checkpoint-%06d.safetensors", n%7, n)
	r := swarmcache.Record{
		Version: swarmcache.Version{
			Key: policy.Key(url), URL: url,
			Stored: policy.Stored{
				Status: http.StatusOK,
				Header: http.Header{
					"Accept-Ranges":    {"bytes"},
					"Cache-Control":    {"public, max-age=86400"},
					"Content-Length":   {fmt.Sprint(pieceLen * pieces)},
					"Content-Type":     {"application/octet-stream"},
					"Date":             {"Tue, 03 Nov 2026 10:00:00 GMT"},
					"Etag":             {fmt.Sprintf("%q", hex.EncodeToString(hashes[:min(16, len(hashes))]))},
					"Last-Modified":    {"Mon, 02 Nov 2026 10:00:00 GMT"},
					"Server":           {"nginx"},
					"X-Amz-Request-Id": {fmt.Sprintf("%016X", n)},
				},
				RequestTime:  time.Date(2026, 11, 3, 10, 0, 0, n, time.UTC),
				ResponseTime: time.Date(2026, 11, 3, 10, 0, 1, n, time.UTC),
			},
			Validator: fmt.Sprintf("\"%d\"", n),
			Length:    int64(pieceLen * pieces),
			PieceLen:  pieceLen,
		},
		Complete: true, Hashes: hashes, Hits: int64(n), LastUsed: 1793700000, Added: 1793600000,
	}
	r.Version.Identify()
	return r
}

func testAbsent(t *testing.T, x swarmcache.Index) {
	_, err := x.Get("0123")
	wantIs(t, "Get", err, swarmcache.ErrNotFound)
	_, err = x.Summary("0123")
	wantIs(t, "Summary", err, swarmcache.ErrNotFound)
	_, err = x.Current("http://a/")
	wantIs(t, "Current", err, swarmcache.ErrNotFound)
	_, err = x.Setting("node-id")
	wantIs(t, "Setting", err, swarmcache.ErrNotFound)
	must(t, x.Delete("0123"))
	must(t, x.SetCurrent("http://a/", ""))
	must(t, x.Each(func(r swarmcache.Record) bool {
		t.Errorf("Each of an empty index shows %s", r.Version.ID)
		return true
	}))
}

func testPutGet(t *testing.T, x swarmcache.Index) {
	r := NewRecord(1, 8)
	r.Complete, r.Hashes, r.Pieces = false, nil, []byte{0b101}
	r.Version.Stored.Selecting = http.Header{"Accept-Encoding": {"gzip", ""}}
	must(t, x.Put(r))
	wantRecord(t, x, r)

	r.Complete, r.Pieces, r.Hashes = true, nil, NewRecord(1, 8).Hashes
	r.Version.SHA256 = strings.Repeat("ab", 32)
	r.Version.InfoHash = swarmcache.InfoHash{1, 2, 3}
	r.Pinned, r.Hits, r.LastUsed = true, 1<<40, 1<<33
	must(t, x.Put(r))
	wantRecord(t, x, r)

	other := NewRecord(2, 8)
	must(t, x.Put(other))
	wantRecord(t, x, r)
	wantRecord(t, x, other)
}

func testHashesStay(t *testing.T, x swarmcache.Index) {
	r := NewRecord(1, 1000)
	must(t, x.Put(r))
	listed := r
	listed.Hashes = nil
	listed.Hits++
	must(t, x.Put(listed))
	listed.Hashes = r.Hashes
	wantRecord(t, x, listed)

	must(t, x.Delete(r.Version.ID))
	bare := r
	bare.Hashes = nil
	must(t, x.Put(bare))
	wantRecord(t, x, bare) // deleted hashes do not come back
}

func testLargest(t *testing.T, x swarmcache.Index) {
	r := NewRecord(1, 16<<10)
	r.Pieces = bytes.Repeat([]byte{0xa5}, 2<<10)
	r.Version.Key = policy.Key("http://a/?" + strings.Repeat("k", 70_000)) // longer than a badger key may be
	r.Version.Stored.Header["X-Large"] = []string{strings.Repeat("h", 64<<10)}
	must(t, x.Put(r))
	must(t, x.SetCurrent(r.Version.Key, r.Version.ID))
	wantRecord(t, x, r)
	wantCurrent(t, x, r.Version.Key, r.Version.ID)
}

func testCurrent(t *testing.T, x swarmcache.Index) {
	must(t, x.SetCurrent("http://a/", "1"))
	must(t, x.SetCurrent("http://b/", "1"))
	must(t, x.SetCurrent("http://a/", "2"))
	wantCurrent(t, x, "http://a/", "2")
	wantCurrent(t, x, "http://b/", "1")
	must(t, x.SetCurrent("http://a/", ""))
	wantCurrent(t, x, "http://a/", "")
	wantCurrent(t, x, "http://b/", "1")
}

func testDelete(t *testing.T, x swarmcache.Index) {
	older, newer := NewRecord(1, 1), NewRecord(2, 1)
	key := older.Version.Key
	newer.Version.Key = key
	must(t, x.Put(older))
	must(t, x.Put(newer))
	must(t, x.SetCurrent(key, newer.Version.ID))

	must(t, x.Delete(older.Version.ID))
	_, err := x.Get(older.Version.ID)
	wantIs(t, "Get after Delete", err, swarmcache.ErrNotFound)
	wantCurrent(t, x, key, newer.Version.ID)

	must(t, x.Delete(newer.Version.ID))
	wantCurrent(t, x, key, "")
}

func testEach(t *testing.T, x swarmcache.Index) {
	want := map[swarmcache.ObjectID]swarmcache.Record{}
	for n := range 50 {
		r := NewRecord(n, n)
		must(t, x.Put(r))
		want[r.Version.ID] = r
	}
	got := listing(t, x)
	for id, r := range want {
		if !sameButHashes(got[id], r) {
			t.Errorf("Each shows %+v\nwant %+v", got[id], r)
		}
	}
	if len(got) != len(want) {
		t.Errorf("Each shows %d records, want %d", len(got), len(want))
	}

	calls := 0
	must(t, x.Each(func(swarmcache.Record) bool { calls++; return calls < 3 }))
	if calls != 3 {
		t.Errorf("Each called f %d times after it returned false, want 3", calls)
	}
}

func testEachReentrant(t *testing.T, x swarmcache.Index) {
	for n := range 10 {
		must(t, x.Put(NewRecord(n, 1)))
	}
	seen := 0
	must(t, x.Each(func(r swarmcache.Record) bool {
		seen++
		must(t, x.Delete(r.Version.ID))
		must(t, x.Put(NewRecord(100+seen, 1))) // not part of what stood at the call
		return true
	}))
	if seen != 10 {
		t.Errorf("Each showed %d records, want the 10 that stood when it was called", seen)
	}
}

func testSettings(t *testing.T, x swarmcache.Index) {
	must(t, x.SetSetting("node-id", []byte("one")))
	must(t, x.SetSetting("node-id", []byte("two")))
	must(t, x.SetSetting("empty", nil))
	for name, want := range map[string]string{"node-id": "two", "empty": ""} {
		got, err := x.Setting(name)
		must(t, err)
		if string(got) != want {
			t.Errorf("setting %s = %q, want %q", name, got, want)
		}
	}
}

func testCopies(t *testing.T, x swarmcache.Index) {
	r := NewRecord(1, 4)
	must(t, x.Put(r))
	r.Hashes[0]++
	r.Version.Stored.Header.Set("Etag", "changed")
	wantRecord(t, x, NewRecord(1, 4))

	got, err := x.Get(r.Version.ID)
	must(t, err)
	got.Hashes[0]++
	got.Version.Stored.Header.Set("Etag", "changed")
	wantRecord(t, x, NewRecord(1, 4))

	value := []byte("abc")
	must(t, x.SetSetting("s", value))
	value[0] = 'x'
	if got, err := x.Setting("s"); err != nil || string(got) != "abc" {
		t.Errorf("setting changed with its caller's bytes: %q, %v", got, err)
	}
}

func testConcurrent(t *testing.T, x swarmcache.Index) {
	shared := NewRecord(0, 300)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			own := NewRecord(1+g, 300)
			for i := range 10 {
				own.Hits = int64(i)
				check(t, x.Put(own))
				check(t, x.Put(shared))
				check(t, x.SetCurrent(shared.Version.Key, shared.Version.ID))
				check(t, x.Each(func(swarmcache.Record) bool { return true }))
				if g == 0 {
					check(t, x.Delete(shared.Version.ID))
				}
			}
			wantRecord(t, x, own)
		})
	}
	wg.Wait()
}

func testClosed(t *testing.T, x swarmcache.Index) {
	r := NewRecord(1, 1)
	must(t, x.Put(r))
	closeIndex(t, x)
	wantIs(t, "Put", x.Put(r), fs.ErrClosed)
	wantIs(t, "Delete", x.Delete(r.Version.ID), fs.ErrClosed)
	wantIs(t, "SetCurrent", x.SetCurrent("k", "1"), fs.ErrClosed)
	wantIs(t, "SetSetting", x.SetSetting("s", nil), fs.ErrClosed)
	wantIs(t, "Each", x.Each(func(swarmcache.Record) bool { return true }), fs.ErrClosed)
	_, err := x.Get(r.Version.ID)
	wantIs(t, "Get", err, fs.ErrClosed)
	_, err = x.Current("k")
	wantIs(t, "Current", err, fs.ErrClosed)
	_, err = x.Setting("s")
	wantIs(t, "Setting", err, fs.ErrClosed)
	closeIndex(t, x) // twice is harmless
}

// indexMachine does what comes to rapid's mind to the index and to three maps,
// with restarts in between, and compares the whole of both after every restart
// and at the end.
func indexMachine(t *testing.T, r *rapid.T, root string, open func(testing.TB, string) swarmcache.Index) {
	dir, err := os.MkdirTemp(root, "")
	must(r, err)
	x := open(t, dir)
	defer func() { closeIndex(r, x) }()
	records := map[swarmcache.ObjectID]swarmcache.Record{}
	current := map[policy.Key]swarmcache.ObjectID{}
	settings := map[string]string{}

	// Few objects under fewer keys, so that versions replace each other.
	object := func() swarmcache.Record {
		rec := NewRecord(rapid.IntRange(0, 5).Draw(r, "object"), rapid.SampledFrom([]int{1, 150, 400}).Draw(r, "pieces"))
		rec.Version.Key = policy.Key(fmt.Sprint("http://a/", len(rec.Hashes)%3))
		rec.Hits = rapid.Int64Range(0, 9).Draw(r, "hits")
		return rec
	}
	compare := func() {
		if got, want := listing(r, x), records; len(got) != len(want) {
			r.Fatalf("Each shows %d records, want %d", len(got), len(want))
		}
		for id, rec := range records {
			wantRecord(r, x, rec)
			if got := listing(r, x)[id]; !sameButHashes(got, rec) {
				r.Fatalf("Each shows %+v, want %+v", got, rec)
			}
		}
		for i := range 3 {
			key := policy.Key(fmt.Sprint("http://a/", i))
			wantCurrent(r, x, key, current[key])
		}
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			if got, err := x.Setting(name); err != nil || string(got) != settings[name] {
				r.Fatalf("setting %s = %q, %v; want %q", name, got, err, settings[name])
			}
		}
	}
	r.Repeat(map[string]func(*rapid.T){
		"put": func(r *rapid.T) {
			rec := object()
			if rapid.Bool().Draw(r, "bare") {
				rec.Hashes = nil
			}
			must(r, x.Put(rec))
			if rec.Hashes == nil {
				rec.Hashes = records[rec.Version.ID].Hashes
			}
			records[rec.Version.ID] = rec
		},
		"select": func(r *rapid.T) {
			rec := object()
			must(r, x.SetCurrent(rec.Version.Key, rec.Version.ID))
			current[rec.Version.Key] = rec.Version.ID
		},
		"forget key": func(r *rapid.T) {
			key := object().Version.Key
			must(r, x.SetCurrent(key, ""))
			delete(current, key)
		},
		"delete": func(r *rapid.T) {
			id := object().Version.ID
			must(r, x.Delete(id))
			if rec, ok := records[id]; ok && current[rec.Version.Key] == id {
				delete(current, rec.Version.Key)
			}
			delete(records, id)
		},
		"set": func(r *rapid.T) {
			name, value := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "name"), rapid.String().Draw(r, "value")
			must(r, x.SetSetting(name, []byte(value)))
			settings[name] = value
		},
		"reopen": func(r *rapid.T) {
			if rapid.IntRange(0, 4).Draw(r, "really") > 0 {
				return // it is slow
			}
			closeIndex(r, x)
			x = open(t, dir)
			compare()
		},
	})
	compare()
}

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Fatal(...any)
	Errorf(string, ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// check is must for goroutines, which may not end the test.
func check(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%v", err)
	}
}

func closeIndex(t failer, x swarmcache.Index) {
	t.Helper()
	check(t, x.Close())
}

func wantIs(t failer, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func wantRecord(t failer, x swarmcache.Index, want swarmcache.Record) {
	t.Helper()
	got, err := x.Get(want.Version.ID)
	if err != nil {
		t.Errorf("Get: %v", err)
		return
	}
	if !sameButHashes(got, want) {
		t.Errorf("Get = %+v\nwant %+v", got, want)
	}
	if !bytes.Equal(got.Hashes, want.Hashes) {
		t.Errorf("hashes of %s: %d bytes (SHA-256 %.4x), want %d (%.4x)", want.Version.ID,
			len(got.Hashes), sha256.Sum256(got.Hashes), len(want.Hashes), sha256.Sum256(want.Hashes))
	}
	if got, err := x.Summary(want.Version.ID); err != nil || len(got.Hashes) > 0 || !sameButHashes(got, want) {
		t.Errorf("Summary = %+v, %v\nwant %+v without the hashes", got, err, want)
	}
}

func wantCurrent(t failer, x swarmcache.Index, key policy.Key, want swarmcache.ObjectID) {
	t.Helper()
	got, err := x.Current(key)
	if want == "" {
		wantIs(t, "Current", err, swarmcache.ErrNotFound)
		return
	}
	if err != nil || got != want {
		t.Errorf("%.40q selects %q, %v; want %q", key, got, err, want)
	}
}

// listing collects what Each shows, once each.
func listing(t failer, x swarmcache.Index) map[swarmcache.ObjectID]swarmcache.Record {
	t.Helper()
	all := map[swarmcache.ObjectID]swarmcache.Record{}
	must(t, x.Each(func(r swarmcache.Record) bool {
		if _, ok := all[r.Version.ID]; ok {
			t.Errorf("Each shows %s twice", r.Version.ID)
		}
		all[r.Version.ID] = r
		return true
	}))
	return all
}

// sameButHashes compares as the wire does: a time by its instant, an absent
// slice like an empty one.
func sameButHashes(a, b swarmcache.Record) bool {
	a.Hashes, b.Hashes = nil, nil
	ja, erra := json.Marshal(a)
	jb, errb := json.Marshal(b)
	return erra == nil && errb == nil && bytes.Equal(ja, jb)
}
