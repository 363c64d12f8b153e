//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// What the clients of a misbehaving origin may get.
const (
	right        = "the right bytes"
	failure      = "an error"
	rightOrError = "the right bytes or an error"
	rightAgain   = "the right bytes, at once or when it asks again"
	// A strong entity tag says that the bytes are the same (RFC 9110 §8.8.1), so
	// spans under one tag may be combined, as a resumed download would.
	anything = "what the origin deserves"
)

// cut is what may be under way, in socket buffers, when the first response,
// which was asked for in whole, is cut because another node takes its share.
const cut = 2 * mib

// origin (misbehaves on order) --- switch --- two nodes; wget on one and curl on
// the other ask in the same instant. A client that exits with 0 has the bytes
// of one version, whatever the origin does, and none waits for ever.
func TestMisbehavingOrigins(t *testing.T) {
	l := lab.New(t)
	l.Deadline = 45 * time.Second
	origin := l.Machine("origin", 64*lab.MiBps).Origin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL)

	for i, c := range []struct {
		name, orders string
		want         string
		egress       float64 // at most, times the object; 0: any
		versions     int     // of the object that are right; 0: one
	}{
		{"good", "", right, 1.05, 0},
		{"ignores Range", "norange", right, 0, 0},
		{"has no validator", "novalidator", right, 0, 0},
		{"has a weak validator", "weak", right, 0, 0},
		{"sends no length", "nolength", right, 0, 0},
		{"is slow with its first byte", "slow=3s", right, 1.05, 0},
		{"dies once", "die=10MiB/once", right, 1.3, 0},
		{"dies after 10 MiB of each response", "die=10MiB", right, 1.5, 0},
		{"dies once, ignores Range", "die=10MiB/once/norange", rightOrError, 0, 0},
		{"dies always, ignores Range", "die=10MiB/norange", failure, 4, 0},
		{"dies without having sent a length", "die=10MiB/nolength", failure, 0, 0},
		{"sends more than announced", "long=100KiB", rightOrError, 0, 0},
		{"sends spans of another tag", "spantag", rightAgain, 0, 0},
		{"sends spans of another place", "spanshift", rightAgain, 0, 0},
		{"is two servers with different tags", "tags=2", rightAgain, 0, 0},
		{"is two servers with different contents under one tag", "contents=2", anything, 0, 2},
		{"changes the object between spans", "change=8MiB", rightOrError, 0, 2},
		{"answers 503", "status=503", failure, 0, 0},
		{"is unavailable under this path", "status=404", failure, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			object := content.Object{Seed: uint64(50 + 2*i), Size: 40 * mib}
			path := fmt.Sprintf("/size=%d/seed=%d/%s/f.bin", object.Size, object.Seed, c.orders)
			path = strings.ReplaceAll(path, "//", "/")
			ask := func() []*lab.Client {
				cs := []*lab.Client{nodes[0].Wget(origin.URL+path, "--tries=1"), nodes[1].Curl(origin.URL + path)}
				lab.Together(cs...)
				return cs
			}
			before := origin.Machine.Sent()
			cs := ask()
			for tries := 1; c.want == rightAgain && tries < 3 && (cs[0].Err != nil || cs[1].Err != nil); tries++ {
				t.Logf("%s: %v, %s: %v; they ask again", cs[0].Name, cs[0].Err, cs[1].Name, cs[1].Err)
				cs = ask()
			}
			for _, client := range cs {
				err := gotAVersion(client, object, c.orders, max(1, c.versions))
				switch {
				case client.Hung:
					t.Error(err)
				case c.want == anything:
				case client.Err == nil && c.want == failure:
					t.Errorf("%s: exit 0 with %d bytes, want %s", client.Name, client.Bytes, c.want)
				case client.Err == nil && err != nil:
					t.Error(err)
				case client.Err != nil && (c.want == right || c.want == rightAgain):
					t.Error(err)
				}
			}
			sent := origin.Machine.Sent() - before
			t.Logf("%d requests, %.3f x", origin.Stats(path).Requests, float64(sent)/float64(object.Size))
			if c.egress > 0 && sent > int64(c.egress*float64(object.Size))+cut {
				t.Errorf("the origin sent %s, want at most %.2f x the object's %s", lab.MiB(sent), c.egress, lab.MiB(object.Size))
			}
		})
	}
	for _, n := range nodes {
		if !n.Running() {
			t.Errorf("%s is gone:\n%s", n.Machine.Name, n.LogTail(30))
		}
	}
}

// gotAVersion is nil when the client has the bytes of one of the object's
// versions: contents= counts seeds up by one, change= by 1000.
func gotAVersion(c *lab.Client, o content.Object, orders string, versions int) (err error) {
	step := uint64(1)
	if strings.HasPrefix(orders, "change") {
		step = 1000
	}
	for range versions {
		if err = c.Got(o); err == nil {
			return nil
		}
		o.Seed += step
	}
	return err
}

// origin --- switch --- one node: bodies that are not the object itself.
func TestUnusualBodies(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).Origin()
	node := l.Machine("node", 0).Shatabdi()

	for range 2 { // the second may come from the cache
		empty := node.Curl(origin.URL + "/size=0/f.bin")
		lab.Together(empty)
		l.Check(content.Object{Seed: 1}, empty)

		direct := node.Machine.Curl("", origin.URL+"/size=16MiB/gzip/f.bin")
		zipped := node.Curl(origin.URL + "/size=16MiB/gzip/f.bin")
		lab.Together(direct)
		lab.Together(zipped)
		if zipped.Err != nil || zipped.SHA256 != direct.SHA256 {
			t.Errorf("gzip: %d bytes, %v; want the %d bytes that the origin sent", zipped.Bytes, zipped.Err, direct.Bytes)
		}
	}
	refused, _ := node.Machine.Try("curl", "-s", "-o", "/dev/null", "-D", "-", "-x", node.ProxyURL(), origin.URL+":81/f.bin")
	if !strings.Contains(refused, " 502 ") || !strings.Contains(strings.ToLower(refused), "proxy-status:") {
		t.Errorf("an origin that refuses: want 502 with Proxy-Status, got\n%s", refused)
	}
}
