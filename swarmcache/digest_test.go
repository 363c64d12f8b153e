package swarmcache_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/layout"
)

func sha(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// identified is the version of m as a fill makes it.
func identified(m memory) swarmcache.Version {
	v := m.version()
	v.PieceLen = layout.PieceLenFor(v.Length)
	v.Identify()
	return v
}

func counted(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// The digest of a body is recorded on the node and told to the cluster, also
// that of an object which an earlier run left without.
func TestDigest(t *testing.T) {
	dir := cachetest.NewDirectory().Node(swarmcache.Node{ID: "me"})
	x := cachetest.NewIndex()
	cfg := swarmcache.Config{
		Dir: t.TempDir(), Index: x, Directory: dir, Node: swarmcache.Node{ID: "me"},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	c, err := swarmcache.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory("a", 8<<20+12345)
	id := func() swarmcache.ObjectID {
		obj := fill(t, c, m)
		defer obj.Close()
		return obj.Version().ID
	}()
	known := func() bool {
		v, _, err := dir.Lookup(t.Context(), policy.Key(m.name))
		return err == nil && v != nil && v.SHA256 == sha(m.data)
	}
	eventually(t, func() bool { r, err := c.Record(id); return err == nil && r.Version.SHA256 == sha(m.data) })
	if err := swarmcache.CompareNow(c, id); err != nil {
		t.Fatal(err)
	}
	if !known() {
		t.Error("the directory was not told")
	}
	c.Close()

	r, err := x.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	r.Version.SHA256 = ""
	if err := x.Put(r); err != nil {
		t.Fatal(err)
	}
	if c, err = swarmcache.Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !here(c, m) {
		t.Fatal("it is not here after the restart")
	}
	eventually(t, func() bool { r, err := x.Get(id); return err == nil && r.Complete && r.Version.SHA256 == sha(m.data) })
}

// Of two contents under one validator the cluster keeps the one whose digest was
// published first; a node that has the other drops it.
func TestOtherBytesUnderOneValidator(t *testing.T) {
	for name, late := range map[string]bool{"known before": false, "published meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			dirs, reg := cachetest.NewDirectory(), prometheus.NewRegistry()
			dir := dirs.Node(swarmcache.Node{ID: "me"})
			c, err := swarmcache.Open(swarmcache.Config{
				Dir: t.TempDir(), Index: cachetest.NewIndex(), Directory: dir, Node: swarmcache.Node{ID: "me"},
				Logger: slog.New(slog.DiscardHandler), Registerer: reg,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			m := newMemory("a", 8<<20)
			tell := func(v swarmcache.Version) {
				v.SHA256 = sha([]byte("other bytes"))
				if err := dirs.Node(swarmcache.Node{ID: "other"}).Publish(t.Context(), v); err != nil {
					t.Fatal(err)
				}
			}
			if late {
				// Both publish; who comes second is told so.
				obj := fill(t, c, m)
				defer obj.Close()
				eventually(t, func() bool { return obj.Version().SHA256 != "" })
				v := obj.Version()
				v.InfoHash = swarmcache.InfoHash{}
				if err := dir.Withdraw(t.Context(), v.Key); err != nil {
					t.Fatal(err)
				}
				tell(v)
				if err := swarmcache.CompareNow(c, v.ID); err != nil {
					t.Fatal(err)
				}
			} else {
				v := identified(m)
				tell(v)
				obj, err := c.Lookup(t.Context(), v.Key, m)
				if err != nil {
					t.Fatal(err)
				}
				defer obj.Close()
				wantBytes(t, obj, m) // the client has its bytes all the same
			}
			eventually(t, func() bool { return !here(c, m) })
			if n := counted(t, reg, "shatabdi_digest_mismatches_total"); n != 1 {
				t.Errorf("%v mismatches counted", n)
			}
		})
	}
}
