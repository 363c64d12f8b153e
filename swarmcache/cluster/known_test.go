package cluster_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
)

// knows runs a member and returns what it is told to keep.
func knows(t *testing.T, cfg cluster.Config) (*member, func() cluster.Known) {
	t.Helper()
	var k atomic.Pointer[cluster.Known]
	cfg.OnKnown = func(known cluster.Known) { k.Store(&known) }
	m := join(t, cfg)
	return m, func() cluster.Known { return *k.Load() }
}

// A node of one cluster that is sent to the etcd of another stays out, and says so,
// until an operator says that it belongs there.
func TestForeignClusterIsRefused(t *testing.T) {
	t.Parallel()
	mine, theirs := prefix(), prefix()
	first := join(t, config(mine, 1))
	second, known := knows(t, config(mine, 2))
	other := join(t, config(theirs, 3))
	second.stop()
	noErr(t, other.Publish(t.Context(), version("k", `"1"`)))
	if known().Nodes != 2 {
		t.Fatalf("%d nodes were counted", known().Nodes)
	}

	reg := prometheus.NewPedanticRegistry()
	cfg := config(theirs, 2)
	cfg.Known, cfg.Registerer = known(), reg
	m := run(t, cfg)
	var foreign *cluster.ForeignError
	eventually(t, "it says so", func() bool { return errors.As(m.State(), &foreign) })
	if foreign.Found != other.ID() || foreign.Want != first.ID() {
		t.Fatal(foreign)
	}
	answersUnavailable(t, m, 500*time.Millisecond)
	if n := gauge(t, reg, "shatabdi_etcd_foreign_cluster"); n != 1 {
		t.Fatal("metric:", n)
	}
	g, err := raw(t, etcd).Get(t.Context(), theirs+"nodes/", clientv3.WithPrefix())
	if noErr(t, err); len(g.Kvs) != 1 {
		t.Fatal("it registered all the same")
	}
	m.stop()
	cfg.Known.Nodes, cfg.Registerer = 0, nil // an earlier program did not count them
	m = run(t, cfg)
	eventually(t, "it says so again", func() bool { return errors.As(m.State(), &foreign) })
	m.stop()

	cfg.ClusterID = other.ID()
	join(t, cfg)
	cfg = config(mine, 4) // and one that never was anywhere stays out of the wrong one, too
	cfg.ClusterID = other.ID()
	m = run(t, cfg)
	eventually(t, "it says so", func() bool { return errors.As(m.State(), &foreign) })
}

// Who was the only node of its cluster mixes nothing when it joins another one.
func TestWhoWasAloneMoves(t *testing.T) {
	t.Parallel()
	alone, known := knows(t, config(prefix(), 1))
	alone.stop()
	p := prefix()
	there := join(t, config(p, 2))
	cfg := config(p, 1)
	cfg.Known = known()
	if m := join(t, cfg); m.ID() != there.ID() {
		t.Fatal("it is in its old cluster")
	}
}

// A node that was stopped while etcd was restored from an old copy raises the epoch,
// and one that knows a later epoch than the copy does so too.
func TestOldCopyRaisesTheEpoch(t *testing.T) {
	t.Parallel()
	p := prefix()
	m, known := knows(t, config(p, 1))
	m.stop()
	for name, change := range map[string]func(*cluster.Known){
		"nothing":                  func(*cluster.Known) {},
		"etcd had come further":    func(k *cluster.Known) { k.Etcd.Rev += 1 << 40 },
		"etcd was in a later term": func(k *cluster.Known) { k.Etcd.Term += 1 << 40 },
		"another etcd":             func(k *cluster.Known) { k.Etcd.Cluster++ },
		"a later epoch":            func(k *cluster.Known) { k.Epoch += 1 << 40 },
	} {
		k := known()
		was := k.Epoch
		change(&k)
		cfg := config(p, 1)
		cfg.Known = k
		again, now := knows(t, cfg)
		again.stop()
		if raised := again.Era().Epoch > max(was, k.Epoch); raised != (name != "nothing") {
			t.Errorf("%s: epoch %d, was %d", name, again.Era().Epoch, k.Epoch)
		}
		if now().Epoch != again.Era().Epoch {
			t.Errorf("%s: it keeps epoch %d", name, now().Epoch)
		}
		known = now
	}
}

// What a write changed at the origin others hear of, even if etcd was away for longer
// than a lease lasts, and whatever else is owed.
func TestInvalidationIsOwedBeyondTheLease(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), 2*time.Second
	a, b := join(t, cfg), join(t, config(p, 2))
	v := version("k", `"1"`)
	noErr(t, b.Publish(t.Context(), v))
	lease := a.LeaseID()
	k.Cut()
	eventually(t, "away", func() bool { return !a.Healthy() })
	a.OweClaims()
	if _, err := a.Invalidate(t.Context(), swarmcache.Purge{ID: "1", Key: v.Key, At: time.Now()}); !errors.Is(err, swarmcache.ErrUnavailable) {
		t.Fatal(err)
	}
	_, err := raw(t, etcd).Revoke(t.Context(), clientv3.LeaseID(lease))
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) { // it ran out by itself
		noErr(t, err)
	}
	k.Mend()
	eventually(t, "it is gone for all", func() bool {
		_, _, err := b.Lookup(t.Context(), v.Key)
		return errors.Is(err, swarmcache.ErrNotFound)
	})
	if a.LeaseID() == lease {
		t.Error("the lease was not lost")
	}
}

