package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// What scripts of a running daemon need beside the daemon.

// ports sets each variable to an address that is free: ports PROXY ADMIN
func ports(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		addr, err := freePort()
		ts.Check(err)
		ts.Setenv(name, addr)
	}
}

const (
	largeLength = 5 << 20
	smallLength = 800
	manyLength  = 20_000
)

// large is made when it is wanted: each command of a script starts this binary.
var large = sync.OnceValue(func() string { return strings.Repeat("swarm...", largeLength/8) })

// testOrigin serves /large.bin and /small.bin, which are cacheable, /sent, how many bytes of it
// were sent, /moved, which leads there who wants it, and /torn.bin, which breaks
// off; /many/1.bin to /many/50.bin, of manyLength bytes, which /many.txt lists; and
// /held.bin, of the same length, whose body comes when somebody has asked for
// /release. It sets the variable to its address: origin ORIGIN
func testOrigin(ts *testscript.TestScript, _ bool, names []string) {
	sum := sha256.Sum256([]byte(large()))
	ts.Setenv("LARGE_SHA256", hex.EncodeToString(sum[:]))
	var sent atomic.Int64
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		length := largeLength
		if strings.HasPrefix(r.URL.Path, "/many/") {
			r.URL.Path = "/many/"
		}
		switch r.URL.Path {
		case "/many/":
			length = manyLength
		case "/many.txt":
			for i := range 50 {
				fmt.Fprintf(w, "http://%s/many/%d.bin\n", r.Host, i+1)
			}
			return
		case "/held.bin":
			length = manyLength
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		case "/release":
			release()
			return
		case "/large.bin":
		case "/small.bin":
			length = smallLength
		case "/sent":
			fmt.Fprintln(w, sent.Load())
			return
		case "/moved":
			if r.Header.Get("X-Want") != "large" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			http.Redirect(w, r, "/large.bin", http.StatusFound)
			return
		case "/torn.bin":
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "torn")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(counting{w, &sent}, r, "", time.Time{}, strings.NewReader(large()[:length]))
	}))
	ts.Defer(func() { release(); s.Close() })
	ts.Setenv(names[0], s.Listener.Addr().String())
}

// counting counts the bytes of bodies.
type counting struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

// egress checks that the origin at $ORIGIN sent so many bytes since it was asked
// last, or up to SLACK more: a machine that is busy may make a node ask for itself.
// egress N SLACK
func egress(ts *testscript.TestScript, _ bool, args []string) {
	resp, err := http.Get("http://" + ts.Getenv("ORIGIN") + "/sent")
	ts.Check(err)
	defer resp.Body.Close()
	var sent, want, slack int
	_, err = fmt.Fscan(resp.Body, &sent)
	ts.Check(err)
	_, err = fmt.Sscan(strings.Join(args, " "), &want, &slack)
	ts.Check(err)
	before, _ := strconv.Atoi(ts.Getenv("SENT"))
	ts.Setenv("SENT", strconv.Itoa(sent))
	if n := sent - before; n < want || n > want+slack {
		ts.Fatalf("the origin sent %d bytes, want %d to %d", n, want, want+slack)
	}
}

// fetch downloads an object through $PROXY, and checks what Shatabdi did if that
// is told: fetch URL [WORD]
func fetch(ts *testscript.TestScript, _ bool, args []string) {
	proxy := &url.URL{Scheme: "http", Host: ts.Getenv("PROXY")}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
	resp, err := client.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	want := large()
	if strings.HasSuffix(args[0], "/small.bin") {
		want = large()[:smallLength]
	}
	if word := resp.Header.Get("X-Cache-Status"); len(args) > 1 && word != args[1] {
		ts.Fatalf("%s: %s, want %s", args[0], word, args[1])
	}
	if resp.StatusCode != 200 || string(body) != want {
		ts.Fatalf("%s: %s, %d bytes", args[0], resp.Status, len(body))
	}
}

// isLarge checks that a file is the large object: islarge FILE
func isLarge(ts *testscript.TestScript, _ bool, args []string) {
	if got := ts.ReadFile(args[0]); got != large() {
		ts.Fatalf("%s: %d bytes, and not those of large.bin", args[0], len(got))
	}
}

// head writes the first bytes of one file into another: head TO FROM N
func head(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile(args[1])[:n]), 0o600))
}

// askAPI sends a request to the API of the daemon at $ADMIN, must get that status,
// and prints the answer: api 201 POST downloads {"url":"..."}
func askAPI(ts *testscript.TestScript, _ bool, args []string) {
	var body io.Reader
	if len(args) > 3 {
		body = strings.NewReader(args[3])
	}
	req, err := http.NewRequest(args[1], "http://"+ts.Getenv("ADMIN")+"/api/v1/"+args[2], body)
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Stdout().Write(b)
	if fmt.Sprint(resp.StatusCode) != args[0] {
		ts.Fatalf("%s, want %s: %s", resp.Status, args[0], b)
	}
}

// eventually runs a command until it succeeds and prints what matches:
// eventually REGEXP COMMAND [ARG...]
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	last, took := "", time.Duration(0)
	// Between two runs it waits as long as one takes: to start a program costs most of a
	// core under the race detector, and what it waits for wants to get on.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(max(took, 20*time.Millisecond)) {
		began := time.Now()
		err := ts.Exec(args[1], args[2:]...)
		took = time.Since(began)
		if last = ts.ReadFile("stdout"); err == nil && want.MatchString(last) {
			return
		}
		last += fmt.Sprintln(ts.ReadFile("stderr"), err)
	}
	ts.Fatalf("not in time; the last time:\n%s", last)
}
