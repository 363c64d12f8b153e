//go:build e2e

package lab

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"shatabdi/e2e/content"
)

// origin (16 MiB/s) --- switch --- client
func TestUplinkIsShapedAndCounted(t *testing.T) {
	l := New(t)
	o := l.Machine("origin", 16*MiBps).NginxOrigin()
	m := l.Machine("client", 0)
	object := content.Object{Seed: 1, Size: 32 << 20}
	url := o.Object(object)

	for _, c := range []*Client{m.Wget("", url), m.Curl("", url)} {
		before := o.Machine.Sent()
		took := Together(c)
		l.Check(object, c)
		if took < 1900*time.Millisecond || took > 2600*time.Millisecond {
			t.Errorf("%s: 32 MiB at 16 MiB/s took %v", c.Name, took)
		}
		if sent := o.Machine.Sent() - before; sent < object.Size || sent > object.Size*101/100 {
			t.Errorf("%s: the origin sent %s for 32 MiB", c.Name, MiB(sent))
		}
	}
}

// origin --- switch --- nginx cache, clients on its machine and on another
func TestNginxCache(t *testing.T) {
	for _, slices := range []bool{false, true} {
		l := New(t)
		o := l.Machine("origin", 0).NginxOrigin()
		m := l.Machine("cache", 0)
		other := l.Machine("other", 0)
		cache := m.NginxCache(slices)
		object := content.Object{Seed: 1, Size: 32 << 20}
		url := o.Object(object)

		a, b := m.Wget(cache.URL, url), other.Curl(cache.URL, url)
		Together(a, b)
		l.Check(object, a, b)
		if sent := o.Machine.Sent(); sent > object.Size*105/100 {
			t.Errorf("slices %t: the origin sent %s for two clients of 32 MiB", slices, MiB(sent))
		}
		before := o.Machine.Sent()
		hit := m.Curl(cache.URL, url)
		Together(hit)
		l.Check(object, hit)
		if sent := o.Machine.Sent() - before; sent > 10_000 {
			t.Errorf("slices %t: the origin sent %d bytes for a hit", slices, sent)
		}
	}
}

func TestRealEtcd(t *testing.T) {
	l := New(t)
	m := l.Machine("etcd", 0)
	e := m.Etcd()
	if v := m.Run("curl", "-s", e.URL+"/version"); !strings.Contains(v, etcdVersion) {
		t.Errorf("etcd says %s, want %s", v, etcdVersion)
	}
	e.Kill()
	e.Restart()
}

func TestGoOriginCountsWhatItSends(t *testing.T) {
	l := New(t)
	o := l.Machine("origin", 0).Origin()
	c := l.Machine("client", 0).Curl("", o.URL+"/size=8MiB/seed=5/f")
	Together(c)
	l.Check(content.Object{Seed: 5, Size: 8 << 20}, c)
	if s := o.Stats("/size=8MiB/seed=5/f"); s.Requests != 1 || s.Bytes != 8<<20 {
		t.Errorf("stats %+v", s)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	var id string
	t.Run("lab", func(t *testing.T) {
		l := New(t)
		id = l.id
		l.Machine("a", MiBps).SmallDisk("d", 1<<20)
		l.Machine("b", 0).Start("sleep", "sleep", "1000")
	})
	for _, command := range []string{"ip netns list", "cat /proc/mounts", "ls -a " + dataDir()} {
		out, _ := exec.Command("sh", "-c", command).Output()
		if strings.Contains(string(out), id) {
			t.Errorf("%s still shows %s:\n%s", command, id, out)
		}
	}
}
