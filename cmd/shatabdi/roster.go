package main

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"shatabdi/swarmcache"
)

// roster answers the tracker where the members are. It asks the directory once
// a second at most, and seldom in a large cluster, whose list is long.
type roster struct {
	ask func(context.Context) ([]swarmcache.Node, error)

	mu     sync.Mutex // guards the fields below; not held while the directory is asked
	nodes  map[string]swarmcache.Node
	asked  time.Time
	asking chan struct{} // closed when the answer is there; nil: nobody asks
}

const (
	// rosterWait bounds what an announce waits for.
	rosterWait = 2 * time.Second
	// rosterEvery is how often members are read again, rosterPerNode by how much more
	// seldom for each of them.
	rosterEvery   = time.Second
	rosterPerNode = 5 * time.Millisecond
)

// lookup returns a member's addresses as far as they are known, and has the directory
// asked behind its caller's back: many wait for who calls it, also while etcd is slow.
func (r *roster) lookup(node string) ([]netip.AddrPort, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, known := r.nodes[node]
	every := rosterEvery
	if known {
		every += time.Duration(len(r.nodes)) * rosterPerNode
	}
	if r.asking == nil && time.Since(r.asked) > every {
		r.asking = make(chan struct{})
		go r.refresh()
	}
	return n.Peers, known
}

// await returns when the directory has answered, if it is asked now: who is not known
// may be a moment old.
func (r *roster) await() {
	r.mu.Lock()
	asking := r.asking
	r.mu.Unlock()
	if asking != nil {
		<-asking
	}
}

// place returns where a member stands, as far as is known.
func (r *roster) place(node string) (zone, rack string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[node]
	return n.Zone, n.Rack
}

func (r *roster) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), rosterWait)
	defer cancel()
	nodes, err := r.ask(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = time.Now()
	close(r.asking)
	r.asking = nil
	if err != nil {
		return // what was known is better than nothing
	}
	r.nodes = make(map[string]swarmcache.Node, len(nodes))
	for _, n := range nodes {
		r.nodes[string(n.ID)] = n
	}
}
