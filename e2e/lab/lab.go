// Package lab builds small networks out of Linux network namespaces and runs
// real programs in them: shatabdi, etcd, nginx, wget, curl.
//
// Every machine of a lab is a namespace with its own address, its uplink shaped
// by tc, joined to the others by a bridge in a namespace of its own; nothing
// touches the host's network, so several labs fit side by side. The names carry
// the process id. A lab removes all it made when its test ends, also when that
// fails or is interrupted, and what a killed process left is removed by the next.
//
// It needs root, and iproute2, nginx, wget and curl.
package lab

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"shatabdi/e2e/openapi"
)

// T is what a lab needs of a *testing.T. Methods of the lab call Fatalf when the
// lab itself breaks; what is under test is for the scenario to judge.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
	Failed() bool
	Name() string
}

// prefix starts the name of everything a lab makes: prefix, pid, "-", rest.
const prefix = "shlab"

var labs atomic.Int64 // made by this process

// Lab is one network.
type Lab struct {
	T
	Dir      string        // for data and logs; removed at the end
	Deadline time.Duration // for each client; it is killed after that

	id      string
	closing sync.Mutex // held while closing; before mu

	describing sync.Once
	described  *openapi.Document // what its nodes' REST API says of itself

	mu       sync.Mutex // guards the fields below
	machines []*Machine
	undo     []func() // last first
}

// New makes a network without machines.
func New(t T) *Lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatalf("the lab makes network namespaces and needs root: sudo make e2e")
	}
	for _, program := range []string{"ip", "tc", "nginx", "wget", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the lab needs %s: apt-get install iproute2 nginx-light wget curl", program)
		}
	}
	removeLeftovers()
	l := &Lab{T: t, Deadline: 5 * time.Minute, id: fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), labs.Add(1))}
	stopWatching := l.closeOnInterrupt()
	t.Cleanup(func() { stopWatching(); l.close() })

	l.Dir = filepath.Join(dataDir(), l.id)
	l.must(os.MkdirAll(l.Dir, 0o755))
	l.onClose(func() { os.RemoveAll(l.Dir) })
	l.addNamespace(l.sw())
	l.ip("-n", l.sw(), "link", "add", "br0", "type", "bridge")
	l.ip("-n", l.sw(), "link", "set", "br0", "up")
	return l
}

// dataDir is where labs keep their data: SHATABDI_LAB_DIR, or the directory for
// temporary files.
func dataDir() string {
	if dir := os.Getenv("SHATABDI_LAB_DIR"); dir != "" {
		return dir
	}
	return os.TempDir()
}

func (l *Lab) sw() string { return l.id + "-switch" }

func (l *Lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("lab: %v", err)
	}
}

func (l *Lab) onClose(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

// close may be called twice, and from two goroutines: the second waits for the
// first, so that the process does not end in between.
func (l *Lab) close() {
	l.closing.Lock()
	defer l.closing.Unlock()
	l.mu.Lock()
	undo := l.undo
	l.undo = nil
	l.mu.Unlock()
	for _, f := range slices.Backward(undo) {
		f()
	}
}

// closeOnInterrupt cleans up before the process dies of a signal.
func (l *Lab) closeOnInterrupt() (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			l.close()
			fmt.Fprintln(os.Stderr, "lab: cleaned up after", s)
			os.Exit(1)
		case <-done:
		}
	}()
	return sync.OnceFunc(func() { signal.Stop(signals); close(done) })
}

func (l *Lab) addNamespace(name string) {
	l.Helper()
	l.ip("netns", "add", name)
	l.onClose(func() { removeNamespace(name) })
	l.ip("-n", name, "link", "set", "lo", "up")
}

// ip runs ip(8), which must succeed.
func (l *Lab) ip(args ...string) {
	l.Helper()
	l.run("ip", args...)
}

func (l *Lab) run(program string, args ...string) string {
	l.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		l.Fatalf("lab: %s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// removeNamespace ends what runs in the namespace and removes it.
func removeNamespace(name string) {
	pids, _ := exec.Command("ip", "netns", "pids", name).Output() // fails when the namespace is gone
	for _, s := range strings.Fields(string(pids)) {
		if pid, err := strconv.Atoi(s); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	exec.Command("ip", "netns", "del", name).Run() // as above
}

// removeLeftovers removes what labs of dead processes left.
func removeLeftovers() {
	names, _ := filepath.Glob("/var/run/netns/" + prefix + "*-*")
	for _, n := range names {
		if n = filepath.Base(n); orphaned(n) {
			removeNamespace(n)
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(dataDir(), prefix+"*-*"))
	for _, d := range dirs {
		if orphaned(filepath.Base(d)) {
			unmountBelow(d)
			os.RemoveAll(d)
		}
	}
}

func orphaned(name string) bool {
	pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
	n, err := strconv.Atoi(pid)
	return err == nil && n != os.Getpid() && syscall.Kill(n, 0) == syscall.ESRCH
}

func unmountBelow(dir string) {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
}
