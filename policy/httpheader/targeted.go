package httpheader

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// ParseTargeted reads the lines of a targeted Cache-Control field such as
// CDN-Cache-Control (RFC 9213 §2.1). Unlike Cache-Control it is a Dictionary
// Structured Field (RFC 9651 §4.2.2): a field with an error anywhere, or an empty
// one, is as good as none, and then ok is false.
//
// A directive whose value has the wrong type, max-age="60" or no-store=1, counts
// as one with an invalid argument does in Cache-Control. Parameters mean nothing.
func ParseTargeted(lines []string) (c CacheControl, ok bool) {
	field := ""
	switch len(lines) {
	case 0:
		return CacheControl{}, false
	case 1:
		field = lines[0]
	default:
		field = strings.Join(lines, ", ")
	}
	var space [16]directive
	members, ok := parseDictionary(strings.TrimLeft(field, " "), space[:0])
	if !ok || len(members) == 0 {
		return CacheControl{}, false
	}
	for _, d := range members {
		if d.arg == "?0" && !d.text { // false: as if it were not there
			continue
		}
		if (d.is("no-cache") || d.is("private")) && d.hasArg && !d.text {
			d.malformed = true // only a String can name fields
		}
		c.add(d)
	}
	return c, true
}

// parseDictionary appends the members of a dictionary, each key once: the last
// value counts. A member that no directive can have is malformed. It fails on
// more than maxFields members, so that the search for duplicates stays cheap.
func parseDictionary(s string, members []directive) (_ []directive, ok bool) {
	for s != "" {
		n := keyLen(s)
		if n == 0 {
			return nil, false
		}
		d := directive{name: s[:n]}
		if s = s[n:]; s != "" && s[0] == '=' {
			if s, ok = d.parseValue(s[1:]); !ok {
				return nil, false
			}
		}
		if s, ok = skipParams(s); !ok {
			return nil, false
		}
		if members = replace(members, d); len(members) > maxFields {
			return nil, false
		}
		if s = strings.TrimLeft(s, " \t"); s == "" {
			break
		}
		if s[0] != ',' {
			return nil, false
		}
		if s = strings.TrimLeft(s[1:], " \t"); s == "" {
			return nil, false // a comma at the end
		}
	}
	return members, true
}

func replace(members []directive, d directive) []directive {
	for i := range members {
		if members[i].name == d.name {
			members[i] = d
			return members
		}
	}
	return append(members, d)
}

// parseValue reads the value of a member as the argument of a directive: the
// Boolean true is no argument, false the argument "?0".
func (d *directive) parseValue(s string) (rest string, ok bool) {
	if s != "" && s[0] == '(' {
		d.hasArg, d.malformed = true, true
		return skipInnerList(s)
	}
	n := itemLen(s)
	if n == 0 {
		return s, false
	}
	d.hasArg = true
	switch item := s[:n]; item[0] {
	case '?':
		if d.hasArg = item == "?0"; d.hasArg {
			d.arg = item
		}
	case '"':
		d.arg, d.text = item[1:n-1], true
	case ':', '@', '%':
		d.malformed = true
	default:
		d.arg = item
	}
	return s[n:], true
}

// skipInnerList skips an inner list, without its parameters (§4.2.1.2).
func skipInnerList(s string) (rest string, ok bool) {
	s = s[1:]
	for {
		if s = strings.TrimLeft(s, " "); s == "" {
			return "", false
		}
		if s[0] == ')' {
			return s[1:], true
		}
		n := itemLen(s)
		if n == 0 {
			return "", false
		}
		if s, ok = skipParams(s[n:]); !ok || s == "" || s[0] != ' ' && s[0] != ')' {
			return "", false
		}
	}
}

// skipParams skips the parameters that s begins with (§4.2.3.2).
func skipParams(s string) (rest string, ok bool) {
	for s != "" && s[0] == ';' {
		s = strings.TrimLeft(s[1:], " ")
		n := keyLen(s)
		if n == 0 {
			return "", false
		}
		if s = s[n:]; s != "" && s[0] == '=' {
			if n = itemLen(s[1:]); n == 0 {
				return "", false
			}
			s = s[1+n:]
		}
	}
	return s, true
}

// keyLen is the length of the key that s begins with, 0 for none (§4.2.3.3).
func keyLen(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isLower(c) || c == '*' || i > 0 && (isDigit(c) || c == '_' || c == '-' || c == '.') {
			continue
		}
		return i
	}
	return len(s)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// itemLen is the length of the bare item that s begins with, 0 for none (§4.2.3.1).
func itemLen(s string) int {
	if s == "" {
		return 0
	}
	switch c := s[0]; {
	case c == '-' || isDigit(c):
		return numberLen(s)
	case c == '"':
		return stringLen(s)
	case c == '*' || isLower(c|0x20):
		return sfTokenLen(s)
	case c == '?':
		if len(s) > 1 && (s[1] == '0' || s[1] == '1') {
			return 2
		}
	case c == ':':
		return binaryLen(s)
	case c == '@':
		if n := numberLen(s[1:]); n > 0 && strings.IndexByte(s[:1+n], '.') < 0 {
			return 1 + n
		}
	case c == '%':
		return displayLen(s)
	}
	return 0
}

// numberLen: at most 15 digits, or 12 and up to 3 after the point (§4.2.4).
func numberLen(s string) int {
	sign := 0
	if s != "" && s[0] == '-' {
		sign = 1
	}
	whole := digitsLen(s[sign:])
	n := sign + whole
	if whole == 0 || whole > 15 {
		return 0
	}
	if n == len(s) || s[n] != '.' {
		return n
	}
	fraction := digitsLen(s[n+1:])
	if whole > 12 || fraction < 1 || fraction > 3 {
		return 0
	}
	return n + 1 + fraction
}

func digitsLen(s string) int {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return i
		}
	}
	return len(s)
}

// stringLen is §4.2.5: printable ASCII, and only a quote or a backslash may be escaped.
func stringLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return 0
			}
		case c < ' ' || c > '~':
			return 0
		}
	}
	return 0
}

func sfTokenLen(s string) int {
	for i := 0; i < len(s); i++ {
		if !isTokenChar(s[i]) && s[i] != ':' && s[i] != '/' {
			return i
		}
	}
	return len(s)
}

// binaryLen is §4.2.7.
func binaryLen(s string) int {
	n := strings.IndexByte(s[1:], ':')
	if n < 0 || strings.ContainsAny(s[1:1+n], "\r\n") { // which the decoder would skip
		return 0
	}
	if _, err := base64.StdEncoding.DecodeString(s[1 : 1+n]); err != nil {
		return 0
	}
	return n + 2
}

// displayLen is §4.2.10: percent-encoded UTF-8 in quotes.
func displayLen(s string) int {
	if !strings.HasPrefix(s, `%"`) {
		return 0
	}
	var text []byte
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			if !utf8.Valid(text) {
				return 0
			}
			return i + 1
		case c == '%':
			if i+2 >= len(s) || lowerHex(s[i+1]) < 0 || lowerHex(s[i+2]) < 0 {
				return 0
			}
			text = append(text, byte(lowerHex(s[i+1])<<4|lowerHex(s[i+2])))
			i += 2
		case c < ' ' || c > '~':
			return 0
		default:
			text = append(text, c)
		}
	}
	return 0
}

func lowerHex(c byte) int { return strings.IndexByte("0123456789abcdef", c) }
