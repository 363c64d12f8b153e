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

func TestRosterAsksOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer, asked := make(chan error), 0
		nodes := []swarmcache.Node{{ID: "a", Peers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:42069")}}}
		r := &roster{ask: func(context.Context) ([]swarmcache.Node, error) { asked++; return nodes, <-answer }}
		found := make(chan bool, 10)
		look := func(id string) {
			addrs, ok := r.lookup(id)
			found <- ok && len(addrs) == 1
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
		go look("a") // this one asks
		synctest.Wait()
		look("a") // and this one does not wait for it
		if !<-found {
			t.Error("a member is forgotten while the directory is asked")
		}
		go look("b") // a new node does
		synctest.Wait()
		if len(found) != 0 {
			t.Error("answered before the directory did")
		}
		answer <- nil
		for range 2 {
			if !<-found {
				t.Error("a member was refused")
			}
		}

		time.Sleep(2 * time.Second)
		go look("b")
		synctest.Wait()
		answer <- errors.New("away")
		if !<-found {
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
