package tracker

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"shatabdi/tracker/wire"
)

// serveQuick has a tracker answer on a listener until the test ends.
func serveQuick(t *testing.T, tr *Tracker) (dial func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: tr, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	done := make(chan error)
	go func() { done <- srv.Serve(tr.Quick(l, srv)) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func head(query, version string, fields ...string) string {
	return "GET /announce?" + query + " " + version + "\r\nHost: t\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

func answer(t *testing.T, in *bufio.Reader) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// Announces are answered one after the other on a connection, and what else comes
// on it is answered too, however it is cut into packets.
func TestConnectionsAreKept(t *testing.T) {
	tr := New(Config{AllowOutside: anybody})
	c := serveQuick(t, tr)()
	in := bufio.NewReader(c)
	ask := func(port uint16) string { r := leecher(port); return head(string(r.AppendQuery(nil)), "HTTP/1.1") }
	peers := func(want int) {
		t.Helper()
		resp, b := answer(t, in)
		r, err := wire.ParseResponse(b)
		if err != nil || len(r.Peers) != want || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/plain" ||
			resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Date") == "" {
			t.Fatalf("%v %+v %v, want %d peers", resp, r, err, want)
		}
	}
	for i := range 3 {
		fmt.Fprint(c, ask(uint16(1+i)))
		peers(i)
	}
	fmt.Fprint(c, ask(4), ask(5)) // both at once: net/http has the connection from now on
	peers(3)
	peers(4)
	for _, b := range []byte(ask(6)) {
		c.Write([]byte{b})
	}
	peers(5)
	fmt.Fprintf(c, "GET /scrape?%s HTTP/1.1\r\nHost: t\r\n\r\n", wire.AppendScrapeQuery(nil, swarmA))
	if _, b := answer(t, in); !bytes.Contains(b, []byte("10:incompletei6e")) {
		t.Errorf("a scrape: %q", b)
	}
	fmt.Fprint(c, head("x=1", "HTTP/1.1", "Connection: close"))
	if _, b := answer(t, in); !bytes.Contains(b, []byte("failure reason")) {
		t.Errorf("%q", b)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after the last response: %v", err)
	}
}

// While a node that is not known waits for the directory others hear from the tracker,
// also those who share a loop with it.
func TestNewcomersHoldUpNobody(t *testing.T) {
	dir := &nodes{}
	dir.set("n1", "192.0.2.1:1")
	asked, answered := make(chan struct{}, 1), make(chan struct{})
	tr := New(Config{Members: dir.Members, Await: func() { asked <- struct{}{}; <-answered }})
	dial := serveQuick(t, tr)
	type client struct {
		net.Conn
		in *bufio.Reader
	}
	ask := func(c client, node string) {
		req := as(node, leecher(1))
		fmt.Fprint(c, head(string(req.AppendQuery(nil)), "HTTP/1.1"))
	}
	hears := func(c client) {
		t.Helper()
		if _, b := answer(t, c.in); bytes.Contains(b, []byte("failure")) {
			t.Fatalf("%q", b)
		}
	}
	var clients [2]client
	for i := range clients {
		c := dial()
		clients[i] = client{c, bufio.NewReader(c)}
		for range 10 { // after so many they are in a loop
			ask(clients[i], "n1")
			hears(clients[i])
		}
	}
	newcomer, member := clients[0], clients[1]
	ask(newcomer, "n2")
	<-asked
	for range 10 {
		ask(member, "n1")
		hears(member)
	}
	dir.set("n2", "192.0.2.2:1")
	close(answered)
	hears(newcomer)
}

// A server that shuts down waits for no announce, neither on a connection that
// had one nor on one that had none.
func TestShutdownWaitsForNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := New(Config{AllowOutside: anybody})
	srv := &http.Server{Handler: tr, ReadHeaderTimeout: time.Hour, IdleTimeout: time.Hour}
	done := make(chan error)
	go func() { done <- srv.Serve(tr.Quick(l, srv)) }()
	for i := range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range i {
			fmt.Fprint(c, head("x=1", "HTTP/1.1"))
			answer(t, bufio.NewReader(c))
		}
	}
	begun := time.Now()
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 3*time.Second { // net/http gives 5 to who has sent nothing
		t.Errorf("it took %v", took)
	}
	<-done
}

