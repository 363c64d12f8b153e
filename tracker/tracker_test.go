package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"shatabdi/tracker/wire"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(loadEnv); what != "" {
		if err := load(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// nodes is a directory of nodes that can change.
type nodes struct {
	mu     sync.Mutex
	byID   map[string][]netip.AddrPort
	lookup int
}

func (n *nodes) Members(id string) ([]netip.AddrPort, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookup++
	a, ok := n.byID[id]
	return a, ok
}

// set gives a node its addresses; none: it is gone.
func (n *nodes) set(id string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byID == nil {
		n.byID = make(map[string][]netip.AddrPort)
	}
	delete(n.byID, id)
	for _, a := range addrs {
		n.byID[id] = append(n.byID[id], netip.MustParseAddrPort(a))
	}
}

// call announces as if from remote, without a network.
func call(t *testing.T, h http.Handler, remote string, req wire.Request) (wire.Response, error) {
	t.Helper()
	w := get(h, remote, "/announce?"+string(req.AppendQuery(nil)))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return wire.ParseResponse(w.Body.Bytes())
}

func get(h http.Handler, remote, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func mustCall(t *testing.T, h http.Handler, remote string, req wire.Request) wire.Response {
	t.Helper()
	resp, err := call(t, h, remote, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func addrs(resp wire.Response) []string {
	got := []string{}
	for _, p := range resp.Peers {
		got = append(got, p.Addr.String())
	}
	slices.Sort(got)
	return got
}

func anybody(netip.Addr) bool { return true }

var swarmA, swarmB = wire.InfoHash([]byte("aaaaaaaaaaaaaaaaaaaa")), wire.InfoHash([]byte("bbbbbbbbbbbbbbbbbbbb"))

// leecher and seeder are announces of a peer that listens on port.
func leecher(port uint16) wire.Request {
	r := wire.Request{InfoHash: swarmA, Port: port, Left: 1, Event: wire.Started}
	copy(r.PeerID[:], fmt.Sprintf("-TT0000-%012d", port))
	return r
}

func seeder(port uint16) wire.Request {
	r := leecher(port)
	r.Left = 0
	return r
}

func as(node string, r wire.Request) wire.Request {
	r.Node = node
	return r
}

func TestPeersFindEachOther(t *testing.T) {
	tr := New(Config{AllowOutside: anybody})
	if got := addrs(mustCall(t, tr, "10.0.0.1:999", leecher(1))); len(got) != 0 {
		t.Errorf("the first peer was given %v", got)
	}
	mustCall(t, tr, "10.0.0.2:999", leecher(2))
	mustCall(t, tr, "[fd00::3]:999", seeder(3))
	mustCall(t, tr, "[::ffff:10.0.0.4]:999", leecher(4))
	resp := mustCall(t, tr, "10.0.0.1:998", leecher(1))
	if got, want := addrs(resp), []string{"10.0.0.2:2", "10.0.0.4:4", "[fd00::3]:3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if resp.Complete != 1 || resp.Incomplete != 3 || resp.MinInterval != 10*time.Second {
		t.Errorf("%+v", resp)
	}
	if resp.Interval > 2*time.Minute || resp.Interval < 108*time.Second {
		t.Errorf("interval %v", resp.Interval)
	}
	other := leecher(1)
	other.InfoHash = swarmB
	if got := addrs(mustCall(t, tr, "10.0.0.1:998", other)); len(got) != 0 {
		t.Errorf("peers of another swarm: %v", got)
	}
}

func TestDictionaryFormCarriesPeerIDs(t *testing.T) { // BEP 3 "peers", BEP 23 "compact=0"
	tr := New(Config{AllowOutside: anybody})
	mustCall(t, tr, "10.0.0.1:999", leecher(1))
	ask := leecher(2)
	ask.Dictionary = true
	got := mustCall(t, tr, "10.0.0.2:999", ask).Peers
	want := []wire.Peer{{ID: leecher(1).PeerID, Addr: netip.MustParseAddrPort("10.0.0.1:1")}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	ask.NoPeerID = true
	if got := mustCall(t, tr, "10.0.0.2:999", ask).Peers; len(got) != 1 || got[0].ID != (wire.PeerID{}) {
		t.Errorf("no_peer_id: %v", got)
	}
}

func TestSeedersAreNotHandedToSeeders(t *testing.T) {
	tr := New(Config{AllowOutside: anybody})
	for port := uint16(1); port <= 5; port++ {
		mustCall(t, tr, "10.0.0.1:999", seeder(port))
	}
	mustCall(t, tr, "10.0.0.1:999", leecher(6))
	again := seeder(1)
	again.Event = wire.Update
	if got := addrs(mustCall(t, tr, "10.0.0.1:999", again)); !slices.Equal(got, []string{"10.0.0.1:6"}) {
		t.Errorf("a seeder was given %v", got)
	}
	// aria2 says so too when all that it knows is a magnet.
	if got := addrs(mustCall(t, tr, "10.0.0.1:999", seeder(7))); len(got) != 6 {
		t.Errorf("who begins was given %v", got)
	}
	if got := addrs(mustCall(t, tr, "10.0.0.1:999", leecher(6))); len(got) != 6 {
		t.Errorf("a leecher was given %v", got)
	}
}

func TestNumWant(t *testing.T) {
	tr := New(Config{AllowOutside: anybody, NumWant: 5, MaxNumWant: 20})
	for port := uint16(1); port <= 40; port++ {
		mustCall(t, tr, "10.0.0.1:999", leecher(port))
	}
	for _, tt := range []struct{ want, got int }{{0, 5}, {-1, 0}, {1, 1}, {20, 20}, {21, 20}, {1 << 30, 20}} {
		ask := leecher(1)
		ask.NumWant = tt.want
		got := addrs(mustCall(t, tr, "10.0.0.1:999", ask))
		if len(got) != tt.got || len(slices.Compact(got)) != tt.got || slices.Contains(got, "10.0.0.1:1") {
			t.Errorf("numwant %d: %v", tt.want, got)
		}
	}
}

func TestStoppedLeavesAtOnce(t *testing.T) {
	tr := New(Config{AllowOutside: anybody})
	mustCall(t, tr, "10.0.0.1:999", seeder(1))
	mustCall(t, tr, "10.0.0.1:999", leecher(2))
	stop := seeder(1)
	stop.Event = wire.Stopped
	resp := mustCall(t, tr, "10.0.0.1:999", stop)
	if resp.Complete != 0 || resp.Incomplete != 1 || len(resp.Peers) != 0 {
		t.Errorf("%+v", resp)
	}
	stop.Port = 2
	mustCall(t, tr, "10.0.0.2:999", stop) // of another host: not that peer
	if s, _ := tr.Swarm(swarmA); s.Incomplete != 1 {
		t.Errorf("one host stopped another's peer: %+v", s)
	}
	mustCall(t, tr, "10.0.0.1:999", stop)
	mustCall(t, tr, "10.0.0.1:999", stop) // twice, and in a swarm that is no more
	if s, ok := tr.Swarm(swarmA); ok {
		t.Errorf("an empty swarm stays: %+v", s)
	}
}

func TestCompletedCountsOncePerPeer(t *testing.T) { // BEP 48 "downloaded"
	tr := New(Config{AllowOutside: anybody})
	mustCall(t, tr, "10.0.0.1:999", leecher(1))
	done := seeder(1)
	done.Event = wire.Completed
	mustCall(t, tr, "10.0.0.1:999", done)
	resp := mustCall(t, tr, "10.0.0.1:999", done)
	if resp.Complete != 1 || resp.Incomplete != 0 || resp.Downloaded != 1 {
		t.Errorf("%+v", resp)
	}
	done.Port, done.Left = 2, 1 // completed, and yet something left
	if resp := mustCall(t, tr, "10.0.0.1:999", done); resp.Downloaded != 1 || resp.Incomplete != 1 {
		t.Errorf("%+v", resp)
	}
	mustCall(t, tr, "10.0.0.1:999", leecher(1)) // lost its bytes
	if s, _ := tr.Swarm(swarmA); s.Complete != 0 || s.Incomplete != 2 {
		t.Errorf("%+v", s)
	}
}

func TestMembersAreListedByTheirRecord(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:42069", "[fd00::1]:42069", "0.0.0.0:1", "192.0.2.1:0")
	dir.set("n2", "192.0.2.2:42069")
	now := time.Unix(1e9, 0)
	tr := New(Config{Members: dir.Members, Now: func() time.Time { return now }})
	mustCall(t, tr, "10.9.9.9:999", as("n1", leecher(7)))
	mustCall(t, tr, "10.8.8.8:999", as("n1", leecher(8))) // the same node, by another way

	ask := func() []string { return addrs(mustCall(t, tr, "10.9.9.9:999", as("n2", leecher(7)))) }
	if got, want := ask(), []string{"192.0.2.1:42069", "[fd00::1]:42069"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	before := dir.lookup
	for range 100 {
		ask()
	}
	if dir.lookup != before {
		t.Errorf("%d look-ups within one instant", dir.lookup-before)
	}

	dir.set("n1", "192.0.2.100:1")
	now = now.Add(recordLife)
	if got, want := ask(), []string{"192.0.2.100:1"}; !slices.Equal(got, want) {
		t.Errorf("after it moved: %v, want %v", got, want)
	}
	dir.set("n1")
	now = now.Add(recordLife)
	if got := ask(); len(got) != 0 {
		t.Errorf("of a node that is gone: %v", got)
	}
	tr.sweep()
	if s, _ := tr.Swarm(swarmA); s.Incomplete != 1 {
		t.Errorf("a sweep left the peer of a node that is gone: %+v", s)
	}
	dir.set("n1", "192.0.2.101:1") // and back, within the life of a record
	mustCall(t, tr, "10.9.9.9:999", as("n1", leecher(7)))
	if got, want := ask(), []string{"192.0.2.101:1"}; !slices.Equal(got, want) {
		t.Errorf("after it returned: %v, want %v", got, want)
	}
}

func TestRefusals(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	unknown := leecher(1)
	unknown.InfoHash = swarmB
	keyed := as("n1", leecher(1))
	keyed.Key = "right"
	inside := func(a netip.Addr) bool { return a.IsPrivate() }
	tr := New(Config{
		Members:      dir.Members,
		Authorize:    func(node, key string) bool { return key == "right" },
		AllowOutside: inside,
		MembersOpen:  true,
		ID:           "leader",
	})
	stop := unknown
	stop.Event = wire.Stopped
	for _, tt := range []struct {
		name   string
		remote string
		req    wire.Request
		reason string
		retry  bool
	}{
		{"a member", "203.0.113.1:1", keyed, "", false},
		{"an outsider from where they may", "10.0.0.1:1", leecher(1), "", false},
		{"an IPv4 outsider on an IPv6 socket", "[::ffff:10.0.0.1]:1", leecher(1), "", false},
		{"an outsider from elsewhere", "203.0.113.1:1", leecher(1), "only members may announce from there", false},
		{"an unreadable address", "@", leecher(1), "only members may announce from there", false},
		{"an outsider without a port", "10.0.0.1:1", leecher(0), "port: missing", false},
		{"a swarm nobody knows", "10.0.0.1:1", unknown, "unknown info_hash", true},
		{"leaving a swarm nobody knows", "10.0.0.1:1", stop, "", false},
		{"a member without proof", "10.0.0.1:1", as("n1", leecher(1)), "the key does not prove the node", false},
		{"a node nobody knows", "10.0.0.1:1", func() wire.Request { r := keyed; r.Node = "n2"; return r }(), "unknown node", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := call(t, tr, tt.remote, tt.req)
			var f *wire.Failure
			switch {
			case tt.reason == "" && (err != nil || got.TrackerID != "leader"):
				t.Error(got, err)
			case tt.reason != "" && (!errors.As(err, &f) || f.Reason != tt.reason || (f.RetryIn > 0) != tt.retry):
				t.Errorf("%+v, want %s", err, tt.reason)
			}
		})
	}
	if _, err := call(t, New(Config{}), "127.0.0.1:1", leecher(1)); err == nil {
		t.Error("by default an outsider was let in")
	}
}

func TestHTTPLimits(t *testing.T) {
	tr := New(Config{AllowOutside: anybody, MaxQuery: 300})
	for _, tt := range []struct {
		method, target string
		status         int
	}{
		{"POST", "/scrape", http.StatusMethodNotAllowed},
		{"PUT", "/announce", http.StatusMethodNotAllowed},
		{"HEAD", "/announce", http.StatusMethodNotAllowed},
		{"GET", "/", http.StatusNotFound},
		{"GET", "/announce/", http.StatusNotFound},
		{"GET", "/announce?" + strings.Repeat("x", 301), http.StatusRequestURITooLong},
		{"GET", "/scrape?" + strings.Repeat("x", 301), http.StatusRequestURITooLong},
		{"GET", "/announce?" + strings.Repeat("x", 300), http.StatusOK}, // a bencoded failure
		{"GET", "/announce", http.StatusOK},
		{"GET", "/scrape", http.StatusOK},
		{"GET", "/scrape?info_hash=x", http.StatusOK},
	} {
		w := httptest.NewRecorder()
		tr.ServeHTTP(w, httptest.NewRequest(tt.method, tt.target, nil))
		if w.Code != tt.status {
			t.Errorf("%s %.20s: %d, want %d", tt.method, tt.target, w.Code, tt.status)
		}
	}
}

func TestSwarmsAndPeersAreBounded(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	tr := New(Config{AllowOutside: anybody, Members: dir.Members, MaxSwarms: 2, MaxPeers: 3})
	for port := uint16(1); port <= 3; port++ {
		mustCall(t, tr, "10.0.0.1:999", leecher(port))
	}
	resp := mustCall(t, tr, "10.0.0.1:999", leecher(4))
	if resp.Incomplete != 3 || resp.Warning == "" || len(resp.Peers) != 3 {
		t.Errorf("a full swarm: %+v", resp)
	}
	if resp := mustCall(t, tr, "10.0.0.1:999", leecher(3)); resp.Warning != "" || len(resp.Peers) != 2 {
		t.Errorf("one that is in it: %+v", resp)
	}
	if resp := mustCall(t, tr, "10.0.0.1:999", as("n1", leecher(1))); resp.Incomplete != 4 || resp.Warning != "" {
		t.Errorf("outsiders shut a member out: %+v", resp)
	}

	second, third := leecher(1), leecher(1)
	second.InfoHash, third.InfoHash = wire.InfoHash{2}, wire.InfoHash{3}
	mustCall(t, tr, "10.0.0.1:999", second)
	if _, err := call(t, tr, "10.0.0.1:999", third); err == nil {
		t.Error("a third swarm was opened")
	}
	second.Event = wire.Stopped
	mustCall(t, tr, "10.0.0.1:999", second)
	mustCall(t, tr, "10.0.0.1:999", third)
}

func TestWhoDoesNotLeadRedirects(t *testing.T) {
	leader := ""
	tr := New(Config{AllowOutside: anybody, Leading: func() (bool, string) { return leader == "me", leader }})
	_, err := call(t, tr, "10.0.0.1:1", leecher(1))
	var f *wire.Failure
	if !errors.As(err, &f) || f.RetryIn != time.Minute {
		t.Errorf("without a leader: %v", err)
	}
	req := leecher(1)
	query := string(req.AppendQuery(nil))
	for _, tt := range []struct{ leader, target, location string }{
		{"http://n2:6969/announce", "/announce?" + query, "http://n2:6969/announce?" + query},
		{"http://n2:6969/announce?x=1", "/announce?" + query, "http://n2:6969/announce?x=1&" + query},
		{"http://n2:6969/announce", "/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa", "http://n2:6969/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa"},
	} {
		leader = tt.leader
		w := get(tr, "10.0.0.1:1", tt.target)
		if got := w.Header().Get("Location"); w.Code != http.StatusTemporaryRedirect || got != tt.location {
			t.Errorf("%s: %d %s, want %s", tt.leader, w.Code, got, tt.location)
		}
	}
	leader = "http://["
	if _, err := call(t, tr, "10.0.0.1:1", leecher(1)); !errors.As(err, &f) {
		t.Errorf("a malformed leader: %v", err)
	}
	if s, ok := tr.Swarm(swarmA); ok {
		t.Errorf("it does not lead, and yet entered a peer: %+v", s)
	}
}

func TestClientFollowsToTheLeader(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	leader := httptest.NewServer(New(Config{Members: dir.Members}))
	defer leader.Close()
	other := httptest.NewServer(New(Config{
		Leading: func() (bool, string) { return false, leader.URL + "/announce" },
	}))
	defer other.Close()
	defer http.DefaultClient.CloseIdleConnections()

	req := as("n1", leecher(1))
	resp, err := wire.Announce(t.Context(), http.DefaultClient, other.URL+"/announce", req)
	if err != nil || resp.Incomplete != 1 {
		t.Errorf("%+v, %v", resp, err)
	}
	swarms, err := wire.Scrape(t.Context(), http.DefaultClient, other.URL+"/announce", swarmA, swarmB)
	want := []wire.Swarm{{InfoHash: swarmA, Incomplete: 1}}
	if err != nil || !slices.Equal(swarms, want) {
		t.Errorf("%+v, %v", swarms, err)
	}
}

func TestSilentPeersExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tr := New(Config{AllowOutside: anybody, Interval: time.Minute})
		done := make(chan error)
		go func() { done <- tr.Run(ctx) }()

		mustCall(t, tr, "10.0.0.1:999", leecher(1))
		mustCall(t, tr, "10.0.0.1:999", seeder(2))
		time.Sleep(80 * time.Second) // virtual
		mustCall(t, tr, "10.0.0.1:999", leecher(1))
		if s, _ := tr.Swarm(swarmA); s.Complete != 1 || s.Incomplete != 1 {
			t.Errorf("one and a third intervals: %+v", s)
		}
		time.Sleep(26 * time.Second)
		if s, _ := tr.Swarm(swarmA); s.Complete != 0 || s.Incomplete != 1 {
			t.Errorf("one and three quarters: %+v", s)
		}
		time.Sleep(time.Minute + 20*time.Second)
		if s, ok := tr.Swarm(swarmA); ok {
			t.Errorf("all silent: %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLosingTheLeadForgetsAll(t *testing.T) {
	leads := true
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	tr := New(Config{
		AllowOutside: anybody, Members: dir.Members, Logger: slog.New(slog.DiscardHandler),
		Leading: func() (bool, string) { return leads, "" },
	})
	mustCall(t, tr, "10.0.0.1:999", leecher(1))
	mustCall(t, tr, "10.0.0.1:999", as("n1", leecher(2)))
	leads = false
	tr.sweep()
	leads = true
	if s, ok := tr.Swarm(swarmA); ok {
		t.Errorf("%+v", s)
	}
	if resp := mustCall(t, tr, "10.0.0.1:999", as("n1", leecher(2))); resp.Incomplete != 1 {
		t.Errorf("%+v", resp)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	tr := New(Config{AllowOutside: func(a netip.Addr) bool { return a.IsPrivate() }, Registerer: reg})
	mustCall(t, tr, "10.0.0.1:999", leecher(1))
	mustCall(t, tr, "10.0.0.1:999", seeder(2))
	stop := leecher(1)
	stop.Event = wire.Stopped
	mustCall(t, tr, "10.0.0.1:999", stop)
	call(t, tr, "203.0.113.1:1", leecher(1))
	get(tr, "", "/announce?x")
	get(tr, "", "/scrape")

	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "shatabdi_tracker_")
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			if v := m.GetCounter().GetValue() + m.GetGauge().GetValue(); v != 0 {
				got[name] = v
			}
		}
	}
	want := map[string]float64{
		"announces_total started ok": 2, "announces_total stopped ok": 1,
		"announces_total started outsider": 1, "announces_total update bad": 1,
		"scrapes_total ok": 1, "swarms": 1, "peers seeder": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAnnouncesFromManyAtOnce(t *testing.T) {
	dir := &nodes{}
	for i := range 8 {
		dir.set(fmt.Sprint("n", i), fmt.Sprintf("192.0.2.%d:1", i))
	}
	tr := New(Config{AllowOutside: anybody, Members: dir.Members})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				req := leecher(uint16(1 + n%50))
				req.InfoHash[19] = byte(n % 3)
				if n%7 == 0 {
					req.Event = wire.Stopped
				}
				if n%2 == 0 {
					req.Node = fmt.Sprint("n", i)
				}
				mustCall(t, tr, fmt.Sprintf("10.0.0.%d:999", i), req)
				if n%20 == 0 {
					tr.sweep()
				}
			}
		})
	}
	wg.Wait()
	total := int64(0)
	for i := range byte(3) {
		h := swarmA
		h[19] = i
		s, _ := tr.Swarm(h)
		total += int64(s.Complete + s.Incomplete)
	}
	if got := tr.store.seeders.Load() + tr.store.leechers.Load(); got != total || total == 0 {
		t.Errorf("totals say %d peers, the swarms %d", got, total)
	}
}

func FuzzServeHTTP(f *testing.F) {
	req := leecher(1)
	f.Add("/announce", string(req.AppendQuery(nil)), "10.0.0.1:1")
	f.Add("/scrape", "info_hash=aaaaaaaaaaaaaaaaaaaa", "[::1]:1")
	f.Add("/announce", "info_hash=%", "@")
	tr := New(Config{AllowOutside: anybody, MaxSwarms: 10, MaxPeers: 10})
	f.Fuzz(func(t *testing.T, path, query, remote string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery, r.RemoteAddr = path, query, remote
		w := httptest.NewRecorder()
		tr.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			return
		}
		var failure *wire.Failure
		_, err := wire.ParseResponse(w.Body.Bytes())
		if path == "/scrape" {
			_, err = wire.ParseSwarms(w.Body.Bytes())
		}
		if err != nil && !errors.As(err, &failure) {
			t.Errorf("%s?%s: %q: %v", path, query, w.Body, err)
		}
	})
}
