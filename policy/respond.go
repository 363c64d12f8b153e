package policy

import (
	"net/http"
	"time"

	"shatabdi/policy/httpheader"
)

// Reply is the form in which a stored response answers a request.
type Reply struct {
	// Status is the stored one, 206, 304 or 416; 0: ask the origin, for the request
	// has a condition on its state.
	Status int
	// Ranges of a 206, in bytes, in the order asked for; several make a multipart.
	Ranges []httpheader.Range
}

// Respond evaluates the conditions and ranges of a request for a stored response
// of that many bytes, in the order of RFC 9110 §13.2.2. What an error or a
// redirect answers has none (§13.2.1, §14.2).
func Respond(req Request, s *Stored, length int64) Reply {
	h := req.Header
	switch {
	case s.Status != http.StatusOK:
		return Reply{Status: s.Status}
	case !meetsPreconditions(h, s):
		return Reply{}
	case notModified(h, s):
		return Reply{Status: http.StatusNotModified}
	case req.Method != http.MethodGet || len(h["Range"]) == 0 || !ifRange(h, s):
		return Reply{Status: s.Status}
	}
	field, _ := single(h, "Range")
	set, ok := httpheader.ParseRange(field)
	if !ok || length == 0 {
		return Reply{Status: s.Status}
	}
	ranges := set.Resolve(length)
	switch {
	case len(ranges) == 0:
		return Reply{Status: http.StatusRequestedRangeNotSatisfiable}
	case total(ranges) > length: // overlapping: not worth more than the whole (RFC 9110 §14.2)
		return Reply{Status: s.Status}
	}
	return Reply{Status: http.StatusPartialContent, Ranges: ranges}
}

func total(ranges []httpheader.Range) (n int64) {
	for _, r := range ranges {
		n += r.Len()
	}
	return n
}

// meetsPreconditions reports whether If-Match or If-Unmodified-Since holds for
// what is stored. They speak of the origin's state (RFC 9111 §4.3.2): when they
// do not hold here, the origin is asked.
func meetsPreconditions(h http.Header, s *Stored) bool {
	if lines := h["If-Match"]; len(lines) > 0 {
		tags, any, ok := httpheader.ParseETags(lines)
		tag, _ := entityTag(s.Header)
		for _, t := range tags {
			any = any || t.StrongMatch(tag)
		}
		return ok && any
	}
	if len(h["If-Unmodified-Since"]) > 0 {
		limit, ok1 := fieldDate(h, "If-Unmodified-Since", s.ResponseTime)
		modified, ok2 := lastModified(s.Header, s.ResponseTime)
		return ok1 && ok2 && !modified.After(limit)
	}
	return true
}

// notModified evaluates If-None-Match, and If-Modified-Since where there is none
// (RFC 9110 §13.1.2, §13.1.3). A condition that cannot be read does not hold.
func notModified(h http.Header, s *Stored) bool {
	if lines := h["If-None-Match"]; len(lines) > 0 {
		tags, any, _ := httpheader.ParseETags(lines)
		tag, _ := entityTag(s.Header)
		for _, t := range tags {
			any = any || t.WeakMatch(tag)
		}
		return any
	}
	since, ok := fieldDate(h, "If-Modified-Since", s.ResponseTime)
	if !ok {
		return false
	}
	modified := dateOf(s) // where there is no Last-Modified (RFC 9111 §4.3.2)
	if len(s.Header["Last-Modified"]) > 0 {
		if modified, ok = lastModified(s.Header, s.ResponseTime); !ok {
			return false
		}
	}
	return !modified.Truncate(time.Second).After(since)
}

// ifRange reports whether Range counts: without If-Range, or with a strong
// validator of exactly this representation (RFC 9110 §13.1.5).
func ifRange(h http.Header, s *Stored) bool {
	if len(h["If-Range"]) == 0 {
		return true
	}
	value, ok := single(h, "If-Range")
	if !ok {
		return false
	}
	if tag, ok := httpheader.ParseETag(value); ok {
		ours, _ := entityTag(s.Header)
		return tag.StrongMatch(ours)
	}
	modified, ok1 := lastModified(s.Header, s.ResponseTime)
	asked, ok2 := httpheader.ParseDate(value, s.ResponseTime)
	return ok1 && ok2 && asked.Equal(modified) && dateOf(s).Sub(modified) >= strongAfter
}

// fieldDate is a field that holds one date. ref is a time near which it is.
func fieldDate(h http.Header, name string, ref time.Time) (time.Time, bool) {
	value, ok := single(h, name)
	if !ok {
		return time.Time{}, false
	}
	return httpheader.ParseDate(value, ref)
}
