package api_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
)

// fakeTorrents says what it was asked for.
type fakeTorrents struct{}

func (fakeTorrents) MetaInfo(v swarmcache.Version, hashes []byte, trackers []string) []byte {
	return fmt.Appendf(nil, "%d %s %s", v.Length, hashes, trackers)
}

func (fakeTorrents) Magnet(v swarmcache.Version, trackers []string, _ []netip.AddrPort) string {
	return fmt.Sprintf("magnet:%d?%s", v.Length, trackers)
}

func (fakeTorrents) FileName(v swarmcache.Version) string { return fmt.Sprintf("größe %d", v.Length) }

func (fakeTorrents) Seeders(context.Context, swarmcache.InfoHash) (int, error) { return 3, nil }

func (fakeTorrents) Peers(id swarmcache.ObjectID) []swarmcache.Peer {
	return []swarmcache.Peer{
		{Addr: netip.MustParseAddrPort("10.0.0.2:42069"), Pieces: 1, Fill: true, Sent: 7},
		{Addr: netip.MustParseAddrPort("10.0.0.1:6881"), Client: "aria2/1.36.0", Outside: true},
	}
}

func TestTorrentFile(t *testing.T) {
	sealed := record(4, "http://origin.test/4", "http://origin.test/4")
	sealed.Hashes = []byte("hashes")
	n := newNode(t, 2, sealed)
	n.cluster.leader = "two"
	n.cluster.nodes = []swarmcache.Node{
		{ID: "two", Tracker: "http://10.0.0.1:6969/announce"}, {ID: "three", Tracker: "http://10.0.0.3:6969/announce"},
		{ID: "four", Tracker: "http://10.0.0.4:6969/announce", Draining: true},
	}
	w := n.ask("GET", "/api/v1/objects/"+string(id(4))+"/torrent", "", 200, nil)
	if got, want := w.Body.String(), "4 hashes [http://10.0.0.1:6969/announce http://10.0.0.3:6969/announce]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	var o api.ObjectDetail
	n.ask("GET", "/api/v1/objects/"+string(id(4)), "", 200, &o)
	if got, want := o.Magnet, "magnet:4?[http://10.0.0.1:6969/announce http://10.0.0.3:6969/announce]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := w.Header().Get("Content-Disposition"), "attachment; filename*=utf-8''gr%C3%B6%C3%9Fe%204.torrent"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	n.cluster.away = errRefused // then with what is known
	w = n.ask("GET", "/api/v1/objects/"+string(id(4))+"/torrent", "", 200, nil)
	if got, want := w.Body.String(), "4 hashes [http://10.0.0.1:6969/announce]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	n.ask("GET", "/api/v1/objects/"+string(id(1))+"/torrent", "", 409, nil)
	n.ask("GET", "/api/v1/objects/"+string(id(3))+"/torrent", "", 404, nil)
}

func TestPeersAndPieces(t *testing.T) {
	part := record(1<<20, "http://origin.test/part", "http://origin.test/part")
	part.Complete, part.Pieces = false, []byte{0b11000010}
	n := newNode(t, 0, part)
	var peers api.Peers
	n.ask("GET", "/api/v1/objects/"+string(part.Version.ID)+"/peers", "", 200, &peers)
	if len(peers.Peers) != 2 || !peers.Peers[0].Outside || peers.Peers[0].Torrent != "sealed" || peers.Peers[1].Torrent != "fill" || peers.Peers[1].Sent != 7 {
		t.Errorf("%+v", peers)
	}
	var pieces api.Pieces
	n.ask("GET", "/api/v1/objects/"+string(part.Version.ID)+"/pieces", "", 200, &pieces)
	if got, want := fmt.Sprint(pieces), "{131072 8 3 [{1 missing} {1 local} {4 missing} {2 local}]}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	n.ask("GET", "/api/v1/objects/"+string(id(9))+"/pieces", "", 404, nil)
	n.ask("GET", "/api/v1/objects/"+string(id(9))+"/peers", "", 404, nil)
}
