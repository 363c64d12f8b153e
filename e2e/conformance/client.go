package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// fields are those of a message, in the order and spelling of the wire.
type fields []string

// get returns the values of a field, joined as RFC 9110 §5.3 joins them.
func (f fields) get(name string) (value string, ok bool) {
	var values []string
	for _, line := range f {
		n, v, _ := strings.Cut(line, ":")
		if strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return strings.Join(values, ", "), len(values) > 0
}

// meets evaluates the notation of Step.Has.
func (f fields) meets(want string) bool {
	if name, absent := strings.CutPrefix(want, "!"); absent {
		_, there := f.get(name)
		return !there
	}
	if name, part, ok := strings.Cut(want, " ~ "); ok {
		value, _ := f.get(name)
		return strings.Contains(value, part)
	}
	if name, part, ok := strings.Cut(want, " !~ "); ok {
		value, _ := f.get(name)
		return !strings.Contains(value, part)
	}
	if name, least, ok := strings.Cut(want, " >= "); ok {
		value, _ := f.get(name)
		n, err := strconv.Atoi(value)
		m, _ := strconv.Atoi(least)
		return err == nil && n >= m
	}
	name, value, given := strings.Cut(want, ": ")
	got, there := f.get(name)
	return there && (!given || got == value)
}

// answer is what a client got.
type answer struct {
	status int
	header fields // and "Trailer-NAME: value", "Early-NAME: value" of trailers and of 1xx
	body   string
	cut    bool // it broke off
}

// ask sends a request through a proxy and reads the whole answer.
func ask(proxy string, s *stage, script string) (*answer, error) {
	conn, err := dial(proxy)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	head, content, hasContent := strings.Cut(script, "\n\n")
	lines := strings.Split(head, "\n")
	method, more, _ := strings.Cut(lines[0], " ")
	if method == "" {
		method = "GET"
	}
	version := "HTTP/1.1"
	if cut, old := strings.CutSuffix(more, "HTTP/1.0"); old {
		more, version = strings.TrimSpace(cut), "HTTP/1.0"
	}
	url := s.url + more
	if strings.HasPrefix(more, "http://") {
		_, port, _ := net.SplitHostPort(s.host)
		url = strings.NewReplacer("{port}", port, "{id}", s.id).Replace(more)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\n", method, url, version)
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Host:") || l == "@no Host" }) {
		fmt.Fprintf(&b, "Host: %s\r\n", s.host)
	}
	chunked, raw, trailers := false, false, ""
	for _, line := range lines[1:] {
		switch line {
		case "@raw":
			raw = true
			continue
		case "@no Host":
			continue
		}
		if trailer, is := strings.CutPrefix(line, "@trailer "); is {
			trailers += trailer + "\r\n"
			continue
		}
		chunked = chunked || line == "Transfer-Encoding: chunked"
		b.WriteString(dates(line) + "\r\n")
	}
	switch {
	case raw:
	case chunked:
		content = fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n", len(content), content, trailers)
	case hasContent:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(content))
	}
	b.WriteString("\r\n" + content)
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, err
	}
	return read(bufio.NewReader(conn), method)
}

// read reads an answer, and the interim ones before it.
func read(r *bufio.Reader, method string) (*answer, error) {
	a := &answer{}
	for {
		status, header, err := readHead(r)
		if err != nil {
			return nil, err
		}
		if status/100 != 1 {
			a.status, a.header = status, append(header, a.header...)
			break
		}
		for _, line := range header {
			a.header = append(a.header, fmt.Sprintf("Early-%s", line))
		}
	}
	return a, a.readBody(r, method)
}

func readHead(r *bufio.Reader) (status int, header fields, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, nil, fmt.Errorf("no answer: %w", err)
	}
	words := strings.Fields(line)
	if len(words) < 2 {
		return 0, nil, fmt.Errorf("no status line: %q", line)
	}
	if status, err = strconv.Atoi(words[1]); err != nil {
		return 0, nil, fmt.Errorf("no status line: %q", line)
	}
	header, err = readFields(r)
	return status, header, err
}

func readFields(r *bufio.Reader) (f fields, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the header broke off: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return f, nil
		}
		f = append(f, line)
	}
}

func (a *answer) readBody(r *bufio.Reader, method string) error {
	length, known := a.header.get("Content-Length")
	coding, _ := a.header.get("Transfer-Encoding")
	switch {
	case method == http.MethodHead || a.status == 204 || a.status == 304:
		return nil
	case strings.EqualFold(coding, "chunked"):
		return a.readChunks(r)
	case known:
		n, err := strconv.Atoi(length)
		if err != nil {
			return fmt.Errorf("Content-Length %q", length)
		}
		b, err := io.ReadAll(io.LimitReader(r, int64(n)))
		a.body, a.cut = string(b), err != nil || len(b) < n
		return nil
	}
	b, err := io.ReadAll(r)
	a.body, a.cut = string(b), err != nil
	return nil
}

func (a *answer) readChunks(r *bufio.Reader) error {
	var body strings.Builder
	defer func() { a.body = body.String() }()
	for {
		line, err := r.ReadString('\n')
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, perr := strconv.ParseInt(size, 16, 32)
		if err != nil || perr != nil {
			a.cut = true
			return nil
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(&body, r, n); err != nil {
			a.cut = true
			return nil
		}
		r.Discard(2)
	}
	trailers, err := readFields(r)
	a.cut = err != nil
	for _, line := range trailers {
		a.header = append(a.header, "Trailer-"+line)
	}
	return nil
}
