package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"shatabdi/e2e/content"
)

// Fleet is many nodes in few processes on one machine, each node with its own
// data, ports, engine and connection to etcd. It is for more nodes than this
// computer could hold as processes; uplinks are the nodes' own limits then.
type Fleet struct {
	Machine   *Machine
	N         int
	Processes []*Process

	perProcess int
}

// Ports of a fleet: node i has its proxy, admin, tracker and peers on
// fleetPort+4i and the three behind it; process k has its profiles below.
const fleetPort = 20000

func (f *Fleet) pprof(k int) string { return fmt.Sprintf("127.0.0.1:%d", fleetPort-1-k) }

// Profile writes a CPU profile of each process, over that time, to
// PREFIX-PROCESS.pprof, and what is on the heap and the goroutines beside it.
func (f *Fleet) Profile(d time.Duration, prefix string) {
	var wg sync.WaitGroup
	for k := range f.Processes {
		wg.Go(func() {
			base, out := "http://"+f.pprof(k)+"/debug/pprof/", fmt.Sprintf("%s-%d", prefix, k)
			f.Machine.Run("curl", "-sf", "-o", out+".pprof", fmt.Sprintf("%sprofile?seconds=%.0f", base, d.Seconds()))
			f.Machine.Run("curl", "-sf", "-o", out+".heap.pprof", base+"heap")
			f.Machine.Run("curl", "-sf", "-o", out+".goroutines", base+"goroutine?debug=1")
		})
	}
	wg.Wait()
}

// Fleet starts n nodes in processes of at most perProcess nodes and waits until
// all are ready.
func (m *Machine) Fleet(n, perProcess int, etcd string, flags ...string) *Fleet {
	l := m.lab
	l.Helper()
	f := &Fleet{Machine: m, N: n, perProcess: perProcess}
	m.Try("ip", "link", "set", "lo", "up")
	for from := 0; from < n; from += perProcess {
		args := append([]string{l.Binary(), "fleet",
			"--nodes", strconv.Itoa(min(perProcess, n-from)),
			"--port", strconv.Itoa(fleetPort + 4*from),
			"--pprof", f.pprof(len(f.Processes)),
			"--data-dir", filepath.Join(m.Dir, "fleet", strconv.Itoa(from)),
			"--peer-listen", "127.0.0.1:0", "--tracker-listen", "127.0.0.1:0", "--advertise", "127.0.0.1",
			"--etcd-endpoints", etcd}, flags...)
		f.Processes = append(f.Processes, m.Start(fmt.Sprintf("fleet-%d", from), args...))
	}
	l.Until("the fleet is ready", 5*time.Minute, func() bool {
		_, err := m.Try("curl", "-sf", "--fail-early", "-o", "/dev/null", f.all("/readyz"))
		return err == nil
	})
	return f
}

// all is the URL of a path on every node's admin listener, as curl knows to
// expand it.
func (f *Fleet) all(path string) string {
	return fmt.Sprintf("http://127.0.0.1:[%d-%d:4]%s", fleetPort+1, fleetPort+1+4*(f.N-1), path)
}

// Metrics is what every node tells of itself, in the nodes' order.
func (f *Fleet) Metrics() (all []Metrics) {
	f.Machine.lab.Helper()
	const end = "# end of a node\n"
	for node := range strings.SplitAfterSeq(f.Machine.Run("curl", "-sf", "-w", end, f.all("/metrics")), end) {
		if strings.HasSuffix(node, end) {
			all = append(all, Metrics(node))
		}
	}
	if len(all) != f.N {
		f.Machine.lab.Fatalf("lab: %d of %d nodes answered /metrics", len(all), f.N)
	}
	return all
}

// Read is one download of a fleet's client; times count from the first start.
type Read struct {
	Reader    int           `json:"reader"`
	Start     time.Duration `json:"start_ns"`
	FirstByte time.Duration `json:"first_byte_ns"`
	End       time.Duration `json:"end_ns"`
	Bytes     int64         `json:"bytes"`
	Error     string        `json:"error,omitempty"`
}

// Took is the download's own duration.
func (r Read) Took() time.Duration { return r.End - r.Start }

// Read downloads an object through the nodes [from, to), all at once or at the
// given starts, with every byte compared. A read that fails fails the lab.
func (f *Fleet) Read(url string, o content.Object, from, to int, starts ...time.Duration) []Read {
	f.Machine.lab.Helper()
	var at []string
	for _, d := range starts {
		at = append(at, d.String())
	}
	return f.Machine.read(url, o, to-from, "-port", strconv.Itoa(fleetPort), "-from", strconv.Itoa(from),
		"-starts", strings.Join(at, ","))
}

// Readers is n downloads at once through one proxy ("direct": none), by one
// process.
func (m *Machine) Readers(proxy, url string, o content.Object, n int) []Read {
	m.lab.Helper()
	return m.read(url, o, n, "-proxy", proxy)
}

// SlowReaders is n downloads at once through one proxy, each of which takes rate
// bytes a second until that time has passed. What has come by then must be right.
// wait waits for that.
func (m *Machine) SlowReaders(proxy, url string, o content.Object, n int, rate Rate, until time.Duration) (wait func() []Read) {
	m.lab.Helper()
	args := m.reading(url, o, n, "-proxy", proxy, "-rate", fmt.Sprint(int64(rate)), "-until", until.String())
	var out string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		out, err = m.Try(args...)
	}()
	return func() []Read {
		<-done
		m.lab.must(err)
		return m.lab.reads(out)
	}
}

func (m *Machine) read(url string, o content.Object, n int, flags ...string) []Read {
	m.lab.Helper()
	return m.lab.reads(m.Run(m.reading(url, o, n, flags...)...))
}

// reading is the command for n downloads.
func (m *Machine) reading(url string, o content.Object, n int, flags ...string) []string {
	return append([]string{m.lab.readersBinary(), "-url", url, "-size", strconv.FormatInt(o.Size, 10),
		"-seed", strconv.FormatUint(o.Seed, 10), "-n", strconv.Itoa(n)}, flags...)
}

// reads is what that command printed.
func (l *Lab) reads(out string) (reads []Read) {
	l.Helper()
	for dec := json.NewDecoder(bytes.NewReader([]byte(out))); dec.More(); {
		var r Read
		l.must(dec.Decode(&r))
		if r.Error != "" {
			l.Errorf("reader %d: %s", r.Reader, r.Error)
		}
		reads = append(reads, r)
	}
	return reads
}

// CPU is the time that all processes of the fleet have spent on CPUs.
func (f *Fleet) CPU() (sum time.Duration) {
	for _, p := range f.Processes {
		sum += p.CPU()
	}
	return sum
}

// Kill ends all processes of the fleet at once.
func (f *Fleet) Kill() {
	for _, p := range f.Processes {
		p.Kill()
	}
}
