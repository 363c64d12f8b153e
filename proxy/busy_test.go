package proxy

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
)

// A node that transfers all it can says 503 and when to come again, whichever step
// finds out; what it has it serves.
func TestBusyIsSaid(t *testing.T) {
	for step, set := range map[string]func(c *fakeCache){
		"lookup": func(c *fakeCache) { c.claims, c.lookup = []error{&swarmcache.ClaimedError{}}, swarmcache.ErrBusy },
		"claim":  func(c *fakeCache) { c.claims = []error{swarmcache.ErrBusy} },
		"fill":   func(c *fakeCache) { c.fill = swarmcache.ErrBusy },
	} {
		t.Run(step, func(t *testing.T) {
			c, o := newFake(t), newStore(t, body(2000))
			n := startCached(t, c, Config{}, policy.Rule{Path: "/large*", Route: policy.Swarm})
			n.get(o.url + "/here.iso")
			set(c)
			res, got := n.get(o.url + "/large.iso")
			wantFailure(t, res, got, 503, "connection_limit_reached")
			if res.Header.Get("Retry-After") != "5" || !strings.Contains(got, "cache.max_transfers") {
				t.Errorf("Retry-After %q, %q", res.Header.Get("Retry-After"), got)
			}
			res, got = n.get(o.url + "/here.iso")
			wantAnswer(t, res, got, 200, o.body, "HIT")
		})
	}
}

// crowd marks every connection after the first as one too many.
type crowd struct {
	net.Listener
	n int
}

type crowdedConn struct {
	net.Conn
	extra bool
}

func (c crowdedConn) Crowded() bool { return c.extra }

func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	c.n++
	return crowdedConn{conn, c.n > 1}, err
}

// Who is one client too many is told so, and not kept.
func TestCrowdIsTurnedAway(t *testing.T) {
	o := newStore(t, body(10))
	n := start(t, Config{}, origin.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, done := n.Server(), make(chan struct{})
	go func() { defer close(done); s.Serve(&crowd{Listener: l}) }()
	defer func() { s.Close(); <-done }()
	n.addr = l.Addr().String()
	first, second := n.dial(), n.dial()
	for _, want := range []string{"200", "200"} {
		first.send("GET %s/ HTTP/1.1\r\nHost: x\r\n\r\n", o.url)
		if head := first.head(); !strings.Contains(head, want) || strings.Contains(head, "close") {
			t.Errorf("the first client: %s", head)
		}
		first.r.Discard(10)
	}
	second.send("GET %s/ HTTP/1.1\r\nHost: x\r\n\r\n", o.url)
	res, err := http.ReadResponse(second.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := second.rest()
	if err != nil || res.StatusCode != 503 || !res.Close || res.Header.Get("Retry-After") == "" || !strings.Contains(rest, "max_connections") {
		t.Errorf("the second client: %v %v, %q, %v", res.Status, res.Header, rest, err)
	}
}
