package swarm

import (
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shatabdi/policy"
)

// A real connection that the kernel slows down, far below what was told.
func TestSlowLinkIsFound(t *testing.T) {
	const told, carries = 64 << 20, 256 << 10
	socks, err := listen(netip.AddrPort{}, func(netip.Addr, handshake) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	u := &uplink{shaper: newShaper(told, true), sockets: socks}
	gone := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { u.run(gone) })

	c, err := socks.Dial(t.Context(), socks.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := socks.Accept()
	if err != nil {
		t.Fatal(err)
	}
	k := c.(*socket)
	t.Cleanup(func() {
		close(gone)
		socks.Close()
		c.Close()
		peer.Close()
		wg.Wait()
		if n := len(socks.list()); n > 0 {
			t.Errorf("%d sockets are still known", n)
		}
	})
	pace := func(bytes int) {
		if !control(k.TCPConn, func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, bytes)
		}) {
			t.Fatal("the kernel does not slow it down")
		}
	}
	pace(carries)
	wg.Go(func() { io.Copy(io.Discard, peer) })
	wg.Go(func() {
		as := sharer{"o", func() policy.Priority { return "normal" }, gone}
		chunk := make([]byte, 128<<10)
		for u.shaper.pass(as, len(chunk), alike) && send(u.shaper.limiter, len(chunk)) {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	})
	until(t, func() bool { h := u.shaper.holding(); return h > carries/2 && h < 2*carries })
	if u.shaper.rate() != told {
		t.Errorf("the limit became %d", u.shaper.rate())
	}
	pace(-1)
	until(t, func() bool { h := u.shaper.holding(); return h == 0 || h > 8*carries })
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}
