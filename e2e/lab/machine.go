package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Rate is bytes of TCP's payload a second; 0 is no limit.
type Rate int64

// Units of Rate.
const (
	MiBps Rate = 1 << 20
	Gbps  Rate = 1e9 / 8
)

// frameHeaders are Ethernet's, IPv4's and TCP's with its timestamps; frame is a full one.
const (
	frameHeaders = 14 + 20 + 20 + 12
	frame        = 14 + 1500
)

// Line is the rate of a line that carries that much: tc counts headers as a wire does,
// those of the segments of an offloaded packet too.
func (r Rate) Line() int64 { return int64(r) * frame / (frame - frameHeaders) }

// Machine is one host: a network namespace with an address and an uplink.
type Machine struct {
	Name string
	IP   string
	Dir  string // for what runs on it

	lab *Lab
	ns  string
}

// Machine adds a machine whose uplink carries at most that much.
func (l *Lab) Machine(name string, uplink Rate) *Machine {
	l.Helper()
	return l.machine(name, l.sw(), 0, uplink)
}

// machine adds one to a switch, and to the network 10.77.X.0 from subnet on.
func (l *Lab) machine(name, sw string, subnet int, uplink Rate) *Machine {
	l.Helper()
	l.mu.Lock()
	i := len(l.machines) + 1
	m := &Machine{
		Name: name,
		IP:   fmt.Sprintf("10.77.%d.%d", subnet+i/250, i%250+1),
		Dir:  filepath.Join(l.Dir, name),
		lab:  l,
		ns:   l.id + "-" + name,
	}
	l.machines = append(l.machines, m)
	l.mu.Unlock()

	l.must(os.MkdirAll(m.Dir, 0o755))
	l.addNamespace(m.ns)
	port := fmt.Sprintf("p%d", i)
	l.ip("link", "add", port, "netns", sw, "type", "veth", "peer", "name", "eth0", "netns", m.ns)
	l.ip("-n", sw, "link", "set", port, "master", "br0", "up")
	l.ip("-n", m.ns, "addr", "add", m.IP+"/16", "dev", "eth0")
	l.ip("-n", m.ns, "link", "set", "eth0", "up")
	if uplink > 0 {
		m.Shape(uplink)
	}
	return m
}

// Machines adds n machines, name1 to nameN.
func (l *Lab) Machines(n int, name string, uplink Rate) (ms []*Machine) {
	l.Helper()
	for i := range n {
		ms = append(ms, l.Machine(fmt.Sprintf("%s%d", name, i+1), uplink))
	}
	return ms
}

// Shape sets the uplink. The bucket holds a whole offloaded packet (64 KiB), or
// tc would cut each into 1,500 byte ones, which costs CPU that the programs
// under test need.
func (m *Machine) Shape(uplink Rate) {
	m.lab.Helper()
	line := uplink.Line()
	burst := max(128<<10, line/200) // 5 ms
	queue := burst + line/20        // 50 ms
	m.lab.run("tc", "-n", m.ns, "qdisc", "replace", "dev", "eth0", "root", "tbf",
		"rate", fmt.Sprint(line*8), "burst", fmt.Sprint(burst), "limit", fmt.Sprint(queue))
}

// SocketWindow bounds what each TCP socket made from now on takes in before its
// program reads it. An origin has sent that in vain when its client hangs up: where
// objects are scaled down, it is too.
func (m *Machine) SocketWindow(bytes int64) {
	m.lab.Helper()
	// The kernel gives half of a buffer to the window (tcp_adv_win_scale).
	m.Run("sysctl", "-q", "-w", fmt.Sprintf("net.ipv4.tcp_rmem=4096 %d %[1]d", 2*bytes))
}

// Cut takes the machine off the network, or puts it back.
func (m *Machine) Cut(off bool) {
	m.lab.Helper()
	state := "up"
	if off {
		state = "down"
	}
	m.lab.ip("-n", m.ns, "link", "set", "eth0", state)
}

// Sent is the number of bytes of TCP's payload that left the machine since it was made,
// retransmissions included.
func (m *Machine) Sent() int64 { return m.counter("tx_bytes") - frameHeaders*m.counter("tx_packets") }

// Received is the number of bytes that came in.
func (m *Machine) Received() int64 { return m.counter("rx_bytes") }

func (m *Machine) counter(name string) int64 {
	m.lab.Helper()
	out := m.Run("cat", "/sys/class/net/eth0/statistics/"+name)
	n, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	m.lab.must(err)
	return n
}

// Run runs a short program on the machine, which must succeed, and returns what
// it printed.
func (m *Machine) Run(args ...string) string {
	m.lab.Helper()
	out, err := m.Try(args...)
	if err != nil {
		m.lab.Fatalf("lab: on %s: %s: %v\n%s", m.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// Try is Run for a program that may fail.
func (m *Machine) Try(args ...string) (string, error) {
	out, err := m.command(args...).CombinedOutput()
	return string(out), err
}

// command prepares a program to run on the machine, in a process group of its
// own and without proxy settings of the host.
func (m *Machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command("ip", append([]string{"netns", "exec", m.ns}, args...)...)
	cmd.Dir = m.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") && !strings.HasPrefix(name, "SHATABDI_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	return cmd
}

// SmallDisk mounts a file system of that many bytes on the machine's dir/name.
func (m *Machine) SmallDisk(name string, bytes int64) string {
	m.lab.Helper()
	dir := filepath.Join(m.Dir, name)
	m.lab.must(os.MkdirAll(dir, 0o755))
	m.lab.must(syscall.Mount("lab", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", bytes)))
	m.lab.onClose(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// Lose has the machine send nothing to others, or send again what it has for
// them; what they send arrives.
func (m *Machine) Lose(off bool, others ...*Machine) {
	m.lab.Helper()
	change := "del"
	if off {
		change = "add"
	}
	for _, o := range others {
		m.lab.ip("-n", m.ns, "route", change, "blackhole", o.IP+"/32")
	}
}
