package cluster

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// silence is how long a connection may be asked and answer nothing. An etcd that
// elects its leader takes one to two seconds, but talks meanwhile.
const silence = 1500 * time.Millisecond

// wires are the connections to etcd. gRPC finds out by pings that one is dead,
// after thirteen seconds at the earliest. Whoever sees requests fail closes the
// silent ones, and gRPC makes new ones at once.
type wires struct {
	mu   sync.Mutex // guards the field below
	open map[*wire]struct{}
}

// wire is a connection that knows since when it owes an answer.
type wire struct {
	net.Conn
	all   *wires
	asked atomic.Int64 // Unix nanoseconds of the first Write after the last Read; 0: it owes nothing
}

func (w *wires) dial(ctx context.Context, addr string) (net.Conn, error) {
	// Within the timeout of gRPC's own, which is for handshakes too.
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: conn, all: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[*wire]struct{}{}
	}
	w.open[c] = struct{}{}
	return c, nil
}

// closeSilent closes the connections that have been silent for so long: they are
// dead, as far as one can tell. next is when another one will have been, unless it
// answers; 0: none owes an answer.
func (w *wires) closeSilent(since time.Duration) (n int, next time.Duration) {
	w.mu.Lock()
	var dead []*wire
	for c := range w.open {
		at := c.asked.Load()
		if at == 0 {
			continue
		}
		switch left := since - time.Since(time.Unix(0, at)); {
		case left <= 0:
			dead = append(dead, c)
		case next == 0 || left < next:
			next = left
		}
	}
	w.mu.Unlock()
	for _, c := range dead {
		c.Close()
	}
	return len(dead), next
}

func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.asked.Store(0)
	}
	return n, err
}

func (c *wire) Write(b []byte) (int, error) {
	c.asked.CompareAndSwap(0, time.Now().UnixNano())
	return c.Conn.Write(b)
}

func (c *wire) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
