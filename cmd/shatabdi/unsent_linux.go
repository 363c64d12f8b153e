package main

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how much of a response may wait in a client's socket for a link that
// is busy. The kernel would take some MiB of each response; with thousands of
// clients that take their time it would have no memory left for the others, and
// copying all that would keep the fills from the CPU.
const unsent = 128 << 10

// boundUnsent has it hold for all connections that ln accepts; they inherit it.
func boundUnsent(ln net.Listener) error {
	l, ok := ln.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
	if cerr != nil {
		return cerr
	}
	return err
}
