package swarm

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// maxUnsent is what the kernel takes beyond what it sends at once. What it takes
// stands before all that the engine has to say later; without a bound that were
// megabytes.
const maxUnsent = 128 << 10

func limitUnsent(c *net.TCPConn) {
	control(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}

// progress asks the kernel; false: it does not tell, for the connection is closed.
func (k *socket) progress() (p progress, ok bool) {
	ok = control(k.TCPConn, func(fd int) error {
		i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			p = progress{
				acked: int64(i.Bytes_acked), blocked: time.Duration(i.Rwnd_limited) * time.Microsecond,
				rtt: time.Duration(i.Min_rtt) * time.Microsecond,
			}
		}
		return err
	})
	return p, ok
}

func control(c *net.TCPConn, f func(fd int) error) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(int(fd)) })
	return err == nil && failed == nil
}
