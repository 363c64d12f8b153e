package tracker

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shatabdi/tracker/wire"
)

// fill enters peers into swarms, all through the store. Every second is a member.
func fill(t *Tracker, swarms, peers int) {
	now := time.Now()
	for i := range swarms {
		for j := range peers {
			p := peer{identity: outsider(nthAddr(j)), seen: now.UnixNano()}
			if j%2 == 0 {
				p.identity = identity{member: t.members.get(nthNode(j), now)}
			}
			t.store.announce(nil, &announcement{infohash: nthSwarm(i), peer: p, seeder: j%4 == 0})
		}
	}
}

func nthSwarm(i int) (h wire.InfoHash) {
	r := rand.New(rand.NewPCG(uint64(i), 0))
	for j := range h {
		h[j] = byte(r.Uint32())
	}
	return h
}

func nthNode(i int) string { return "node-" + strconv.Itoa(i) }

func nthAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 42069)
}

// loaded returns a tracker with members of two addresses each.
func loaded(swarms, peers int) *Tracker {
	records := map[string][]netip.AddrPort{}
	for i := range peers {
		v6 := netip.MustParseAddrPort(fmt.Sprintf("[fd00::%x]:42069", i))
		records[nthNode(i)] = []netip.AddrPort{nthAddr(i), v6}
	}
	t := New(Config{
		AllowOutside: func(netip.Addr) bool { return true },
		Members:      func(id string) ([]netip.AddrPort, bool) { a, ok := records[id]; return a, ok },
	})
	fill(t, swarms, peers)
	return t
}

// discard is a response writer that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// announceOf is the announce of peer j for swarm i.
func announceOf(i, j int) string {
	req := wire.Request{InfoHash: nthSwarm(i), Port: 42069, Left: 1, Node: nthNode(j)}
	copy(req.PeerID[:], fmt.Sprintf("-SH0001-%012d", j))
	return string(req.AppendQuery(nil))
}

