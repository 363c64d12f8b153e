package tracker

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"shatabdi/tracker/wire"
)

// TestStoreAgreesWithAMap runs the store beside the simplest thing that could
// be right.
func TestStoreAgreesWithAMap(t *testing.T) {
	type mirrored struct {
		seeder bool
		seen   int64
	}
	rapid.Check(t, func(t *rapid.T) {
		var s store
		s.init(10, 1000)
		model := map[wire.InfoHash]map[identity]mirrored{{1}: {}, {2}: {}}
		hash := rapid.SampledFrom([]wire.InfoHash{{1}, {2}})
		who := rapid.Custom(func(t *rapid.T) identity {
			port := rapid.Uint16Range(1, 30).Draw(t, "port")
			return outsider(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port))
		})
		now := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"announce": func(t *rapid.T) {
				now++
				h, seeder := hash.Draw(t, "swarm"), rapid.Bool().Draw(t, "seeder")
				a := announcement{
					infohash: h, peer: peer{identity: who.Draw(t, "who"), seen: now}, seeder: seeder,
					want: rapid.IntRange(0, 40).Draw(t, "want"), rnd: rapid.Uint64().Draw(t, "rnd"),
				}
				got, _, _ := s.announce(nil, &a)
				model[h][a.peer.identity] = mirrored{seeder, now}
				eligible := 0
				for other, m := range model[h] {
					if other != a.peer.identity && !(seeder && m.seeder) {
						eligible++
					}
				}
				if len(got) != min(a.want, eligible) {
					t.Fatalf("%d peers of %d, wanted %d", len(got), eligible, a.want)
				}
				given := map[identity]bool{a.peer.identity: true}
				for _, p := range got {
					m, ok := model[h][p.identity]
					if !ok || given[p.identity] || seeder && m.seeder {
						t.Fatalf("was given %v", p)
					}
					given[p.identity] = true
				}
			},
			"stop": func(t *rapid.T) {
				h := hash.Draw(t, "swarm")
				a := announcement{infohash: h, peer: peer{identity: who.Draw(t, "who")}, event: wire.Stopped}
				s.announce(nil, &a)
				delete(model[h], a.peer.identity)
			},
			"sweep": func(t *rapid.T) {
				before := now - rapid.Int64Range(0, 20).Draw(t, "age")
				s.sweep(before)
				for _, peers := range model {
					for id, m := range peers {
						if m.seen < before {
							delete(peers, id)
						}
					}
				}
			},
			"": func(t *rapid.T) {
				swarms, seeders, leechers := int64(0), int64(0), int64(0)
				for h, peers := range model {
					want := wire.Swarm{InfoHash: h}
					for _, m := range peers {
						if m.seeder {
							want.Complete++
						} else {
							want.Incomplete++
						}
					}
					got, ok := s.stat(h)
					if got != want || ok != (len(peers) > 0) {
						t.Fatalf("got %+v, want %+v", got, want)
					}
					seeders, leechers = seeders+int64(want.Complete), leechers+int64(want.Incomplete)
					if ok {
						swarms++
					}
				}
				if s.swarms.Load() != swarms || s.seeders.Load() != seeders || s.leechers.Load() != leechers {
					t.Fatalf("totals %d %d %d, want %d %d %d", s.swarms.Load(), s.seeders.Load(), s.leechers.Load(),
						swarms, seeders, leechers)
				}
			},
		})
	})
}

// TestSelectionIsFair: each of 100 peers is given about as often as any other.
func TestSelectionIsFair(t *testing.T) {
	s := newSwarm()
	for port := range uint16(101) {
		s.put(peer{identity: outsider(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port))}, port%2 == 0, rand.Uint64())
	}
	given := map[uint16]int{}
	rnd := uint64(1)
	const rounds, want = 20_000, 10
	for range rounds {
		rnd = rnd*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
		mixed := rnd ^ rnd>>29
		for _, p := range s.pick(nil, s.peers[0].identity, spot{}, false, want, mixed) {
			given[p.port]++
		}
	}
	for port, n := range given {
		if n < 1600 || n > 2400 { // 2,000 expected, standard deviation about 42
			t.Errorf("port %d was given %d times", port, n)
		}
	}
	if len(given) != 100 {
		t.Errorf("%d of 100 peers were given", len(given))
	}
}

