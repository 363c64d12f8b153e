package main

import (
	"net"
	"sync"
)

// limit makes ln accept at most n connections at a time; more wait in the
// kernel's queue. It hands out TCP connections as TCP connections, with
// everything they can do: without ReadFrom there would be no sendfile.
func limit(ln net.Listener, n int) net.Listener {
	return &limited{Listener: ln, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
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
	release := sync.OnceFunc(func() { <-l.slots })
	if err != nil {
		release()
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &limitedTCP{tcp, release}, nil
	}
	return &limitedConn{conn, release}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedTCP struct {
	*net.TCPConn
	release func()
}

func (c *limitedTCP) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
