package tracker

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"shatabdi/proxy/quick"
)

// An announce costs 2.5 µs, and what net/http does around it six times as much. So
// plain announces are answered where net/http reads its connection.

// Quick returns l with connections on which srv, whose handler is this tracker,
// has less to do.
func (t *Tracker) Quick(l net.Listener, srv *http.Server) net.Listener {
	return quick.Listen(l, srv, t.quickAnswer, t.atOnce)
}

// exchange is an announce and its response, and the memory for the next.
type exchange struct {
	request  http.Request
	response response
}

var exchanges = sync.Pool{New: func() any {
	return &exchange{
		http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/announce"}, Header: http.Header{}},
		response{header: http.Header{}},
	}
}}

func (t *Tracker) quickAnswer(dst []byte, from string, request []byte) []byte {
	return t.answer(dst, from, request, true)
}

// atOnce leaves who has to wait to quickAnswer.
func (t *Tracker) atOnce(dst []byte, from string, request []byte) []byte {
	return t.answer(dst, from, request, false)
}

func (t *Tracker) answer(dst []byte, from string, request []byte, mayWait bool) []byte {
	query, plain := parseAnnounce(request)
	if !plain {
		return dst
	}
	x := exchanges.Get().(*exchange)
	defer exchanges.Put(x)
	x.request.RemoteAddr, x.request.URL.RawQuery = from, query
	if !t.serveAnnounce(&x.response, &x.request, mayWait) {
		return dst
	}
	return x.response.append(dst)
}

var (
	announceLine = []byte("GET /announce?")
	httpOneOne   = []byte(" HTTP/1.1")
	crlf         = []byte("\r\n")
)

// parseAnnounce returns the query if b is one announce and nothing else, in no
// other form than clients send it.
func parseAnnounce(b []byte) (query string, plain bool) {
	line, rest, _ := bytes.Cut(b, crlf)
	line, is := bytes.CutPrefix(line, announceLine)
	line, one := bytes.CutSuffix(line, httpOneOne)
	if !is || !one || !quick.IsTarget(line) || !bytes.HasSuffix(rest, []byte("\r\n\r\n")) {
		return "", false
	}
	hosts := 0
	for len(rest) > len(crlf) {
		var field []byte
		field, rest, _ = bytes.Cut(rest, crlf)
		name, value, found := bytes.Cut(field, []byte(":"))
		switch value = bytes.Trim(value, " \t"); {
		case !found || !quick.IsText(value):
			return "", false
		case bytes.EqualFold(name, []byte("Host")):
			hosts++
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("keep-alive")):
		case !harmless(name):
			return "", false
		}
	}
	return string(line), hosts == 1
}

// harmless reports whether a field changes nothing. Those that may, and those
// that nobody sends with an announce, are net/http's to judge.
func harmless(name []byte) bool {
	for _, known := range []string{"User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma"} {
		if len(name) == len(known) && bytes.EqualFold(name, []byte(known)) {
			return true
		}
	}
	return false
}

// response is the http.ResponseWriter of announces.
type response struct {
	header http.Header
	status int
	body   []byte

	second int64 // since the epoch
	date   []byte
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *response) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, b...)
	return len(b), nil
}

// append appends the whole response, and makes room for the next.
func (r *response) append(dst []byte) []byte {
	r.WriteHeader(http.StatusOK)
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.status), 10)
	dst = append(append(append(dst, ' '), http.StatusText(r.status)...), "\r\nDate: "...)
	dst = r.appendDate(dst, time.Now())
	for name, values := range r.header {
		if name != "Content-Length" {
			dst = append(append(append(append(dst, crlf...), name...), ": "...), values[0]...)
		}
	}
	dst = strconv.AppendInt(append(dst, "\r\nContent-Length: "...), int64(len(r.body)), 10)
	dst = append(append(dst, "\r\n\r\n"...), r.body...)
	clear(r.header)
	r.status, r.body = 0, r.body[:0]
	return dst
}

// appendDate writes a second once: that takes as long as to choose the peers.
func (r *response) appendDate(dst []byte, now time.Time) []byte {
	if second := now.Unix(); second != r.second {
		r.second, r.date = second, now.UTC().AppendFormat(r.date[:0], http.TimeFormat)
	}
	return append(dst, r.date...)
}