// TestAnyPlaceIsAsLikely: also for who comes first, comes last, or begins to seed.
func TestAnyPlaceIsAsLikely(t *testing.T) {
	const rounds, peers = 4000, 10
	var at [peers][2 * peers]int
	for range rounds {
		s := newSwarm()
		for i := range 2 * peers {
			s.put(peer{identity: outsider(nthAddr(i))}, i%4 == 0, rand.Uint64())
		}
		for i := range 2 * peers {
			s.put(peer{identity: outsider(nthAddr(i))}, i%2 == 0, rand.Uint64())
		}
		for i := range at {
			at[i][s.index[outsider(nthAddr(2*i))]]++
		}
	}
	for i := range at {
		for place, n := range at[i][:peers] {
			if n < 250 || n > 550 { // 400 expected, standard deviation about 19
				t.Errorf("seeder %d stood %d times at %d", i, n, place)
			}
		}
	}
}

// placedSwarm is a swarm of n peers, most of whom tell where they stand.
func placedSwarm(t *rapid.T, n int) *swarm {
	s := newSwarm()
	zones := rapid.IntRange(1, 6).Draw(t, "zones")
	racks := rapid.IntRange(0, 4).Draw(t, "racks")
	for i := range n {
		zone := uint16(rapid.IntRange(0, zones).Draw(t, "zone"))
		at := spot{zone: zone}
		if rack := uint16(rapid.IntRange(0, racks).Draw(t, "rack")); zone != 0 && rack != 0 {
			at.rack = 100*zone + rack
		}
		s.put(peer{identity: outsider(nthAddr(i)), spot: at}, rapid.IntRange(0, 3).Draw(t, "seeder") == 0, rapid.Uint64().Draw(t, "order"))
	}
	return s
}

// Who tells its place is given its rack, then its zone, then others, and some of
// each; nobody twice, and as many as there are.
func TestNearPeersComeFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := placedSwarm(t, rapid.IntRange(1, 120).Draw(t, "n"))
		asker := s.peers[rapid.IntRange(0, len(s.peers)-1).Draw(t, "asker")]
		want := rapid.IntRange(0, 60).Draw(t, "want")
		got := s.pick(nil, asker.identity, asker.spot, false, want, rapid.Uint64().Draw(t, "rnd"))
		if len(got) != min(want, len(s.peers)-1) {
			t.Fatalf("%d of %d peers, wanted %d", len(got), len(s.peers), want)
		}
		given, took := map[identity]bool{asker.identity: true}, [distances]int{}
		last := 0
		for _, p := range got {
			d := asker.spot.distance(p.spot)
			if given[p.identity] || asker.zone != 0 && d < last {
				t.Fatalf("given %v", got)
			}
			given[p.identity], last = true, d
			took[d]++
		}
		if asker.zone == 0 {
			return
		}
		there := count(s.peers, asker.identity, asker.spot)
		out := (want + outOf - 1) / outOf
		if took[farAway] < min(there[farAway], out) {
			t.Errorf("%d long links of %v, wanted %d", took[farAway], there, want)
		}
		if took[farAway] > out && took[sameRack]+took[sameZone] < there[sameRack]+there[sameZone] {
			t.Errorf("took %v of %v, wanted %d", took, there, want)
		}
	})
}

// Whatever zones and racks there are: who dials whom it is given, all together
// are one swarm, also when each only has what it is given at the same moment.
func TestPlacedSwarmIsConnected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := placedSwarm(t, rapid.IntRange(2, 200).Draw(t, "n"))
		rnd := rapid.Uint64().Draw(t, "rnd")
		links := map[identity][]identity{}
		for _, p := range s.peers {
			rnd = rnd*6364136223846793005 + 1442695040888963407
			for _, q := range s.pick(nil, p.identity, p.spot, false, 50, rnd^rnd>>29) {
				links[p.identity] = append(links[p.identity], q.identity)
				links[q.identity] = append(links[q.identity], p.identity)
			}
		}
		reached := map[identity]bool{s.peers[0].identity: true}
		for next := []identity{s.peers[0].identity}; len(next) > 0; {
			from := next[0]
			next = next[1:]
			for _, to := range links[from] {
				if !reached[to] {
					reached[to] = true
					next = append(next, to)
				}
			}
		}
		if len(reached) != len(s.peers) {
			t.Fatalf("%d of %d are one swarm", len(reached), len(s.peers))
		}
	})
}
