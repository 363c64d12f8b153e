package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"shatabdi/proxy/origin"
)

// port returns the port of host:port.
func port(t *testing.T, at string) int {
	t.Helper()
	_, s, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(s)
	return n
}

func TestTunnelCarriesTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get("Via"); v != "" {
			t.Errorf("Via %q inside a tunnel", v)
		}
		io.WriteString(w, "secret")
	}))
	defer s.Close()
	n := start(t, Config{ConnectPorts: []int{port(t, s.Listener.Addr().String())}}, origin.Config{})
	u, _ := url.Parse("http://" + n.addr)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: roots}}
	res, err := (&http.Client{Transport: tr}).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if string(body) != "secret" || !res.TLS.PeerCertificates[0].Equal(s.Certificate()) {
		t.Errorf("got %q, signed by %s", body, res.TLS.PeerCertificates[0].Issuer)
	}
	if n.metric("shatabdi_tunnels_open") != 1 || n.metric("shatabdi_tunnels_total") != 1 {
		t.Error("the tunnel is not counted")
	}
	tr.CloseIdleConnections()
	eventually(t, "the tunnel is closed and logged", func() bool {
		return n.metric("shatabdi_tunnels_open") == 0 && n.metric("shatabdi_requests_in_flight") == 0 &&
			strings.Contains(n.log.String(), "method=CONNECT")
	})
	if n.metric("shatabdi_tunnel_bytes_total", "direction=to_client") == 0 || n.metric("shatabdi_origin_bytes_total") != 0 {
		t.Error("the bytes of the tunnel are not counted apart")
	}
}

// Each direction ends by itself, and what came before the 200 is not lost.
func TestTunnelHalfCloseAndEarlyBytes(t *testing.T) {
	at := raw(t, func(w *wire) {
		all, err := w.rest() // to the client's half-close
		if err != nil {
			t.Error(err)
		}
		w.send("got %s", all)
	})
	n := start(t, Config{ConnectPorts: []int{port(t, at)}}, origin.Config{})
	c := n.dial()
	c.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\nearly ", at, at)
	if s := c.head(); !strings.HasPrefix(s, "HTTP/1.1 200 ") {
		t.Fatalf("got %q", s)
	}
	c.send("late")
	c.Conn.(*net.TCPConn).CloseWrite()
	if s, err := c.rest(); s != "got early late" || err != nil {
		t.Errorf("got %q, %v", s, err)
	}
	eventually(t, "the tunnel is closed", func() bool { return n.metric("shatabdi_tunnels_open") == 0 })
}

func TestTunnelIdleIsCut(t *testing.T) {
	at := raw(t, func(w *wire) { io.Copy(w.Conn, w.r) })
	n := start(t, Config{ConnectPorts: []int{port(t, at)}, TunnelIdle: 100 * time.Millisecond}, origin.Config{})
	c := n.dial()
	c.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", at, at)
	c.head()
	begun := time.Now()
	for i := range 15 { // busy for longer than the limit
		c.send("%d\n", i)
		if c.line() != strconv.Itoa(i) {
			t.Fatal("the echo is wrong")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if time.Since(begun) < 100*time.Millisecond {
		t.Fatal("the test was too fast")
	}
	c.rest() // returns when the proxy closes
	eventually(t, "the tunnel is closed", func() bool { return n.metric("shatabdi_tunnels_open") == 0 })
}

func TestCloseCutsTunnelsAndUpgrades(t *testing.T) {
	at := raw(t, func(w *wire) { io.Copy(w.Conn, w.r) })
	n := start(t, Config{ConnectPorts: []int{port(t, at)}}, origin.Config{})
	c := n.dial()
	c.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", at, at)
	c.head()
	n.Close()
	c.rest()
	if open := n.metric("shatabdi_tunnels_open"); open != 0 {
		t.Errorf("%v tunnels open after Close", open)
	}
}

// The environment that sends goproxy through another proxy must not move us.
func TestTunnelIgnoresProxyEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1:9")
	t.Setenv("https_proxy", "http://192.0.2.1:9")
	at := raw(t, func(w *wire) { w.send("hello") })
	n := start(t, Config{ConnectPorts: []int{port(t, at)}}, origin.Config{})
	c := n.dial()
	c.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", at, at)
	c.head()
	if s, _ := c.rest(); s != "hello" {
		t.Errorf("got %q", s)
	}
}

func TestTunnelsAreGuarded(t *testing.T) {
	at := raw(t, func(*wire) { t.Error("reached") })
	n := start(t, Config{ConnectPorts: []int{port(t, at)}}, origin.Config{AllowDestinations: []netip.Prefix{}})
	c := n.dial()
	c.send("CONNECT %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", at, at)
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	wantFailure(t, res, string(body), 403, "destination_ip_prohibited")
}
