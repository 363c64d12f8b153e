package main

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"shatabdi/swarmcache"
)

func TestMembersAreKnownByAddressOrName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, other := [20]byte{1}, [20]byte{2}
		here, elsewhere := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
		nodes := []string{hex.EncodeToString(id[:]), here.String()}
		asked, away := 0, error(nil)
		m := newMembers()
		if m.has(here, id) {
			t.Error("somebody is known before anybody was asked")
		}
		time.Sleep(time.Hour)
		m.from(func(_ context.Context, names []string) (are []bool, err error) {
			asked++
			for _, n := range names {
				are = append(are, slices.Contains(nodes, n))
			}
			return are, away
		}, func(context.Context) ([]swarmcache.Node, error) { return nil, away })
		for range 3 {
			if !m.has(here, other) || !m.has(elsewhere, id) {
				t.Error("a member was refused")
			}
		}
		if asked != 2 {
			t.Errorf("asked %d times about two", asked)
		}
		if m.has(elsewhere, other) {
			t.Error("a stranger was taken for a member")
		}

		// Strangers come in crowds, and all wait for one answer a second.
		asked = 0
		const crowd = 1000
		for range crowd {
			go m.has(elsewhere, other)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if asked > 2 {
			t.Errorf("asked %d times", asked)
		}

		// One that has just registered is known at once.
		nodes = append(nodes, hex.EncodeToString(other[:]))
		if !m.has(elsewhere, other) {
			t.Error("a new member was refused")
		}
		nodes, away = nil, errors.New("away")
		time.Sleep(time.Hour)
		if !m.has(here, [20]byte{9}) || m.has(netip.MustParseAddr("192.0.2.2"), [20]byte{9}) {
			t.Error("while the directory is away what was known does not count")
		}
		away = nil
		if m.has(elsewhere, [20]byte{9}) || m.has(here, [20]byte{9}) {
			t.Error("what was a node long ago counts")
		}
	})
}

// Nodes of a build that registers no names are found in the list of all, which is read
// once a minute, and only when strangers come of whom the directory knows nothing: one
// that does not answer has enough to do.
func TestElderNodesAreMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elder := swarmcache.Node{PeerID: "0102", Peers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:42069")}}
		var nodes []swarmcache.Node
		lists, away := 0, errors.New("away") // for a name, not for the list
		var unread error
		m := newMembers()
		m.from(func(_ context.Context, names []string) ([]bool, error) { return make([]bool, len(names)), away },
			func(context.Context) ([]swarmcache.Node, error) { lists++; return nodes, unread })
		if m.has(elder.Peers[0].Addr(), [20]byte{}) {
			t.Error("a stranger is a member")
		}
		if lists > 0 {
			t.Error("the list of all nodes was read because the directory did not answer")
		}
		nodes, away = []swarmcache.Node{elder}, nil
		for range 100 {
			go m.has(netip.MustParseAddr("192.0.2.1"), [20]byte{})
		}
		time.Sleep(eldersEvery)
		synctest.Wait()
		if !m.has(elder.Peers[0].Addr(), [20]byte{}) || m.has(netip.MustParseAddr("192.0.2.1"), [20]byte{}) || lists != 1 {
			t.Errorf("not the elder alone is a member, after %d lists", lists)
		}

		// A list that could not be read is read again soon.
		nodes = append(nodes, swarmcache.Node{PeerID: "0304", Peers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:42069")}})
		unread = errors.New("away")
		time.Sleep(eldersEvery)
		if m.has(nodes[1].Peers[0].Addr(), [20]byte{}) {
			t.Error("a list that was not read has told something")
		}
		unread = nil
		time.Sleep(eldersAgain)
		if !m.has(nodes[1].Peers[0].Addr(), [20]byte{}) {
			t.Error("an elder is refused a second after the list could not be read")
		}
	})
}

func TestWithin(t *testing.T) {
	if within(nil) != nil {
		t.Error("no networks allow somebody")
	}
	f := within([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")})
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "fd00::1": true, "2001:db8::1": false} {
		if f(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %t", addr, !want)
		}
	}
}
