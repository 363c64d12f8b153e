package api

import (
	"context"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shatabdi/swarmcache"
)

// Torrents is what the API must know of the objects' torrents.
type Torrents interface {
	// MetaInfo is the .torrent file of a complete object, Magnet the link for it,
	// empty while there is none, and FileName what the object is called there.
	MetaInfo(v swarmcache.Version, hashes []byte, trackers []string) []byte
	Magnet(v swarmcache.Version, trackers []string, peers []netip.AddrPort) string
	FileName(v swarmcache.Version) string
	// Seeders is how many have all of a torrent, as the tracker sees it.
	Seeders(context.Context, swarmcache.InfoHash) (int, error)
	// Peers are those that are connected for an object.
	Peers(swarmcache.ObjectID) []swarmcache.Peer
}

// Peers are those that are connected to this node for an object.
type Peers struct {
	Peers []Peer `json:"peers" nullable:"false"`
}

// Peer is one of them.
type Peer struct {
	Address  netip.AddrPort `json:"address"`
	Client   string         `json:"client,omitempty" doc:"The program, as it calls itself."`
	Outside  bool           `json:"outside" doc:"It is no node of a cluster."`
	Torrent  string         `json:"torrent" enum:"fill,sealed"`
	Pieces   int            `json:"pieces" minimum:"0" doc:"That it has."`
	Received int64          `json:"received_bytes" minimum:"0"`
	Sent     int64          `json:"sent_bytes" minimum:"0"`
}

// Pieces tells which parts of an object are on this node.
type Pieces struct {
	PieceLength int64 `json:"piece_length"`
	Count       int   `json:"count" minimum:"0"`
	Here        int   `json:"here" minimum:"0"`
	Runs        []Run `json:"runs" nullable:"false" doc:"All pieces, in order."`
}

// Run is a run of pieces that are alike.
type Run struct {
	Pieces int    `json:"pieces" minimum:"1"`
	From   string `json:"from" enum:"missing,local,peers,origin" doc:"Where they came from since the file was opened; local is what was here before."`
}

var runFrom = map[swarmcache.From]string{
	swarmcache.Missing: "missing", swarmcache.FromStore: "local", swarmcache.FromPeer: "peers", swarmcache.FromOrigin: "origin",
}

const torrentType = "application/x-bittorrent"

func (s *service) registerTorrents(api huma.API) {
	type named struct {
		ID string `path:"id" pattern:"^[0-9a-f]{8,64}$" doc:"The object's id, or as much of its beginning as is unique."`
	}
	torrent := operation("get-torrent", http.MethodGet, "objects/{id}/torrent", "An object's .torrent file")
	torrent.Description = "A standard one, for any BitTorrent client; 409 until the object is complete here. Clients that are no nodes need the operator's leave (peer.outside_clients)."
	torrent.Responses = map[string]*huma.Response{"200": {
		Description: "The file",
		Content:     map[string]*huma.MediaType{torrentType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
	type file struct {
		Type        string `header:"Content-Type"`
		Disposition string `header:"Content-Disposition"`
		Body        []byte
	}
	huma.Register(api, torrent, func(ctx context.Context, in *named) (*file, error) {
		r, err := s.find(in.ID)
		if err != nil {
			return nil, problem(err)
		}
		v, hashes, err := s.Cache.Sealed(r.Version.ID)
		if err != nil {
			return nil, problem(err)
		}
		name := mime.FormatMediaType("attachment", map[string]string{"filename": s.Torrents.FileName(v) + ".torrent"})
		return &file{torrentType, name, s.Torrents.MetaInfo(v, hashes, s.trackers(ctx))}, nil
	})

	peers := operation("list-peers", http.MethodGet, "objects/{id}/peers", "Who is connected for an object")
	huma.Register(api, peers, func(_ context.Context, in *named) (*struct{ Body Peers }, error) {
		r, err := s.find(in.ID)
		if err != nil {
			return nil, problem(err)
		}
		all := Peers{Peers: []Peer{}}
		for _, p := range s.Torrents.Peers(r.Version.ID) {
			shown := Peer{p.Addr, p.Client, p.Outside, "sealed", p.Pieces, p.Received, p.Sent}
			if p.Fill {
				shown.Torrent = "fill"
			}
			all.Peers = append(all.Peers, shown)
		}
		slices.SortFunc(all.Peers, func(a, b Peer) int { return a.Address.Compare(b.Address) })
		return &struct{ Body Peers }{all}, nil
	})

	pieces := operation("get-pieces", http.MethodGet, "objects/{id}/pieces", "Which parts of an object are here")
	huma.Register(api, pieces, func(_ context.Context, in *named) (*struct{ Body Pieces }, error) {
		r, err := s.find(in.ID)
		if err != nil {
			return nil, problem(err)
		}
		all := Pieces{PieceLength: r.Version.PieceLen, Runs: []Run{}}
		for _, run := range s.Cache.Pieces(r) {
			all.Runs = append(all.Runs, Run{run.Pieces, runFrom[run.From]})
			all.Count += run.Pieces
			if run.From != swarmcache.Missing {
				all.Here += run.Pieces
			}
		}
		return &struct{ Body Pieces }{all}, nil
	})
}

// magnet is the link for an object that is complete here.
func (s *service) magnet(ctx context.Context, r swarmcache.Record) string {
	if !r.Complete {
		return ""
	}
	return s.Torrents.Magnet(r.Version, s.trackers(ctx), s.Node.Peers)
}

const (
	// maxTrackers bounds how many a torrent names.
	maxTrackers = 8
	// trackersWait bounds how long the directory is asked for them.
	trackersWait = 500 * time.Millisecond
)

// trackers are where a torrent's clients announce, in the order in which they are
// to try (BEP 12): the one that leads, this node's own, which knows who leads
// later, and some of the others' if the directory can be asked, for the torrent
// must work tomorrow.
func (s *service) trackers(ctx context.Context) (urls []string) {
	add := func(url string) {
		if url != "" && len(urls) < maxTrackers && !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	leader, _, _ := s.Cluster.Leader()
	add(leader)
	add(s.Node.Tracker)
	ctx, cancel := context.WithTimeout(ctx, trackersWait)
	defer cancel()
	nodes, err := s.Cluster.Nodes(ctx)
	if err != nil {
		return urls
	}
	for _, n := range nodes {
		if !n.Draining {
			add(n.Tracker)
		}
	}
	return urls
}
