//go:build e2e

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"shatabdi/e2e/content"
	"shatabdi/e2e/lab"
)

// origin --- switch --- two nodes; the disk of the first has 64 MiB, and its
// --cache-size promises far more. An object of 160 MiB is delivered whole on
// both, and the node lives on.
func TestFullDiskStillDelivers(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	etcd := l.Machine("etcd", 0).Etcd()
	ms := l.Machines(2, "node", 0)
	small := ms[0].Shatabdi("--etcd-endpoints", etcd.URL, "--data-dir", ms[0].SmallDisk("disk", 64*mib),
		"--cache-size", "1GiB", "--cache-min-free", "0")
	other := ms[1].Shatabdi("--etcd-endpoints", etcd.URL)

	large := content.Object{Seed: 41, Size: 160 * mib}
	c := small.Wget(origin.Object(large))
	lab.Together(c)
	l.Check(large, c)
	both := clients([]*lab.Node{small, other}, origin.Object(large))
	lab.Together(both...)
	l.Check(large, both...)

	fits := content.Object{Seed: 42, Size: 8 * mib}
	c = small.Curl(origin.Object(fits))
	lab.Together(c)
	l.Check(fits, c)
	if !small.Running() {
		t.Errorf("the node is gone:\n%s", small.LogTail(20))
	}
}

// origin (3 MiB/s a response) --- switch --- one node with a disk of 128 MiB. While
// clients fill, somebody else writes that disk full to its last byte: they get the
// whole all the same, a metric says that it is not kept, and what is not is forgotten.
// The node is killed -9 then, under load. On the full disk its store is as its catalogue
// says, byte for byte, it starts, and has everything it had; with room it keeps again.
func TestKilledOnAFullDisk(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).Origin()
	etcd := l.Machine("etcd", 0).Etcd()
	m := l.Machine("node", 0)
	disk := m.SmallDisk("disk", 128*mib)
	data := filepath.Join(disk, "data")
	node := m.Shatabdi("--etcd-endpoints", etcd.URL, "--data-dir", data, "--cache-size", "1GiB", "--cache-min-free", "0", "--log-level", "warn",
		"--etcd-lease-ttl", "2s") // it is not ready again before its lease of before has ended: it led
	node.DataDir = data
	p := &crashPlay{Lab: l, origin: origin.URL, victim: node}
	const slow = 10 // from there on objects come so
	get := func(seeds ...uint64) (cs []*lab.Client) {
		for _, s := range seeds {
			url := p.url(content.Object{Seed: s, Size: 6 * mib})
			if s < slow {
				url = strings.Replace(url, "/rate=3MiB", "", 1)
			}
			cs = append(cs, node.Curl(url).Start())
		}
		return cs
	}
	for _, c := range get(1, 2, 3) {
		p.got(c)
	}
	l.Until("three objects are complete", 10*time.Second, func() bool { return len(p.complete()) == 3 })
	had := p.complete()

	cs := get(11, 12, 13)
	untilProgress(l, cs[2], mib)
	fillUp(l, disk)
	for _, c := range append(cs, get(4)...) {
		p.got(c)
	}
	if n := node.Metric("shatabdi_objects_without_room_total"); n < 4 {
		t.Errorf("%v responses are said not to be kept, want 4", n)
	}
	l.Until("nothing is here but the three", 10*time.Second, func() bool { return node.Metric("shatabdi_cache_objects") == 3 })
	fillUp(l, disk)

	cs = get(1, 2, 21, 22)
	untilProgress(l, cs[3], mib)
	node.Kill()
	for _, c := range cs {
		c.Wait()
	}
	fillUp(l, disk)
	p.check()
	fillUp(l, disk)
	node.Restart()
	has := p.complete()
	for id, url := range had {
		if has[id] == "" {
			t.Errorf("%s, %s, was complete and is lost", id, url)
		}
	}
	p.readAll()
	if err := os.Remove(filepath.Join(disk, "others")); err != nil {
		t.Fatal(err)
	}
	for _, c := range get(5) {
		p.got(c)
	}
	l.Until("what came then is kept", 10*time.Second, func() bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(p.complete())), func(url string) bool { return p.object(url).Seed == 5 })
	})
}

// origin --- switch --- one node with a disk of 256 MiB, 64 MiB of them for others, who
// take more: what was used least lately goes for them, and the node goes on caching.
func TestOthersNeedTheDisk(t *testing.T) {
	l := lab.New(t)
	origin := l.Machine("origin", 0).NginxOrigin()
	m := l.Machine("node", 0)
	disk := m.SmallDisk("disk", 256*mib)
	node := m.Shatabdi("--etcd-endpoints", l.Machine("etcd", 0).Etcd().URL, "--data-dir", filepath.Join(disk, "data"),
		"--cache-size", "1GiB", "--cache-min-free", "64MiB")
	get := func(seed uint64) {
		o := content.Object{Seed: seed, Size: 24 * mib}
		c := node.Curl(origin.Object(o))
		lab.Together(c)
		l.Check(o, c)
	}
	for seed := range uint64(4) {
		get(seed)
	}
	l.Until("four objects are here", 10*time.Second, func() bool { return node.Metric("shatabdi_cache_objects") == 4 })
	others := make([]byte, freeOn(l, disk)-32*mib)
	if err := os.WriteFile(filepath.Join(disk, "others"), others, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Until("others have their share", 20*time.Second, func() bool { return freeOn(l, disk) >= 64*mib })
	if n := node.Metric("shatabdi_cache_objects"); n == 0 {
		t.Error("all objects went for them")
	}
	get(5)
	l.Until("what came then is kept", 10*time.Second, func() bool {
		return strings.Contains(m.Run(l.Binary(), "ls", "-o", "json"), origin.Object(content.Object{Seed: 5, Size: 24 * mib}))
	})
	if n := node.Metric("shatabdi_objects_without_room_total"); n > 0 {
		t.Errorf("%v responses are said not to be kept", n)
	}
	l.Until("others have their share still", 10*time.Second, func() bool { return freeOn(l, disk) >= 64*mib })
}

// freeOn is how many bytes a disk has left.
func freeOn(l *lab.Lab, disk string) int64 {
	l.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(disk, &st); err != nil {
		l.Fatalf("%v", err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fillUp has others take what is left of a disk, to the last byte.
func fillUp(l *lab.Lab, disk string) {
	l.Helper()
	f, err := os.OpenFile(filepath.Join(disk, "others"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.Fatalf("%v", err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
