package main

import (
	"context"
	"encoding/hex"
	"net/netip"
	"slices"
	"sync"
	"time"

	"shatabdi/swarmcache"
)

// members tells nodes of the cluster from others among peers: by the addresses in
// their records or, because a node with several may come from another one, by
// their peer ids. It asks the directory when it meets somebody new, once a second
// at most, and while that is away it goes by what it knew.
type members struct {
	asking sync.Mutex // held while the directory is asked; taken before mu
	asked  time.Time  // guarded by asking

	mu    sync.Mutex // guards the fields below; never held across I/O
	ask   func(context.Context) ([]swarmcache.Node, error)
	addrs map[netip.Addr]bool
	ids   map[string]bool
}

// strangersEvery bounds how often strangers make this node ask.
const strangersEvery = time.Second

// from says whom to ask.
func (m *members) from(ask func(context.Context) ([]swarmcache.Node, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ask = ask
}

// has reports whether a peer is a node. Who is new may have registered a moment
// ago, so only an answer from after it came says no.
func (m *members) has(from netip.Addr, id [20]byte) bool {
	if m.knows(from, id) {
		return true
	}
	came := time.Now()
	m.asking.Lock()
	defer m.asking.Unlock()
	if m.asked.Before(came) {
		time.Sleep(time.Until(m.asked.Add(strangersEvery)))
		m.refresh()
		m.asked = time.Now()
	}
	return m.knows(from, id)
}

func (m *members) knows(from netip.Addr, id [20]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.addrs[from] || m.ids[hex.EncodeToString(id[:])]
}

func (m *members) refresh() {
	m.mu.Lock()
	ask := m.ask
	m.mu.Unlock()
	if ask == nil {
		return // the daemon is starting
	}
	ctx, cancel := context.WithTimeout(context.Background(), rosterWait)
	defer cancel()
	nodes, err := ask(ctx)
	if err != nil {
		return
	}
	addrs, ids := map[netip.Addr]bool{}, map[string]bool{}
	for _, n := range nodes {
		for _, p := range n.Peers {
			addrs[p.Addr().Unmap().WithZone("")] = true
		}
		if n.PeerID != "" {
			ids[n.PeerID] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addrs, m.ids = addrs, ids
}

// within returns a test for addresses of networks; nil: there are none.
func within(networks []netip.Prefix) func(netip.Addr) bool {
	if len(networks) == 0 {
		return nil
	}
	return func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a.Unmap()) })
	}
}
