package swarm

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"shatabdi/swarmcache"
)

// Whatever zones and racks there are, who dials whom it draws: all together are
// one swarm, nobody dials more than it should, and out of its zone only a few.
func TestDialedSwarmIsConnected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 120).Draw(t, "n")
		zones := rapid.IntRange(0, 6).Draw(t, "zones")
		places := make([]place, n)
		for i := range places {
			if z := rapid.IntRange(0, zones).Draw(t, "zone"); z > 0 {
				places[i] = placeOf(fmt.Sprint("zone-", z), fmt.Sprint("rack-", z, i%3))
			}
		}
		links := make([][]int, n)
		now := time.Now()
		trusts := func(netip.AddrPort, time.Time) bool { return false }
		for i, me := range places {
			p := peers{named: map[netip.AddrPort]*named{}}
			near := 0
			for k, at := range places {
				if k == i {
					continue
				}
				p.named[addrOf(k)] = &named{far: me.far(at), close: me.close(at)}
				if !me.far(at) {
					near++
				}
			}
			dialed := p.draw(0, 0, false, now, trusts)
			dialed = append(dialed, p.draw(somePeers, p.out, true, now, trusts)...)
			far := 0
			for _, a := range dialed {
				k := int(a.Port())
				links[i], links[k] = append(links[i], k), append(links[k], i)
				if me.far(places[k]) {
					far++
				}
			}
			if want := min(n-1-near, max(longLinks, somePeers-near)); far != want {
				t.Fatalf("%d long links, want %d", far, want)
			}
			if want := min(near, allPeers); len(dialed)-far > want {
				t.Fatalf("dialed %d of %d that are near", len(dialed)-far, near)
			}
		}
		if reached := reach(links); reached != n {
			t.Fatalf("%d of %d are one swarm", reached, n)
		}
	})
}

// Who has just come is left to dial, but not for ever; of two one dials before the
// other, and everybody about as many as anybody.
func TestWhoComesDials(t *testing.T) {
	now := time.Now()
	trusts := func(netip.AddrPort, time.Time) bool { return false }
	p := peers{named: map[netip.AddrPort]*named{addrOf(1): {}, addrOf(2): {later: now.Add(comeFirst)}, addrOf(3): {later: now.Add(gatherFor)}}}
	for _, step := range []struct {
		after    time.Duration
		gathered bool
		want     []netip.AddrPort
	}{
		{0, false, []netip.AddrPort{addrOf(1)}}, {comeFirst / 2, false, nil},
		{comeFirst, false, []netip.AddrPort{addrOf(2)}}, {gatherFor / 2, true, []netip.AddrPort{addrOf(3)}},
	} {
		if l := p.draw(0, 0, step.gathered, now.Add(step.after), trusts); !slices.Equal(l, step.want) {
			t.Errorf("after %v: dials %v, want %v", step.after, l, step.want)
		}
	}

	const n = 64
	for i := range n {
		dials := 0
		for k := range n {
			a, b := memberOf(swarmcache.NodeID(fmt.Sprint(i))), memberOf(swarmcache.NodeID(fmt.Sprint(k)))
			if i != k && a.dials(b) == b.dials(a) {
				t.Fatalf("%d and %d: both dial, or neither", i, k)
			}
			if i != k && a.dials(b) {
				dials++
			}
		}
		if dials < n/8 || dials > n*7/8 {
			t.Errorf("%d dials %d of %d", i, dials, n-1)
		}
	}
}

// A torrent that nobody here needs stays for who took bytes of late, and for who has
// just come.
func TestLingersForWhoComes(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		idle, met time.Duration // ago
		want      bool
	}{{lingerIdle / 2, time.Hour, true}, {time.Hour, lingerIdle / 2, true}, {time.Hour, time.Hour, false}} {
		tor := &joined{idle: now.Add(-c.idle)}
		tor.met.Store(now.Add(-c.met).UnixNano())
		if tor.lingersLocked(now) != c.want {
			t.Errorf("idle for %v, met %v ago: want %v", c.idle, c.met, c.want)
		}
	}
}

func addrOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i))
}

// reach counts who can be reached from the first.
func reach(links [][]int) int {
	seen := map[int]bool{0: true}
	for next := []int{0}; len(next) > 0; next = next[1:] {
		for _, k := range links[next[0]] {
			if !seen[k] {
				seen[k] = true
				next = append(next, k)
			}
		}
	}
	return len(seen)
}

// A peer id tells a place, and only those of ours do.
func TestPeerIDTellsThePlace(t *testing.T) {
	a, b, c := placeOf("east", "1"), placeOf("east", "2"), placeOf("west", "1")
	who := memberOf("node-1")
	id := [20]byte([]byte(a.peerID(who)))
	if at, name := readPeerID(id); at != a || name != who {
		t.Errorf("%x: %v %v", id, at, name)
	}
	if placeOf("", "1") != (place{}) || (place{}).peerID(who) != "" {
		t.Error("a node without a zone has a place")
	}
	if at, _ := readPeerID([20]byte([]byte("-TR4050-eastwestnode"))); at != (place{}) {
		t.Errorf("a stock client stands at %v", at)
	}
	if a.far(b) || !a.far(c) || a.far(place{}) || (place{}).far(a) {
		t.Error("zones are confused")
	}
	if a.close(b) || a.close(c) || !a.close(a) || (place{}).close(place{}) {
		t.Error("racks are confused")
	}
}

// Each piece has one importer, on which all agree, and who leaves moves only its
// own pieces.
func TestImportersAgree(t *testing.T) {
	const n, pieces = 8, 4096
	var all []member
	for i := range n {
		all = append(all, memberOf(swarmcache.NodeID(fmt.Sprint("node-", i))))
	}
	importer := func(of []member, i int) (first member) {
		for _, m := range of {
			if first == (member{}) || m.weight(i) > first.weight(i) {
				first = m
			}
		}
		return first
	}
	share := map[member]int{}
	for i := range pieces {
		was := importer(all, i)
		share[was]++
		if now := importer(all[1:], i); was != all[0] && now != was {
			t.Fatalf("piece %d moved from a node that stayed", i)
		}
	}
	for m, k := range share {
		if k < pieces/n*3/4 || k > pieces/n*5/4 {
			t.Errorf("%x imports %d of %d pieces", m, k, pieces)
		}
	}
}
