package main

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"shatabdi/swarmcache"
)

// Nobody waits for the directory who does not say so, and those who do wait for one
// answer together.
func TestRosterAsksOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, asked := make(chan error), 0
		nodes := []swarmcache.Node{{ID: "a", Peers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:42069")}}}
		r := &roster{ask: func(context.Context) ([]swarmcache.Node, error) { asked++; return nodes, <-answer }}
		found := make(chan bool, 10)
		known := func(id string) bool {
			addrs, ok := r.lookup(id)
			return ok && len(addrs) == 1
		}
		look := func(id string) {
			if !known(id) {
				r.await()
			}
			found <- known(id)
		}
		for range 3 {
			go look("a")
		}
		synctest.Wait()
		answer <- nil
		for range 3 {
			if !<-found {
				t.Error("a member was refused")
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}

		time.Sleep(2 * time.Second)
		nodes = append(nodes, swarmcache.Node{ID: "b", Peers: nodes[0].Peers})
		for range 3 {
			if !known("a") {
				t.Error("a member is forgotten while the directory is asked")
			}
			synctest.Wait()
		}
		go look("b") // a new node waits
		synctest.Wait()
		if len(found) != 0 {
			t.Error("answered before the directory did")
		}
		answer <- nil
		if !<-found {
			t.Error("a member was refused")
		}

		time.Sleep(2 * time.Second)
		known("b")
		answer <- errors.New("away")
		synctest.Wait()
		if !known("b") {
			t.Error("what was known is forgotten")
		}
		look("c") // within the second nobody asks again
		if <-found {
			t.Error("a stranger was let in")
		}
		if asked != 3 {
			t.Errorf("asked %d times, want 3", asked)
		}
	})
}
