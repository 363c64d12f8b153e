package proxy

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/quick"
	"shatabdi/swarmcache"
)

// A hit of a small object costs less than what net/http does around it: it reads
// beside the handler to see the client go, and its buffer makes two packets of the
// answer. So what is in memory is sent by one write, and all that is not a fresh hit
// takes its usual way.

// quickMost is the largest body that is answered in that way: a client's socket takes
// it at once.
const quickMost = 64 << 10

// Quick returns l with connections on which srv, which serves this proxy, has less to
// do. A hit is more than a look into memory, for it is logged, so no two clients share
// a goroutine.
func (p *Proxy) Quick(l net.Listener, srv *http.Server) net.Listener {
	if p.small == nil {
		return l
	}
	return quick.Listen(l, srv, p.quickAnswer, nil)
}

func (p *Proxy) quickAnswer(dst []byte, from string, request []byte) []byte {
	r := parsePlain(request)
	if r == nil {
		return dst
	}
	r.RemoteAddr = from
	w := &quickResponse{header: http.Header{}}
	if !p.quickHit(w, r) {
		return dst
	}
	return w.append(dst)
}

// quickHit answers r if that needs nothing but a fresh small object, as ServeHTTP
// would; else nothing has happened.
func (p *Proxy) quickHit(w http.ResponseWriter, r *http.Request) bool {
	if p.cache == nil || p.passing() || p.admit(r) != nil || p.checkForm(r) != nil || strings.EqualFold(r.URL.Hostname(), swarmcache.PutHost) {
		return false
	}
	req := policy.Request{Method: r.Method, URL: r.URL, Header: r.Header}
	route := p.rules().Route(req)
	if route.Kind != policy.Swarm {
		return false
	}
	o, selected := p.small.Find(route.Key, r.Header, &route.Cache)
	if !selected || !o.Complete() {
		return false
	}
	ver := o.Version()
	route = p.rules().AtResponse(route, ver.Stored.Status, ver.Stored.Header, ver.Length)
	switch {
	case route.Kind != policy.Swarm, ver.Length > quickMost:
		return false
	case route.Store.Probe, ver.Stored.Guarded: // the origin may have to be asked about this client
		return false
	case hasPreconditions(r.Header) && policy.Respond(req, &ver.Stored, ver.Length).Status == 0:
		return false
	}
	d := route.Cache.Decide(req, &ver.Stored, p.cfg.Now())
	if d.Action != policy.Serve {
		return false
	}
	x := p.begin(w, r.WithContext(p.ctx))
	defer p.end(x)
	x.url = route.FetchURL
	v := &visit{exchange: x, req: req, route: route, key: route.Key, seen: p.seen.use(route.Key), claim: func() {}}
	p.serveStored(v, o, d)
	return true
}

// quickResponse is the http.ResponseWriter of a quick hit.
type quickResponse struct {
	header http.Header
	status int
	body   []byte
}

func (w *quickResponse) Header() http.Header { return w.header }

func (w *quickResponse) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *quickResponse) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body == nil {
		w.body = b[:len(b):len(b)] // an object's, which does not change
	} else {
		w.body = append(w.body, b...)
	}
	return len(b), nil
}

// append appends the whole response.
func (w *quickResponse) append(dst []byte) []byte {
	w.WriteHeader(http.StatusOK)
	if len(w.header["Date"]) == 0 {
		w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	b := bytes.NewBuffer(dst)
	b.WriteString("HTTP/1.1 ")
	b.WriteString(strconv.Itoa(w.status))
	b.WriteByte(' ')
	b.WriteString(http.StatusText(w.status))
	b.WriteString(crlf)
	w.header.Write(b) // a Buffer fails at nothing
	b.WriteString(crlf)
	b.Write(w.body)
	return b.Bytes()
}

const (
	crlf  = "\r\n"
	blank = "\r\n\r\n"
)

// parsePlain returns the request if b is one GET for a proxy and nothing else, in no
// other form than clients send it.
func parsePlain(b []byte) *http.Request {
	if !bytes.HasPrefix(b, []byte("GET http://")) || !bytes.HasSuffix(b, []byte(blank)) || len(b) < len(blank) {
		return nil
	}
	line, rest, _ := strings.Cut(string(b), crlf)
	target, is := strings.CutSuffix(line[len("GET "):], " HTTP/1.1")
	if !is || !quick.IsTarget(target) {
		return nil
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Host == "" || u.User != nil {
		return nil
	}
	h, hosts := make(http.Header, 8), 0
	for rest != crlf {
		field, more, found := strings.Cut(rest, crlf)
		name, value, colon := strings.Cut(field, ":")
		if !found || !colon {
			return nil
		}
		rest = more
		value = strings.Trim(value, " \t")
		if !quick.IsText(value) {
			return nil
		}
		switch name = plainField(name); name {
		case "":
			return nil
		case "Host":
			if hosts++; !isHost(value) {
				return nil
			}
		case "Connection", "Proxy-Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return nil
			}
			h[name] = append(h[name], value)
		default:
			h[name] = append(h[name], value)
		}
	}
	if hosts != 1 {
		return nil
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, RequestURI: target, Header: h, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// plainField returns the canonical name of a field that a plain request may have; "":
// it is net/http's to judge.
func plainField(name string) string {
	for _, known := range [...]string{
		"Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Connection", "Proxy-Connection",
		"Cache-Control", "Pragma", "Referer", "If-None-Match", "If-Modified-Since",
	} {
		if len(name) == len(known) && strings.EqualFold(name, known) {
			return known
		}
	}
	return ""
}

// isHost reports whether s may be a host, with a port or without, in the letters that
// most have: net/http judges others.
func isHost(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_-[]") == ""
}
