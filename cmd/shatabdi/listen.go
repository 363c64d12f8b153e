package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// listeners opens the daemon's sockets: those that systemd passed in, by the
// FileDescriptorName= of their socket units (proxy, admin, tracker), and new
// ones for the rest. Inherited sockets let a restart refuse nobody.
type listeners struct {
	inherited map[string][]net.Listener
}

func inheritListeners() (*listeners, error) {
	ls, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets passed by systemd: %w", err)
	}
	return &listeners{inherited: ls}, nil
}

// listen returns the inherited listener of that name, or a new one on addr. On
// failure the hint names the flag, --NAME-listen.
func (l *listeners) listen(ctx context.Context, name, addr string) (net.Listener, error) {
	if ls := l.inherited[name]; len(ls) > 0 {
		l.inherited[name] = ls[1:]
		return ls[0], nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, explainListen(err, name, name+"-listen", addr)
	}
	return ln, nil
}

// close closes the inherited listeners that nobody asked for, and returns their names.
func (l *listeners) close() (unused []string) {
	for name, ls := range l.inherited {
		for _, ln := range ls {
			ln.Close()
			unused = append(unused, name)
		}
	}
	l.inherited = nil
	return unused
}

// explainListen adds what to try when the listener called name cannot have
// addr, which the flag says.
func explainListen(err error, name, flag, addr string) error {
	_, port, _ := net.SplitHostPort(addr)
	other := "choose another address with --" + flag
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return failure(fmt.Sprintf("`ss -ltnp 'sport = :%s'` shows by whom; or %s", port, other),
			"%s listener: %s is taken by another program", name, addr)
	case errors.Is(err, fs.ErrPermission):
		return failure("ports below 1024 need the capability cap_net_bind_service; or "+other,
			"%s listener: no permission to listen on %s", name, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return failure("`ip address` shows those it has; or "+other,
			"%s listener: %s is no address of this machine", name, addr)
	}
	return failure(other, "%s listener: %w", name, err)
}

// exposed reports whether ln takes connections from other machines.
func exposed(ln net.Listener) bool {
	a, ok := ln.Addr().(*net.TCPAddr)
	return ok && !a.IP.IsLoopback()
}
