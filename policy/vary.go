package policy

import (
	"net/http"
	"slices"
	"strings"

	"shatabdi/policy/httpheader"
)

// Selecting returns the request's values of the fields that vary, the lines of a
// response's Vary, names: what Stored.Selecting holds. Values are normalised, so
// that equal ones compare equal byte for byte; a field that the request lacks is
// lacking here. It is nil without Vary. ok is false when the response varies on
// what cannot be compared: "*", or a malformed Vary (RFC 9111 §4.1).
func Selecting(req http.Header, vary []string) (sel http.Header, ok bool) {
	fields, ok := httpheader.ParseVary(vary)
	if !ok || len(fields) == 0 {
		return nil, ok
	}
	sel = make(http.Header, len(fields))
	for _, name := range fields {
		if value, present := selectingValue(req, name); present {
			sel[name] = []string{value}
		}
	}
	return sel, true
}

// SelectedBy reports whether a request with these header fields selects stored
// (RFC 9111 §4.1).
func SelectedBy(stored Stored, req http.Header) bool {
	vary := stored.Header["Vary"]
	if len(vary) == 0 {
		return true
	}
	fields, ok := httpheader.ParseVary(vary)
	if !ok {
		return false
	}
	for _, name := range fields {
		got, present := selectingValue(req, name)
		want, wanted := selectingValue(stored.Selecting, name)
		if present != wanted || got != want {
			return false
		}
	}
	return true
}

// selectingValue is the value of a field in one line. White space goes where
// the field's syntax gives it no meaning.
func selectingValue(h http.Header, name string) (value string, present bool) {
	lines := h[name]
	switch len(lines) {
	case 0:
		return "", false
	case 1:
		value = lines[0]
	default:
		value = strings.Join(lines, ", ")
	}
	value = strings.Trim(value, " \t")
	if isAcceptList(name) {
		value = normaliseList(value)
	}
	return value, true
}

// isAcceptList: only of these do we know that they are lists of tokens.
func isAcceptList(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Accept-Charset":
		return true
	}
	return false
}

// normaliseList puts exactly one space after every comma and none before it.
func normaliseList(s string) string {
	if strings.IndexByte(s, '"') >= 0 || isNormalList(s) {
		return s
	}
	members := strings.Split(s, ",")
	for i := range members {
		members[i] = strings.Trim(members[i], " \t")
	}
	members = slices.DeleteFunc(members, func(m string) bool { return m == "" })
	return strings.Join(members, ", ")
}

// isNormalList spares the common case an allocation.
func isNormalList(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != ',' {
			continue
		}
		if i == 0 || isBlankOrComma(s[i-1]) || i+2 >= len(s) || s[i+1] != ' ' || isBlankOrComma(s[i+2]) {
			return false
		}
	}
	return true
}

func isBlankOrComma(c byte) bool { return c == ' ' || c == '\t' || c == ',' }
