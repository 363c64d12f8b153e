package main

import (
	"net"
	"sync"
	"syscall"
)

// limit makes ln accept at most n connections at a time, and an eighth more that
// are marked as too many: they are told so and closed. Beyond those, more wait in
// the kernel's queue. It hands out TCP connections as TCP connections, with
// everything they can do: without ReadFrom there would be no sendfile.
func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, n: n, slots: make(chan struct{}, n+n/8+1), closed: make(chan struct{})}
}

// descriptors is how many connections there may be for the file descriptors that
// this process may have: each client that reads a file takes two, and there are
// peers and origins as well.
func descriptors(most int) int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || most == 0 {
		return most
	}
	return int(min(uint64(most), max(r.Cur/4, 16)))
}

type limited struct {
	net.Listener
	n      int
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	s := slot{release: sync.OnceFunc(func() { <-l.slots }), extra: len(l.slots) > l.n}
	if err != nil {
		s.release()
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &limitedTCP{tcp, s}, nil
	}
	return &limitedConn{conn, s}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slot is a connection's place among those that there may be.
type slot struct {
	release func()
	extra   bool
}

// Crowded reports whether the connection is one too many.
func (s slot) Crowded() bool { return s.extra }

type limitedTCP struct {
	*net.TCPConn
	slot
}

func (c *limitedTCP) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type limitedConn struct {
	net.Conn
	slot
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
