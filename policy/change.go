package policy

import (
	"net/http"

	"shatabdi/policy/httpheader"
)

// MayChange evaluates the preconditions of a request that would change what is at a
// URL (RFC 9110 §13.2.2, steps 1 and 3): tag is the entity tag of what is there, and
// empty if nothing is. Those that speak of a date of modification do not count, as
// nothing has one (§13.1.4). One that cannot be read does not hold: its client
// wanted to be sure.
func MayChange(h http.Header, tag string) bool {
	is, _ := httpheader.ParseETag(tag)
	if lines := h["If-Match"]; len(lines) > 0 {
		tags, any, ok := httpheader.ParseETags(lines)
		for _, t := range tags {
			any = any || t.StrongMatch(is)
		}
		if !ok || !any || tag == "" {
			return false
		}
	}
	if lines := h["If-None-Match"]; len(lines) > 0 {
		tags, any, ok := httpheader.ParseETags(lines)
		for _, t := range tags {
			any = any || t.WeakMatch(is)
		}
		return ok && (!any || tag == "")
	}
	return true
}

// HasPrecondition reports whether MayChange depends on what is there.
func HasPrecondition(h http.Header) bool {
	return len(h["If-Match"])+len(h["If-None-Match"]) > 0
}
