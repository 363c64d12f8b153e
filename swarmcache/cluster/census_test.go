package cluster_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"shatabdi/swarmcache"
)

// Among few nodes patience is what it is; among many it grows with them.
func TestPatienceGrowsWithTheCluster(t *testing.T) {
	t.Parallel()
	p := prefix()
	if d := join(t, config(p, 1)).Slack(); d != 0 {
		t.Errorf("a node alone has %v more patience", d)
	}
	c := raw(t, etcd)
	for i := range 2 * swarmcache.MaxListed {
		_, err := c.Put(t.Context(), fmt.Sprintf("%snodes/other-%02d", p, i), "{}")
		noErr(t, err)
	}
	if d := join(t, config(p, 2)).Slack(); d == 0 {
		t.Error("one of many has no more patience than one of few")
	}
}

// A computer that has too much to do hears late what etcd answers in time: for some
// seconds after its timers were late, a node there has more patience.
func TestPatienceGrowsWithLateTimers(t *testing.T) {
	t.Parallel()
	m := join(t, config(prefix(), 1))
	for _, c := range []struct{ late, least, most time.Duration }{
		{-time.Millisecond, 0, 0},
		{time.Millisecond, 0, 0},
		{200 * time.Millisecond, 500 * time.Millisecond, time.Second},
		{0, 500 * time.Millisecond, time.Second}, // still
		{time.Hour, time.Second, 10 * time.Second},
	} {
		m.Starve(c.late)
		if d := m.Slack(); d < c.least || d > c.most {
			t.Errorf("timers %v late: %v more patience", c.late, d)
		}
	}
	for range 1000 {
		m.Starve(0)
	}
	if d := m.Slack(); d > time.Millisecond {
		t.Errorf("%v more patience for ever", d)
	}
}

// A node's peer is found by each of its addresses and its id, for as long as it lives.
func TestPeersAreFoundByName(t *testing.T) {
	t.Parallel()
	p := prefix()
	cfg := config(p, 1)
	cfg.Self.PeerID = strings.Repeat("ab", 20)
	for _, a := range []string{"10.9.0.1:42069", "[::ffff:10.9.0.2]:42069", "[fd00::1]:42069"} {
		cfg.Self.Peers = append(cfg.Self.Peers, netip.MustParseAddrPort(a))
	}
	a, b := run(t, cfg), join(t, config(p, 2))
	healthy(t, a)
	peers := []string{"10.9.0.2", "fd00::1", cfg.Self.PeerID}
	others := []string{"10.9.0", "10.9.0.3"}
	for range 60 { // more than one request takes
		peers, others = append(peers, "10.9.0.1"), append(others, "192.0.2.1")
	}
	are, err := b.ArePeers(t.Context(), append(slices.Clone(peers), others...))
	noErr(t, err)
	if slices.Contains(are[:len(peers)], false) || slices.Contains(are[len(peers):], true) {
		t.Error(are)
	}
	a.stop()
	eventually(t, "it is gone", func() bool {
		are, err := b.ArePeers(t.Context(), peers[:4])
		return err == nil && !slices.Contains(are, true)
	})
}
