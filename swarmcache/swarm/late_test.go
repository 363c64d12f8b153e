package swarm_test

import (
	"io"
	"io/fs"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"shatabdi/swarmcache"
	"shatabdi/tracker"
)

// track gives the lab a real tracker.
func (l *lab) track(t *testing.T) {
	tr := tracker.New(tracker.Config{Members: func(id string) ([]netip.AddrPort, bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		a, ok := l.addrs[swarmcache.NodeID(id)]
		return []netip.AddrPort{a}, ok
	}})
	srv := httptest.NewServer(tr)
	t.Cleanup(srv.Close)
	url := srv.URL + "/announce"
	l.tracker.Store(&url)
}

func (l *lab) trackerURL() string {
	if url := l.tracker.Load(); url != nil {
		return *url
	}
	return ""
}

// sealed waits until the object of s is published and its board is gone.
func (l *lab) sealed(t *testing.T, s *site) {
	t.Helper()
	waitFor(t, func() bool {
		v, f, err := l.dir.Node(swarmcache.Node{ID: "onlooker"}).Lookup(t.Context(), s.key())
		return err == nil && v != nil && !v.InfoHash.IsZero() && f == nil
	})
}

// A node that comes when everybody is done gets everything from seeders.
func TestLateJoinerReadsNothingFromTheOrigin(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	l := &lab{haste: 10}
	l.track(t)
	l.add(t, 2)
	l.all(t, s)
	l.sealed(t, s)
	sent := s.sent.Load()
	l.haste = patient
	l.add(t, 1)
	l.all(t, s)
	if s.sent.Load() != sent {
		t.Errorf("the origin sent %d bytes to a late joiner", s.sent.Load()-sent)
	}
}

// The only replica is not in its engine: a peer's handshake wakes it.
func TestIdleReplicaIsWoken(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	l := &lab{haste: 10}
	l.track(t)
	l.add(t, 1)
	l.all(t, s)
	l.sealed(t, s)
	l.restart(t, 0)
	if n := l.nodes[0].swarm.Torrents(); n != 0 {
		t.Fatalf("%d torrents in memory after a restart", n)
	}
	sent := s.sent.Load()
	l.haste = patient
	l.add(t, 1)
	l.all(t, s)
	if s.sent.Load() != sent {
		t.Errorf("the origin sent %d bytes although a replica lives", s.sent.Load()-sent)
	}
}

// No replica lives: the origin is the last source.
func TestNoReplicaLives(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	l := &lab{haste: 4}
	l.track(t)
	l.add(t, 1)
	l.all(t, s)
	l.sealed(t, s)
	l.nodes[0].die()
	l.nodes = nil
	l.add(t, 2)
	l.all(t, s)
	if s.times() > 2.1 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// Half an object is on disk when a node restarts: only the rest is fetched, when somebody
// asks and not before, and the sealed torrent is the one that everybody else computes,
// though nobody remembers the hashes.
func TestRestartResumes(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(16<<20, 64<<10)
	l := newLab(t, 1)
	obj, err := l.nodes[0].get(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	r := obj.NewReader(t.Context(), 0, 7<<20)
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	obj.Close()
	waitFor(t, func() bool { return s.busy.Load() == 0 })
	l.forgetAll(t)
	sent := s.sent.Load()
	l.restart(t, 0)
	if n := l.nodes[0].swarm.Torrents(); n != 0 || s.sent.Load() != sent {
		t.Errorf("nobody asked, and there are %d torrents, and %d bytes of the origin's", n, s.sent.Load()-sent)
	}
	l.all(t, s)
	if s.times() > 1.2 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
	fresh := newLab(t, 1)
	fresh.all(t, s)
	waitFor(t, func() bool { return l.infoHash(s) != "" && l.infoHash(s) == fresh.infoHash(s) })
}

// What the catalogue says of a file that is gone or torn is not believed.
func TestTornFiles(t *testing.T) {
	t.Parallel()
	for name, tear := range map[string]func(*testing.T, string){"gone": remove, "short": shorten} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 4<<20)
			l := &lab{}
			l.add(t, 1)
			l.all(t, s)
			waitFor(t, func() bool { return l.infoHash(s) != "" })
			l.nodes[0].stop()
			tear(t, l.nodes[0].files)
			l.restart(t, 0)
			l.all(t, s)
		})
	}
}

func eachFile(t *testing.T, dir string, f func(path string) error) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return f(path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir string) { eachFile(t, dir, os.Remove) }

func shorten(t *testing.T, dir string) {
	eachFile(t, dir, func(path string) error { return os.Truncate(path, 100) })
}

// A node leaves a fill while the directory's answers to its last landings are
// still on their way. What it landed it gives to others all the same.
func TestWhoLeavesGivesWhatItLanded(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := &lab{haste: patient} // who waits for bytes that died asks the origin in the end
	l.track(t)
	l.add(t, 2)
	l.nodes[0].wire.lag.Store(int64(500 * time.Millisecond))
	obj, err := l.nodes[0].get(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	r := obj.NewReader(t.Context(), 0, 5<<20)
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	obj.Close()
	waitFor(t, func() bool { return s.busy.Load() == 0 })
	l.nodes = l.nodes[1:]
	l.all(t, s)
	if s.times() > 1.15 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}
