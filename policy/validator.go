package policy

import (
	"net/http"
	"slices"
	"time"

	"shatabdi/policy/httpheader"
)

// strongAfter is how much older than Date a Last-Modified must be to count as a
// strong validator. RFC 9110 §8.8.2.2 asks for a second and the same clock; a
// minute makes the clocks matter less.
const strongAfter = time.Minute

// StrongValidator returns the value for If-Range: a strong entity tag, or a
// Last-Modified that is strong by RFC 9110 §8.8.2.2, verbatim; "" when there is
// none. date is when the response was generated; if zero, its Date field counts.
// A response with a weak entity tag has none, as §13.1.5 forbids a date then.
func StrongValidator(h http.Header, date time.Time) string {
	if len(h["Etag"]) > 0 {
		if tag, ok := entityTag(h); !ok {
			return ""
		} else if !tag.Weak() {
			return string(tag)
		}
		return ""
	}
	value, ok := single(h, "Last-Modified")
	if !ok {
		return ""
	}
	if date.IsZero() {
		// No reference for a two-digit year: it lands in antiquity, and nothing is
		// older than that.
		if date, ok = headerDate(h, time.Time{}); !ok {
			return ""
		}
	}
	modified, ok := httpheader.ParseDate(value, date)
	if !ok || date.Sub(modified) < strongAfter {
		return ""
	}
	return value
}

// entityTag is the ETag field, when it follows its grammar.
func entityTag(h http.Header) (httpheader.ETag, bool) {
	value, ok := single(h, "Etag")
	if !ok {
		return "", false
	}
	return httpheader.ParseETag(value)
}

// conditional returns the fields by which the origin is asked whether s still
// stands (RFC 9111 §4.3.1); nil when s has no validator.
func conditional(s *Stored) http.Header {
	tag, hasTag := entityTag(s.Header)
	_, hasDate := lastModified(s.Header, s.ResponseTime)
	if !hasTag && !hasDate {
		return nil
	}
	h := make(http.Header, 2)
	if hasTag {
		h["If-None-Match"] = []string{string(tag)}
	}
	if hasDate {
		h["If-Modified-Since"] = s.Header["Last-Modified"][:1:1]
	}
	return h
}

func hasValidator(s *Stored) bool {
	if _, ok := entityTag(s.Header); ok {
		return true
	}
	_, ok := lastModified(s.Header, s.ResponseTime)
	return ok
}

// Confirms reports whether a 304 with header h304, the answer to a request with
// old's validators, is about old (RFC 9111 §4.3.4). If not, old must be neither
// freshened nor served for it: fetch the whole object.
func Confirms(old Stored, h304 http.Header) bool {
	if len(h304["Vary"]) > 0 && !sameVary(old.Header["Vary"], h304["Vary"]) {
		return false // Selecting lacks what the new Vary names
	}
	if len(h304["Etag"]) > 0 {
		is, ok1 := entityTag(h304)
		was, ok2 := entityTag(old.Header)
		switch {
		case !ok1 || !ok2:
			return false
		case is.Weak():
			return is.WeakMatch(was)
		}
		return is.StrongMatch(was)
	}
	if value, ok := single(h304, "Last-Modified"); ok {
		is, ok1 := httpheader.ParseDate(value, old.ResponseTime)
		was, ok2 := lastModified(old.Header, old.ResponseTime)
		return ok1 && ok2 && is.Equal(was)
	}
	// No validator at all. The question named exactly one version.
	return len(h304["Last-Modified"]) == 0
}

func sameVary(a, b []string) bool {
	was, ok1 := httpheader.ParseVary(a)
	is, ok2 := httpheader.ParseVary(b)
	if !ok1 || !ok2 {
		return false
	}
	slices.Sort(was)
	slices.Sort(is)
	return slices.Equal(was, is)
}

// Freshened returns old with its header updated from a 304 that Confirms it (RFC
// 9111 §3.2, §4.3.4). The times are those of the exchange. old is not changed.
//
// Ask Storable about the result. With Request{Method: "GET"}, which carries no
// credentials, it says whether the origin took its permission back, and old must
// go; with the request that was sent, whether the new facts may be shared.
func Freshened(old Stored, h304 http.Header, requestTime, responseTime time.Time) Stored {
	h := old.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	// They tell of the old exchange; a 304 without them must not leave them
	// standing beside the new times.
	delete(h, "Age")
	delete(h, "Date")
	delete(h, "Warning")
	for name, lines := range ForStorage(h304) {
		if !describesBody(name) {
			h[name] = lines
		}
	}
	if len(h["Date"]) == 0 { // RFC 9110 §6.6.1: then it is when it was received
		h["Date"] = []string{httpheader.FormatDate(responseTime)}
	}
	old.Header, old.RequestTime, old.ResponseTime = h, requestTime, responseTime
	return old
}

// describesBody names the fields that belong to the stored bytes, whatever a 304
// says (RFC 9111 §3.2).
func describesBody(name string) bool {
	switch name {
	case "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Etag", "Vary":
		return true
	}
	return false
}
