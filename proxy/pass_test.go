package proxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shatabdi/proxy/origin"
)

func TestPassKeepsRequestAndResponse(t *testing.T) {
	var got *http.Request
	var gotBody string
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, gotBody = r.Clone(r.Context()), string(b)
		w.Header().Set("Date", "Mon, 01 Jan 2024 00:00:00 GMT")
		w.Header().Set("X-Answer", "42")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Keep-Alive", "timeout=1")
		w.Header()["Content-Type"] = nil
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "<html>short and stout")
	})
	n := start(t, Config{}, origin.Config{})

	c := n.dial()
	c.send("PROPFIND %s/a%%2fb;c?q=%%zz;y&x HTTP/1.1\r\nHost: ignored\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n"+
		"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\nX-Forwarded-For: 192.0.2.7\r\n"+
		"Authorization: Bearer t\r\nAccept-Encoding: br;q=1\r\nVia: 1.0 fred\r\nContent-Length: 4\r\n\r\nbody", at)
	head := c.head()

	if got.Method != "PROPFIND" || got.RequestURI != "/a%2fb;c?q=%zz;y&x" || got.Host != hostOf(at) || gotBody != "body" {
		t.Errorf("origin saw %s %s of %s with body %q", got.Method, got.RequestURI, got.Host, gotBody)
	}
	want := http.Header{
		"Te": {"trailers"}, "X-Forwarded-For": {"192.0.2.7"}, "Authorization": {"Bearer t"},
		"Accept-Encoding": {"br;q=1"}, "Via": {"1.0 fred, 1.1 n1"}, "Content-Length": {"4"},
	}
	if !maps.EqualFunc(got.Header, want, slices.Equal) {
		t.Errorf("origin saw %v\nwant %v", got.Header, want)
	}
	for _, line := range []string{"HTTP/1.1 418 I'm a teapot\n", "Date: Mon, 01 Jan 2024 00:00:00 GMT\n", "X-Answer: 42\n", "Via: 1.1 n1\n", "Content-Length: 21\n"} {
		if !strings.Contains(head, line) {
			t.Errorf("answer lacks %q:\n%s", line, head)
		}
	}
	for _, name := range []string{"X-Hop", "Keep-Alive", "Content-Type"} {
		if strings.Contains(head, name+":") {
			t.Errorf("answer has %s:\n%s", name, head)
		}
	}
	if body, _ := c.rest(); body != "<html>short and stout" {
		t.Errorf("body %q", body)
	}
}

func TestPassLeavesCodingAlone(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	io.WriteString(z, strings.Repeat("a", 1000))
	z.Close()
	var accept []string
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		accept = r.Header["Accept-Encoding"]
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zipped.Bytes())
	})
	n := start(t, Config{}, origin.Config{})
	res, body := n.get(at)
	if body != zipped.String() || res.Header.Get("Content-Encoding") != "gzip" || res.ContentLength != int64(zipped.Len()) {
		t.Errorf("got %d bytes as %q, want the %d gzipped ones", len(body), res.Header.Get("Content-Encoding"), zipped.Len())
	}
	if accept != nil {
		t.Errorf("Accept-Encoding %q was added", accept)
	}
}

