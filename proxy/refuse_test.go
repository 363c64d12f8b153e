package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"shatabdi/proxy/origin"
)

// wantFailure checks an error that we generated: status, Proxy-Status
// (RFC 9209 §2), and a body that names the request.
func wantFailure(t *testing.T, res *http.Response, body string, status int, kind string) {
	t.Helper()
	if res.StatusCode != status {
		t.Errorf("status %d, want %d; body %q", res.StatusCode, status, body)
	}
	list, err := httpsfv.UnmarshalList(res.Header["Proxy-Status"])
	if err != nil || len(list) != 1 {
		t.Fatalf("Proxy-Status %q: %v", res.Header["Proxy-Status"], err)
	}
	item := list[0].(httpsfv.Item)
	if got, _ := item.Params.Get("error"); item.Value != httpsfv.Token("n1") || got != httpsfv.Token(kind) {
		t.Errorf("Proxy-Status %q, want error=%s of n1", res.Header.Get("Proxy-Status"), kind)
	}
	if !strings.Contains(body, "request id: ") {
		t.Errorf("no request id in %q", body)
	}
}

func TestOriginFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := l.Addr().String()
	l.Close()
	silent := raw(t, func(w *wire) { io.Copy(io.Discard, w.r) })
	n := start(t, Config{}, origin.Config{ResponseHeaderTimeout: 100 * time.Millisecond})
	for _, tt := range []struct {
		name, url string
		status    int
		kind      string
	}{
		{"refuses", "http://" + refusing, 502, "connection_refused"},
		{"no such name", "http://no-such-name.invalid", 502, "dns_error"},
		{"never answers", "http://" + silent, 504, "http_response_timeout"},
		{"closes at once", "http://" + raw(t, func(*wire) {}), 502, "connection_terminated"},
		{"not HTTP", "http://" + raw(t, answer("220 mail.test ESMTP\r\n")), 502, "http_protocol_error"},
		{"unspecified address", "http://0.0.0.0:1", 403, "destination_ip_prohibited"},
		{"link-local address", "http://169.254.169.254/latest/meta-data/", 403, "destination_ip_prohibited"},
		{"this proxy itself", "http://" + n.addr + "/", 403, "destination_ip_prohibited"},
		{"another scheme", "gopher://127.0.0.1/", 400, "http_request_error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := n.dial()
			c.send("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", tt.url)
			res, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			wantFailure(t, res, string(body), tt.status, tt.kind)
		})
	}
	if got := n.metric("shatabdi_request_errors_total", "type=destination_ip_prohibited"); got != 3 {
		t.Errorf("%v prohibited destinations counted, want 3", got)
	}
}

func TestLoopbackRefusedByDefault(t *testing.T) {
	at := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	n := start(t, Config{}, origin.Config{
		AllowDestinations: []netip.Prefix{},
		Hosts:             map[string]netip.Addr{"inner.test": netip.MustParseAddr("127.0.0.1")},
	})
	_, port, _ := net.SplitHostPort(hostOf(at))
	for _, host := range []string{"127.0.0.1", "localhost", "inner.test", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"} {
		c := n.dial()
		c.send("GET http://%s:%s/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", host, port)
		if s := c.line(); !strings.Contains(s, " 403 ") && !strings.Contains(s, " 502 ") {
			t.Errorf("%s: %s", host, s)
		}
	}
}

// RFC 9110 §7.6.3: the request carries our own pseudonym.
func TestLoopByVia(t *testing.T) {
	n := start(t, Config{}, origin.Config{})
	res, body := n.get("http://127.0.0.1:1/", "Via: 1.1 other, 1.1 n1")
	wantFailure(t, res, body, 502, "proxy_loop_detected")
}

// Two proxies that send to each other: the second pass through one of them ends it.
func TestLoopThroughAnotherProxy(t *testing.T) {
	var n *node
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		req := request(t, "GET", "http://"+r.Host+"/", "Via: "+r.Header.Get("Via")+", 1.1 other")
		res, err := n.client().Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		w.Header()["Proxy-Status"] = res.Header["Proxy-Status"]
		w.WriteHeader(res.StatusCode)
		io.Copy(w, res.Body)
	})
	n = start(t, Config{}, origin.Config{})
	res, body := n.get(other)
	wantFailure(t, res, body, 502, "proxy_loop_detected")
}

