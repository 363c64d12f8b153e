package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a program that runs on a machine until it is ended, or the lab is.
type Process struct {
	Machine *Machine
	Log     string // path of what it printed

	name   string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; valid once exited is closed
}

// Start starts a program. What it prints goes to NAME.log in the machine's
// directory, behind what an earlier one of the name printed.
func (m *Machine) Start(name string, args ...string) *Process {
	m.lab.Helper()
	p := &Process{Machine: m, name: name, Log: filepath.Join(m.Dir, name+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	m.lab.must(err)
	defer log.Close() // the child has its own
	p.cmd = m.command(args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	m.lab.must(p.cmd.Start())
	go func() { p.err = p.cmd.Wait(); close(p.exited) }()
	m.lab.onClose(func() {
		p.Kill()
		if m.lab.Failed() {
			m.lab.Logf("end of %s on %s:\n%s", name, m.Name, p.LogTail(12))
		}
	})
	return p
}

// PID is the program's process id: ip(8) has replaced itself by it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the program alone.
func (p *Process) Signal(s syscall.Signal) { syscall.Kill(p.PID(), s) }

// Kill ends the program and its children at once (kill -9) and waits.
func (p *Process) Kill() {
	if p.Running() {
		syscall.Kill(-p.PID(), syscall.SIGKILL)
	}
	<-p.exited
}

// Stop asks the program to end and returns how it did; after the time it is
// killed.
func (p *Process) Stop(within time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.err
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("%s still ran %v after SIGTERM", p.name, within)
	}
}

// Running reports whether the program has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// RSS is the resident memory, bytes; peak is the most there ever was.
func (p *Process) RSS() (now, peak int64) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID())) // gone: zero
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		switch {
		case len(f) < 2:
		case f[0] == "VmRSS:":
			now = kib(f[1])
		case f[0] == "VmHWM:":
			peak = kib(f[1])
		}
	}
	return now, peak
}

func kib(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n << 10
}

// CPU is the time that the program has spent on CPUs, in user and kernel mode.
func (p *Process) CPU() time.Duration {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	f := strings.Fields(string(rest))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// LogTail returns the last lines of the log.
func (p *Process) LogTail(lines int) string {
	b, _ := os.ReadFile(p.Log)
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		all[i] = line[:min(len(line), 400)]
	}
	return strings.Join(all, "\n")
}

// Until waits for a condition and ends the scenario when it does not come.
func (l *Lab) Until(what string, within time.Duration, ok func() bool) {
	l.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatalf("after %v: still not so: %s", within, what)
		}
	}
}

// untilServing waits for a program to answer on a URL.
func (p *Process) untilServing(url string, within time.Duration) {
	l := p.Machine.lab
	l.Helper()
	l.Until(p.name+" on "+p.Machine.Name+" answers", within, func() bool {
		if !p.Running() {
			l.Fatalf("%s on %s ended: %v\n%s", p.name, p.Machine.Name, p.err, p.LogTail(12))
		}
		_, err := p.Machine.Try("curl", "-sf", "-m", "2", "-o", "/dev/null", url)
		return err == nil
	})
}
