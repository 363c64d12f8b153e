// Command readers downloads one object through many proxies of one machine, each
// once, or through one proxy many times, as fast as bytes come or slowly, compares
// every byte as it comes, and prints a line of JSON for each. It stands in for as many wgets where the
// computer could not hold them.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"shatabdi/e2e/content"
)

// direct as a proxy means that there is none.
const direct = "direct"

// Result is one download. Times count from the start of the first one.
type Result struct {
	Reader    int           `json:"reader"`
	Start     time.Duration `json:"start_ns"`
	FirstByte time.Duration `json:"first_byte_ns"`
	End       time.Duration `json:"end_ns"`
	Bytes     int64         `json:"bytes"`
	Error     string        `json:"error,omitempty"`
}

func main() {
	var o content.Object
	target := flag.String("url", "", "what to download")
	proxy := flag.String("proxy", "", "the one proxy for all, instead of one for each; direct: none")
	first := flag.Int("port", 20000, "port of the first proxy on 127.0.0.1")
	step := flag.Int("step", 4, "from one proxy's port to the next one's")
	from := flag.Int("from", 0, "the first proxy to use")
	n := flag.Int("n", 1, "how many proxies")
	starts := flag.String("starts", "", "when each begins, as durations with commas; the last one counts for the rest")
	pace := flag.Int64("rate", 0, "bytes a second that each reader takes; 0: all that come")
	until := flag.Duration("until", 0, "end then, whatever has come; 0: at the end of the body")
	flag.Int64Var(&o.Size, "size", 0, "bytes of the object")
	flag.Uint64Var(&o.Seed, "seed", 1, "seed of the object")
	flag.Parse()
	at, err := parseStarts(*starts, *n)
	if err != nil {
		fmt.Fprintln(os.Stderr, "readers: error:", err)
		os.Exit(2)
	}

	var wg sync.WaitGroup
	var mu sync.Mutex
	enc := json.NewEncoder(os.Stdout)
	begin := time.Now()
	for i := range *n {
		wg.Go(func() {
			time.Sleep(time.Until(begin.Add(at[i])))
			via := cmp.Or(*proxy, fmt.Sprintf("http://127.0.0.1:%d", *first+*step*(*from+i)))
			r := reader{target: *target, proxy: via, want: o, begin: begin, rate: *pace, until: *until}.read()
			r.Reader = *from + i
			mu.Lock()
			defer mu.Unlock()
			enc.Encode(r)
		})
	}
	wg.Wait()
}

func parseStarts(s string, n int) ([]time.Duration, error) {
	at := make([]time.Duration, n)
	if s == "" {
		return at, nil
	}
	words := strings.Split(s, ",")
	for i := range at {
		d, err := time.ParseDuration(words[min(i, len(words)-1)])
		if err != nil {
			return nil, err
		}
		at[i] = d
	}
	return at, nil
}

// reader is one download.
type reader struct {
	target, proxy string
	want          content.Object
	begin         time.Time
	rate          int64
	until         time.Duration
}

// read downloads target and compares it with what is wanted.
func (d reader) read() (r Result) {
	begin := d.begin
	r.Start = time.Since(begin)
	defer func() { r.End = time.Since(begin) }()
	transport := &http.Transport{DisableCompression: true}
	size := 64 << 10
	if d.rate > 0 { // a slow machine has small buffers too
		size = 4 << 10
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size) })
			return cmp.Or(cerr, err)
		}}
		transport.DialContext, transport.ReadBufferSize = dialer.DialContext, size
	}
	if d.proxy != direct {
		via, err := url.Parse(d.proxy)
		if err != nil {
			r.Error = err.Error()
			return r
		}
		transport.Proxy = http.ProxyURL(via)
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	resp, err := client.Get(d.target)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		r.Error = resp.Status
		return r
	}
	got, want := make([]byte, size), make([]byte, size)
	for d.until == 0 || time.Since(begin) < d.until {
		if d.rate > 0 {
			time.Sleep(time.Duration(size) * time.Second / time.Duration(d.rate))
		}
		k, err := resp.Body.Read(got)
		if k > 0 {
			if r.Bytes == 0 {
				r.FirstByte = time.Since(begin)
			}
			if m, _ := d.want.ReadAt(want[:k], r.Bytes); m != k || !bytes.Equal(got[:k], want[:k]) {
				r.Error = fmt.Sprintf("wrong bytes at or behind %d", r.Bytes)
				return r
			}
			r.Bytes += int64(k)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			r.Error = err.Error()
			return r
		}
	}
	if d.until == 0 && r.Bytes != d.want.Size {
		r.Error = fmt.Sprintf("%d bytes of %d", r.Bytes, d.want.Size)
	}
	return r
}
