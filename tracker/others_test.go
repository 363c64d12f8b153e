package tracker

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"shatabdi/tracker/wire"
)

func callAll(t *testing.T, h http.Handler, remote string, req wire.Request, body []byte) (wire.Response, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/announce?"+string(req.AppendQuery(nil)), bytes.NewReader(body))
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return wire.ParseResponse(w.Body.Bytes())
}

// A member announces what it holds in one request, and is found as a seeder of
// all of it, until it falls silent.
func TestSeederOfManySwarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := &nodes{}
		dir.set("n1", "192.0.2.1:1")
		tr := New(Config{AllowOutside: anybody, Members: dir.Members})
		all := as("n1", seeder(9))
		all.Event = wire.Update
		swarmC := wire.InfoHash{3}
		if _, err := callAll(t, tr, "203.0.113.1:1", all, wire.AppendOthers(nil, swarmB, swarmC)); err != nil {
			t.Fatal(err)
		}
		for _, h := range []wire.InfoHash{swarmA, swarmB, swarmC} {
			asks := leecher(5)
			asks.InfoHash = h
			resp := mustCall(t, tr, "10.0.0.1:1", asks)
			if resp.Complete != 1 || len(resp.Peers) != 1 || resp.Peers[0].Addr.String() != "192.0.2.1:1" {
				t.Errorf("%x: %+v", h[:1], resp)
			}
		}
		time.Sleep(tr.cfg.silence() + time.Second)
		tr.sweep()
		if state, ok := tr.Swarm(swarmB); ok {
			t.Errorf("after a silence: %+v", state)
		}
	})
}

func TestWhoMayAnnounceManySwarms(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	tr := New(Config{AllowOutside: anybody, Members: dir.Members})
	stopped := as("n1", seeder(1))
	stopped.Event = wire.Stopped
	for name, tt := range map[string]struct {
		req    wire.Request
		body   []byte
		reason string
	}{
		"a member":              {as("n1", seeder(1)), wire.AppendOthers(nil, swarmB), ""},
		"with nothing more":     {as("n1", seeder(1)), nil, ""},
		"an outsider":           {seeder(1), nil, "tracker: only members may announce several swarms at once"},
		"a leecher":             {as("n1", leecher(1)), nil, "tracker: only seeders may announce several swarms at once"},
		"a seeder that leaves":  {stopped, nil, "tracker: only seeders may announce several swarms at once"},
		"half an infohash":      {as("n1", seeder(1)), make([]byte, 10), "tracker: the body is not a list of at most 4096 infohashes"},
		"more than can be read": {as("n1", seeder(1)), make([]byte, 20*(wire.MaxOthers+1)), "tracker: the body is not a list of at most 4096 infohashes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := callAll(t, tr, "10.0.0.1:1", tt.req, tt.body)
			if err == nil && tt.reason != "" || err != nil && err.Error() != tt.reason {
				t.Errorf("%v, want %s", err, tt.reason)
			}
		})
	}
	if state, _ := tr.Swarm(swarmB); state.Complete != 1 {
		t.Errorf("only one may: %+v", state)
	}
}

// A node that does not lead sends the whole announce on.
func TestManySwarmsAreRedirected(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	leads := New(Config{Members: dir.Members})
	leader := httptest.NewServer(leads)
	defer leader.Close()
	follower := httptest.NewServer(New(Config{Leading: func() (bool, string) { return false, leader.URL + "/announce" }}))
	defer follower.Close()
	_, err := wire.AnnounceAll(t.Context(), follower.Client(), follower.URL+"/announce", as("n1", seeder(1)), []wire.InfoHash{swarmB})
	if state, ok := leads.Swarm(swarmB); err != nil || !ok || state.Complete != 1 {
		t.Errorf("%+v, %v", state, err)
	}
}

// BenchmarkHeld is what 10,000 held objects of one node cost the leader.
func BenchmarkHeld(b *testing.B) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	tr := New(Config{Members: dir.Members})
	s := httptest.NewServer(tr)
	defer s.Close()
	var hashes []wire.InfoHash
	for i := range 10_000 {
		hashes = append(hashes, nthSwarm(i))
	}
	req := as("n1", seeder(1))
	for b.Loop() {
		for rest := hashes; len(rest) > 0; rest = rest[min(wire.MaxOthers, len(rest)):] {
			if _, err := wire.AnnounceAll(b.Context(), s.Client(), s.URL+"/announce", req, rest[:min(wire.MaxOthers, len(rest))]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
