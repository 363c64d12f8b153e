package clock

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a cluster of clocks that somebody has set wrong. Time is real, so that
// requests take what they take.
type lab struct {
	t      *testing.T
	leader atomic.Pointer[node]
	nodes  []*node
}

type node struct {
	*Clock
	name string
	url  string
	set  atomic.Int64 // what the clock shows too much, in nanoseconds
	more atomic.Int64 // what has passed that the test did not wait for
}

func (l *lab) add(name string, set time.Duration) *node {
	n := &node{name: name}
	n.set.Store(int64(set))
	n.Clock = New(Config{Node: name, Leader: func() (string, string, bool) {
		if at := l.leader.Load(); at != nil {
			return at.url, at.name, at == n
		}
		return "", "", false
	}})
	begun := time.Now()
	n.look = func() moment {
		ran := time.Since(begun) + time.Duration(n.more.Load())
		return moment{begun.Round(0).Add(ran + time.Duration(n.set.Load())), ran}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != Path {
			http.NotFound(w, r)
			return
		}
		n.ServeHTTP(w, r)
	}))
	l.t.Cleanup(srv.Close)
	n.url = srv.URL + "/announce"
	l.nodes = append(l.nodes, n)
	return n
}

// elect has a node lead, and all others measure.
func (l *lab) elect(n *node) {
	l.t.Helper()
	l.leader.Store(n)
	n.lead()
	l.measure()
}

