package main

import (
	"context"
	"encoding/hex"
	"net/netip"
	"slices"
	"sync"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cluster"
)

// members tells nodes of the cluster from others among peers: by the addresses in
// their records or, because a node with several may come from another one, by
// their peer ids. It asks the directory about those that are new, ten times a second
// at most, and while that is away it goes by what it knew.
type members struct {
	asking   chan struct{} // room for one: who asks the directory; the others wait here
	next     time.Time     // not before, it is asked again; owned by who asks, like the next two
	answered bool          // when it last was
	listed   time.Time     // when all nodes were, a minute before it is due again

	mu    sync.Mutex // guards the fields below; never held across I/O
	ask   func(ctx context.Context, names []string) ([]bool, error)
	list  func(ctx context.Context) ([]swarmcache.Node, error)
	fresh []string        // names to be asked about
	round int             // of asking
	known map[string]bool // names of nodes
	since time.Time       // since when those are collected
}

const (
	// strangersEvery bounds how often strangers make this node ask: a new peer waits for
	// it, where each has an address of its own. Where answers take long it rests for so many
	// times as long, but for strangersWait at most: hundreds of nodes may ask, each about dozens.
	// strangersMax is about how many it asks about at a time.
	strangersEvery = 100 * time.Millisecond
	strangersRest  = 10
	strangersWait  = 2 * time.Second
	strangersMax   = 1000
	// eldersEvery is how often the list of all nodes is read because of strangers.
	eldersEvery = time.Minute
	// eldersAgain is how soon after it could not be.
	eldersAgain = time.Second
	// membersWait bounds what a new peer waits for.
	membersWait = 2 * time.Second
	// membersLife is how long what was a node is taken for one.
	membersLife = time.Hour
)

func newMembers() *members { return &members{asking: make(chan struct{}, 1)} }

// from says whom to ask about names, and for all nodes.
func (m *members) from(ask func(ctx context.Context, names []string) ([]bool, error), list func(context.Context) ([]swarmcache.Node, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ask, m.list = ask, list
}

// has reports whether a peer is a node. Who is new may have registered a moment
// ago, so only an answer to a question from after it came says no.
func (m *members) has(from netip.Addr, id [20]byte) bool {
	names := []string{cluster.PeerName(from), hex.EncodeToString(id[:])}
	known, round := m.meet(names)
	if known {
		return true
	}
	m.asking <- struct{}{}
	defer func() { <-m.asking }()
	if m.isRound(round) {
		time.Sleep(time.Until(m.next))
		begun := time.Now()
		m.answered = m.refresh()
		m.next = begun.Add(max(strangersEvery, min(strangersRest*time.Since(begun), strangersWait)))
	}
	if m.answered && !m.knows(names) && time.Since(m.listed) >= eldersEvery {
		m.meetElders()
	}
	return m.knows(names)
}

// meet reports whether one of them is a node's. If not they are asked about in the next
// round.
func (m *members) meet(names []string) (known bool, round int) {
	if m.knows(names) {
		return true, 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range names {
		if len(m.fresh) < strangersMax {
			m.fresh = append(m.fresh, n)
		}
	}
	return false, m.round
}

func (m *members) knows(names []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(names, func(n string) bool { return m.known[n] })
}

func (m *members) isRound(n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.round == n
}

// refresh asks about those who are new, and reports whether there was an answer.
func (m *members) refresh() bool {
	m.mu.Lock()
	ask, names := m.ask, m.fresh
	m.fresh = nil
	m.round++
	m.mu.Unlock()
	slices.Sort(names)
	names = slices.Compact(names)
	if ask == nil {
		return false // the daemon is starting
	}
	ctx, cancel := context.WithTimeout(context.Background(), membersWait)
	defer cancel()
	are, err := ask(ctx, names)
	if err != nil {
		return false
	}
	var nodes []string
	for i, n := range names {
		if are[i] {
			nodes = append(nodes, n)
		}
	}
	m.learn(nodes)
	return true
}

// learn notes names of nodes, and forgets those from long ago.
func (m *members) learn(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || time.Since(m.since) > membersLife {
		m.known, m.since = map[string]bool{}, time.Now()
	}
	for _, n := range names {
		m.known[n] = true
	}
}

// meetElders gets to know the nodes of a build that does not register names: while a
// cluster is upgraded node by node they are no strangers. For a cluster of one build it
// is a read a minute, and that only when strangers come.
func (m *members) meetElders() {
	m.mu.Lock()
	list := m.list
	m.mu.Unlock()
	if list == nil {
		return // the daemon is starting
	}
	m.listed = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), membersWait)
	defer cancel()
	nodes, err := list(ctx)
	if err != nil {
		m.listed = time.Now().Add(eldersAgain - eldersEvery)
		return
	}
	var names []string
	for _, n := range nodes {
		names = append(names, cluster.PeerNames(n)...)
	}
	m.learn(names)
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
