package tracker

import (
	"encoding/binary"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"

	"shatabdi/tracker/wire"
)

// What outsiders make up costs nothing: only members open swarms.
func TestOutsidersOpenNoSwarm(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	tr := New(Config{AllowOutside: anybody, Members: dir.Members, MembersOpen: true})
	flood := func(n int) {
		req := leecher(1)
		for i := range n {
			binary.BigEndian.PutUint32(req.InfoHash[:], uint32(i))
			req.InfoHash[19] = byte(i)
			if _, err := call(t, tr, "10.0.0.1:1", req); err == nil || err.Error() != "tracker: unknown info_hash" {
				t.Fatal(err)
			}
		}
	}
	flood(1000)
	before := heap()
	flood(20_000)
	if grew := int64(heap()) - int64(before); grew > 256<<10 {
		t.Errorf("%d bytes stay of 20,000 refused announces", grew)
	}
	mustCall(t, tr, "10.0.0.9:1", as("n1", seeder(1)))
	if resp := mustCall(t, tr, "10.0.0.1:1", leecher(7)); len(resp.Peers) != 1 {
		t.Errorf("of a swarm that is known: %+v", resp)
	}
}

// An outsider behind a trusted proxy is listed where it is, and not where the
// proxy is; whoever else says where it is is not believed.
func TestForwardedFor(t *testing.T) {
	ours := netip.MustParsePrefix("10.1.0.0/16")
	tr := New(Config{AllowOutside: anybody, TrustedProxy: ours.Contains})
	for name, tt := range map[string]struct {
		remote string
		said   []string
		want   string // "": refused
	}{
		"nobody's word":          {"203.0.113.5:99", nil, "203.0.113.5"},
		"an outsider's word":     {"203.0.113.5:99", []string{"198.51.100.1"}, "203.0.113.5"},
		"a proxy's":              {"10.1.0.1:99", []string{"198.51.100.1"}, "198.51.100.1"},
		"what it was told":       {"10.1.0.1:99", []string{"192.0.2.66, 198.51.100.1"}, "198.51.100.1"},
		"two proxies'":           {"10.1.0.1:99", []string{"192.0.2.66, 198.51.100.1", "10.1.0.2"}, "198.51.100.1"},
		"of another family":      {"10.1.0.1:99", []string{"2001:db8::7"}, "2001:db8::7"},
		"a proxy that is silent": {"10.1.0.1:99", nil, "10.1.0.1"},
		"nonsense":               {"10.1.0.1:99", []string{"198.51.100.1, unknown"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req := leecher(6881)
			r := httptest.NewRequest("GET", "/announce?"+string(req.AppendQuery(nil)), nil)
			r.RemoteAddr = tt.remote
			r.Header["X-Forwarded-For"] = tt.said
			w := httptest.NewRecorder()
			tr.ServeHTTP(w, r)
			_, err := wire.ParseResponse(w.Body.Bytes())
			if tt.want == "" {
				if err == nil {
					t.Error("it was not refused")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := netip.AddrPortFrom(netip.MustParseAddr(tt.want), 6881).String()
			if got := addrs(mustCall(t, tr, "203.0.113.200:1", leecher(1))); !slices.Contains(got, want) {
				t.Errorf("listed at %v, want %s", got, want)
			}
			gone := leecher(6881)
			gone.Event = wire.Stopped
			mustCall(t, tr, want, gone)
		})
	}
}
