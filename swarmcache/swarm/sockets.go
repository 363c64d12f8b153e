package swarm

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// sockets are the connections to peers. They are made here and not by the engine,
// which hands its bytes to the kernel and hears no more of them.
type sockets struct {
	net.Listener               // what it accepts is a *socket
	late         chan struct{} // gets one when the kernel has let a write wait
	admits       func(from netip.Addr, h handshake) bool

	mu   sync.Mutex // guards open
	open map[*socket]bool
}

// lateAfter is how long a write may wait without anybody looking after it.
const lateAfter = 50 * time.Millisecond

// listen opens the listener: on all addresses of both families where at names
// none.
func listen(at netip.AddrPort, admits func(netip.Addr, handshake) bool) (*sockets, error) {
	tcp := net.TCPAddr{Port: int(at.Port())}
	if a := at.Addr(); a.IsValid() && !a.IsUnspecified() {
		tcp.IP, tcp.Zone = a.AsSlice(), a.Zone()
	}
	own := net.ListenConfig{KeepAlive: -1} // the protocol has its own
	own.SetMultipathTCP(false)             // which tells nothing of its progress
	l, err := own.Listen(context.Background(), "tcp", tcp.String())
	if err != nil {
		return nil, err
	}
	return &sockets{Listener: l, late: make(chan struct{}, 1), admits: admits, open: map[*socket]bool{}}, nil
}

// Accept implements torrent.Listener.
func (s *sockets) Accept() (net.Conn, error) { return s.made(s.Listener.Accept()) }

// Dial implements torrent.Dialer.
func (s *sockets) Dial(ctx context.Context, addr string) (net.Conn, error) {
	own := net.Dialer{KeepAlive: -1}
	return s.made(own.DialContext(ctx, "tcp", addr))
}

// DialerNetwork implements torrent.Dialer.
func (s *sockets) DialerNetwork() string { return "tcp" }

func (s *sockets) made(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	k := &socket{TCPConn: c.(*net.TCPConn), of: s}
	k.late = time.AfterFunc(time.Hour, s.isLate)
	k.late.Stop()
	k.SetLinger(0) // as the engine's own: what a torrent that left has to say is of no use
	limitUnsent(k.TCPConn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[k] = true
	return k, nil
}

func (s *sockets) isLate() {
	select {
	case s.late <- struct{}{}:
	default: // it is known
	}
}

// list are the sockets that are open.
func (s *sockets) list() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make([]*socket, 0, len(s.open))
	for k := range s.open {
		l = append(l, k)
	}
	return l
}

// socket is a connection that knows what of it is still on its way.
type socket struct {
	*net.TCPConn
	of *sockets

	given atomic.Int64 // bytes that the engine wrote, those included that it is writing
	chunk atomic.Int64 // bytes that it is writing, or wrote last
	late  *time.Timer  // runs while it does

	greeting   greeting               // of the goroutine that reads; spoken of the one that writes
	familiar   atomic.Bool            // the peer is one of us: bytes go through
	translated atomic.Pointer[blocks] // nil: not, or not yet

	// The fields below belong to the goroutine that looks at the sockets.
	acked   int64         // bytes that the peer has
	blocked time.Duration // it was full, so long in all
	moved   time.Time     // when acked changed last
}

// Write implements net.Conn. The engine calls it for one message at a time.
func (k *socket) Write(b []byte) (int, error) {
	if k.familiar.Load() {
		return k.send(b)
	}
	return k.say(b)
}

func (k *socket) send(b []byte) (int, error) {
	k.given.Add(int64(len(b)))
	k.chunk.Store(int64(len(b)))
	k.late.Reset(lateAfter)
	defer k.late.Stop()
	return k.TCPConn.Write(b)
}

// Close implements net.Conn.
func (k *socket) Close() error {
	k.of.mu.Lock()
	delete(k.of.open, k)
	k.of.mu.Unlock()
	return k.TCPConn.Close()
}

// progress is what the kernel tells of a connection.
type progress struct {
	acked   int64         // bytes that the peer has
	blocked time.Duration // the peer had no room for more, so long in all
	rtt     time.Duration // the least that was seen
}
