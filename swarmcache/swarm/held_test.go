package swarm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/swarm"
	"shatabdi/tracker"
)

// holder holds the objects 0 to n-1 and need not open one.
type holder struct{ n atomic.Int32 }

func (*holder) Held(swarmcache.InfoHash) (*swarmcache.File, func(), bool) { return nil, nil, false }

func (h *holder) EachHeld(f func(swarmcache.InfoHash) bool) {
	for i := range int(h.n.Load()) {
		f(nth(i))
	}
}

func nth(i int) (h swarmcache.InfoHash) {
	binary.BigEndian.PutUint32(h[:], uint32(i)+1)
	h[19] = byte(i)
	return h
}

// leader is a tracker that counts what it is asked.
type leader struct {
	*tracker.Tracker
	url   string
	asked atomic.Int32
}

func newLeader(t *testing.T, interval time.Duration) *leader {
	l := &leader{Tracker: tracker.New(tracker.Config{
		Interval: interval,
		Members: func(string) ([]netip.AddrPort, bool) {
			return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, true
		},
	})}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.asked.Add(1)
		l.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	l.url = s.URL + "/announce"
	return l
}

func (l *leader) knows(n int) bool {
	for i := range n {
		if s, _ := l.Swarm(nth(i)); s.Complete != 1 {
			return false
		}
	}
	return true
}

// Ten thousand objects that nobody wants are announced in a few requests, again
// before the tracker forgets them, and to a new leader.
func TestHeldObjectsAreAnnouncedTogether(t *testing.T) {
	t.Parallel()
	const n = 10_000
	first := newLeader(t, 2*time.Second)
	var mu sync.Mutex
	url := first.url
	s, err := swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: "holder", Logger: slog.New(slog.DiscardHandler), Secret: secret,
		Tracker: func() string { mu.Lock(); defer mu.Unlock(); return url },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &holder{}
	h.n.Store(n)
	s.Offer(h)
	waitFor(t, func() bool { return first.knows(n) })
	if asked := first.asked.Load(); asked > 100 {
		t.Errorf("%d requests for %d objects", asked, n)
	}
	before := first.asked.Load()
	waitFor(t, func() bool { return first.asked.Load() >= before+2*3 })

	second := newLeader(t, 2*time.Second)
	mu.Lock()
	url = second.url
	mu.Unlock()
	waitFor(t, func() bool { return second.knows(n) })
}

// What has just been sealed is known at once, and what was withdrawn forgotten at
// once, although the next round is far away and the object is in no torrent.
func TestSealedObjectIsAnnouncedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLeader(t, time.Hour)
	s, err := swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: "holder", Logger: slog.New(slog.DiscardHandler), Secret: secret,
		Tracker: func() string { return l.url },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &holder{}
	h.n.Store(1)
	s.Offer(h)
	waitFor(t, func() bool { return l.knows(1) })
	x := newThing("sealed", 1<<20, 128<<10)
	ih := s.Seal(x.open(t, true))
	waitFor(t, func() bool { state, _ := l.Swarm(ih); return state.Complete == 1 })
	if n := s.Torrents(); n != 0 {
		t.Errorf("%d torrents in memory", n)
	}
	s.Withdraw(ih)
	waitFor(t, func() bool { state, _ := l.Swarm(ih); return state.Complete == 0 })
}

// A goodbye that is slow does not end what came after it: a part of an object is
// forgotten, and all of it is there.
func TestSlowGoodbye(t *testing.T) {
	t.Parallel()
	l, release, said := newLeader(t, time.Hour), make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("event") != "stopped" {
			l.ServeHTTP(w, r)
			return
		}
		<-release
		l.ServeHTTP(w, r)
		close(said)
	}))
	t.Cleanup(slow.Close)
	var leaving atomic.Bool
	s, err := swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: "holder", Logger: slog.New(slog.DiscardHandler), Secret: secret,
		Tracker: func() string {
			if leaving.Load() {
				return ""
			}
			return slow.URL + "/announce"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leaving.Store(true); s.Close() })
	s.Offer(&holder{})
	x, y := newThing("part", 1<<20, 128<<10), newThing("other", 1<<20, 128<<10)
	part, err := s.Sealed(x.open(t, false))
	if err != nil {
		t.Fatal(err)
	}
	ih := part.InfoHash()
	waitFor(t, func() bool { state, _ := l.Swarm(ih); return state.Incomplete == 1 })
	if _, err := s.Sealed(x.open(t, true)); err != nil {
		t.Fatal(err)
	}
	other := s.Seal(y.open(t, true))
	waitFor(t, func() bool { state, _ := l.Swarm(other); return state.Complete == 1 })
	hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Vouch(hurried, ih); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("vouched for what a goodbye is under way to: %v", err)
	}
	close(release)
	select {
	case <-said:
	case <-time.After(30 * time.Second):
		t.Fatal("no goodbye")
	}
	if err := s.Vouch(t.Context(), ih); err != nil {
		t.Error(err)
	}
	if state, _ := l.Swarm(ih); state.Complete != 1 {
		t.Error("the tracker does not know of what was vouched for")
	}
}

// newGuest is a node that announces to that tracker.
func newGuest(t *testing.T, tracker string) *swarm.Swarm {
	t.Helper()
	s, err := swarm.New(swarm.Config{
		Listen: netip.MustParseAddrPort("127.0.0.1:0"), Node: "guest", Logger: slog.New(slog.DiscardHandler), Secret: secret,
		Tracker: func() string { return tracker },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Who leaves before the tracker has answered says goodbye when it has.
func TestGoodbyeFollowsASlowAnswer(t *testing.T) {
	t.Parallel()
	l, release := newLeader(t, time.Hour), make(chan struct{})
	var stopped atomic.Int64
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.ServeHTTP(w, r)
		switch r.URL.Query().Get("event") {
		case "started":
			<-release
		case "stopped":
			stopped.Add(1)
		}
	}))
	t.Cleanup(slow.Close)
	s := newGuest(t, slow.URL+"/announce")
	x := newThing("brief", 1<<20, 128<<10)
	old, err := s.Sealed(x.open(t, false))
	if err != nil {
		t.Fatal(err)
	}
	ih := old.InfoHash()
	waitFor(t, func() bool { state, _ := l.Swarm(ih); return state.Incomplete == 1 })
	if _, err := s.Sealed(x.open(t, false)); err != nil { // whose torrent takes the old one's place
		t.Fatal(err)
	}
	close(release)
	waitFor(t, func() bool { return stopped.Load() == 1 })
	waitFor(t, func() bool { state, _ := l.Swarm(ih); return state.Incomplete == 1 })
}

// Who leaves while its announce waits for its turn says goodbye too, and is announced
// again when it comes back.
func TestLeavesBeforeItsTurn(t *testing.T) {
	t.Parallel()
	l, release := newLeader(t, time.Hour), make(chan struct{})
	var asked atomic.Int64
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		l.ServeHTTP(w, r)
	}))
	t.Cleanup(slow.Close)
	s := newGuest(t, slow.URL+"/announce")
	var all []swarmcache.InfoHash
	join := func() {
		all = nil
		for i := range 24 {
			part, err := s.Sealed(newThing(fmt.Sprint("brief ", i), 1<<20, 128<<10).open(t, false))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, part.InfoHash())
		}
	}
	join()
	waitFor(t, func() bool { return asked.Load() >= 8 }) // the others wait for their turn
	join()                                               // over other files: the torrents that were there leave
	close(release)
	for _, ih := range all {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := s.Vouch(ctx, ih); err != nil {
			t.Errorf("%v: %v", ih, err)
		}
		cancel()
	}
}
