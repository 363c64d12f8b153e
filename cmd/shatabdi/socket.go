package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// listenSocket listens on a unix socket that this user alone may connect to,
// now and at every moment before. The caller must hold the directory's lock: a
// socket that stands there already and that nobody answers on is replaced. A
// *cliError: something else is there.
func listenSocket(ctx context.Context, path string) (*net.UnixListener, error) {
	switch conn, err := new(net.Dialer).DialContext(ctx, "unix", path); {
	case err == nil:
		conn.Close()
		return nil, failure("stop that process, or choose another directory with --data-dir", "admin socket: somebody answers on %s", path)
	case !isSocketOrNothing(path):
		return nil, failure("move it away, or choose another directory with --data-dir", "admin socket: %s is there and is no socket", path)
	}
	// A new directory is closed to others; from there the socket goes to its
	// place with the right mode.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".")
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	defer os.RemoveAll(dir)
	fresh := filepath.Join(dir, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	ln.SetUnlinkOnClose(false) // it would look for the name it was made under
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		ln.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return ln, nil
}

func isSocketOrNothing(path string) bool {
	st, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && st.Mode().Type() == fs.ModeSocket
}

// maxSocketPath is what fits into sockaddr_un (unix(7)), less its final zero
// and the name that listenSocket begins with.
const maxSocketPath = 107 - len(".1234567890/s") + len("admin.sock")

// startSocket serves the operator on DATA-DIR/admin.sock too: there the file's
// mode says who may, where on TCP any user of this machine may.
func (d *daemon) startSocket(ctx context.Context) error {
	path := filepath.Join(d.cfg.DataDir, "admin.sock")
	if len(path) > maxSocketPath {
		d.log.Warn("no admin socket: its path is too long for one", "path", path, "limit", maxSocketPath)
		return nil
	}
	ln, err := listenSocket(ctx, path)
	if taken := (*cliError)(nil); errors.As(err, &taken) {
		return err
	} else if err != nil { // not every file system has sockets
		d.log.Warn("no admin socket", "error", err)
		return nil
	}
	d.stack.push("admin socket", func(context.Context) error { return os.Remove(path) })
	d.log.Info("listening", "listener", "admin socket", "addr", path)
	// No page in a browser reaches it, so any Host will do.
	d.serveHTTP("admin socket", ln, d.admin.server(d.admin.mux))
	return nil
}
