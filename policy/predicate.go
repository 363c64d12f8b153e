package policy

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"shatabdi/policy/httpheader"
)

// Predicate is a condition in nginx's notation: text with variables, true when
// it comes to anything but "" and "0". The variables are $http_NAME, $cookie_NAME,
// $arg_NAME and $args of the request, $upstream_http_NAME and $upstream_status of
// the response; ${NAME} is $NAME. The zero value is false.
type Predicate struct {
	text  string
	parts []part
}

// part is a variable, or text.
type part struct {
	kind partKind
	name string // of a header field, canonical, a cookie or a parameter; or the text
}

type partKind uint8

const (
	literal partKind = iota
	requestField
	cookie
	parameter
	query
	responseField
	responseStatus
)

// variables by their prefix; those that end in "_" are followed by a name.
var variables = [...]struct {
	prefix string
	kind   partKind
}{
	{"http_", requestField}, {"cookie_", cookie}, {"arg_", parameter}, {"args", query}, {"query_string", query},
	{"upstream_http_", responseField}, {"upstream_status", responseStatus},
}

// UnmarshalText reads a predicate.
func (p *Predicate) UnmarshalText(b []byte) error {
	read := Predicate{text: string(b)}
	for rest := read.text; rest != ""; {
		dollar := strings.IndexByte(rest, '$')
		if dollar != 0 {
			if dollar < 0 {
				dollar = len(rest)
			}
			read.parts = append(read.parts, part{literal, rest[:dollar]})
			rest = rest[dollar:]
			continue
		}
		name, after, ok := cutVariable(rest[1:])
		v, known := variableOf(name)
		if !ok || !known {
			return fmt.Errorf("%q: $%s is no variable; want $http_NAME, $cookie_NAME, $arg_NAME, $args, $upstream_http_NAME or $upstream_status", b, name)
		}
		read.parts = append(read.parts, v)
		rest = after
	}
	if len(read.parts) == 0 {
		return fmt.Errorf("empty; want a variable such as $arg_nocache")
	}
	*p = read
	return nil
}

// cutVariable cuts the name, bare or in braces, off what follows a dollar.
func cutVariable(s string) (name, after string, ok bool) {
	if braced, found := strings.CutPrefix(s, "{"); found {
		return strings.Cut(braced, "}")
	}
	n := 0
	for n < len(s) && (s[n] == '_' || isUnreserved(s[n]) && s[n] != '-' && s[n] != '.' && s[n] != '~') {
		n++
	}
	return s[:n], s[n:], true
}

func variableOf(name string) (part, bool) {
	for _, v := range variables {
		rest, ok := strings.CutPrefix(name, v.prefix)
		if !ok || (rest != "") != strings.HasSuffix(v.prefix, "_") {
			continue
		}
		if v.kind == requestField || v.kind == responseField {
			rest = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(rest, "_", "-"))
			return part{v.kind, rest}, httpheader.IsToken(rest)
		}
		return part{v.kind, rest}, true
	}
	return part{}, false
}

// MarshalText prints the predicate as it was read.
func (p Predicate) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// ofResponse reports whether p looks at the response.
func (p Predicate) ofResponse() bool {
	for _, part := range p.parts {
		if part.kind == responseField || part.kind == responseStatus {
			return true
		}
	}
	return false
}

// anyTrue reports whether one of ps holds; resp is nil while there is none.
func anyTrue(ps []Predicate, req *Request, resp *Stored) bool {
	for i := range ps {
		if ps[i].holds(req, resp) {
			return true
		}
	}
	return false
}

func (p *Predicate) holds(req *Request, resp *Stored) bool {
	zero := false // so far it comes to "0"
	for _, part := range p.parts {
		switch value := part.value(req, resp); {
		case value == "":
		case value != "0" || zero:
			return true
		default:
			zero = true
		}
	}
	return false
}

func (p *part) value(req *Request, resp *Stored) string {
	switch p.kind {
	case literal:
		return p.name
	case requestField:
		return joined(req.Header, p.name)
	case cookie:
		return cookieValue(req.Header["Cookie"], p.name)
	case parameter:
		return parameterValue(req.URL, p.name)
	case query:
		if req.URL != nil {
			return req.URL.RawQuery
		}
	case responseField:
		if resp != nil {
			return joined(resp.Header, p.name)
		}
	case responseStatus:
		if resp != nil {
			return strconv.Itoa(resp.Status)
		}
	}
	return ""
}

func joined(h http.Header, name string) string {
	if lines := h[name]; len(lines) == 1 {
		return lines[0]
	}
	return strings.Join(h[name], ", ")
}

// cookieValue and parameterValue take names in any case, as nginx does.
func cookieValue(lines []string, name string) string {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if n, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && strings.EqualFold(n, name) {
				return value
			}
		}
	}
	return ""
}

func parameterValue(u *url.URL, name string) string {
	if u == nil {
		return ""
	}
	for rest := u.RawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if n, value, ok := strings.Cut(pair, "="); ok && strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
}