// Behind a redirect nothing is lost of what it says.
func TestQuickRedirect(t *testing.T) {
	tr := New(Config{AllowOutside: anybody, Leading: func() (bool, string) { return false, "http://leader.example/announce" }})
	c := serveQuick(t, tr)()
	req := leecher(1)
	query := string(req.AppendQuery(nil))
	fmt.Fprint(c, head(query, "HTTP/1.1"))
	resp, _ := answer(t, bufio.NewReader(c))
	if resp.StatusCode != 307 || resp.Header.Get("Location") != "http://leader.example/announce?"+query {
		t.Errorf("%+v", resp)
	}
}

// What is not a plain announce is net/http's, and it says what it always does.
func TestOddRequestsArePassedOn(t *testing.T) {
	dial := serveQuick(t, New(Config{AllowOutside: anybody}))
	for name, tt := range map[string]struct {
		send   string
		status int
	}{
		"HTTP/1.0":     {head("x=1", "HTTP/1.0"), 200},
		"HEAD":         {"HEAD /announce?x=1 HTTP/1.1\r\nHost: t\r\n\r\n", 405},
		"no host":      {"GET /announce?x=1 HTTP/1.1\r\n\r\n", 400},
		"two hosts":    {head("x=1", "HTTP/1.1", "Host: u"), 400},
		"no query":     {"GET /announce HTTP/1.1\r\nHost: t\r\n\r\n", 200},
		"elsewhere":    {"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n", 404},
		"a bad field":  {head("x=1", "HTTP/1.1", "Bad Field: 1"), 400},
		"a long head":  {head("x=1", "HTTP/1.1", "X: "+strings.Repeat("x", 4<<10)), 200},
		"a long query": {head("x="+strings.Repeat("1", 9000), "HTTP/1.1"), 414},
		"not HTTP":     {"\x16\x03\x01 nonsense\r\n\r\n", 400},
		"a plain one":  {head("x=1", "HTTP/1.1"), 200},
		"with a body":  {head("x=1", "HTTP/1.1", "Content-Length: 2") + "ab", 200},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial()
			fmt.Fprint(c, tt.send)
			if tt.status == 405 { // a HEAD's response has no body
				resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: "HEAD"})
				if err != nil || resp.StatusCode != tt.status {
					t.Errorf("%+v %v", resp, err)
				}
				return
			}
			if resp, b := answer(t, bufio.NewReader(c)); resp.StatusCode != tt.status {
				t.Errorf("%s %q, want %d", resp.Status, b, tt.status)
			}
		})
	}
}

// Whatever is taken for an announce is the same request to net/http, all of it.
func FuzzParseAnnounce(f *testing.F) {
	req := leecher(1)
	f.Add([]byte(head(string(req.AppendQuery(nil)), "HTTP/1.1", "User-Agent: aria2/1.36", "Connection: close")))
	f.Add([]byte(head("", "HTTP/1.1", "Accept: */*", "Connection: keep-alive")))
	f.Add([]byte("GET /announce?a#b HTTP/1.1\r\nHost:\r\n\r\n"))
	f.Add([]byte("GET /announce?a HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n"))
	f.Add([]byte("GET /announce?a HTTP/1.1\r\nHost: a\r\n\r\nGET /announce?b HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("GET /announce?a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"))
	f.Add([]byte("GET /announce?a HTTP/1.1\nHost: a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		query, plain := parseAnnounce(b)
		if !plain {
			return
		}
		in := bufio.NewReader(bytes.NewReader(b))
		r, err := http.ReadRequest(in)
		if err != nil {
			if strings.Contains(err.Error(), "Host") {
				return // who it was for does not matter
			}
			t.Fatalf("%q: %v", b, err)
		}
		if r.Method != "GET" || r.URL.Path != "/announce" || r.URL.RawQuery != query || r.ContentLength != 0 || len(r.TransferEncoding) > 0 ||
			in.Buffered() > 0 || r.Close || r.Header["X-Forwarded-For"] != nil {
			t.Fatalf("%q: %+v, and not %q", b, r, query)
		}
	})
}
