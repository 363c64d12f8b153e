package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is the daemon as a process of its own.
type process struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Scanner // of its log

	watchdog *time.Timer // ends it
}

// logLine is what the tests read of a line of the log.
type logLine struct{ Msg, Listener, Addr string }

// startProcess starts the daemon with what c says.
func startProcess(t *testing.T, c Config, more ...string) *process {
	t.Helper()
	args := []string{"serve", "--data-dir", c.DataDir, "--drain-timeout", c.DrainTimeout.String(),
		"--cache-size", c.Cache.Size.String(), "--cache-min-free", c.Cache.MinFree.String(),
		"--proxy-listen", c.Proxy.Listen, "--admin-listen", c.Admin.Listen,
		"--tracker-listen", c.Tracker.Listen, "--peer-listen", c.Peer.Listen,
		"--etcd-listen-client", c.Etcd.ListenClient[0], "--etcd-listen-peer", c.Etcd.ListenPeer[0]}
	// TestMain has put this test binary into the path under that name.
	cmd := exec.CommandContext(t.Context(), "shatabdi", append(args, more...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	watchdog := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop() })
	return &process{cmd, t, bufio.NewScanner(stderr), watchdog}
}

// until reads the log up to a line that begins with msg.
func (p *process) until(msg string) logLine {
	p.t.Helper()
	var seen []string
	for p.lines.Scan() {
		var l logLine
		if json.Unmarshal(p.lines.Bytes(), &l) == nil && strings.HasPrefix(l.Msg, msg) {
			return l
		}
		seen = append(seen, p.lines.Text())
	}
	p.t.Fatalf("the log ended without %q:\n%s", msg, strings.Join(seen, "\n"))
	return logLine{}
}

// exits reads the rest of its log and waits for its end.
func (p *process) exits(code int) (rest string) {
	p.t.Helper()
	var b strings.Builder
	for p.lines.Scan() {
		b.WriteString(p.lines.Text() + "\n")
	}
	p.Wait()
	if got := p.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d:\n%s", got, code, &b)
	}
	return b.String()
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

func TestProcessLivesAndStops(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "shatabdi.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("node: {zone: a}")
	p := startProcess(t, testConfig(t), "--config", file)
	p.until("ready")
	write("mode: fast")
	p.signal(syscall.SIGHUP)
	p.until("the configuration stays as it is")
	write("node: {zone: b}\nlog: {level: debug}")
	p.signal(syscall.SIGHUP)
	p.until("configuration reloaded")
	p.signal(syscall.SIGTERM)
	p.until("stopped")
	p.exits(0)
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.Admin.Listen = freeAddr(t)
	first := startProcess(t, c)
	first.until("ready")

	second := c
	second.Admin.Listen = freeAddr(t)
	if out := startProcess(t, second).exits(exitFailure); !strings.Contains(out, "is locked by another process (pid ") {
		t.Errorf("same data directory:\n%s", out)
	}
	check, err := exec.CommandContext(t.Context(), "shatabdi", "check", "--data-dir", c.DataDir, "--repair").CombinedOutput()
	if err == nil || !strings.Contains(string(check), "is locked by another process (pid ") {
		t.Errorf("check of a directory in use: %v\n%s", err, check)
	}
	second = testConfig(t)
	second.Admin.Listen = c.Admin.Listen
	if out := startProcess(t, second).exits(exitFailure); !strings.Contains(out, "admin listener: "+c.Admin.Listen+" is taken by another program") {
		t.Errorf("same address:\n%s", out)
	}

	status, err := exec.CommandContext(t.Context(), "shatabdi", "status", "--admin", c.Admin.Listen).CombinedOutput()
	if err != nil || !strings.Contains(string(status), "listeners") {
		t.Errorf("status: %v\n%s", err, status)
	}
}

// A request that is half-sent holds the drain up for seconds; a second signal
// does not wait.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	c := testConfig(t)
	c.DrainTimeout = time.Hour
	p := startProcess(t, c)
	admin := p.until("listening").Addr
	p.until("ready")
	half, err := net.Dial("tcp", admin)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	if _, err := io.WriteString(half, "GET /livez"); err != nil {
		t.Fatal(err)
	}
	// Connections are accepted in order: when this one is answered, the server
	// knows the other.
	whole, err := net.Dial("tcp", admin)
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	if _, err := io.WriteString(whole, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(whole).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	p.until("draining")
	p.signal(syscall.SIGINT)
	if rest := p.exits(exitFailure); !strings.Contains(rest, "stopping at once") {
		t.Errorf("%s", rest)
	}
}
