package index

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// Each kind of broken entry is found, nothing is changed before that is asked
// for, and a repair leaves the good record alone.
func TestAudit(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	good, torn, hashless := cachetest.NewRecord(1, 300), cachetest.NewRecord(2, 0), cachetest.NewRecord(3, 300)
	for _, r := range []swarmcache.Record{good, torn, hashless} {
		must(t, x.Put(r))
		must(t, x.SetCurrent(r.Version.Key, r.Version.ID))
	}
	if found, err := x.Audit(true); err != nil || len(found) > 0 {
		t.Fatalf("a good catalogue: %+v, %v", found, err)
	}
	must(t, x.db.Update(func(txn *badger.Txn) error {
		must(t, txn.Set(recordKey(torn.Version.ID), []byte("{")))
		return txn.Delete(recordKey(hashless.Version.ID))
	}))

	want := []string{
		swarmcache.FoundDamaged,                            // torn itself
		swarmcache.FoundDangling,                           // the hashes of hashless
		swarmcache.FoundDangling, swarmcache.FoundDangling, // the keys of both
	}
	for _, repair := range []bool{false, true} {
		found, err := x.Audit(repair)
		must(t, err)
		var whats []string
		for _, f := range found {
			whats = append(whats, f.What)
			if (f.Repaired != "") != repair {
				t.Errorf("repair %v: %+v", repair, f)
			}
		}
		if !slices.Equal(whats, want) {
			t.Errorf("found %q, want %q", whats, want)
		}
	}
	if found, err := x.Audit(false); err != nil || len(found) > 0 {
		t.Errorf("after the repair: %+v, %v", found, err)
	}
	if r, err := x.Get(good.Version.ID); err != nil || string(r.Hashes) != string(good.Hashes) {
		t.Errorf("the good record: %v", err)
	}
	if id, err := x.Current(good.Version.Key); err != nil || id != good.Version.ID {
		t.Errorf("its key selects %q, %v", id, err)
	}
}

func TestAuditFindsUnreadableHashes(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	r := cachetest.NewRecord(1, 5000)
	must(t, x.Put(r))
	must(t, x.Close())
	logs, _ := filepath.Glob(filepath.Join(dir, "*.vlog"))
	for _, f := range logs {
		patch(t, f, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
	x = open(t, dir)
	found, err := x.Audit(true)
	if err != nil || len(found) != 1 || found[0].What != swarmcache.FoundDamaged || found[0].Object != r.Version.ID {
		t.Fatalf("%+v, %v", found, err)
	}
	if got, err := x.Get(r.Version.ID); err != nil || len(got.Hashes) > 0 {
		t.Errorf("the record after the repair: %d bytes of hashes, %v", len(got.Hashes), err)
	}
}