func (l *lab) measure() {
	l.t.Helper()
	at := l.leader.Load()
	for _, n := range l.nodes {
		if n == at {
			n.lead()
			continue
		}
		n.follow()
		if err := n.ask(at); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (n *node) ask(of *node) error {
	a := newAsker()
	defer a.rest()
	return n.Clock.measure(context.Background(), a, of.url, of.name)
}

// agree wants all nodes to know the cluster's time, within what they say.
func (l *lab) agree() {
	l.t.Helper()
	first := l.nodes[0]
	for _, n := range l.nodes[1:] {
		a, b := first.Read(), n.Read()
		if a.Scale == "" || a.Scale != b.Scale {
			l.t.Fatalf("%s has scale %q, %s %q", first.name, a.Scale, n.name, b.Scale)
		}
		at := first.look()
		between := n.look().shows.Add(b.Offset).Sub(at.shows.Add(a.Offset))
		passed := first.look().ran - at.ran
		if between.Abs() > a.Doubt+b.Doubt+passed {
			l.t.Errorf("%s and %s are %v apart, and say %v and %v", first.name, n.name, between, a.Doubt, b.Doubt)
		}
		if a.Doubt+b.Doubt > 20*time.Second { // or it would be easy
			l.t.Errorf("doubts of %v and %v", a.Doubt, b.Doubt)
		}
	}
}

func TestClocksAgree(t *testing.T) {
	l := &lab{t: t}
	a, b, c := l.add("a", 0), l.add("b", 5*time.Minute), l.add("c", -5*time.Second)
	if r := b.Read(); r.Scale != "" {
		t.Errorf("knows %+v of nothing", r)
	}
	l.elect(a)
	l.agree()
	first := a.Read()
	if first.Offset != 0 || first.Doubt > time.Millisecond {
		t.Errorf("the leader's is %+v", first)
	}
	// Who led goes on by the time of who does, whose clock is minutes ahead.
	for _, next := range []*node{b, c, a} {
		l.elect(next)
		l.agree()
		if r := next.Read(); r.Scale != first.Scale {
			t.Errorf("%s began a new scale", next.name)
		}
	}
}

func TestANewLeaderThatKnowsNothingBeginsAnew(t *testing.T) {
	l := &lab{t: t}
	a := l.add("a", 0)
	l.elect(a)
	was := a.Read().Scale
	l.elect(l.add("b", time.Hour))
	l.agree()
	if r := a.Read(); r.Scale == was {
		t.Error("the scale is that of one clock, and the time that of another")
	}
}

// A clock that is set is in doubt at once, and measured again.
func TestAClockIsSet(t *testing.T) {
	l := &lab{t: t}
	a, b := l.add("a", 0), l.add("b", 0)
	l.elect(a)
	b.set.Store(int64(time.Minute))
	if r := b.Read(); r.Doubt < time.Minute {
		t.Errorf("in doubt by %v", r.Doubt)
	}
	l.measure()
	l.agree()
	if r := b.Read(); r.Doubt > 20*time.Second || (r.Offset+time.Minute).Abs() > r.Doubt {
		t.Errorf("measured %+v", r)
	}

	b.set.Store(0)
	if ahead := b.Ahead(); ahead != 0 {
		t.Errorf("set back, and still ahead by %v", ahead)
	}
	b.set.Store(int64(time.Minute))

	was := a.Read().Scale
	a.set.Store(int64(-time.Hour))
	if r := a.Read(); r.Doubt < time.Hour {
		t.Errorf("the leader is in doubt by %v", r.Doubt)
	}
	if err := b.ask(a); err != nil && !strings.Contains(err.Error(), "without a time") {
		t.Error(err)
	}
	if r := b.Read(); r.Scale == was && r.Doubt < time.Hour && (r.Offset+time.Minute).Abs() > r.Doubt {
		t.Errorf("takes %+v from a leader whose clock was set", r)
	}
	l.measure()
	l.agree()
	if a.Read().Scale == was {
		t.Error("the scale goes on with another time")
	}
}

// What was measured gets less exact while nobody can be asked.
func TestClocksDrift(t *testing.T) {
	l := &lab{t: t}
	a, b := l.add("a", 0), l.add("b", 0)
	l.elect(a)
	for _, n := range l.nodes {
		n.more.Store(int64(time.Hour))
	}
	if r := a.Read(); r.Doubt > time.Second {
		t.Errorf("the leader's own is in doubt by %v", r.Doubt)
	}
	if r := b.Read(); r.Doubt < 3*time.Second || r.Doubt > 20*time.Second {
		t.Errorf("after an hour in doubt by %v", r.Doubt)
	}
	was := b.Read()
	l.measure()
	if r := b.Read(); r.Doubt >= was.Doubt {
		t.Errorf("after another measurement %v, before %v", r.Doubt, was.Doubt)
	}
}

// Whoever answers in the leader's place is not believed, and a node that does not lead
// says so.
func TestOnlyTheLeaderIsAsked(t *testing.T) {
	l := &lab{t: t}
	a, b, c := l.add("a", 0), l.add("b", time.Hour), l.add("c", 0)
	l.elect(a)
	was := c.Read()
	impostor := &node{name: "a", url: b.url}
	if err := c.ask(impostor); err == nil {
		t.Error("b does not lead, and tells the time")
	}
	b.Clock.lead()
	l.leader.Store(b)
	if err := c.ask(impostor); err != errNotLeader {
		t.Errorf("b answers for a: %v", err)
	}
	if r := c.Read(); r.Scale != was.Scale || r.Offset != was.Offset {
		t.Errorf("%+v, was %+v", r, was)
	}
}

// Run follows the leader.
func TestRunMeasures(t *testing.T) {
	l := &lab{t: t}
	a, b := l.add("a", 0), l.add("b", time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for _, n := range l.nodes {
		go func() { done <- n.Run(ctx) }()
	}
	lead := func(n *node) {
		l.leader.Store(n)
		a.LeaderChanged()
		b.LeaderChanged()
	}
	known := func(scale func(a, b Reading) bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if scale(a.Read(), b.Read()) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%+v, %+v", a.Read(), b.Read())
			}
		}
		l.agree()
	}
	lead(a)
	known(func(a, b Reading) bool { return a.Scale != "" && a.Scale == b.Scale })
	lead(b)
	known(func(ra, rb Reading) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return ra.Scale == rb.Scale && a.from == "b"
	})
	cancel()
	for range l.nodes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Who cannot be asked is asked less and less often, until another node leads.
func TestAskingInVainGetsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := New(Config{Node: "b", Every: time.Minute, Leader: func() (string, string, bool) {
			asked++
			return "nowhere://a/announce", "a", false
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if asked > 40 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
		was := asked
		c.LeaderChanged()
		time.Sleep(time.Second)
		synctest.Wait()
		if asked < was+2 {
			t.Errorf("another leads, and was asked %d times in a second", asked-was)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
