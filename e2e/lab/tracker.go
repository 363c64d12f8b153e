package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Tracker is a program that answers announces, and nothing else.
type Tracker struct {
	*Process
	Addr string
}

// Tracker starts our tracker alone.
func (m *Machine) Tracker() *Tracker {
	m.lab.Helper()
	t := &Tracker{Addr: m.IP + ":6969"}
	t.Process = m.Start("tracker", m.lab.Binary(), "tracker", "--listen", t.Addr)
	t.untilListening()
	return t
}

// Opentracker starts the distribution's opentracker, which serves the swarms that
// it is told of; nil: it is not installed.
func (m *Machine) Opentracker(swarms int) *Tracker {
	m.lab.Helper()
	if _, err := exec.LookPath("opentracker"); err != nil {
		return nil
	}
	t := &Tracker{Addr: m.IP + ":6969"}
	known := m.Run(m.lab.announcersBinary(), "-list", "-swarms", fmt.Sprint(swarms))
	m.lab.must(os.WriteFile(filepath.Join(m.Dir, "swarms"), []byte(known), 0o644))
	t.Process = m.Start("opentracker", "opentracker", "-i", m.IP, "-p", "6969", "-P", "6969", "-d", m.Dir, "-u", "nobody", "-w", "swarms")
	t.untilListening()
	return t
}

// Parrot answers announces without looking at them.
func (m *Machine) Parrot() *Tracker {
	m.lab.Helper()
	t := &Tracker{Addr: m.IP + ":6969"}
	t.Process = m.Start("parrot", m.lab.announcersBinary(), "-parrot", "-addr", t.Addr)
	t.untilListening()
	return t
}

func (t *Tracker) untilListening() {
	l := t.Machine.lab
	l.Helper()
	l.Until(t.name+" listens", 10*time.Second, func() bool {
		_, err := t.Machine.Try("bash", "-c", "exec 3<>/dev/tcp/"+t.Machine.IP+"/6969")
		return err == nil
	})
}

// Announced is what the command announcers prints.
type Announced struct {
	Announces, Refused, Broken int
	Status                     map[string]int
	Took                       time.Duration `json:"took_ns"`
	Median                     time.Duration `json:"median_ns"`
	P99                        time.Duration `json:"p99_ns"`
}

// Announce has clients on the machine announce to a tracker.
func (m *Machine) Announce(addr string, flags ...any) (a Announced) {
	m.lab.Helper()
	args := []string{m.lab.announcersBinary(), "-addr", addr}
	for _, f := range flags {
		args = append(args, fmt.Sprint(f))
	}
	m.lab.must(json.Unmarshal([]byte(m.Run(args...)), &a))
	return a
}
