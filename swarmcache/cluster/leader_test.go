package cluster_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// crew is nodes with trackers in a cluster of their own.
type crew struct {
	prefix  string
	members []*member
}

func newCrew(t *testing.T, n int) *crew {
	c := &crew{prefix: prefix()}
	for i := range n {
		c.members = append(c.members, join(t, config(c.prefix, i)))
	}
	return c
}

// leader waits until one leads, and all others know it. Not one that is not to.
func (c *crew) leader(t *testing.T, not int) (leader int) {
	t.Helper()
	eventually(t, "all agree on a leader", func() bool {
		leader = -1
		for i, m := range c.members {
			if leads(m) {
				leader = i
			}
		}
		if leader < 0 || leader == not {
			return false
		}
		for _, m := range c.members {
			if _, id, _ := m.Leader(); id != node(leader).ID {
				return false
			}
		}
		return true
	})
	return leader
}

// A leader whose watch stands still, while etcd hears it, would never be told that
// it was deposed. It finds out before its lease would have run out.
func TestDeposedLeaderWithoutAWatchCeases(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	was := c.leader(t, -1)
	a := c.members[was]
	believe := a.Seat()
	client := raw(t, etcd)
	_, err := client.Delete(t.Context(), c.prefix+"tracker/leader")
	noErr(t, err)
	begin := time.Now()
	next := was
	eventually(t, "another leads", func() bool {
		believe()
		for i, m := range c.members {
			if i != was && leads(m) {
				next = i
			}
		}
		if next == was { // none does
			return false
		}
		return true
	})
	eventually(t, "it ceases", func() bool { return !leads(a) })
	if d := time.Since(begin); d > 6*time.Second {
		t.Errorf("two led for %v", d)
	}
}

// Nodes that do not reach the leader, which etcd hears, get another one. One node
// alone that reaches nobody does not.
func TestLeaderThatNobodyReachesResigns(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 4)
	was := c.leader(t, -1)
	complain := func(about int, who ...int) {
		for _, i := range who {
			if i != about {
				c.members[i].Reached(node(about).Tracker, false)
			}
		}
	}
	end := time.Now().Add(7 * time.Second)
	for time.Now().Before(end) {
		complain(was, (was+1)%4)
		if _, _, self := c.members[was].Leader(); !self {
			t.Fatal("it resigned for one node")
		}
		time.Sleep(50 * time.Millisecond)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	defer close(done)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				complain(was, 0, 1, 2, 3)
			}
		}
	})
	next := c.leader(t, was)
	// The complaints were about the other one, and are taken back.
	client := raw(t, etcd)
	eventually(t, "no complaint stands", func() bool {
		r, err := client.Get(t.Context(), c.prefix+"tracker/unheard/", clientv3.WithPrefix())
		noErr(t, err)
		return len(r.Kvs) == 0
	})
	if again := c.leader(t, -1); again != next {
		t.Errorf("leader %d, and %d a moment ago", again, next)
	}
}

// The seat that comes and goes: however often it is lost, never do two lead who
// both know of the other, and in the end all agree.
func TestFlappingLeadership(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 3)
	client := raw(t, etcd)
	for range 5 {
		was := c.leader(t, -1)
		_, err := client.Delete(t.Context(), c.prefix+"tracker/leader")
		noErr(t, err)
		eventually(t, fmt.Sprint("node ", was, " is deposed or leads anew"), func() bool {
			return len(leaders(c)) <= 1
		})
	}
	c.leader(t, -1)
}

func leaders(c *crew) (l []int) {
	for i, m := range c.members {
		if leads(m) {
			l = append(l, i)
		}
	}
	return l
}
