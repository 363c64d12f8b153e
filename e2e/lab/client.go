package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"shatabdi/e2e/content"
)

// Client is one run of an unmodified wget or curl, its output hashed as it
// comes. The results are valid when it has ended.
type Client struct {
	Name      string // machine and program
	URL       string
	FirstByte time.Duration
	Time      time.Duration
	Bytes     int64
	SHA256    string
	Err       error // it did not exit with 0
	Hung      bool  // it was killed after Lab.Deadline

	// Abandon, when set, kills the client after that many bytes.
	Abandon int64

	machine *Machine
	cmd     *exec.Cmd
	ctx     context.Context // ends with the client, or ends it
	cancel  context.CancelFunc
	gate    io.Closer
	stdout  io.Reader
	stderr  bytes.Buffer
	done    chan struct{}
	got     atomic.Int64
}

// Wget prepares wget with http_proxy set to proxy; "" is none.
func (m *Machine) Wget(proxy, url string, args ...string) *Client {
	return m.client(proxy, url, append([]string{"wget", "-nv", "-O", "-"}, args...))
}

// Curl prepares curl likewise. It fails on an HTTP error status.
func (m *Machine) Curl(proxy, url string, args ...string) *Client {
	return m.client(proxy, url, append([]string{"curl", "-sSf"}, args...))
}

// client starts a shell that says on descriptor 3 that it is there and becomes
// the program when its input ends. Many clients then start in one instant, with
// the cost of making processes behind them.
func (m *Machine) client(proxy, url string, args []string) *Client {
	m.lab.Helper()
	const waiting = `echo >&3; exec 3>&-; read -r _; exec "$@" </dev/null`
	c := &Client{Name: m.Name + " " + args[0], URL: url, machine: m, done: make(chan struct{})}
	c.cmd = m.command(append(append([]string{"sh", "-c", waiting, "sh"}, args...), url)...)
	ctx, cancel := context.WithTimeout(context.Background(), m.lab.Deadline)
	context.AfterFunc(ctx, c.kill)
	c.ctx, c.cancel = ctx, cancel
	if proxy != "" {
		c.cmd.Env = append(c.cmd.Env, "http_proxy="+proxy)
	}
	ready, sayReady, err := os.Pipe()
	m.lab.must(err)
	defer ready.Close()
	c.cmd.ExtraFiles = []*os.File{sayReady}
	c.cmd.Stderr = &c.stderr
	stdin, err := c.cmd.StdinPipe()
	m.lab.must(err)
	stdout, err := c.cmd.StdoutPipe()
	m.lab.must(err)
	c.gate, c.stdout = stdin, stdout
	m.lab.must(c.cmd.Start())
	sayReady.Close()
	m.lab.onClose(c.kill)
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		m.lab.Fatalf("lab: on %s: sh: %v %s", m.Name, err, &c.stderr)
	}
	return c
}

func (c *Client) kill() {
	select {
	case <-c.done:
	default:
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// Start lets the client go.
func (c *Client) Start() *Client {
	start := time.Now()
	c.gate.Close()
	go c.read(start)
	return c
}

func (c *Client) read(start time.Time) {
	defer c.cancel()
	defer close(c.done)
	hash, buf := sha256.New(), make([]byte, 256<<10)
	for {
		n, err := c.stdout.Read(buf)
		if c.Bytes == 0 && n > 0 {
			c.FirstByte = time.Since(start)
		}
		hash.Write(buf[:n])
		c.Bytes += int64(n)
		c.got.Store(c.Bytes)
		if err != nil {
			break // the end, or the process was killed: Wait tells
		}
		if c.Abandon > 0 && c.Bytes >= c.Abandon {
			syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		}
	}
	c.Err = c.cmd.Wait()
	c.Hung = c.ctx.Err() != nil
	c.Time = time.Since(start)
	c.SHA256 = hex.EncodeToString(hash.Sum(nil))
}

// Progress is how many bytes have come by now.
func (c *Client) Progress() int64 { return c.got.Load() }

// Wait waits for the client's end.
func (c *Client) Wait() *Client { <-c.done; return c }

// Ended reports whether the client's end has come.
func (c *Client) Ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Stderr is what the program said; valid when it has ended.
func (c *Client) Stderr() string { return strings.TrimSpace(c.stderr.String()) }

// Together starts all clients in the same instant, waits for all, and returns
// the time of the last.
func Together(clients ...*Client) (last time.Duration) {
	for _, c := range clients {
		c.Start()
	}
	for _, c := range clients {
		last = max(last, c.Wait().Time)
	}
	return last
}

var digests sync.Map // content.Object to string

// Digest is o.SHA256, computed once.
func Digest(o content.Object) string {
	if d, ok := digests.Load(o); ok {
		return d.(string)
	}
	d := o.SHA256()
	digests.Store(o, d)
	return d
}

// Check fails the scenario unless every client got exactly the object.
func (l *Lab) Check(want content.Object, clients ...*Client) {
	l.Helper()
	for _, c := range clients {
		if err := c.Got(want); err != nil {
			l.Errorf("%v", err)
		}
	}
}

// Got tells what is wrong with what the client got, if anything.
func (c *Client) Got(want content.Object) error {
	switch {
	case c.Hung:
		return fmt.Errorf("%s: hung: killed with %d bytes after %v", c.Name, c.Bytes, c.Time.Round(time.Millisecond))
	case c.Err != nil:
		return fmt.Errorf("%s: %v after %d bytes in %v: %s", c.Name, c.Err, c.Bytes, c.Time.Round(time.Millisecond), c.Stderr())
	case c.Bytes != want.Size:
		return fmt.Errorf("%s: exit 0 with %d bytes, want %d", c.Name, c.Bytes, want.Size)
	case c.SHA256 != Digest(want):
		return fmt.Errorf("%s: wrong bytes", c.Name)
	}
	return nil
}
