package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/swarmcache/layout"
)

// RoundTrip answers GET and HEAD of a source's URL as an HTTP origin would. What
// goes wrong is a response too, that says so in plain text; an error means that
// the request's context is over. It implements http.RoundTripper.
func (s *Sources) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	res, err := s.answer(req)
	if err != nil {
		if req.Context().Err() != nil {
			return nil, context.Cause(req.Context())
		}
		return failed(req, err), nil
	}
	return res, nil
}

// attempts bounds how often an object may change between Stat and Open.
const attempts = 3

func (s *Sources) answer(req *http.Request) (*http.Response, error) {
	src := s.byScheme[strings.ToLower(req.URL.Scheme)]
	switch {
	case src == nil:
		return nil, malformed("there is no source for %s://", req.URL.Scheme)
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return nil, &Error{Status: http.StatusMethodNotAllowed, Text: "a source can be read only"}
	}
	for range attempts {
		sent := s.now()
		info, err := s.info(req, src)
		if err != nil {
			return nil, err
		}
		res, err := s.respond(req, src, info, sent)
		if !errors.Is(err, ErrChanged) {
			return res, err
		}
		s.forget(req.URL)
	}
	return nil, &Error{Status: http.StatusServiceUnavailable, Text: "it changes all the time"}
}

// respond answers with a version, of which the request may want a part, or
// nothing but to know that it still stands.
func (s *Sources) respond(req *http.Request, src Source, info Info, sent time.Time) (*http.Response, error) {
	received := s.now()
	stored := policy.Stored{Status: http.StatusOK, Header: headerOf(info), RequestTime: sent, ResponseTime: received}
	reply := policy.Respond(policy.Request{Method: req.Method, URL: req.URL, Header: req.Header}, &stored, info.Length)
	res := response(req, reply.Status, stored.Header)
	r := layout.Range{To: info.Length}
	switch {
	case reply.Status == 0:
		res.StatusCode, res.ContentLength = http.StatusPreconditionFailed, 0
	case reply.Status == http.StatusNotModified:
		res.Header.Del("Content-Length")
		return res, nil
	case reply.Status == http.StatusRequestedRangeNotSatisfiable:
		res.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", info.Length))
		res.ContentLength = 0
	case reply.Status == http.StatusPartialContent && len(reply.Ranges) == 1:
		r = layout.Range{From: reply.Ranges[0].From, To: reply.Ranges[0].To}
		res.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", r.From, r.To-1, info.Length))
		res.ContentLength = r.Len()
	default: // the whole, where several ranges are wanted too
		res.StatusCode, res.ContentLength = http.StatusOK, info.Length
	}
	res.Header.Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	if req.Method == http.MethodHead || res.ContentLength == 0 {
		return res, nil
	}
	body, err := src.Open(req.Context(), req.URL, info, r)
	if err != nil {
		return nil, err
	}
	res.Body = &exact{ReadCloser: body, rest: r.Len()}
	return res, nil
}

// info is what Stat says. A request for a part of a version that was heard of
// needs no Stat: Open sees to it that it is that version.
func (s *Sources) info(req *http.Request, src Source) (Info, error) {
	name := req.URL.String()
	s.mu.Lock()
	known, ok := s.infos[name]
	s.mu.Unlock()
	if tag := req.Header.Get("If-Range"); ok && tag != "" && tag == tagOf(known) {
		return known, nil
	}
	info, err := src.Stat(req.Context(), req.URL)
	if err != nil {
		return info, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.infos) >= maxInfos {
		clear(s.infos) // it costs a Stat for each
	}
	s.infos[name] = info
	return info, nil
}

// maxInfos are remembered.
const maxInfos = 4096

func (s *Sources) forget(u *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.infos, u.String())
}

// headerOf tells of a version. That of a URL where it may change is good for now:
// whether it still stands is to be asked each time, as of any cached response, and
// a rule can say otherwise.
func headerOf(i Info) http.Header {
	h := http.Header{
		"Accept-Ranges": {"bytes"}, "Cache-Control": {"public, max-age=0"},
		"Content-Length": {strconv.FormatInt(i.Length, 10)},
	}
	if i.Immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if tag := tagOf(i); tag != "" {
		h.Set("Etag", tag)
	}
	if !i.Modified.IsZero() {
		h.Set("Last-Modified", httpheader.FormatDate(i.Modified))
	}
	if i.ContentType != "" {
		h.Set("Content-Type", i.ContentType)
	}
	return h
}

// tagOf is a version's entity tag.
func tagOf(i Info) string {
	v := i.Validator
	if v == "" {
		return ""
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f }) {
		sum := sha256.Sum256([]byte(v))
		v = hex.EncodeToString(sum[:])
	}
	return `"` + v + `"`
}

func response(req *http.Request, status int, h http.Header) *http.Response {
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: http.NoBody, Request: req,
	}
}

// failed says in a response what went wrong.
func failed(req *http.Request, err error) *http.Response {
	e := &Error{Status: http.StatusBadGateway, Text: err.Error()}
	errors.As(err, &e)
	text := fmt.Sprintf("shatabdi: error: %s\n", e.Text)
	if e.Hint != "" {
		text += fmt.Sprintf("shatabdi: hint: %s\n", e.Hint)
	}
	res := response(req, e.Status, http.Header{
		"Cache-Control": {"no-store"}, "Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
		"Content-Length": {strconv.Itoa(len(text))},
	})
	res.ContentLength = int64(len(text))
	if req.Method != http.MethodHead {
		res.Body = io.NopCloser(strings.NewReader(text))
	}
	return res
}

// exact is a body of as many bytes as were promised, and an error otherwise.
type exact struct {
	io.ReadCloser
	rest int64
}

func (e *exact) Read(b []byte) (int, error) {
	if e.rest == 0 {
		return 0, io.EOF
	}
	n, err := e.ReadCloser.Read(b[:min(int64(len(b)), e.rest)])
	e.rest -= int64(n)
	if err == io.EOF && e.rest > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
