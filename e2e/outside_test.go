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

// stock are clients from the distribution.
var stock = []struct {
	name    string
	command func(what, to string) []string
}{
	{"aria2", func(what, to string) []string {
		return []string{"aria2c", "--dir", to, "--seed-ratio=0", "--enable-dht=false", "--bt-enable-lpd=false", "--file-allocation=none", "--follow-torrent=mem", what}
	}},
	{"transmission", func(what, to string) []string {
		// Nodes speak plain TCP, and there is no name service for a DHT.
		const begin = `mkdir -p "$1" && echo '{"utp-enabled": false, "dht-enabled": false}' >"$1/settings.json" && exec transmission-cli --no-portmap -et --download-dir "$2" --config-dir "$1" "$3"`
		return []string{"sh", "-c", begin, "sh", to + "-config", to, what}
	}},
	{"libtorrent", func(what, to string) []string {
		return []string{"/usr/bin/python3", "-c", libtorrentClient, what, to}
	}},
}

// origin --- switch --- node1, node2, and two machines that are no nodes, of which
// friend may take part.
//
// Stock clients get the object from node1 by its magnet or its .torrent file. Then
// node1 forgets it, and node2 gets it from the client. The machine that may not
// take part is refused by tracker and nodes.
func TestStockClientsLoadAndSeed(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	friend, stranger := l.Machine("friend", 0), l.Machine("stranger", 0)
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL, "--outside-clients", friend.IP+"/32")
	for i, client := range stock {
		object := content.Object{Seed: 90 + uint64(i), Size: 24 * mib}
		url := origin.Object(object)
		first := nodes[0].Curl(url)
		lab.Together(first)
		l.Check(object, first)
		var held lab.Object
		l.Until("the object is sealed", 20*time.Second, func() bool { held = nodes[0].Object(url); return held.Magnet != "" })

		what := held.Magnet
		if i == 1 {
			what = filepath.Join(friend.Dir, "object.torrent")
			friendly := nodes[0].API("objects/" + held.ID + "/torrent")
			if err := os.WriteFile(what, []byte(friendly), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			begun := time.Now()
			direct := stock[2] // it obeys the magnet's x.pe, and connects past the tracker
			refused := stranger.Start(direct.name, direct.command(what, stranger.Dir)...)
			l.Until("the stranger is refused", 60*time.Second, func() bool {
				return lab.Sum(nodes, "shatabdi_peers_refused_total") > 0 &&
					lab.Sum(nodes, "shatabdi_tracker_announces_total", `outcome="outsider"`) > 0
			})
			refused.Kill()
			t.Logf("refused after %v", time.Since(begun).Round(time.Millisecond))
			if sent := lab.Sum(nodes, "shatabdi_peer_bytes_total", `direction="sent"`); sent > 0 {
				t.Errorf("the stranger got %.0f bytes", sent)
			}
		}

		to, begun := filepath.Join(friend.Dir, client.name), time.Now()
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		seeding := friend.Start(client.name, client.command(what, to)...)
		l.Until(client.name+" has the object", 90*time.Second, func() bool { return digestIn(to) == lab.Digest(object) })
		t.Logf("%s loaded in %v", client.name, time.Since(begun).Round(time.Millisecond))

		before := origin.Machine.Sent()
		nodes[0].Order("DELETE", "objects/"+held.ID)
		begun = time.Now()
		late := nodes[1].Curl(url)
		lab.Together(late)
		l.Check(object, late)
		t.Logf("a node had it from %s in %v", client.name, time.Since(begun).Round(time.Millisecond))
		// transmission lets nobody load for its first ten seconds or so, and a node asks
		// the origin after three.
		if sent := origin.Machine.Sent() - before; sent > mib && client.name != "transmission" {
			t.Errorf("the origin sent %s although %s has everything", lab.MiB(sent), client.name)
		}
		seeding.Kill()
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
