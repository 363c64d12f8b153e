package proxy

import (
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
)

// RFC 9209 §2.1: who was asked, and what to say about it; what we made up ourselves
// has no next hop, and is no cache's (RFC 9211 §2).
func TestProxyStatusParameters(t *testing.T) {
	n, _ := startSmall(t, Config{})
	coded := raw(t, answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"))
	for _, c := range []struct {
		name, url, request string
		kind, nextHop      string
	}{
		{"refused", "http://127.0.0.1:1/", "", "connection_refused", "127.0.0.1:1"},
		{"no such name", "http://no-such-name.invalid/", "", "dns_error", "no-such-name.invalid"},
		{"an unknown coding", "http://" + coded + "/", "", "http_response_transfer_coding", coded},
		{"made up here", "http://127.0.0.1:1/", "Cache-Control: only-if-cached", "proxy_internal_response", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fields []string
			if c.request != "" {
				fields = append(fields, c.request)
			}
			res, body := n.get(c.url, fields...)
			wantFailure(t, res, body, res.StatusCode, c.kind)
			list, _ := httpsfv.UnmarshalList(res.Header["Proxy-Status"])
			params := list[0].(httpsfv.Item).Params
			details, _ := params.Get("details")
			if s, is := details.(string); !is || s == "" {
				t.Errorf("no details in %q", res.Header["Proxy-Status"])
			}
			hop, _ := params.Get("next-hop")
			if s, _ := hop.(string); s != c.nextHop {
				t.Errorf("next hop %v, want %q", hop, c.nextHop)
			}
			if res.Header.Get("Cache-Status") != "" {
				t.Errorf("says %q", res.Header.Get("Cache-Status"))
			}
		})
	}
}

// RFC 9209 §2: others' members come first, and what cannot be said is left out.
func TestProxyStatusMember(t *testing.T) {
	p := &Proxy{name: httpsfv.Token("n1")}
	for _, c := range []struct {
		t    trouble
		want string
	}{
		{trouble{}, "inner"},
		{trouble{error: "dns_error", nextHop: "a.test", details: `no "a"`}, `inner, n1;error=dns_error;next-hop="a.test";details="no \"a\""`},
		{trouble{received: 503, nextHop: "a.test:81"}, `inner, n1;next-hop="a.test:81";received-status=503`},
		{trouble{error: "dns_error", nextHop: "ä.test"}, "inner, n1;error=dns_error"},
	} {
		h := map[string][]string{"Proxy-Status": {"inner"}}
		p.proxyStatus(h, c.t)
		if got := strings.Join(h["Proxy-Status"], ", "); got != c.want {
			t.Errorf("%+v: %s, want %s", c.t, got, c.want)
		}
	}
}

// RFC 9211 §2.2 and §2.7: past the cache and why, and the key where a rule makes it
// another than the URL.
func TestCacheStatusOfRules(t *testing.T) {
	o := newStore(t, "body")
	n, _ := startSmall(t, Config{}, policy.Rule{Path: "/passed", Route: policy.Pass},
		policy.Rule{
			Path: "/keyed", Key: policy.KeyRule{IgnoreParams: []string{"utm_*", "no", "past"}},
			NoCache: texts[policy.Predicate](t, "$arg_no"), CacheBypass: texts[policy.Predicate](t, "$arg_past"),
		})
	key := `key="` + o.url + `/keyed?a=1"`
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/passed", "n1;fwd=bypass;fwd-status=200;detail=rule"},
		{"POST", "/plain", "n1;fwd=method;fwd-status=200"},
		{"GET", "/plain", "n1;fwd=uri-miss;fwd-status=200;stored"},
		{"GET", "/keyed?a=1&utm_x=2", "n1;fwd=uri-miss;fwd-status=200;stored;" + key},
		{"GET", "/keyed?utm_x=3&a=1", "n1;hit;ttl=60;" + key},
		{"GET", "/keyed?past=1&a=1", "n1;fwd=bypass;fwd-status=200;stored;" + key},
		{"GET", "/keyed?no=1&a=2", "n1;fwd=uri-miss;fwd-status=200;" + strings.Replace(key, "a=1", "a=2", 1) + ";detail=no_cache"},
	} {
		res, _ := n.do(request(t, c.method, o.url+c.path))
		n.work.Wait()
		got := strings.ReplaceAll(res.Header.Get("Cache-Status"), "ttl=59", "ttl=60")
		if _, err := httpsfv.UnmarshalList(res.Header["Cache-Status"]); err != nil || got != c.want {
			t.Errorf("%s %s: %s, want %s (%v)", c.method, c.path, got, c.want, err)
		}
	}
}

// A tunnel that cannot be opened says where it would have led.
func TestProxyStatusOfTunnels(t *testing.T) {
	n := start(t, Config{ConnectPorts: []int{1}}, origin.Config{})
	c := n.dial()
	c.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
	if head := c.head(); !strings.Contains(head, `error=connection_refused;next-hop="127.0.0.1:1"`) {
		t.Error(head)
	}
}
