// Command announcers announces to a tracker, from many connections that it keeps
// as long as the tracker does, and prints as JSON how that went. It announces
// as -peers peers in each of -swarms swarms, one after the other and again from
// the first; or, as those who should not, for swarms that nobody knows, and what
// no client sends. With -parrot it is who answers instead, without looking.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Result is what all connections together saw.
type Result struct {
	Announces int            `json:"announces"`
	Refused   int            `json:"refused"` // of those, with a failure reason
	Broken    int            `json:"broken"`  // connections on which no answer came
	Status    map[string]int `json:"status"`
	Took      time.Duration  `json:"took_ns"`
	Median    time.Duration  `json:"median_ns"` // from when it was due until its answer
	P99       time.Duration  `json:"p99_ns"`
}

var (
	addr      = flag.String("addr", "", "`HOST:PORT` of the tracker")
	swarms    = flag.Int("swarms", 1000, "how many")
	peers     = flag.Int("peers", 1000, "of each swarm")
	n         = flag.Int("n", 0, "announces; 0: each peer once")
	conns     = flag.Int("conns", 16, "connections at a time")
	rate      = flag.Float64("rate", 0, "announces a second, evenly; 0: one after the other on each connection")
	numWant   = flag.Int("numwant", 50, "peers wanted")
	list      = flag.Bool("list", false, "print the swarms' infohashes instead")
	strangers = flag.Bool("strangers", false, "each for another swarm, some as nodes, some malformed")
	answers   = flag.Bool("parrot", false, "answer at -addr instead, always the same")
)

func main() {
	flag.Parse()
	if *answers {
		fmt.Fprintln(os.Stderr, parrot(*addr))
		os.Exit(1)
	}
	if *list {
		for i := range *swarms {
			fmt.Printf("%x\n", infohash(i))
		}
		return
	}
	if *n == 0 {
		*n = *swarms * *peers
	}
	var next atomic.Int64
	results := make([]result, *conns)
	begun := time.Now()
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i].run(&next, begun) })
	}
	wg.Wait()
	all := Result{Status: map[string]int{}, Took: time.Since(begun)}
	var times []time.Duration
	for _, r := range results {
		all.Refused += r.refused
		all.Broken += r.broken
		for s, n := range r.status {
			all.Status[s] += n
		}
		times = append(times, r.times...)
	}
	if all.Announces = len(times); all.Announces > 0 {
		slices.Sort(times)
		all.Median, all.P99 = times[len(times)/2], times[len(times)*99/100]
	}
	json.NewEncoder(os.Stdout).Encode(all)
}

// result is what one connection saw.
type result struct {
	times           []time.Duration
	refused, broken int
	status          map[string]int

	conn net.Conn // that is kept; nil: none
	in   *bufio.Reader
}

func (r *result) run(next *atomic.Int64, begun time.Time) {
	r.status = map[string]int{}
	for {
		i := next.Add(1) - 1
		if i >= int64(*n) {
			break
		}
		due := time.Now()
		if *rate > 0 {
			due = begun.Add(time.Duration(float64(i) / *rate * float64(time.Second)))
			time.Sleep(time.Until(due))
		}
		err := r.announce(request(int(i)))
		if err != nil {
			r.broken++
			continue
		}
		r.times = append(r.times, time.Since(due))
	}
	r.close()
}

// announce sends one, and again on a new connection if the tracker has closed the
// one that was kept.
func (r *result) announce(request []byte) (err error) {
	for range 2 {
		fresh := r.conn == nil
		if fresh {
			if r.conn, err = net.Dial("tcp", *addr); err != nil {
				r.conn = nil
				return err
			}
			r.in = bufio.NewReader(r.conn)
		}
		r.conn.SetDeadline(time.Now().Add(30 * time.Second))
		r.conn.Write(request)
		keep, err := r.answer(r.in)
		if err != nil || !keep {
			r.close()
		}
		if err == nil || fresh {
			return err
		}
	}
	return err
}

func (r *result) close() {
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}

func (r *result) answer(in *bufio.Reader) (keep bool, err error) {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return false, err
	}
	r.status[resp.Status]++
	if bytes.Contains(body, []byte("14:failure reason")) {
		r.refused++
	}
	return !resp.Close, nil
}

func request(i int) []byte {
	if *strangers {
		return strange(i)
	}
	return announce(i%*swarms, i / *swarms % *peers, "")
}

func announce(swarm, peer int, more string) []byte {
	hash := make([]byte, 0, 60)
	for _, b := range infohash(swarm) {
		hash = fmt.Appendf(hash, "%%%02X", b)
	}
	return fmt.Appendf(nil, "GET /announce?info_hash=%s&peer_id=-XX0001-%012d&port=%d&uploaded=0&downloaded=0&left=1&compact=1&numwant=%d%s HTTP/1.1\r\nHost: tracker\r\n\r\n",
		hash, peer, 1024+peer, *numWant, more)
}

func infohash(swarm int) (h [20]byte) {
	rnd := rand.New(rand.NewPCG(uint64(swarm), 7))
	for i := range h {
		h[i] = byte(rnd.Uint32())
	}
	return h
}

// strange is what somebody sends who should not: for a swarm of its own, as a
// node that it is not, or what is no announce at all.
func strange(i int) []byte {
	switch i % 4 {
	case 0:
		return announce(i, 1, "")
	case 1:
		return announce(i, 1, fmt.Sprintf("&node=n%d&key=%032x", i, i))
	}
	rnd := rand.New(rand.NewPCG(uint64(i), 8))
	whole := announce(i, 1, "")
	head, rest, _ := bytes.Cut(whole, []byte("?"))
	query, rest, _ := bytes.Cut(rest, []byte(" "))
	query = slices.Clone(query) // it grows
	for range 1 + rnd.IntN(8) {
		at := rnd.IntN(len(query))
		switch rnd.IntN(3) {
		case 0:
			query[at] = "%&=+-.0A~"[rnd.IntN(9)]
		case 1:
			query = slices.Delete(query, at, min(len(query), at+1+rnd.IntN(8)))
		case 2:
			query = slices.Insert(query, at, binary.BigEndian.AppendUint64([]byte("&left="), rnd.Uint64()%10)[:6+rnd.IntN(3)]...)
		}
		if len(query) == 0 {
			query = []byte("x")
		}
	}
	query = bytes.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return 'x'
		}
		return r
	}, query)
	return slices.Concat(head, []byte("?"), query, []byte(" "), rest)
}
