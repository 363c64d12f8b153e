package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"shatabdi/swarmcache"
)

const host = "https://cdn.example.org:443"

// counted sums a counter over those of its labels that are given.
func counted(t *testing.T, reg *prometheus.Registry, name string, labels ...string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	noErr(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				if !found {
					continue series
				}
			}
			n += m.GetCounter().GetValue()
		}
	}
	return n
}

func keysUnder(t *testing.T, c *clientv3.Client, prefix string) (keys []string) {
	t.Helper()
	g, err := c.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	noErr(t, err)
	for _, kv := range g.Kvs {
		keys = append(keys, strings.TrimPrefix(string(kv.Key), prefix))
	}
	return keys
}

// One write when a node begins to fetch from an origin, none for the spans and
// fills that follow within seconds, one when it has ceased to.
func TestSlotsCostOneWriteAFill(t *testing.T) {
	t.Parallel()
	p, reg := prefix(), prometheus.NewRegistry()
	cfg := config(p, 1)
	cfg.Registerer, cfg.Self.Tracker = reg, "" // does not lead, so it writes nothing else
	m := join(t, cfg)
	writes := func() float64 { return counted(t, reg, "shatabdi_etcd_writes_total") }
	before := writes()
	const fills, spans = 3, 50
	for range fills * spans {
		release, err := m.ClaimSlot(t.Context(), host, 64)
		noErr(t, err)
		release()
	}
	if n := writes() - before; n != 1 {
		t.Errorf("%v writes for %d spans of %d fills, want 1", n, fills*spans, fills)
	}
	c := raw(t, etcd)
	keys := keysUnder(t, c, p+"origins/")
	if len(keys) != 1 || strings.Contains(keys[0], "example") {
		t.Errorf("keys %q, want one that names no host", keys)
	}
	eventually(t, "the slot is given back", func() bool { return len(keysUnder(t, c, p+"origins/")) == 0 })
	eventually(t, "with one write more", func() bool { return writes()-before == 2 })
}