// BenchmarkAnnounce is the handler alone: 50 peers of 1,000, of two addresses
// each for every second of them.
func BenchmarkAnnounce(b *testing.B) {
	t := loaded(10, 1000)
	queries := make([]string, 1000)
	for i := range queries {
		queries[i] = announceOf(i%10, i)
	}
	var next atomic.Uint32
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	b.RunParallel(func(pb *testing.PB) {
		r, _ := http.NewRequest(http.MethodGet, "http://tracker/announce", nil)
		r.RemoteAddr = "10.0.0.1:50000"
		w := &discard{http.Header{}}
		for pb.Next() {
			r.URL.RawQuery = queries[int(next.Add(1))%len(queries)]
			t.ServeHTTP(w, r)
		}
	})
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

// BenchmarkQuick is all but the connection, with a million outsiders: what it looks at
// is in no cache.
func BenchmarkQuick(b *testing.B) {
	t := New(Config{AllowOutside: anybody})
	request := func(swarm, port int) []byte {
		req := leecher(uint16(1 + port))
		req.InfoHash = nthSwarm(swarm)
		return []byte(head(string(req.AppendQuery(nil)), "HTTP/1.1"))
	}
	var answer []byte
	for i := range 1_000_000 {
		answer = t.quickAnswer(answer[:0], "10.0.0.1:50000", request(i%1000, i/1000))
	}
	requests := make([][]byte, 20_000)
	for i := range requests {
		requests[i] = request(i%1000, i*37%1000)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for i := range b.N {
		answer = t.quickAnswer(answer[:0], "10.0.0.1:50000", requests[i%len(requests)])
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

// BenchmarkSweep is one sweep over a million peers, of which none leaves.
func BenchmarkSweep(b *testing.B) {
	t := loaded(1000, 1000)
	for b.Loop() {
		t.sweep()
	}
}

// BenchmarkMemory reports what 1,000 swarms of 1,000 peers take.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		t := loaded(1000, 1000)
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		runtime.KeepAlive(t)
	}
}

// TestPeersAreSmall: a million peers in 400 MB.
func TestPeersAreSmall(t *testing.T) {
	const swarms, peers = 50, 1000
	before := heap()
	tr := loaded(swarms, peers)
	if each := (heap() - before) / (swarms * peers); each > 400 {
		t.Errorf("a peer takes %d bytes", each)
	}
	runtime.KeepAlive(tr)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAnnounceAllocatesLittle: the length of the answer is the only new string.
func TestAnnounceAllocatesLittle(t *testing.T) {
	tr := loaded(1, 1000)
	r, _ := http.NewRequest(http.MethodGet, "http://tracker/announce?"+announceOf(0, 1), nil)
	r.RemoteAddr = "10.0.0.1:50000"
	w := &discard{http.Header{}}
	s := new(scratch) // not the pool's, which under -race forgets at random
	if n := testing.AllocsPerRun(1000, func() { tr.announce(w, r, s, true) }); n > 3 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLoopback is announces over kept-alive loopback connections, the whole
// way through net/http. The clients are another process, so cpu-µs/op is the
// tracker's user and system time alone.
func BenchmarkLoopback(b *testing.B) {
	b.Run("quick/numwant=50", func(b *testing.B) { loopback(b, (*Tracker).Quick, 50) })
	b.Run("quick/numwant=200", func(b *testing.B) { loopback(b, (*Tracker).Quick, 200) })
	b.Run("net-http/numwant=50", func(b *testing.B) {
		loopback(b, func(_ *Tracker, l net.Listener, _ *http.Server) net.Listener { return l }, 50)
	})
	b.Run("floor", func(b *testing.B) {
		loopback(b, func(_ *Tracker, l net.Listener, _ *http.Server) net.Listener { return parrot{l} }, 50)
	})
}

func loopback(b *testing.B, through func(*Tracker, net.Listener, *http.Server) net.Listener, numWant int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	t := loaded(10, 1000)
	server := &http.Server{Handler: t, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Minute}
	go server.Serve(through(t, listener, server))
	defer server.Close()
	load := exec.Command(os.Args[0])
	load.Env = append(os.Environ(),
		fmt.Sprintf("%s=%s %d %d", loadEnv, listener.Addr(), numWant, b.N))
	b.ResetTimer()
	before := cpu()
	if out, err := load.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	used := cpu() - before
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/used.Seconds(), "announces/cpu-s")
}

// parrot says the same whatever it is told: what the network alone costs.
type parrot struct{ net.Listener }

func (p parrot) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return said{c}, nil
}

type said struct{ net.Conn }

func (s said) Read(b []byte) (int, error) {
	out := append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n"), make([]byte, 700)...)
	for {
		if n, err := s.Conn.Read(b); err != nil {
			return n, err
		}
		s.Conn.Write(out)
	}
}

// loadEnv makes of the test binary the clients of BenchmarkLoopback: "address
// numwant announces".
const loadEnv = "SHATABDI_TRACKER_LOAD"

// load announces from 16 connections at once.
func load(what string) error {
	var addr string
	var numWant, announces int
	if _, err := fmt.Sscan(what, &addr, &numWant, &announces); err != nil {
		return err
	}
	const conns = 16
	var left atomic.Int64
	left.Store(int64(announces))
	var g errgroup.Group
	for i := range conns {
		g.Go(func() error {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return err
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			request := fmt.Appendf(nil, "GET /announce?%s&numwant=%d HTTP/1.1\r\nHost: tracker\r\n\r\n",
				announceOf(i%10, i), numWant)
			for left.Add(-1) >= 0 {
				if _, err := conn.Write(request); err != nil {
					return err
				}
				if err := readAnswer(answers); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// readAnswer reads a response whose length is in its header.
func readAnswer(r *bufio.Reader) error {
	const length = "Content-Length: "
	n := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) > len(length) && string(line[:len(length)]) == length {
			if n, err = strconv.Atoi(string(line[len(length) : len(line)-2])); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			break
		}
	}
	if n < 100 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	_, err := io.CopyN(io.Discard, r, int64(n))
	return err
}

// cpu returns the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
