package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// origin answers each scenario by its script, byte by byte.
type origin struct {
	ln    net.Listener
	conns sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	stages map[string]*stage
	open   map[net.Conn]struct{}
}

// stage is the origin as one scenario sees it.
type stage struct {
	id, host, url string

	mu       sync.Mutex // guards the fields below
	step     int
	script   *script
	requests []request
	current  *script // the last 200 that was sent: of what a cache that fetches in parts may ask the rest
}

// request is what the origin got.
type request struct {
	method string
	header fields
}

func (r *request) conditional() bool {
	_, tag := r.header.get("If-None-Match")
	_, date := r.header.get("If-Modified-Since")
	return tag || date
}

// script is an answer to be sent. Stage directions:
//
//	@drop          close the connection without an answer
//	@cut 5         close it after so many bytes of the body
//	@wait 300ms    before the answer
//	@chunked       in chunks; @trailer NAME: VALUE after them
//	@unlimited     the end of the connection is the end of the body
//	@early 103 NAME: VALUE   an interim answer before
//	@no Date       leave out what is sent by itself: Date, Content-Length
//	@ranges        a part of it to who asks for a part
type script struct {
	status                   int
	header                   fields
	body                     string
	early, trailers          []string
	drop, chunked, unlimited bool
	ranges                   bool
	noDate, noLength         bool
	cut                      int // -1: not
	wait                     time.Duration
}

func parse(id string, step int, text string) *script {
	head, body, hasBody := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	s := &script{status: 200, cut: -1, body: fmt.Sprintf("body %d of %s", step+1, id)}
	if lines[0] != "" {
		s.status, _ = strconv.Atoi(lines[0])
	}
	if hasBody {
		s.body = body
	}
	for _, line := range lines[1:] {
		line = dates(line)
		direction, what, _ := strings.Cut(line, " ")
		switch direction {
		case "@drop":
			s.drop = true
		case "@cut":
			s.cut, _ = strconv.Atoi(what)
		case "@wait":
			s.wait, _ = time.ParseDuration(what)
		case "@chunked":
			s.chunked = true
		case "@trailer":
			s.chunked, s.trailers = true, append(s.trailers, what)
		case "@unlimited":
			s.unlimited = true
		case "@ranges":
			s.ranges = true
		case "@early":
			s.early = append(s.early, what)
		case "@no":
			s.noDate, s.noLength = s.noDate || what == "Date", s.noLength || what == "Content-Length"
		default:
			s.header = append(s.header, line)
		}
	}
	return s
}

var dateOf = regexp.MustCompile(`\{now([+-]\d+)?\}`)

// dates puts dates in the place of {now-60}.
func dates(line string) string {
	return dateOf.ReplaceAllStringFunc(line, func(m string) string {
		seconds, _ := strconv.Atoi(strings.Trim(m, "{}now"))
		return time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
	})
}

func newOrigin() (*origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{ln: ln, stages: map[string]*stage{}, open: map[net.Conn]struct{}{}}
	o.conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.open[conn] = struct{}{}
			o.mu.Unlock()
			o.conns.Go(func() {
				o.serve(conn)
				conn.Close()
				o.mu.Lock()
				delete(o.open, conn)
				o.mu.Unlock()
			})
		}
	})
	return o, nil
}

func (o *origin) close() {
	o.ln.Close()
	o.mu.Lock()
	for conn := range o.open {
		conn.Close()
	}
	o.mu.Unlock()
	o.conns.Wait()
}

// stage sets up a scenario.
func (o *origin) stage(id string) *stage {
	host := o.ln.Addr().String()
	s := &stage{id: id, host: host, url: "http://" + host + "/" + id}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stages[id] = s
	return s
}

// next begins a step.
func (s *stage) next(step int, answer string) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer = strings.NewReplacer("{url}", s.url, "{host}", s.host, "{id}", s.id).Replace(answer)
	s.step, s.script = step, parse(s.id, step, answer)
	return s.script
}

// asked reports whether anything was.
func (s *stage) asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests) > 0
}

// took returns what was asked since the last time.
func (s *stage) took() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.requests
	s.requests = nil
	return r
}

