//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// download runs a script with the node as its proxy, on its machine; $1 is the URL.
// It returns whether that succeeded, and the file f that it left.
func download(n *lab.Node, script, url string) (f []byte, err error) {
	out, err := n.Machine.Try("env", "http_proxy="+n.ProxyURL(), "timeout", "40", "sh", "-c", "rm -rf f f.aria2 part.*; "+script, "sh", url)
	f, _ = os.ReadFile(filepath.Join(n.Machine.Dir, "f"))
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(out))
	}
	return f, err
}

// origin (64 MiB/s) --- switch --- two nodes, and clients that ask for parts.
func TestClientsThatReadInParts(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 64*lab.MiBps).Origin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL)
	readInParts(t, origin, nodes)
	changeInTheMidst(t, origin, nodes)
	slowClientKeepsItsVersion(t, l, origin, nodes)
}

// Clients that resume, that read in many parts at once, and that open ranges to the
// end and close them when their part is there, get the right bytes, and each byte
// leaves the origin once.
func readInParts(t *testing.T, origin *lab.Origin, nodes []*lab.Node) {
	const size = int64(40 * mib)

	for i, c := range []struct{ name, script string }{
		{"wget -c", `wget -qO - "$1" | head -c 12000000 >f; wget -q -c --tries=1 -O f "$1"`},
		{"curl -C -", `curl -sf "$1" | head -c 12000000 >f; curl -sSf -C - -o f "$1"`},
		{"aria2c -x16", `aria2c -q -x16 -s16 -k1M --file-allocation=none -o f "$1"`},
		{"open-ended ranges, closed early", `for i in 0 1 2 3 4 5 6 7; do
			{ curl -sf -r $((i*5242880))- "$1" | head -c 5242880 >part.$i; } &
		done; wait; cat part.* >f`},
	} {
		t.Run(c.name, func(t *testing.T) {
			object := content.Object{Seed: uint64(80 + i), Size: size}
			path := fmt.Sprintf("/size=%d/seed=%d/f.bin", object.Size, object.Seed)
			before := origin.Machine.Sent()
			f, err := download(nodes[i%2], c.script, origin.URL+path)
			if err != nil || fmt.Sprintf("%x", sha256.Sum256(f)) != lab.Digest(object) {
				t.Errorf("%d bytes, %v", len(f), err)
			}
			sent := origin.Machine.Sent() - before
			t.Logf("%d requests, %.3f x", origin.Stats(path).Requests, float64(sent)/float64(size))
			if sent > size*105/100+cut {
				t.Errorf("the origin sent %s for %s", lab.MiB(sent), lab.MiB(size))
			}
		})
	}
}

// The object becomes another one while a client is in the midst of it. It gets one of
// the two whole, or an error and nothing but the beginning of the first: never a mix,
// though no client says which version it has.
func changeInTheMidst(t *testing.T, origin *lab.Origin, nodes []*lab.Node) {
	const size = int64(48 * mib)

	for i, c := range []struct {
		name, orders, script string
		again                string // after a change between the two; "": it changes during the first
	}{
		{"wget -c", "cache=no-cache", `wget -qO - "$1" | head -c 20000000 >f`, `wget -q -c --tries=3 -O f "$1"`},
		{"curl -C -", "cache=no-cache", `curl -sf "$1" | head -c 20000000 >f`, `curl -sSf -C - -o f "$1"`},
		{"aria2c -c", "cache=no-cache/rate=12MiB", `aria2c -q -x1 --auto-save-interval=1 --file-allocation=none -o f "$1" & sleep 2.5; kill -9 $!; cp f.aria2 noted`,
			`mv noted f.aria2; aria2c -q -c -x1 --max-tries=2 --retry-wait=0 --file-allocation=none -o f "$1"`},
		{"wget tries again", "rate=32MiB/change=16MiB", `wget -q --tries=3 --waitretry=0 -O f "$1"`, ""},
		{"aria2c -x16", "rate=24MiB/change=16MiB", `aria2c -q -x16 -s16 -k1M --max-tries=2 --retry-wait=0 --file-allocation=none -o f "$1"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, then := content.Object{Seed: uint64(90 + i), Size: size}, content.Object{Seed: uint64(1090 + i), Size: size}
			path := fmt.Sprintf("/size=%d/seed=%d/%s/f.bin", size, first.Seed, c.orders)
			f, err := download(nodes[i%2], c.script, origin.URL+path)
			if c.again != "" {
				origin.Change(path)
				before := f
				keep := filepath.Join(nodes[i%2].Machine.Dir, "kept")
				if e := os.WriteFile(keep, before, 0o600); e != nil {
					t.Fatal(e)
				}
				f, err = download(nodes[i%2], "mv kept f; "+c.again, origin.URL+path)
				if err == nil {
					t.Errorf("exit 0 with %d bytes: there is no rest of it", len(f))
				}
			}
			t.Logf("%d bytes, %v", len(f), err)
			if digest := fmt.Sprintf("%x", sha256.Sum256(f)); err == nil && digest != lab.Digest(first) && digest != lab.Digest(then) {
				t.Error("exit 0 with neither version")
			}
			if err != nil && !strings.Contains(c.name, "aria2c") && !begins(f, first) { // aria2c leaves holes
				t.Errorf("what is left, %d bytes, is not of the first version", len(f))
			}
		})
	}
}

// Who reads slowly from one node has the first version to its end, while others have
// the second one.
func slowClientKeepsItsVersion(t *testing.T, l *lab.Lab, origin *lab.Origin, nodes []*lab.Node) {
	const size = int64(48 * mib)
	t.Run("a slow client keeps its version", func(t *testing.T) {
		first, then := content.Object{Seed: 98, Size: size}, content.Object{Seed: 1098, Size: size}
		path := fmt.Sprintf("/size=%d/seed=98/cache=no-cache/f.bin", size)
		slow := nodes[0].Curl(origin.URL+path, "--limit-rate", "32M")
		slow.Start()
		l.Until("it reads", 10*time.Second, func() bool { return slow.Progress() > 8*mib })
		origin.Change(path)
		others := clients(nodes, origin.URL+path)
		lab.Together(others...)
		for _, o := range others {
			if o.Got(first) != nil && o.Got(then) != nil {
				t.Errorf("%s: %d bytes, %v: %s", o.Name, o.Bytes, o.Err, o.Stderr())
			}
		}
		if slow.Wait(); slow.Err == nil {
			l.Check(first, slow)
		}
		t.Logf("the slow one: %d bytes, %v", slow.Bytes, slow.Err)
	})
}

func begins(f []byte, o content.Object) bool {
	want := make([]byte, len(f))
	n, err := io.ReadFull(io.NewSectionReader(o, 0, o.Size), want)
	return n == len(f) && err == nil && string(want) == string(f)
}