// Etcd was wiped, and who reaches it first knows nothing, as its disk was lost too: the
// others do not stay out for that. It is their cluster again, and the new node is in it.
func TestBlankNodeDoesNotTakeTheClusterOver(t *testing.T) {
	t.Parallel()
	before, wiped := prefix(), prefix()
	first, knownFirst := knows(t, config(before, 1))
	second, knownSecond := knows(t, config(before, 2))
	was := second.Era()
	first.stop()
	second.stop()

	blank := join(t, config(wiped, 3))
	if blank.ID() == was.Cluster {
		t.Fatal("it knows of the cluster")
	}
	cfg := config(wiped, 1)
	cfg.Known = knownFirst()
	cfg.Known.Nodes = 0 // an earlier program did not count them
	again := join(t, cfg)
	cfg = config(wiped, 2)
	cfg.Known = knownSecond()
	join(t, cfg)
	if now := again.Era(); now.Cluster != was.Cluster || now.Epoch <= was.Epoch {
		t.Errorf("the era is %v, was %v", now, was)
	}
	eventually(t, "the new node is in it", func() bool {
		nodes, err := again.Nodes(t.Context())
		return err == nil && len(nodes) == 3 && blank.Era() == again.Era() && string(blank.Secret()) == string(again.Secret())
	})
}

// Etcd was wiped, and who reached it first knows nothing and has published already. Its
// cluster is the others' from now on where it came in the place of theirs, and only
// there: elsewhere, or if it lived beside theirs, an operator has to say so.
func TestSuccessorIsJoined(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*cluster.Config)
		joins  bool
	}{
		"in its place": {func(*cluster.Config) {}, true},
		"a member was replaced": {func(cfg *cluster.Config) {
			cfg.Known.Places = append([]string{"http://gone:2379" + cfg.Prefix}, cfg.Known.Places...)
		}, true},
		"elsewhere":               {func(cfg *cluster.Config) { cfg.Known.Places = []string{"http://elsewhere:2379" + cfg.Prefix} }, false},
		"under another prefix":    {func(cfg *cluster.Config) { cfg.Known.Places = []string{cfg.Endpoints[0] + "/other/"} }, false},
		"beside it":               {func(cfg *cluster.Config) { cfg.Known.Seen = time.Now().Add(time.Hour) }, false},
		"an earlier program's":    {func(cfg *cluster.Config) { cfg.Known.Places, cfg.Known.Seen = nil, time.Time{} }, false},
		"an operator said where":  {func(cfg *cluster.Config) { cfg.ClusterID = cfg.Known.ID }, false},
		"an operator said so":     {func(cfg *cluster.Config) { cfg.ClusterID, cfg.Known.Places = cfg.ClusterID+"X", nil }, true},
		"the only one, elsewhere": {func(cfg *cluster.Config) { cfg.Known.Nodes, cfg.Known.Places = 1, nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := prefix()
			first := join(t, config(p, 1))
			second, known := knows(t, config(p, 2))
			was := second.Era()
			first.stop()
			second.stop()
			_, err := raw(t, etcd).Delete(t.Context(), p, clientv3.WithPrefix())
			noErr(t, err)
			blank := join(t, config(p, 3))
			noErr(t, blank.Publish(t.Context(), version("k", `"1"`)))

			cfg := config(p, 2)
			cfg.Known = known()
			c.change(&cfg)
			if cfg.ClusterID == "X" {
				cfg.ClusterID = blank.ID()
			}
			if !c.joins {
				m := run(t, cfg)
				var foreign *cluster.ForeignError
				eventually(t, "it says so", func() bool { return errors.As(m.State(), &foreign) })
				if blank.Era().Cluster != foreign.Found || foreign.Want != was.Cluster {
					t.Fatal(foreign)
				}
				return
			}
			again, now := knows(t, cfg)
			era := again.Era()
			if heir := cfg.ClusterID == "" && cfg.Known.Places != nil; era.Cluster != blank.ID() || heir != (era.After == was.Cluster) {
				t.Errorf("the era is %+v, was %+v", era, was)
			}
			again.stop()
			cfg.Known = now()
			if third := join(t, cfg); third.Era() != era {
				t.Errorf("in the next run it is %+v", third.Era())
			}
			if _, _, err := blank.Lookup(t.Context(), "k"); err != nil {
				t.Error("what was published is lost:", err)
			}
		})
	}
}

// A lease that was lost makes nothing doubtful, but a long silence does: others may have
// replaced what is here.
func TestOnlyALongSilenceMakesDoubtful(t *testing.T) {
	t.Parallel()
	for _, long := range []bool{false, true} {
		cfg := config(prefix(), 1)
		cfg.LeaseTTL = 2 * time.Second
		m := run(t, cfg, func(c *cluster.Cluster) {
			if long {
				c.Silence(time.Millisecond)
			}
		})
		healthy(t, m)
		told := make(chan bool, 8)
		go m.Purges(t.Context(), func(s swarmcache.Standing) { told <- s.Afresh })
		if !<-told {
			t.Error("at the start nothing is doubtful")
		}
		_, err := raw(t, etcd).Revoke(t.Context(), clientv3.LeaseID(m.LeaseID()))
		noErr(t, err)
		if afresh := <-told; afresh != long {
			t.Errorf("after a long silence: %t; doubtful: %t", long, afresh)
		}
	}
}