// Of those who wait one by one tries for a slot that comes free.
func TestWaitersForASlotAreNoHerd(t *testing.T) {
	t.Parallel()
	const nodes = 16
	p := prefix()
	first := join(t, config(p, 0))
	release, err := first.ClaimSlot(t.Context(), host, 1)
	noErr(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	tries := 0.0
	for i := range nodes {
		reg := prometheus.NewRegistry()
		cfg := config(p, i+1)
		cfg.Registerer = reg
		m := join(t, cfg)
		wg.Go(func() {
			release, err := m.ClaimSlot(t.Context(), host, 1)
			if err != nil {
				t.Error(err)
				return
			}
			release()
			mu.Lock()
			defer mu.Unlock()
			tries += counted(t, reg, "shatabdi_etcd_requests_total", "op", "claim_slot")
		})
	}
	c := raw(t, etcd)
	eventually(t, "all are in line", func() bool { return len(keysUnder(t, c, p+"origins/")) == nodes+1 })
	release()
	wg.Wait()
	// Each tries once when it comes and once when it is its turn; a herd of them
	// all would try 16 times and 15 and 14...
	t.Logf("%v tries of %d nodes", tries, nodes)
	if tries > nodes*(2+nodes/4) {
		t.Errorf("%v tries", tries)
	}
	eventually(t, "nothing is left", func() bool { return len(keysUnder(t, c, p+"origins/")) == 0 })
}

// A long line grows no longer: each of those who stand there is told of every one
// who comes or goes.
func TestLongLineForASlotIsNotJoined(t *testing.T) {
	t.Parallel()
	p := prefix()
	first, second := join(t, config(p, 0)), join(t, config(p, 1))
	release, err := first.ClaimSlot(t.Context(), host, 1)
	noErr(t, err)
	c := raw(t, etcd)
	taken := keysUnder(t, c, p+"origins/")
	line, _, _ := strings.Cut(taken[0], "/slots/")
	line = p + "origins/" + line + "/line/"
	for i := range 40 {
		_, err := c.Put(t.Context(), fmt.Sprintf("%snode-%d", line, 1000+i), "")
		noErr(t, err)
	}
	got := make(chan error, 1)
	go func() {
		release, err := second.ClaimSlot(t.Context(), host, 1)
		if err == nil {
			release()
		}
		got <- err
	}()
	time.Sleep(500 * time.Millisecond) // it would stand there long since
	if n := len(keysUnder(t, c, line)); n != 40 {
		t.Errorf("%d stand in line, want those 40", n)
	}
	_, err = c.Delete(t.Context(), line, clientv3.WithPrefix())
	noErr(t, err)
	release()
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// A node that never ceases to fetch lets others in.
func TestSlotIsPassedOnAfterAWhile(t *testing.T) {
	t.Parallel()
	p := prefix()
	a, b := join(t, config(p, 1)), join(t, config(p, 2))
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := make(chan bool)
	wg.Go(func() {
		for ctx.Err() == nil {
			release, err := a.ClaimSlot(ctx, host, 1)
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			select {
			case began <- true:
			case <-time.After(10 * time.Millisecond): // a span
			}
			release()
		}
	})
	for range 2 { // and it gets back in
		<-began
		release, err := b.ClaimSlot(t.Context(), host, 1)
		noErr(t, err)
		release()
	}
	<-began
}

func TestSlotOfADeadNodeComesFree(t *testing.T) {
	t.Parallel()
	p, k := prefix(), newLink(t, etcd)
	cfg := config(p, 1)
	cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), 2*time.Second
	a, b := join(t, cfg), join(t, config(p, 2))
	_, err := a.ClaimSlot(t.Context(), host, 1)
	noErr(t, err)
	k.Cut()
	release, err := b.ClaimSlot(t.Context(), host, 1)
	noErr(t, err)
	k.Mend()
	healthy(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := a.ClaimSlot(ctx, host, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("claimed what another has: %v", err)
	}
	release()
	eventually(t, "the slot is free for the one that was away", func() bool {
		_, err := a.ClaimSlot(t.Context(), host, 1)
		return err == nil
	})
}

// A slot under a lease that is lost is nobody's, whoever still uses or keeps it.
func TestSlotsAreLostWithTheLease(t *testing.T) {
	t.Parallel()
	p := prefix()
	a := join(t, config(p, 1))
	used, err := a.ClaimSlot(t.Context(), host, 8)
	noErr(t, err)
	kept, err := a.ClaimSlot(t.Context(), host, 8)
	noErr(t, err)
	kept()
	lease := a.LeaseID()
	c := raw(t, etcd)
	_, err = c.Revoke(t.Context(), clientv3.LeaseID(lease))
	noErr(t, err)
	eventually(t, "a new lease", func() bool { return a.Healthy() && a.LeaseID() != lease })
	used()
	release, err := a.ClaimSlot(t.Context(), host, 8)
	noErr(t, err)
	if n := len(keysUnder(t, c, p+"origins/")); n != 1 {
		t.Errorf("%d slots stand, want the new one", n)
	}
	release()
}

func TestWaitersForASlotAreToldThatEtcdWentAway(t *testing.T) {
	for name, away := range map[string]func(*link){
		"cut":    func(k *link) { k.Cut() },
		"silent": func(k *link) { k.silent.Lock() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, k := prefix(), newLink(t, etcd)
			cfg := config(p, 1)
			cfg.Endpoints, cfg.LeaseTTL = k.endpoints(), 6*time.Second
			a, b := join(t, cfg), join(t, config(p, 2))
			release, err := b.ClaimSlot(t.Context(), host, 1)
			noErr(t, err)
			defer release()
			waited := make(chan error, 1)
			go func() {
				_, err := a.ClaimSlot(t.Context(), host, 1)
				waited <- err
			}()
			c := raw(t, etcd)
			eventually(t, "it waits", func() bool { return len(keysUnder(t, c, p+"origins/")) == 2 })
			away(k)
			select {
			case err := <-waited:
				if !errors.Is(err, swarmcache.ErrUnavailable) {
					t.Fatal(err)
				}
			case <-time.After(15 * time.Second):
				t.Fatal("waits for an etcd that is away")
			}
			if name == "silent" {
				k.silent.Unlock()
			} else {
				k.Mend()
			}
			healthy(t, a)
			release()
			_, err = a.ClaimSlot(t.Context(), host, 1)
			noErr(t, err)
		})
	}
}

// Nodes may disagree about how many slots there are, while settings change.
func TestFewerSlotsThanOthersThink(t *testing.T) {
	p := prefix()
	a, b := join(t, config(p, 1)), join(t, config(p, 2))
	var release []func()
	for range 8 {
		r, err := a.ClaimSlot(t.Context(), host, 8)
		noErr(t, err)
		release = append(release, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.ClaimSlot(ctx, host, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for _, r := range release {
		r()
	}
	_, err := b.ClaimSlot(t.Context(), host, 2)
	noErr(t, err)
}
