package policy

import (
	"net/http"
	"strconv"
	"strings"

	"shatabdi/policy/httpheader"
)

// ForStorage returns a copy of a response's header without what belongs to one
// connection or one client (RFC 9111 §3.1, RFC 9110 §7.6.1): hop-by-hop fields,
// those that Connection lists, Proxy-*, Set-Cookie, which is never shared, and
// the fields that no-cache="f" and private="f" withhold. The client that asked
// gets them all the same, from the response itself. Ask Storable before.
func (c *Caching) ForStorage(h http.Header) http.Header {
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
	c.withhold(out)
	return out
}

// withhold takes out the fields that may be used only with validation (RFC 9111
// §5.2.2.4), or by one user only (§5.2.2.7).
func (c *Caching) withhold(h http.Header) {
	cc, _ := c.control(h)
	for _, fields := range [...]httpheader.FieldList{cc.NoCacheFields, cc.PrivateFields} {
		for name := range fields.All() {
			delete(h, name)
		}
	}
}

// ListsFields reports whether Connection names fields, and not only what becomes
// of the connection.
func ListsFields(h http.Header) bool {
	for _, line := range h["Connection"] {
		if !strings.EqualFold(line, "keep-alive") && !strings.EqualFold(line, "close") {
			return true
		}
	}
	return false
}

// KeepEndToEnd takes out of Connection what it must not list, before somebody
// removes by it.
func KeepEndToEnd(h http.Header) {
	if len(h["Connection"]) == 0 {
		return
	}
	var kept []string
	for _, name := range httpheader.ConnectionFields(h["Connection"]) {
		if !endToEnd(name) {
			kept = append(kept, name)
		}
	}
	h["Connection"] = kept
}

// endToEnd names the fields that Connection must not list (RFC 9110 §7.6.1).
// Without them an origin's slip would lift its own no-store, or leave a coded
// body without its coding.
func endToEnd(name string) bool {
	switch name {
	case "Cache-Control", "Cdn-Cache-Control", "Vary", "Expires", "Age", "Date",
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
		part, ok := contentRange(s.Header)
		if !ok || part.Length < 0 {
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

// WholeLength is the length in bytes of what s is, or of which it is a part; -1
// when not told.
func WholeLength(s Stored) int64 {
	switch s.Status {
	case http.StatusNoContent:
		return 0
	case http.StatusPartialContent:
		_, length, _ := Whole(s)
		return length
	}
	return contentLength(s.Header)
}

// Entire reports whether the body of s is that of what Whole makes of it.
func Entire(s Stored) bool {
	part, ok := contentRange(s.Header)
	return s.Status != http.StatusPartialContent || ok && part.Range.Len() == part.Length
}

// PartOf reports which bytes of whole part carries; ok only when part is a 206
// of the very same representation: the same strong validator, length in bytes
// and coding (RFC 9110 §15.3.7.3, RFC 9111 §3.4). Nothing else may be put
// together, or stand behind bytes that a client has already. Freshened updates
// whole's header from part's.
func PartOf(whole Stored, length int64, part Stored) (r httpheader.Range, ok bool) {
	got, ok := contentRange(part.Header)
	if part.Status != http.StatusPartialContent || !ok || got.Length != length || !sameStrong(whole, part) {
		return httpheader.Range{}, false
	}
	return got.Range, joined(whole.Header, "Content-Encoding") == joined(part.Header, "Content-Encoding")
}

// SameWhole reports whether again is a 200 with all of the very same representation
// that whole is of, length bytes long: what PartOf is for a part.
func SameWhole(whole Stored, length int64, again Stored) bool {
	return again.Status == http.StatusOK && contentLength(again.Header) == length && sameStrong(whole, again) &&
		joined(whole.Header, "Content-Encoding") == joined(again.Header, "Content-Encoding")
}

// sameStrong: an entity tag is compared with an entity tag only; a date counts
// when it is strong, and neither has a tag.
func sameStrong(a, b Stored) bool {
	if tag, ok := entityTag(a.Header); ok {
		other, ok := entityTag(b.Header)
		return ok && tag.StrongMatch(other)
	}
	validator := StrongValidator(a.Header, dateOf(&a))
	return validator != "" && len(b.Header["Etag"]) == 0 && joined(b.Header, "Last-Modified") == validator
}

// contentRange is the Content-Range of a 206, when it has one part and its
// Content-Length does not contradict it.
func contentRange(h http.Header) (httpheader.ContentRange, bool) {
	value, ok := single(h, "Content-Range")
	part, valid := httpheader.ParseContentRange(value)
	if !ok || !valid || part.Range.Len() <= 0 {
		return httpheader.ContentRange{}, false
	}
	return part, len(h["Content-Length"]) == 0 || contentLength(h) == part.Range.Len()
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