// A body that ends early must not look like one that ended (RFC 9112 §8).
func TestShortBodyBreaksFraming(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		status       int // of our own answer; 0: the framing breaks
	}{
		{"with Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", 0},
		{"chunked, in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort", 0},
		{"chunked, between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", 0},
		{"chunked, nonsense", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n", 0},
		{"in the head", "HTTP/1.1 200 OK\r\nContent-Le", 502},
		{"before the head", "", 502},
	} {
		for _, version := range []string{"1.1", "1.0"} {
			t.Run(tt.name+" to HTTP/"+version, func(t *testing.T) {
				n := start(t, Config{}, origin.Config{})
				c := n.dial()
				c.send("GET http://%s/ HTTP/%s\r\nHost: x\r\n\r\n", raw(t, answer(tt.answer)), version)
				res, err := http.ReadResponse(c.r, nil)
				if err != nil {
					if tt.status == 0 && version == "1.0" && errors.Is(err, syscall.ECONNRESET) {
						return // the reset overtook the head
					}
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if tt.status != 0 {
					if res.StatusCode != tt.status || err != nil {
						t.Errorf("got %s, %v, want %d", res.Status, err, tt.status)
					}
					return
				}
				if err == nil {
					t.Fatalf("%q looks complete", body)
				}
				eventually(t, "counted as incomplete", func() bool {
					return n.metric("shatabdi_request_errors_total", "type=http_response_incomplete")+
						n.metric("shatabdi_request_errors_total", "type=http_protocol_error") == 1
				})
			})
		}
	}
}

func TestLongBodyIsCutAtItsLength(t *testing.T) {
	n := start(t, Config{}, origin.Config{})
	res, body := n.get("http://" + raw(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 666 Evil\r\n\r\n")))
	if body != "good" || res.StatusCode != 200 {
		t.Errorf("got %s %q", res.Status, body)
	}
}

func TestBodyWithoutLength(t *testing.T) {
	n := start(t, Config{}, origin.Config{})
	for _, s := range []string{"HTTP/1.0 200 OK\r\n\r\nto the end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nto the end\r\n0\r\n\r\n"} {
		if _, body := n.get("http://" + raw(t, answer(s))); body != "to the end" {
			t.Errorf("%q: got %q", s, body)
		}
	}
}

// The client is asked for its body only after the origin asked us (RFC 9110 §10.1.1).
func TestExpectContinue(t *testing.T) {
	asked := make(chan struct{})
	at := raw(t, func(w *wire) {
		if head := w.head(); !strings.Contains(head, "Expect: 100-continue") {
			t.Errorf("Expect was not forwarded:\n%s", head)
		}
		<-asked
		w.send("HTTP/1.1 100 Continue\r\n\r\n")
		b := make([]byte, 4)
		io.ReadFull(w.r, b)
		w.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%s", b)
	})
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	c.send("PUT http://%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", at)
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if b, err := c.r.Peek(1); err == nil {
		t.Fatalf("the proxy says %q before the origin said anything", b)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	close(asked)
	if s := c.head(); s != "HTTP/1.1 100 Continue\n" {
		t.Fatalf("got %q", s)
	}
	c.send("body")
	c.head()
	if body, _ := c.rest(); body != "body" {
		t.Errorf("got %q", body)
	}
}

func TestExpectRefusedByOrigin(t *testing.T) {
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	at := raw(t, func(w *wire) {
		w.head()
		w.send("HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	c.send("PUT http://%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", at)
	if s := c.line(); !strings.HasPrefix(s, "HTTP/1.1 413") {
		t.Errorf("got %q", s)
	}
}

func TestInformationalResponses(t *testing.T) {
	at := raw(t, answer("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	c.send("GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", at)
	if s := c.head(); s != "HTTP/1.1 103 Early Hints\nLink: </a.css>\n" {
		t.Errorf("got %q", s)
	}
	if s := c.head(); !strings.HasPrefix(s, "HTTP/1.1 200 OK\n") || strings.Contains(s, "Link") {
		t.Errorf("got %q", s)
	}
	old := n.dial()
	old.send("GET http://%s/ HTTP/1.0\r\nHost: x\r\n\r\n", at)
	if s := old.line(); !strings.Contains(s, " 200 ") { // RFC 9110 §15.2
		t.Errorf("HTTP/1.0 client got %q", s)
	}
}

// A connection of an HTTP/1.0 client is for one request (RFC 9112 §9.3), and chunks are
// nothing that it has (§6.1): what somebody before us took for content is no request.
func TestOldClientsConnectionEnds(t *testing.T) {
	o := newStore(t, "body")
	n, _ := startReal(t, newDisk(t))
	for _, framing := range []string{"", "Transfer-Encoding: chunked\r\n", "Content-Length: 0\r\n"} {
		for _, method := range []string{"GET", "POST"} {
			o.took()
			c := n.dial()
			c.send("%s %s/x HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n%s\r\nGET %s/y HTTP/1.1\r\nHost: x\r\n\r\n", method, o.url, framing, o.url)
			got, _ := c.rest()
			if answers := strings.Count(got, "HTTP/1."); answers != 1 || strings.Contains(got, "keep-alive") {
				t.Errorf("%s, %q: %d answers: %s", method, framing, answers, got)
			}
			for _, r := range o.took() {
				if r.URL.Path != "/x" {
					t.Errorf("%s, %q: the origin saw %s", method, framing, r.URL)
				}
			}
		}
	}
}

func TestTrailersBothWays(t *testing.T) {
	at := raw(t, func(w *wire) {
		req, err := http.ReadRequest(w.r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		w.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: %s\r\nX-Late: 1\r\n\r\n", req.Trailer.Get("X-Up"))
	})
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	c.send("POST http://%s/ HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE, close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Up\r\n\r\n"+
		"3\r\nabc\r\n0\r\nX-Up: 42\r\n\r\n", at)
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	if res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("X-Late") != "1" {
		t.Errorf("trailers %v", res.Trailer)
	}
}

// Each piece arrives before the next is sent: nothing is held back.
func TestStreamsAreFlushed(t *testing.T) {
	for _, head := range []string{
		"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked",
		"Content-Length: 3",
	} {
		next := make(chan struct{})
		at := raw(t, func(w *wire) {
			w.head()
			w.send("HTTP/1.1 200 OK\r\n%s\r\n\r\n", head)
			for _, s := range []string{"a", "b", "c"} {
				if strings.Contains(head, "chunked") {
					s = "1\r\n" + s + "\r\n"
				}
				w.send("%s", s)
				<-next
			}
			if strings.Contains(head, "chunked") {
				w.send("0\r\n\r\n")
			}
		})
		n := start(t, Config{}, origin.Config{})
		res, err := n.client().Get("http://" + at)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []byte("abc") {
			var b [1]byte
			if _, err := io.ReadFull(res.Body, b[:]); err != nil || b[0] != want {
				t.Fatalf("%s: got %q, %v", head, b, err)
			}
			next <- struct{}{}
		}
		res.Body.Close()
	}
}

func TestRequestBodyIsStreamed(t *testing.T) {
	got := make(chan string)
	at := raw(t, func(w *wire) {
		w.head()
		for range 2 {
			b := make([]byte, 6) // "1\r\na\r\n"
			io.ReadFull(w.r, b)
			got <- string(b[3])
		}
		io.ReadFull(w.r, make([]byte, 5))
		w.send("HTTP/1.1 204 No Content\r\n\r\n")
	})
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	c.send("POST http://%s/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", at)
	for _, s := range []string{"a", "b"} {
		c.send("1\r\n%s\r\n", s)
		if g := <-got; g != s {
			t.Fatalf("origin got %q", g)
		}
	}
	c.send("0\r\n\r\n")
	if s := c.line(); s != "HTTP/1.1 204 No Content" {
		t.Errorf("got %q", s)
	}
}

func TestUpgradePasses(t *testing.T) {
	at := raw(t, func(w *wire) {
		head := w.head()
		if !strings.Contains(head, "Upgrade: websocket") || !strings.Contains(head, "Connection: Upgrade") {
			t.Errorf("origin saw\n%s", head)
		}
		w.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(w.Conn, w.r)
	})
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	c.send("GET http://%s/chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", at)
	if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 101") || !strings.Contains(head, "Upgrade: websocket") {
		t.Fatalf("got\n%s", head)
	}
	for _, s := range []string{"ping\n", "pong\n"} {
		c.send("%s", s)
		if got := c.line() + "\n"; got != s {
			t.Errorf("echo of %q is %q", s, got)
		}
	}
	c.Close()
	eventually(t, "the upgraded request ends", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
}

func TestHeadPasses(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "12345")
		w.Header().Set("X-Method", r.Method)
	})
	n := start(t, Config{}, origin.Config{})
	res, body := n.do(request(t, "HEAD", at))
	if res.ContentLength != 12345 || res.Header.Get("X-Method") != "HEAD" || body != "" {
		t.Errorf("got length %d, method %s, body %q", res.ContentLength, res.Header.Get("X-Method"), body)
	}
}

func TestRedirectsAreForwarded(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	n := start(t, Config{}, origin.Config{})
	if res, _ := n.get(at); res.StatusCode != http.StatusFound || res.Header.Get("Location") != "/elsewhere" {
		t.Errorf("got %s to %s", res.Status, res.Header.Get("Location"))
	}
}

func TestClientGoneCancelsOrigin(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		http.NewResponseController(w).Flush()
		close(begun)
		<-r.Context().Done()
		close(gone)
	})
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	c.send("GET %s/ HTTP/1.1\r\nHost: x\r\n\r\n", at)
	<-begun
	c.Close()
	<-gone
	eventually(t, "counted as canceled", func() bool {
		return n.metric("shatabdi_request_errors_total", "type=canceled") == 1
	})
}

// RFC 9112 §3.2.4, RFC 9110 §7.6.2.
func TestOptionsAndMaxForwards(t *testing.T) {
	var uri, max string
	var calls atomic.Int32
	at := raw(t, func(w *wire) {
		r, err := http.ReadRequest(w.r)
		if err != nil {
			return
		}
		uri, max = r.RequestURI, r.Header.Get("Max-Forwards")
		calls.Add(1)
		w.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	})
	n := start(t, Config{}, origin.Config{})
	for _, tt := range []struct{ method, path, fields, uri, max string }{
		{"OPTIONS", "", "", "*", ""},
		{"OPTIONS", "/", "", "/", ""},
		{"OPTIONS", "/a", "Max-Forwards: 3\r\n", "/a", "2"},
		{"TRACE", "/a", "Max-Forwards: 1\r\n", "/a", "0"},
		{"GET", "/a", "Max-Forwards: 0\r\n", "/a", "0"},
	} {
		c := n.dial()
		c.send("%s http://%s%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", tt.method, at, tt.path, tt.fields)
		c.rest()
		if uri != tt.uri || max != tt.max {
			t.Errorf("%s %q %q: origin saw %q with Max-Forwards %q", tt.method, tt.path, tt.fields, uri, max)
		}
	}
	before := calls.Load()
	c := n.dial()
	c.send("TRACE http://%s/a HTTP/1.1\r\nHost: x\r\nCookie: secret\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n", at)
	s, _ := c.rest()
	if calls.Load() != before || !strings.Contains(s, "TRACE http://"+at+"/a HTTP/1.1") || strings.Contains(s, "secret") {
		t.Errorf("TRACE with no forwards left: %d more at the origin, answer\n%s", calls.Load()-before, s)
	}
}

func TestLargeBodiesArrive(t *testing.T) {
	const size = 20 << 20
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		up := sha256.New()
		io.Copy(up, r.Body)
		w.Header().Set("X-Sum", fmt.Sprintf("%x", up.Sum(nil)))
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.Copy(w, io.LimitReader(&counting{}, size))
	})
	n := start(t, Config{}, origin.Config{})
	up := sha256.New()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", at, io.TeeReader(io.LimitReader(&counting{7}, size), up))
	res, body := n.do(req)
	want := make([]byte, size)
	(&counting{}).Read(want)
	if body != string(want) {
		t.Errorf("download of %d bytes differs", len(body))
	}
	if res.Header.Get("X-Sum") != fmt.Sprintf("%x", up.Sum(nil)) {
		t.Error("upload differs")
	}
	eventually(t, "bytes counted", func() bool { return n.metric("shatabdi_client_bytes_total", "source=origin") == size })
	if got := n.metric("shatabdi_origin_bytes_total"); got < size || got > size*1.01 {
		t.Errorf("%v bytes counted from the origin", got)
	}
}

// counting is an endless body that does not repeat soon.
type counting struct{ n uint32 }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c.n>>3 ^ c.n>>13)
		c.n++
	}
	return len(b), nil
}

func TestSlowHeaderIsCutOff(t *testing.T) {
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	c.send("GET http://x/ HTTP/1.1\r\nHost")
	if _, err := c.rest(); errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	// rest returned: the server gave up on us long before our own deadline.
	if _, err := bufio.NewReader(c.Conn).ReadByte(); err == nil {
		t.Error("the connection is still open")
	}
}

func TestHeaderTooLarge(t *testing.T) {
	n := start(t, Config{}, origin.Config{})
	c := n.dial()
	go fmt.Fprintf(c.Conn, "GET http://x/ HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 200<<10))
	if s := c.line(); !strings.HasPrefix(s, "HTTP/1.1 431 ") {
		t.Errorf("got %q", s)
	}
}
