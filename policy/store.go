package policy

import (
	"net/http"
	"strconv"

	"shatabdi/policy/httpheader"
)

// ForStorage returns a copy of a response's header without what belongs to one
// connection or one client (RFC 9111 §3.1, RFC 9110 §7.6.1): hop-by-hop fields,
// those that Connection lists, Proxy-*, and Set-Cookie, which is never shared.
// Ask Storable before, with the original.
func ForStorage(h http.Header) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	for _, name := range httpheader.ConnectionFields(h["Connection"]) {
		if !endToEnd(name) {
			delete(out, name)
		}
	}
	for _, name := range notStored {
		delete(out, name)
	}
	return out
}

// endToEnd names the fields that Connection must not list (RFC 9110 §7.6.1).
// Without them an origin's slip would lift its own no-store, or leave a coded
// body without its coding.
func endToEnd(name string) bool {
	switch name {
	case "Cache-Control", "Vary", "Expires", "Age", "Date",
		"Content-Encoding", "Content-Type", "Content-Length", "Content-Range":
		return true
	}
	return false
}

var notStored = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info", "Proxy-Status",
	"Set-Cookie", "Set-Cookie2",
}

// Whole turns the head of a 206 into that of the 200 it is a part of, and tells
// the length in bytes (RFC 9111 §3.4). A 200 stays as it is, its length taken
// from Content-Length, -1 when not told. ok is false for everything else.
func Whole(s Stored) (whole Stored, length int64, ok bool) {
	switch s.Status {
	case http.StatusOK:
		return s, contentLength(s.Header), true
	case http.StatusPartialContent:
		value, ok := single(s.Header, "Content-Range")
		part, valid := httpheader.ParseContentRange(value)
		if !ok || !valid || part.Length < 0 {
			return s, -1, false
		}
		s.Status = http.StatusOK
		s.Header = s.Header.Clone()
		delete(s.Header, "Content-Range")
		s.Header["Content-Length"] = []string{strconv.FormatInt(part.Length, 10)}
		return s, part.Length, true
	}
	return s, -1, false
}

func contentLength(h http.Header) int64 {
	value, ok := single(h, "Content-Length")
	if !ok {
		return -1
	}
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// Invalidates reports whether the response to such a request makes what is
// stored under its URL stale (RFC 9111 §4.4): not an error, and the method not
// known to be safe.
func Invalidates(method string, status int) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return false
	}
	return status >= 200 && status < 400
}
