package index

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// open opens an index that the test closes, if nothing else does.
func open(t testing.TB, dir string) *Index {
	t.Helper()
	x, err := Open(Options{Dir: dir, unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestIndex(t *testing.T) {
	cachetest.TestIndex(t, func(t testing.TB, dir string) swarmcache.Index { return open(t, dir) })
}

// spoil writes what this program would never write.
func spoil(t *testing.T, x *Index, key, value []byte) {
	t.Helper()
	must(t, x.db.Update(func(txn *badger.Txn) error { return txn.Set(key, value) }))
}

func TestDamagedRecordIsNamedSkippedAndDeletable(t *testing.T) {
	for name, value := range map[string]string{
		"no JSON":        "\x00\x01",
		"other object's": `{"version":{"id":"ffff"}}`,
		"empty":          "",
	} {
		t.Run(name, func(t *testing.T) {
			x := open(t, t.TempDir())
			bad, good := cachetest.NewRecord(1, 300), cachetest.NewRecord(2, 1)
			must(t, x.Put(bad))
			must(t, x.Put(good))
			spoil(t, x, recordKey(bad.Version.ID), []byte(value))

			if _, err := x.Get(bad.Version.ID); !errors.Is(err, ErrDamaged) || !contains(err, string(bad.Version.ID)) {
				t.Errorf("Get: %v, want ErrDamaged naming the object", err)
			}
			var seen []swarmcache.ObjectID
			must(t, x.Each(func(r swarmcache.Record) bool { seen = append(seen, r.Version.ID); return true }))
			if len(seen) != 1 || seen[0] != good.Version.ID {
				t.Errorf("Each shows %v, want only the good record", seen)
			}
			must(t, x.Delete(bad.Version.ID))
			if _, err := x.Get(bad.Version.ID); !errors.Is(err, swarmcache.ErrNotFound) {
				t.Errorf("Get after Delete: %v", err)
			}
		})
	}
}

// A node notes hits and last use often; the hashes must not be written each time.
func TestPutDoesNotRewriteHashes(t *testing.T) {
	x := open(t, t.TempDir())
	r := cachetest.NewRecord(1, 16<<10) // 320 KiB of hashes
	must(t, x.Put(r))
	before := diskBytes(x.dir)
	for i := range 50 {
		r.Hits = int64(i)
		must(t, x.Put(r))
	}
	if grown := diskBytes(x.dir) - before; grown > 1<<20 {
		t.Errorf("50 updates of one record took %d KiB of disk", grown>>10)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	dir := t.TempDir()
	x, err := Open(Options{Dir: dir, Registerer: reg})
	must(t, err)
	must(t, x.Put(cachetest.NewRecord(1, 1000)))
	families, err := reg.Gather()
	must(t, err)
	values := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		values[f.GetName()] = m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	if got := values["shatabdi_index_write_seconds"]; got != 1 {
		t.Errorf("write_seconds counts %v writes, want 1", got)
	}
	if got := values["shatabdi_index_disk_bytes"]; got < 20_000 || got > 2<<20 {
		t.Errorf("disk_bytes = %v for one record with 20 kB of hashes", got)
	}
	must(t, x.Close())

	x, err = Open(Options{Dir: dir, Registerer: reg}) // what Close registered off can be registered again
	must(t, err)
	must(t, x.Close())
}

func BenchmarkEach10000(b *testing.B) {
	x := open(b, b.TempDir())
	fillIndex(b, x, 10_000)
	for b.Loop() {
		n := 0
		if err := x.Each(func(swarmcache.Record) bool { n++; return true }); err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	x := open(b, b.TempDir())
	for n := range 100 {
		must(b, x.Put(cachetest.NewRecord(n, 2048)))
	}
	id := cachetest.NewRecord(7, 2048).Version.ID
	for b.Loop() {
		if _, err := x.Get(id); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut updates records that are there, one writer and sixteen.
func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprint(writers, "writers"), func(b *testing.B) {
			x, err := Open(Options{Dir: b.TempDir()})
			must(b, err)
			defer x.Close()
			b.SetParallelism(writers)
			if writers == 1 {
				r := cachetest.NewRecord(1, 2048)
				for b.Loop() {
					r.Hits++
					must(b, x.Put(r))
				}
				return
			}
			next := make(chan int, writers*64)
			for n := range cap(next) {
				next <- n
			}
			b.RunParallel(func(pb *testing.PB) {
				r := cachetest.NewRecord(<-next, 2048)
				for pb.Next() {
					r.Hits++
					if err := x.Put(r); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func fillIndex(t testing.TB, x *Index, n int) {
	t.Helper()
	for i := range n {
		r := cachetest.NewRecord(i, i%256)
		must(t, x.Put(r))
		must(t, x.SetCurrent(r.Version.Key, r.Version.ID))
	}
}
