package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/small"
)

func startQuick(t *testing.T) (*node, *store) {
	rule := policy.Rule{Path: "/keyed", Key: policy.KeyRule{IgnoreQuery: true}}
	return startCached(t, newFake(t), Config{Small: small.New(small.Config{Size: 1 << 20})}, rule), newStore(t, body(900))
}

func (w *wire) answer(r *http.Request) (*http.Response, string) {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, r)
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res, string(b)
}

var ttl = regexp.MustCompile(`;ttl=-?\d+`)

// What is answered before net/http sees it is answered in the same way: a field that
// it must judge makes the difference.
func TestQuickAnswersAreTheSame(t *testing.T) {
	n, o := startQuick(t)
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/404":
			w.WriteHeader(404)
		case "/empty":
			w.Header().Set("Content-Length", "0")
			return
		case "/204":
			w.WriteHeader(204)
			return
		case "/301":
			w.Header().Set("Location", "/elsewhere")
			w.Header()["Content-Type"] = nil
			w.WriteHeader(301)
		case "/coded":
			w.Header().Set("Content-Encoding", "br")
			w.Header().Set("Vary", "Accept-Encoding")
		}
		io.WriteString(w, o.body)
	})
	for _, path := range []string{"/200", "/404", "/empty", "/204", "/301", "/coded", "/keyed?a=1"} {
		n.get(o.url+path, "Accept-Encoding: br")
		eventually(t, path+" is stored", func() bool {
			res, _ := n.get(o.url+path, "Accept-Encoding: br", "Cache-Control: only-if-cached")
			return res.Header.Get("X-Cache-Status") == "HIT"
		})
		for _, fields := range []string{"", "Accept-Encoding: br\r\n", "If-None-Match: " + etag + "\r\n", "Cache-Control: max-stale\r\n"} {
			var answers [2]string
			for i, odd := range []string{"", "X-Odd: 1\r\n"} {
				w := n.dial()
				for range 2 { // and again on the same connection
					w.send("GET %s%s HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\n%s%s\r\n", o.url, path, fields, odd)
					res, body := w.answer(nil)
					res.Header.Del("Age")
					res.Header.Set("Cache-Status", ttl.ReplaceAllString(res.Header.Get("Cache-Status"), ""))
					answers[i] = fmt.Sprint(res.Status, res.Proto, res.ContentLength, res.Close, res.TransferEncoding, res.Header, len(body), body == o.body)
				}
			}
			if answers[0] != answers[1] {
				t.Errorf("%s %q:\n%s\n%s", path, fields, answers[0], answers[1])
			}
		}
	}
	eventually(t, "all are counted", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
	requests := n.metric("shatabdi_requests_total")
	n.get(o.url + "/200")
	if got := n.metric("shatabdi_requests_total"); got != requests+1 {
		t.Errorf("%v requests are counted for one", got-requests)
	}
}

// On one connection hits, misses, tunnels and nonsense come in any order, whole or in
// parts, and each is answered in its turn.
func TestQuickConnectionIsHandedOver(t *testing.T) {
	n, o := startQuick(t)
	url := o.url + "/x"
	get := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", url)
	n.get(url)
	hit := func(w *wire) {
		t.Helper()
		if res, got := w.answer(nil); res.Header.Get("X-Cache-Status") != "HIT" || got != o.body {
			t.Errorf("%s, %d bytes", res.Header.Get("X-Cache-Status"), len(got))
		}
	}
	for name, talk := range map[string]func(w *wire){
		"a miss between": func(w *wire) {
			w.send("%s", get)
			hit(w)
			w.send("GET %s/other HTTP/1.1\r\nHost: x\r\n\r\n", o.url)
			if res, _ := w.answer(nil); res.Header.Get("X-Cache-Status") != "MISS" {
				t.Errorf("%v", res.Header)
			}
			w.send("%s", get)
			hit(w)
		},
		"two at once": func(w *wire) {
			w.send("%s%s", get, get)
			hit(w)
			hit(w)
		},
		"in two parts": func(w *wire) {
			w.send("%s", get)
			hit(w)
			w.send("%s", get[:20])
			w.send("%s", get[20:])
			hit(w)
		},
		"HEAD": func(w *wire) {
			w.send("%s", get)
			hit(w)
			w.send("HEAD%s", get[3:])
			if res, got := w.answer(&http.Request{Method: "HEAD"}); res.ContentLength != 900 || got != "" {
				t.Errorf("%d, %q", res.ContentLength, got)
			}
		},
		"nonsense": func(w *wire) {
			w.send("%s", get)
			hit(w)
			w.send("GET http://x y HTTP/1.1\r\n\r\n")
			if res, _ := w.answer(nil); res.StatusCode != 400 {
				t.Errorf("%s", res.Status)
			}
		},
		"the last one": func(w *wire) {
			w.send("%s", get)
			hit(w)
			w.send("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", url)
			hit(w)
			if rest, err := w.rest(); rest != "" || err != nil {
				t.Errorf("%q, %v", rest, err)
			}
		},
		"no host at all": func(w *wire) {
			w.send("%s", get)
			hit(w)
			w.send("GET %s HTTP/1.1\r\nHost: a b\r\n\r\n", url)
			if res, _ := w.answer(nil); res.StatusCode != 400 {
				t.Errorf("%s", res.Status)
			}
		},
		"HTTP/1.0": func(w *wire) {
			w.send("GET %s HTTP/1.0\r\n\r\n", url)
			hit(w)
		},
	} {
		t.Run(name, func(t *testing.T) { talk(n.dial()) })
	}
}

// A server that shuts down does not wait for who may yet ask.
func TestQuickConnectionsEndWithTheServer(t *testing.T) {
	n, o := startQuick(t)
	n.get(o.url + "/x")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := n.Server()
	served := make(chan error, 1)
	go func() { served <- s.Serve(n.Quick(l, s)) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := &wire{t, conn, bufio.NewReader(conn)}
	w.send("GET %s/x HTTP/1.1\r\nHost: x\r\n\r\n", o.url)
	if res, _ := w.answer(nil); res.Header.Get("X-Cache-Status") != "HIT" {
		t.Errorf("%v", res.Header)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
	if rest, err := w.rest(); rest != "" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// What is taken for plain means to net/http what it means here.
func FuzzPlainRequests(f *testing.F) {
	for _, s := range []string{
		"GET http://o.test/x?y=%20#z HTTP/1.1\r\nHost: o.test\r\n\r\n",
		"GET http://o.test HTTP/1.1\r\nHOST: a\r\nuser-agent:  curl/8 \r\nProxy-Connection: Keep-Alive\r\nAccept: */*\r\nAccept: x\r\n\r\n",
		"GET http://o.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET http://o.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n\r\n",
		"GET http://o.test/ HTTP/1.1\r\nHost: a\r\nAccept: x\r\n y\r\n\r\n",
		"GET http://u:p@o.test/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://[::1]:80/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://o.test/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET http://o.test/ HTTP/1.1\r\nHost : a\r\n\r\n",
		"GET http://o.test/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := parsePlain(b)
		if got == nil {
			return
		}
		in := bufio.NewReader(bytes.NewReader(b))
		want, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if in.Buffered() != 0 || want.ContentLength != 0 || want.Close {
			t.Fatalf("%q is more than a plain request", b)
		}
		if got.Method != want.Method || got.Host != want.Host || !reflect.DeepEqual(got.URL, want.URL) || got.RequestURI != want.RequestURI ||
			got.Proto != want.Proto || !reflect.DeepEqual(got.Header, want.Header) {
			t.Errorf("%q:\n%+v\n%+v", b, got, want)
		}
	})
}