func (o *origin) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		method, target, header, err := readRequest(r)
		if err != nil {
			return
		}
		if length, ok := header.get("Content-Length"); ok {
			n, _ := strconv.Atoi(length)
			if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
				return
			}
		} else if coding, _ := header.get("Transfer-Encoding"); coding != "" {
			content := &answer{}
			if content.readChunks(r); content.cut {
				return
			}
			header = append(header, content.header...)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(target, "/"), "/")
		id, _, _ = strings.Cut(id, "?")
		o.mu.Lock()
		s := o.stages[id]
		o.mu.Unlock()
		if s == nil || !s.answer(conn, method, header) {
			return
		}
	}
}

func readRequest(r *bufio.Reader) (method, target string, header fields, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", "", nil, err
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		return "", "", nil, fmt.Errorf("no request line: %q", line)
	}
	header, err = readFields(r)
	return words[0], words[1], header, err
}

// answer answers one request, and reports whether the connection goes on.
func (s *stage) answer(w io.Writer, method string, header fields) bool {
	s.mu.Lock()
	sc := s.script
	if part := s.current.rest(header); part != nil {
		sc = part // not a client's question: a cache fetches what it misses
	} else {
		s.requests = append(s.requests, request{method, header})
		if sc.status == 304 && !(&request{method, header}).conditional() {
			sc = parse(s.id, s.step, "200\nCache-Control: no-store")
		}
		if sc.status == 200 {
			s.current = sc
		}
		if ranges, asked := header.get("Range"); asked && sc.ranges {
			if part := sc.part(ranges); part != nil {
				sc = part
			}
		}
	}
	s.mu.Unlock()
	time.Sleep(sc.wait)
	if sc.drop {
		return false
	}
	return sc.send(w, method)
}

// rest is the answer to a request for a part by If-Range, which no client sends
// by itself here without saying so in X-Client.
func (sc *script) rest(header fields) *script {
	tag, conditional := header.get("If-Range")
	ranges, _ := header.get("Range")
	if _, client := header.get("X-Client"); sc == nil || client || !conditional {
		return nil
	}
	if own, _ := sc.header.get("ETag"); own != tag {
		return nil
	}
	return sc.part(ranges)
}

// part is the answer to a request for a part, nil where it is none.
func (sc *script) part(ranges string) *script {
	from, to, _ := strings.Cut(strings.TrimPrefix(ranges, "bytes="), "-")
	a, err := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err2 != nil || b >= len(sc.body) {
		b = len(sc.body) - 1
	}
	if err != nil || a > b {
		return nil
	}
	part := *sc
	part.status, part.body, part.cut, part.wait = 206, sc.body[a:b+1], -1, 0
	part.header = append(sc.header[:len(sc.header):len(sc.header)], fmt.Sprintf("Content-Range: bytes %d-%d/%d", a, b, len(sc.body)))
	return &part
}

func (sc *script) send(w io.Writer, method string) (goesOn bool) {
	var b strings.Builder
	for _, e := range sc.early {
		status, line, _ := strings.Cut(e, " ")
		fmt.Fprintf(&b, "HTTP/1.1 %s Early\r\n%s\r\n\r\n", status, line)
	}
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", sc.status, http.StatusText(sc.status))
	for _, line := range sc.header {
		b.WriteString(line + "\r\n")
	}
	if _, given := sc.header.get("Date"); !given && !sc.noDate {
		b.WriteString(dates("Date: {now}") + "\r\n")
	}
	_, given := sc.header.get("Content-Length")
	bodiless := method == http.MethodHead || sc.status == 204 || sc.status == 304
	switch {
	case sc.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case sc.unlimited || given || sc.noLength || sc.status == 204 || sc.status == 304:
	default:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(sc.body))
	}
	// Who closes a connection says so before: a client could not ask again by itself
	// what it has sent on one that it thought was kept (RFC 9112 §9.3.1, §9.6).
	goesOn = sc.cut < 0 && !sc.unlimited && !given
	if !goesOn {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	body := sc.body
	if sc.cut >= 0 {
		body = body[:min(sc.cut, len(body))]
	}
	switch {
	case bodiless:
	case sc.chunked:
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(body), body)
		if sc.cut < 0 {
			b.WriteString("0\r\n")
			for _, line := range sc.trailers {
				b.WriteString(line + "\r\n")
			}
			b.WriteString("\r\n")
		}
	default:
		b.WriteString(body)
	}
	_, err := io.WriteString(w, b.String())
	return goesOn && err == nil
}
