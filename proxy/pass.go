package proxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
)

// newEngine returns what sends requests to origins and streams the answers. It
// is net/http's ReverseProxy, because that is where twenty years of reports
// have gone: upgrades, 1xx, trailers, early answers, aborts. It is turned into
// a forward proxy by what rewrite restores.
func (p *Proxy) newEngine() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      transport{p.origin},
		ModifyResponse: p.respond,
		ErrorHandler:   p.engineFailed,
		FlushInterval:  -1, // a byte that has come is a byte the client waits for
		BufferPool:     &buffers,
		ErrorLog:       slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
}

// transport keeps an origin from taking its no-store away by a slip: the engine
// removes what Connection lists before anybody else sees it.
type transport struct{ http.RoundTripper }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		policy.KeepEndToEnd(res.Header)
	}
	return res, err
}

// pass lets the request and its answer through.
func (p *Proxy) pass(x *exchange) {
	if done := p.maxForwards(x); done {
		return
	}
	p.send(x, x.r)
}

// send runs r, a request of x, through the engine.
func (p *Proxy) send(x *exchange, r *http.Request) { p.engine.ServeHTTP(x.w, r) }

// rewrite undoes what ReverseProxy does to the request for the sake of servers
// behind a gateway. Hop-by-hop fields are gone already, an upgrade is kept.
func rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	x := exchangeOf(in.Context())
	u := *x.url // the query as sent, also where net/url cannot read it
	if out.URL = &u; u.Scheme != in.URL.Scheme {
		out.Host = u.Host
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := in.Header[name]; ok {
			out.Header[name] = v
		}
	}
	out.Header.Del("Proxy-Authentication-Info")
	if strings.EqualFold(out.Header.Get("Upgrade"), "h2c") {
		// The engine puts back what asks for another protocol. This one is HTTP, of which
		// no rule would see any more, and clients do not need it (RFC 9113 §3.1).
		for _, name := range []string{"Connection", "Upgrade", "Http2-Settings"} {
			out.Header.Del(name)
		}
	}
	out.Trailer = in.Trailer // shared: its values come with the end of the body
	if in.Method == http.MethodOptions && in.URL.Path == "" && in.URL.RawQuery == "" {
		out.URL.Path = "*" // RFC 9112 §3.2.4
	}
	if x.prepare != nil {
		x.prepare(out)
	}
}

// respond sees the origin's response first.
func (p *Proxy) respond(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	if res.StatusCode == http.StatusSwitchingProtocols {
		if asked := res.Request.Header.Get("Upgrade"); !strings.EqualFold(asked, res.Header.Get("Upgrade")) {
			return &origin.Error{Kind: origin.KindProtocol, Err: fmt.Errorf("it switches to %q, and was asked for %q", res.Header.Get("Upgrade"), asked)}
		}
		origin.AddVia(res.Header, res.ProtoMajor, res.ProtoMinor, p.origin.Node())
		x.w.status = res.StatusCode // the engine writes it on the bare connection
		return nil
	}
	if x.respond != nil {
		if err := x.respond(res); err != nil {
			return err
		}
	}
	origin.AddVia(res.Header, res.ProtoMajor, res.ProtoMinor, p.origin.Node())
	if _, ok := res.Header["Content-Type"]; !ok {
		x.w.Header()["Content-Type"] = nil // or net/http would guess one
	}
	res.Body = &passedBody{ReadCloser: res.Body, x: x}
	return nil
}

// passedBody counts what goes straight through.
type passedBody struct {
	io.ReadCloser
	x *exchange
}

func (b *passedBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	b.x.bytes.origin += int64(n)
	if err != nil && err != io.EOF {
		b.x.failure, b.x.err = string(origin.KindIncomplete), err
		if origin.KindOf(err) == origin.KindCanceled {
			b.x.failure = string(origin.KindCanceled)
		}
	}
	return n, err
}

// instead, returned by exchange.respond, answers in place of the origin's
// response. Whoever returns it has taken the response's body.
type instead func()

func (instead) Error() string { return "answered by other means" }

func (p *Proxy) engineFailed(_ http.ResponseWriter, out *http.Request, err error) {
	var answer instead
	if errors.As(err, &answer) {
		answer()
		return
	}
	x := exchangeOf(out.Context())
	if x.failed == nil || !x.failed(err) {
		p.fail(x, err)
	}
}

// maxForwards does what RFC 9110 §7.6.2 asks of proxies, and reports whether
// the request ends here.
func (p *Proxy) maxForwards(x *exchange) bool {
	if m := x.r.Method; m != http.MethodTrace && m != http.MethodOptions {
		return false
	}
	n, err := strconv.Atoi(x.r.Header.Get("Max-Forwards"))
	if err != nil || n < 0 {
		return false
	}
	if n > 0 {
		x.r.Header.Set("Max-Forwards", strconv.Itoa(n-1))
		return false
	}
	if x.r.Method == http.MethodOptions {
		x.w.WriteHeader(http.StatusNoContent)
		return true
	}
	x.w.Header().Set("Content-Type", "message/http")
	h := x.r.Header.Clone()
	for _, secret := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		h.Del(secret) // RFC 9110 §9.3.8
	}
	io.WriteString(x.w, "TRACE "+x.r.URL.String()+" "+x.r.Proto+"\r\nHost: "+x.r.Host+"\r\n")
	h.Write(x.w)
	io.WriteString(x.w, "\r\n")
	return true
}
