// Package httpheader reads the header fields on which a cache's decisions rest:
// Cache-Control, Vary, Range, Content-Range, dates, entity tags, Connection.
//
// The parsers are strict, never panic, take time linear in their input, and say
// when a field does not follow its grammar. What a doubt means is decided by the
// caller. Field values are given as in http.Header: one string per field line.
package httpheader

import (
	"net/textproto"
	"slices"
	"strings"
)

// list walks the members of a comma-separated field line (RFC 9110 §5.6.1).
// Commas inside quoted strings do not separate.
type list struct {
	rest   string
	closed bool // a quote without an end was met: from here on quotes mean nothing
}

// next returns the next member without the white space around it; empty ones
// are skipped (§5.6.1.2). A quote that is never closed is an ordinary character,
// so that it cannot hide the members after it.
func (l *list) next() (string, bool) {
	for l.rest != "" {
		member := l.cut()
		if member = trimOWS(member); member != "" {
			return member, true
		}
	}
	return "", false
}

func (l *list) cut() string {
	s := l.rest
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ',':
			l.rest = s[i+1:]
			return s[:i]
		case s[i] == '"' && !l.closed:
			if n := quotedLen(s[i:]); n > 0 {
				i += n - 1
			} else {
				l.closed = true
			}
		}
	}
	l.rest = ""
	return s
}

// quotedLen is the length of the quoted-string (§5.6.4) that s begins with,
// quotes included, or 0 when it has no end.
func quotedLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// trimOWS removes optional white space (§5.6.3).
func trimOWS(s string) string { return strings.Trim(s, " \t") }

// tokenLen is the length of the token (§5.6.2) that s begins with.
func tokenLen(s string) int {
	for i := 0; i < len(s); i++ {
		if !isTokenChar(s[i]) {
			return i
		}
	}
	return len(s)
}

// IsToken reports whether s is a token, as methods and field names are.
func IsToken(s string) bool { return s != "" && tokenLen(s) == len(s) }

func isTokenChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// is compares in any case, ASCII only: equal lengths rule out the letters beyond
// ASCII that EqualFold takes for k and s.
func is(s, name string) bool { return len(s) == len(name) && strings.EqualFold(s, name) }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// maxFields bounds how many names one field may list: more is no honest header,
// and the search for duplicates stays cheap.
const maxFields = 256

// fieldNames reads a list of field names in canonical form, each once, in order
// of appearance. ok is false when a member is no token, or there are too many.
func fieldNames(lines []string) (names []string, ok bool) {
	ok = true
	for _, line := range lines {
		for l := (list{rest: line}); ; {
			m, more := l.next()
			if !more {
				break
			}
			if !IsToken(m) {
				ok = false
				continue
			}
			if m = textproto.CanonicalMIMEHeaderKey(m); slices.Contains(names, m) {
				continue
			}
			if len(names) == maxFields {
				return names, false
			}
			names = append(names, m)
		}
	}
	return names, ok
}
