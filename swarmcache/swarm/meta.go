package swarm

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"

	"shatabdi/swarmcache"
	"shatabdi/tracker/wire"
)

// MetaInfo is the .torrent file of v, all of whose hashes are given: a standard
// one (BEP 3), with the trackers in the order in which they are to be asked (BEP
// 12).
func (*Swarm) MetaInfo(v swarmcache.Version, hashes []byte, trackers []string) []byte {
	info, _ := sealedInfo(v, hashes)
	m := metainfo.MetaInfo{InfoBytes: info, CreatedBy: "shatabdi"}
	for i, t := range trackers {
		if i == 0 {
			m.Announce = t
		}
		m.AnnounceList = append(m.AnnounceList, []string{t})
	}
	return bencode.MustMarshal(m)
}

// Magnet is the link for v's sealed torrent (BEP 9), with trackers and peers to
// ask for the rest; empty while there is none.
func (*Swarm) Magnet(v swarmcache.Version, trackers []string, peers []netip.AddrPort) string {
	if v.InfoHash.IsZero() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "magnet:?xt=urn:btih:%s&dn=%s&xl=%d", v.InfoHash, url.QueryEscape(fileName(v.URL)), v.Length)
	for _, t := range trackers {
		b.WriteString("&tr=" + url.QueryEscape(t))
	}
	for _, p := range peers {
		b.WriteString("&x.pe=" + p.String())
	}
	return b.String()
}

// FileName is what v is called in its torrent.
func (*Swarm) FileName(v swarmcache.Version) string { return fileName(v.URL) }

// Sent is what peers were given since the start, payload bytes.
func (s *Swarm) Sent() int64 {
	s.mu.Lock()
	sum := s.past
	s.mu.Unlock()
	for _, t := range s.list() {
		sum.add(t.Stats())
	}
	return sum.BytesWritten
}

// Seeders is how many peers have all of an object, as the tracker sees it; those
// that are no nodes are counted too.
func (s *Swarm) Seeders(ctx context.Context, ih swarmcache.InfoHash) (int, error) {
	copies, err := s.Copies(ctx, []swarmcache.InfoHash{ih})
	return copies[ih], err
}

// Copies is the same of many.
func (s *Swarm) Copies(ctx context.Context, all []swarmcache.InfoHash) (map[swarmcache.InfoHash]int, error) {
	url := s.cfg.Tracker()
	if url == "" {
		return nil, errNoTracker
	}
	hashes := make([]wire.InfoHash, len(all))
	for i, ih := range all {
		hashes[i] = wire.InfoHash(ih)
	}
	swarms, err := wire.Scrape(ctx, s.announce.client, url, hashes...)
	if err != nil {
		return nil, err
	}
	copies := make(map[swarmcache.InfoHash]int, len(swarms))
	for _, w := range swarms {
		copies[swarmcache.InfoHash(w.InfoHash)] = w.Complete
	}
	return copies, nil
}

// Peers are those that are connected for an object, in either of its torrents.
func (s *Swarm) Peers(id swarmcache.ObjectID) (all []swarmcache.Peer) {
	for _, t := range s.list() {
		if t.file.Version().ID != id {
			continue
		}
		for _, c := range t.t.PeerConns() {
			stats := c.Stats()
			name, _ := c.PeerClientName.Load().(string)
			have := int(c.PeerPieces().GetCardinality())
			all = append(all, swarmcache.Peer{
				Addr: remoteOf(c), Client: name, Outside: !strings.HasPrefix(string(c.PeerID[:]), ourName), Fill: t.fill,
				Pieces: have, Received: stats.BytesReadData.Int64(), Sent: stats.BytesWrittenData.Int64(),
			})
		}
	}
	return all
}
