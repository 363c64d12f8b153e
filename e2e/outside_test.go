//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// libtorrentClient downloads a magnet link or .torrent file to a directory, and
// seeds.
const libtorrentClient = `
import libtorrent as lt, sys, time
s = lt.session({"enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "listen_interfaces": "0.0.0.0:51413"})
what, to = sys.argv[1:]
p = lt.parse_magnet_uri(what) if what.startswith("magnet:") else lt.add_torrent_params()
if not what.startswith("magnet:"):
    p.ti = lt.torrent_info(what)
p.save_path = to
s.add_torrent(p)
time.sleep(600)
`

// stockClient is a client from the distribution.
type stockClient struct {
	name    string
	command func(what, to string) []string
}

// stockClients are some. Transmission says every ten seconds only what it wants
// and whom it lets load: it is for where there is time.
func stockClients() []stockClient {
	return inFull([]stockClient{aria2, libtorrent}, []stockClient{aria2, libtorrent, transmission})
}

var (
	aria2 = stockClient{"aria2", func(what, to string) []string {
		return []string{"aria2c", "--dir", to, "--seed-ratio=0", "--enable-dht=false", "--bt-enable-lpd=false", "--file-allocation=none", "--follow-torrent=mem", what}
	}}
	transmission = stockClient{"transmission", func(what, to string) []string {
		// Nodes speak plain TCP, and there is no name service for a DHT.
		const begin = `mkdir -p "$1" && echo '{"utp-enabled": false, "dht-enabled": false}' >"$1/settings.json" && exec transmission-cli --no-portmap -et --download-dir "$2" --config-dir "$1" "$3"`
		return []string{"sh", "-c", begin, "sh", to + "-config", to, what}
	}}
	libtorrent = stockClient{"libtorrent", func(what, to string) []string {
		return []string{"/usr/bin/python3", "-c", libtorrentClient, what, to}
	}}
)

// origin --- switch --- node1, node2, and two machines that are no nodes, of which
// friend may take part.
//
// Stock clients get an object each from node1, by its magnet or its .torrent file.
// Then node1 forgets them, and node2 gets them from the clients: the origin is
// away. The machine that may not take part is refused by tracker and nodes.
func TestStockClientsLoadAndSeed(t *testing.T) {
	l, stock := lab.New(t), stockClients()
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	friend, stranger := l.Machine("friend", 0), l.Machine("stranger", 0)
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL, "--outside-clients", friend.IP+"/32")

	objects, urls, held := make([]content.Object, len(stock)), make([]string, len(stock)), make([]lab.Object, len(stock))
	for i := range stock {
		objects[i] = content.Object{Seed: 90 + uint64(i), Size: 8 * mib}
		urls[i] = origin.Object(objects[i])
		first := nodes[0].Curl(urls[i])
		lab.Together(first)
		l.Check(objects[i], first)
		l.Until("the object is sealed", 20*time.Second, func() bool { held[i] = nodes[0].Object(urls[i]); return held[i].Magnet != "" })
	}

	// It obeys the magnet's x.pe, and connects past the tracker.
	refused := stranger.Start(libtorrent.name, libtorrent.command(held[0].Magnet, stranger.Dir)...)
	begun := time.Now()
	for i, client := range stock {
		what, to := held[i].Magnet, filepath.Join(friend.Dir, client.name)
		if i == 1 {
			what = filepath.Join(friend.Dir, "object.torrent")
			if err := os.WriteFile(what, []byte(nodes[0].API("objects/"+held[i].ID+"/torrent")), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		friend.Start(client.name, client.command(what, to)...)
	}
	for i, client := range stock {
		l.Until(client.name+" has the object", 90*time.Second, func() bool {
			return digestIn(filepath.Join(friend.Dir, client.name)) == lab.Digest(objects[i])
		})
		t.Logf("%s loaded in %v", client.name, time.Since(begun).Round(time.Millisecond))
	}

	l.Until("the stranger is refused", 60*time.Second, func() bool {
		return lab.Sum(nodes, "shatabdi_peers_refused_total") > 0 &&
			lab.Sum(nodes, "shatabdi_tracker_announces_total", `outcome="outsider"`) > 0
	})
	refused.Kill()
	if got := stranger.Received(); got > mib {
		t.Errorf("the stranger got %s", lab.MiB(got))
	}

	for _, o := range held {
		nodes[0].Order("DELETE", "objects/"+o.ID)
	}
	// Transmission lets nobody load for its first ten seconds or so, and a node asks
	// the origin after three: so it must not answer.
	origin.Machine.Cut(true)
	var late []*lab.Client
	for i := range stock {
		late = append(late, nodes[1].Curl(urls[i]))
		late[i].Start()
	}
	for i, client := range stock {
		l.Check(objects[i], late[i].Wait())
		t.Logf("a node had it from %s in %v", client.name, late[i].Time.Round(time.Millisecond))
	}
}

// digestIn is the SHA-256 of the largest file below dir; empty: there is none.
func digestIn(dir string) string {
	var largest string
	var size int64
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if fi, err := d.Info(); err == nil && fi.Size() > size {
			largest, size = path, fi.Size()
		}
		return nil
	})
	f, err := os.Open(largest)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil))
}