func TestRequestForms(t *testing.T) {
	n := start(t, Config{MaxRequestBody: 10}, origin.Config{})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	for _, tt := range []struct {
		name, request string
		status        int
		hint          string
	}{
		{"origin-form", "GET / HTTP/1.1\r\nHost: x\r\n", 400, "http_proxy="},
		{"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n", 400, "http_proxy="},
		{"password in the URL", "GET http://u:p@127.0.0.1/ HTTP/1.1\r\nHost: x\r\n", 400, "Authorization"},
		{"body too large", "PUT " + at + " HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n", 413, "10 bytes"},
		{"CONNECT to no port", "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n", 400, ""},
		{"CONNECT to a port not allowed", "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n", 403, "443"},
		{"CONNECT in a circle", "CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\nVia: 1.1 n1\r\n", 502, "proxy"},
		{"CONNECT to nobody", "CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n", 502, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := n.dial()
			c.send("%sConnection: close\r\n\r\n", tt.request)
			res, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.status || !strings.Contains(string(body), tt.hint) || res.Header.Get("Proxy-Status") == "" {
				t.Errorf("got %s %q with %q, want %d with a hint on %q", res.Status, res.Header.Get("Proxy-Status"), body, tt.status, tt.hint)
			}
		})
	}
	deaf := raw(t, func(w *wire) { io.Copy(io.Discard, w.r) })
	c := n.dial()
	c.send("PUT http://%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n%s\r\n0\r\n\r\n", deaf, strings.Repeat("x", 20))
	if s := c.line(); !strings.Contains(s, " 413 ") {
		t.Errorf("a chunked body too large: %s", s)
	}
}

func TestWhoMayUseTheProxy(t *testing.T) {
	p, err := New(Config{Origin: origin.New(origin.Config{}), Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from string
		ok   bool
	}{
		{"127.0.0.1:1", true}, {"[::1]:1", true}, {"10.1.2.3:1", true}, {"[::ffff:10.1.2.3]:1", true}, {"[2001:db8::1]:1", true},
		{"10.2.0.1:1", false}, {"[2001:db9::1]:1", false}, {"192.0.2.1:1", false}, {"nonsense", false}, {"", false},
	} {
		if err := p.admit(&http.Request{RemoteAddr: tt.from}); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want allowed %v", tt.from, err, tt.ok)
		}
	}
}

func TestAccessLog(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	n := start(t, Config{}, origin.Config{})
	n.get(at + "/some/path?X-Amz-Signature=secret")
	eventually(t, "logged", func() bool { return strings.Count(n.log.String(), "\n") == 1 })
	line := n.log.String()
	for _, want := range []string{"method=GET", "host=" + hostOf(at), "path=/some/path", "status=200", "outcome=bypass", "source=origin", "bytes=5", "from.origin=5", "duration=", "id="} {
		if !strings.Contains(line, " "+want) {
			t.Errorf("lacks %s: %s", want, line)
		}
	}
	if strings.Contains(line, "secret") {
		t.Errorf("tells the query: %s", line)
	}
}

// requests = hit + miss + revalidated + stale + bypass + collapsed
func TestEveryRequestIsCountedOnce(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	n := start(t, Config{}, origin.Config{})
	n.get(at)
	n.get("http://127.0.0.1:1/")
	c := n.dial()
	c.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	c.rest()
	eventually(t, "three requests counted", func() bool { return n.metric("shatabdi_requests_total") == 3 })
	eventually(t, "none in flight", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
}

func TestNodeNameThatIsNoToken(t *testing.T) {
	n := start(t, Config{}, origin.Config{Node: "7f3a"})
	res, _ := n.get("http://127.0.0.1:1/")
	if _, err := httpsfv.UnmarshalList(res.Header["Proxy-Status"]); err != nil || !strings.Contains(res.Header.Get("Proxy-Status"), `"7f3a"`) {
		t.Errorf("Proxy-Status %q: %v", res.Header.Get("Proxy-Status"), err)
	}
}

func ExampleProxy_hint() {
	_, _, text, hint := explain(&origin.Error{Kind: origin.KindRefused, Err: io.EOF})
	fmt.Println(text + "; " + hint)
	// Output: the origin refuses connections; check host and port; is the server running?
}
