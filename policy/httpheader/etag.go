package httpheader

import "strings"

// ETag is an entity tag as it stands in the field, quotes and W/ included
// (RFC 9110 §8.8.3). The empty ETag means none and matches nothing.
type ETag string

// ParseETag reads one entity tag.
func ParseETag(s string) (ETag, bool) {
	if n := etagLen(s); n == 0 || n != len(s) {
		return "", false
	}
	return ETag(s), true
}

// Weak reports whether t is a weak validator.
func (t ETag) Weak() bool { return strings.HasPrefix(string(t), "W/") }

// StrongMatch is strong comparison: both strong, and equal (§8.8.3.2).
func (t ETag) StrongMatch(o ETag) bool { return t != "" && t == o && !t.Weak() }

// WeakMatch is weak comparison: equal but for W/ (§8.8.3.2).
func (t ETag) WeakMatch(o ETag) bool {
	return t != "" && strings.TrimPrefix(string(t), "W/") == strings.TrimPrefix(string(o), "W/")
}

// ParseETags reads If-None-Match or If-Match (RFC 9110 §13.1.1, §13.1.2): either
// "*", any is true, or a list of at least one tag. ok is false for anything else.
func ParseETags(lines []string) (tags []ETag, any, ok bool) {
	if len(lines) == 1 && trimOWS(lines[0]) == "*" {
		return nil, true, true
	}
	for _, s := range lines {
		// Not a list of quoted-strings: a backslash in a tag escapes nothing.
		for s = trimList(s); s != ""; s = trimList(s) {
			n := etagLen(s)
			if n == 0 {
				return nil, false, false
			}
			tags = append(tags, ETag(s[:n]))
			if s = strings.TrimLeft(s[n:], " \t"); s != "" && s[0] != ',' {
				return nil, false, false
			}
		}
	}
	return tags, false, len(tags) > 0
}

// trimList skips the white space and commas before a member.
func trimList(s string) string { return strings.TrimLeft(s, " \t,") }

// etagLen is the length of the entity tag that s begins with, or 0.
func etagLen(s string) int {
	i := 0
	if strings.HasPrefix(s, "W/") {
		i = 2
	}
	if i >= len(s) || s[i] != '"' {
		return 0
	}
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c < 0x21 || c == 0x7f:
			return 0
		}
	}
	return 0
}
