package swarm_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/time/rate"
)

// across is how often an object crossed borders, all nodes together.
func (l *lab) across(s *site) float64 {
	var n int64
	for _, node := range l.nodes {
		n += node.swarm.Across()
	}
	return float64(n) / float64(len(s.data))
}

// zones puts nodes into so many zones by turns, and into racks of two.
func zones(n int) func(int) (string, string) {
	return func(i int) (string, string) { return fmt.Sprint("zone-", i%n), fmt.Sprint("rack-", i/n/2) }
}

// What two zones fetch together crosses the border once: each piece in the
// direction in which it is missing.
func TestPiecesCrossOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, 24<<20)
	s.limit = rate.NewLimiter(6<<20, 64<<10)
	l := &lab{zone: zones(2), upload: 6 << 20}
	l.add(t, 8)
	l.all(t, s)
	t.Logf("across %.3f x, origin %.3f x", l.across(s), s.times())
	if x := l.across(s); x > 1.3 { // at random it is 4
		t.Errorf("%.3f x the object crossed the border", x)
	}
	if s.times() > 1.6 { // each for itself would make it 8
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// Who connects and does not say what about is closed, and no more.
func TestStrangersMayBeSilent(t *testing.T) {
	l := &lab{zone: zones(2)}
	l.add(t, 1)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(l.nodes[0].swarm.Port()))
	for _, said := range []string{"", "GET / HTTP/1.1\r\nHost: shatabdi\r\n\r\n" + strings.Repeat("x", 68)} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, said)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
	l.all(t, newSite(t, 1<<20))
}

// A zone that comes later gets the object over the border once as well, from who
// has it there: they meet by the tracker.
func TestLateZoneFetchesOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	l := &lab{zone: func(i int) (string, string) { return fmt.Sprint("zone-", i/4), "" }, upload: 2 << 20, haste: 10}
	l.add(t, 4)
	l.track(t)
	l.all(t, s)
	l.sealed(t, s)
	l.nodes, l.haste = nil, patient
	l.add(t, 4)
	before := s.times()
	l.all(t, s)
	t.Logf("across %.3f x, origin %.3f x", l.across(s), s.times()-before)
	if x := l.across(s); x > 1.3 { // at random it is 4
		t.Errorf("%.3f x the object crossed the border", x)
	}
	if s.times() > before {
		t.Errorf("the origin sent %.3f x the object", s.times()-before)
	}
}
