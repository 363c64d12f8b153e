//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin --- switch --- one node. Ranges are asked for before anything is
// cached: they are right, and only what they need leaves the origin.
func TestRangesBeforeAnythingIsCached(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).Origin()
	node := l.Machine("node", 0).Shatabdi()
	const path = "/size=128MiB/seed=71/f.bin"
	object := content.Object{Seed: 71, Size: 128 * mib}
	url := origin.URL + path

	head := node.Machine.Run("curl", "-sfI", "-x", node.ProxyURL(), url)
	if !strings.Contains(head, "Content-Length: 134217728") {
		t.Errorf("HEAD first:\n%s", head)
	}
	for _, c := range []struct {
		spec     string
		from, to int64
	}{
		{"67000000-68000000", 67000000, 68000001},
		{"-1000", object.Size - 1000, object.Size},
		{"134217000-", 134217000, object.Size},
		{"0-0", 0, 1},
	} {
		r := node.Curl(url, "-r", c.spec)
		lab.Together(r)
		h := sha256.New()
		io.Copy(h, io.NewSectionReader(object, c.from, c.to-c.from))
		if r.Err != nil || r.SHA256 != hex.EncodeToString(h.Sum(nil)) {
			t.Errorf("bytes=%s: %d bytes, %v %s", c.spec, r.Bytes, r.Err, r.Stderr())
		}
	}
	for spec, want := range map[string]string{"0-9,100-109": " 206 ", "999999999-": " 416 "} {
		out := node.Machine.Run("curl", "-s", "-o", "/dev/null", "-D", "-", "-r", spec, "-x", node.ProxyURL(), url)
		if !strings.Contains(out, want) {
			t.Errorf("bytes=%s: want%s, got\n%s", spec, want, out)
		}
	}
	if sent := origin.Stats(path).Bytes; sent > object.Size/2 {
		t.Errorf("the origin sent %s for ranges of 1 MiB", lab.MiB(sent))
	}
	whole := node.Wget(url)
	lab.Together(whole)
	l.Check(object, whole)
}

// origin (8 MiB/s a response) --- switch --- one node. A client that leaves
// early ends the fill; one that leaves when most is there does not.
func TestClientGoesAway(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).Origin()
	node := l.Machine("node", 0).Shatabdi()

	const early = "/size=256MiB/seed=72/rate=4MiB/f.bin"
	c := node.Curl(origin.URL + early)
	c.Abandon = 4 * mib
	lab.Together(c)
	last, since := int64(-1), time.Now()
	l.Until("the origin has been left in peace for 3 s", 30*time.Second, func() bool {
		if sent := origin.Stats(early).Bytes; sent != last {
			last, since = sent, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	if last > 128*mib {
		t.Errorf("the origin sent %s to a client that left after 4 MiB", lab.MiB(last))
	}

	const late = "/size=64MiB/seed=73/rate=16MiB/f.bin"
	c = node.Curl(origin.URL + late)
	c.Abandon = 58 * mib
	lab.Together(c)
	l.Until("the fill is finished without its client", 15*time.Second, func() bool {
		return origin.Stats(late).Bytes >= 64*mib
	})
	untilComplete(l, node)
	again := node.Wget(origin.URL + late)
	lab.Together(again)
	l.Check(content.Object{Seed: 73, Size: 64 * mib}, again)
	if sent := origin.Stats(late).Bytes; sent > 66*mib {
		t.Errorf("the origin sent %s in all for 64 MiB", lab.MiB(sent))
	}
}

// origin --- switch --- two nodes. The object is stale after a second: unchanged
// it is revalidated without a body, changed it is fetched anew, and both nodes
// see the new one.
func TestStaleIsRevalidatedAndChangedIsNew(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).Origin()
	etcd := l.Machine("etcd", 0).Etcd()
	nodes := lab.Cluster(l.Machines(2, "node", 0), etcd.URL)
	const path = "/size=32MiB/seed=74/cache=max-age=1/f.bin"
	url, object := origin.URL+path, content.Object{Seed: 74, Size: 32 * mib}

	first := clients(nodes, url)
	lab.Together(first...)
	l.Check(object, first...)
	start := time.Now()
	l.Until("it is stale", 5*time.Second, func() bool { return time.Since(start) > 2500*time.Millisecond })
	before := origin.Stats(path)
	second := clients(nodes, url)
	lab.Together(second...)
	l.Check(object, second...)
	if after := origin.Stats(path); after.Requests == before.Requests || after.Bytes-before.Bytes > mib {
		t.Errorf("stale and unchanged: %+v, then %+v; want a request without a body", before, after)
	}

	origin.Change(path)
	start = time.Now()
	l.Until("it is stale again", 5*time.Second, func() bool { return time.Since(start) > 2500*time.Millisecond })
	changed := content.Object{Seed: 1074, Size: 32 * mib}
	third := clients(nodes, url)
	lab.Together(third...)
	l.Check(changed, third...)
}
