package policy

import (
	"bytes"
	"cmp"
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
		if lines := req[name]; len(lines) > 0 {
			sel[name] = []string{string(appendSelecting(nil, name, lines))}
		}
	}
	return sel, true
}

// Selecting is what to keep of the request in Stored.Selecting: nothing, where
// Vary is ignored.
func (c *Caching) Selecting(req http.Header, vary []string) (sel http.Header, ok bool) {
	if c.Ignore&IgnoreVary != 0 {
		return nil, true
	}
	return Selecting(req, vary)
}

// SelectedBy reports whether a request with these header fields selects stored
// (RFC 9111 §4.1).
func (c *Caching) SelectedBy(stored Stored, req http.Header) bool {
	vary := stored.Header["Vary"]
	if len(vary) == 0 || c.Ignore&IgnoreVary != 0 {
		return true
	}
	fields, ok := httpheader.ParseVary(vary)
	if !ok {
		return false
	}
	for _, name := range fields {
		if !sameSelecting(name, req[name], stored.Selecting[name]) {
			return false
		}
	}
	return true
}

// Select returns the index of the stored response that answers a request with
// these header fields, -1 for none (RFC 9111 §4.1): of those that match the most
// recent by Date, and one that says what it varies on before one that does not,
// which often was meant for the request without preferences only. Where there is
// none but some are stored, give Decide any of them: it knows a vary-miss.
func (c *Caching) Select(req http.Header, stored []Stored) int {
	best := -1
	for i := range stored {
		if c.SelectedBy(stored[i], req) && (best < 0 || before(&stored[i], &stored[best])) {
			best = i
		}
	}
	return best
}

// SameVariant reports whether a and b are selected by the same requests, so that
// one takes the place of the other.
func SameVariant(a, b *Stored) bool {
	if !SameVary(a.Header["Vary"], b.Header["Vary"]) || len(a.Selecting) != len(b.Selecting) {
		return false
	}
	for name, lines := range a.Selecting {
		if !sameSelecting(name, lines, b.Selecting[name]) {
			return false
		}
	}
	return true
}

func before(a, b *Stored) bool {
	if va, vb := len(a.Header["Vary"]) > 0, len(b.Header["Vary"]) > 0; va != vb {
		return va
	}
	if c := dateOf(a).Compare(dateOf(b)); c != 0 {
		return c > 0
	}
	return a.ResponseTime.After(b.ResponseTime)
}

// sameSelecting compares a field's lines in a request with those stored, which
// are normalised - but maybe by an older version of us.
func sameSelecting(name string, got, want []string) bool {
	if len(got) == 0 || len(want) == 0 {
		return len(got) == len(want)
	}
	var space, more [256]byte
	value := appendSelecting(space[:0], name, got)
	return len(want) == 1 && string(value) == want[0] ||
		bytes.Equal(value, appendSelecting(more[:0], name, want))
}

// appendSelecting appends the value of a field in one line, in a form that means
// the same (RFC 9111 §4.1). White space goes where the field's syntax gives it no
// meaning; only of the Accept fields do we know what else means nothing.
func appendSelecting(dst []byte, name string, lines []string) []byte {
	if isAcceptField(name) {
		if out, ok := appendAccept(dst, name, lines); ok {
			return out
		}
	}
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, strings.Trim(line, " \t")...)
	}
	return dst
}

func isAcceptField(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Accept-Charset":
		return true
	}
	return false
}

// preference is a member of an Accept field (RFC 9110 §12.4.2): a range of
// codings, languages or types, with its weight in thousandths.
type preference struct {
	name   string // with the parameters before the weight, as received
	weight int
}

// appendAccept prints an Accept field: lower case, one space after each comma,
// falling weights, 1 left out. Members of equal weight keep their order, which
// servers take for a ranking of languages and types; the order of codings and
// charsets says nothing. ok is false for what cannot be read.
func appendAccept(dst []byte, name string, lines []string) (_ []byte, ok bool) {
	var space [16]preference
	prefs := space[:0]
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = strings.Trim(member, " \t"); member == "" {
				continue
			}
			p, ok := parsePreference(member)
			if !ok || name != "Accept" && strings.IndexByte(p.name, ';') >= 0 {
				return dst, false
			}
			prefs = append(prefs, p)
		}
	}
	ranked := name == "Accept" || name == "Accept-Language"
	slices.SortStableFunc(prefs, func(a, b preference) int {
		if ranked || a.weight != b.weight {
			return b.weight - a.weight
		}
		return compareFold(a.name, b.name)
	})
	for i, p := range prefs {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendLower(dst, p.name)
		if p.weight < 1000 {
			dst = append(dst, ";q=0."...)
			dst = append(dst, byte('0'+p.weight/100), byte('0'+p.weight/10%10), byte('0'+p.weight%10))
		}
	}
	return dst, true
}

// parsePreference reads "name;q=0.5". Of a quoted parameter, and of parameters
// after the weight, we do not know what they mean.
func parsePreference(s string) (p preference, ok bool) {
	if strings.IndexByte(s, '"') >= 0 {
		return p, false
	}
	i := strings.LastIndexByte(s, ';')
	if i < 0 {
		return preference{s, 1000}, true
	}
	key, value, found := strings.Cut(strings.Trim(s[i+1:], " \t"), "=")
	if !found || !strings.EqualFold(key, "q") {
		return preference{s, 1000}, !strings.Contains(lowerASCII(s), "q=")
	}
	weight, ok := parseWeight(value)
	return preference{strings.Trim(s[:i], " \t"), weight}, ok
}

// parseWeight reads a qvalue (RFC 9110 §12.4.2) in thousandths.
func parseWeight(s string) (w int, ok bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return 0, false
	}
	w = 1000 * int(whole[0]-'0')
	for i, unit := 0, 100; i < len(fraction); i, unit = i+1, unit/10 {
		if fraction[i] < '0' || fraction[i] > '9' {
			return 0, false
		}
		w += unit * int(fraction[i]-'0')
	}
	return w, w <= 1000
}

// appendLower leaves a type's parameters alone: their values may tell apart.
func appendLower(dst []byte, s string) []byte {
	head, params, found := strings.Cut(s, ";")
	for i := range len(head) {
		dst = append(dst, lower(head[i]))
	}
	if found {
		dst = append(append(dst, ';'), params...)
	}
	return dst
}

func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if c := cmp.Compare(lower(a[i]), lower(b[i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
