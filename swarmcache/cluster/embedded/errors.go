package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Error is a failure that the operator can do something about.
type Error struct {
	Err  error
	Help string
}

func (e *Error) Error() string { return "embedded etcd: " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Hint is the thing to try.
func (e *Error) Hint() string { return e.Help }

func explain(cfg Config, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &Error{err, fmt.Sprintf("another process listens on %s or %s; choose other addresses, or use that etcd as it is",
			cfg.ListenClient, cfg.ListenPeer)}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &Error{err, "this machine has no such address; listen on one that it has"}
	case errors.Is(err, fs.ErrPermission):
		return &Error{err, fmt.Sprintf("give this user the right to write to %s", cfg.Dir)}
	}
	return fmt.Errorf("embedded etcd: %w", err)
}

// dirLock keeps a second process off a data directory. etcd has locks of its
// own, but waits for them for ever.
type dirLock struct{ f *os.File }

func lockDir(dir string) (*dirLock, error) {
	unwritable := func(err error) error {
		return &Error{err, fmt.Sprintf("make %s a directory that this user can write to", dir)}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unwritable(err)
	}
	if err := tryLock(f); err != nil {
		f.Close()
		return nil, locked(dir, err)
	}
	// An etcd that is not ours holds its database only.
	if db, err := os.OpenFile(filepath.Join(dir, "member", "snap", "db"), os.O_RDWR, 0); err == nil {
		err := tryLock(db)
		db.Close()
		if err != nil {
			f.Close()
			return nil, locked(dir, err)
		}
	}
	return &dirLock{f}, nil
}

func tryLock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

func locked(dir string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("embedded etcd: lock %s: %w", dir, err)
	}
	return &Error{fmt.Errorf("%s is in use by another process", dir),
		"stop the other process, or give this one a data directory of its own"}
}

func (l *dirLock) unlock() { l.f.Close() }
