package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// crawl asks for a URL through n on a connection with little room, and reads the
// head of the answer. The body is for later.
func (n *node) crawl(url string) *http.Response {
	n.t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 32<<10) })
	}}
	conn, err := d.DialContext(context.Background(), "tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET "+url+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		n.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 4<<10), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return res
}

// Clients that take nothing hold up neither the fill nor another client, whichever
// of them came first, and get the right bytes when they go on.
func TestSlowClientsHoldNobodyUp(t *testing.T) {
	o := newStore(t, body(12<<20)) // more than the sockets between hold
	n, _ := startReal(t, newDisk(t))
	url := o.url + "/x.bin"
	slow := []*http.Response{n.crawl(url)}
	for range 20 {
		slow = append(slow, n.crawl(url))
	}
	if res, got := n.sum(url); res.StatusCode != 200 || got != digest(o.body) {
		t.Errorf("a client among slow ones: %s", res.Status)
	}
	eventually(t, "the object is complete", func() bool { // a hit
		res, _ := n.get(url, "Cache-Control: only-if-cached", "Range: bytes=0-9")
		return res.Header.Get("X-Cache-Status") == "HIT"
	})
	slow = append(slow, n.crawl(url)) // of a hit
	if res, got := n.sum(url); res.Header.Get("X-Cache-Status") != "HIT" || got != digest(o.body) {
		t.Errorf("a hit among slow ones: %s", res.Status)
	}
	if len(o.took()) > 5 { // the one GET, and spans
		t.Error("slow clients had more fetched from the origin")
	}
	for _, res := range []*http.Response{slow[0], slow[7], slow[len(slow)-1]} {
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != o.body {
			t.Errorf("a slow client got %d bytes, %v", len(b), err)
		}
	}
}

// A body without a length, which nobody else can have before it is whole, keeps
// others waiting no longer than until they ask by themselves.
func TestSlowClientOfABodyWithoutLength(t *testing.T) {
	o := newStore(t, body(8<<20))
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		io.WriteString(w, o.body)
	})
	n, _ := startReal(t, newDisk(t))
	slow := n.crawl(o.url + "/x.bin")
	if res, got := n.sum(o.url + "/x.bin"); res.StatusCode != 200 || got != digest(o.body) {
		t.Errorf("behind a slow client: %s", res.Status)
	}
	if b, err := io.ReadAll(slow.Body); err != nil || string(b) != o.body {
		t.Errorf("the slow client got %d bytes, %v", len(b), err)
	}
}
