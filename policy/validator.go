package policy

import (
	"net/http"
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
// stands (RFC 9111 §4.3.1); nil when s has no validator, or is no success: then
// there are no conditions (RFC 9110 §13.2.1).
func conditional(s *Stored) http.Header {
	if s.Status < 200 || s.Status > 299 {
		return nil
	}
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
