package httpheader

import (
	"iter"
	"math"
	"net/textproto"
	"strings"
	"time"
)

// CacheControl holds the directives of a Cache-Control field (RFC 9111 §5.2, RFC
// 5861, RFC 8246). Requests and responses share the syntax and some of the
// names; a directive of the other kind of message has no meaning where it stands.
//
// Restrictions count however they are written, "no-store=x" included. Permissions
// count only when well-formed.
type CacheControl struct {
	NoStore, NoTransform bool
	// NoCache and Private concern the whole message. The qualified forms, which
	// name header fields, are in the two lists below - unless the list cannot be
	// read: then they concern the whole too (§5.2.2.4, §5.2.2.7).
	NoCache, Private             bool
	NoCacheFields, PrivateFields FieldList

	// Of responses.
	MustRevalidate, ProxyRevalidate bool
	MustUnderstand                  bool
	Public, Immutable               bool
	SMaxAge                         Delta
	StaleWhileRevalidate            Delta // RFC 5861 §3

	// Of requests.
	OnlyIfCached bool
	MinFresh     Delta
	MaxStale     Delta // without argument: any staleness, MaxDelta

	// Of both.
	MaxAge       Delta
	StaleIfError Delta // RFC 5861 §4

	// Malformed: some member does not follow the grammar of cache-directive.
	Malformed bool
}

// ParseCacheControl reads the lines of a Cache-Control field.
func ParseCacheControl(lines []string) (c CacheControl) {
	for _, line := range lines {
		for l := (list{rest: line}); ; {
			m, more := l.next()
			if !more {
				break
			}
			c.add(parseDirective(m))
		}
	}
	return c
}

// ParseRequestControl is ParseCacheControl, for callers that still say which
// message it is.
func ParseRequestControl(lines []string) CacheControl { return ParseCacheControl(lines) }

func (c *CacheControl) add(d directive) {
	c.Malformed = c.Malformed || d.malformed
	switch {
	case d.is("max-age"):
		c.MaxAge.add(d)
	case d.is("no-cache"):
		c.NoCacheFields.add(d, &c.NoCache)
	case d.is("no-store"):
		c.NoStore = true
	case d.is("no-transform"):
		c.NoTransform = true
	case d.is("stale-if-error"):
		c.StaleIfError.add(d)

	case d.is("s-maxage"):
		c.SMaxAge.add(d)
	case d.is("private"):
		c.PrivateFields.add(d, &c.Private)
	case d.is("public"):
		c.Public = c.Public || d.plain()
	case d.is("must-revalidate"):
		c.MustRevalidate = true
	case d.is("proxy-revalidate"):
		c.ProxyRevalidate = true
	case d.is("must-understand"):
		c.MustUnderstand = true
	case d.is("immutable"): // an argument has no meaning (RFC 8246 §2)
		c.Immutable = c.Immutable || !d.malformed
	case d.is("stale-while-revalidate"):
		c.StaleWhileRevalidate.add(d)

	case d.is("min-fresh"):
		c.MinFresh.add(d)
	case d.is("max-stale"):
		if d.plain() {
			d.arg, d.hasArg = "2147483648", true
		}
		c.MaxStale.add(d)
	case d.is("only-if-cached"):
		c.OnlyIfCached = true
	}
}

// directive is one member of Cache-Control: token [ "=" ( token / quoted-string ) ].
type directive struct {
	name      string
	arg       string // without its quotes
	hasArg    bool
	text      bool // of a targeted field: arg is a String, not a number or a word
	malformed bool
}

// parseDirective reads what it can: a malformed member keeps its name, because a
// restriction must not be lost to a typing error after it.
func parseDirective(s string) directive {
	n := tokenLen(s)
	d := directive{name: s[:n], malformed: n == 0}
	rest := s[n:]
	if rest == "" {
		return d
	}
	if d.hasArg = true; rest[0] != '=' {
		d.malformed = true
		return d
	}
	switch arg := rest[1:]; {
	case arg != "" && arg[0] == '"' && quotedLen(arg) == len(arg):
		d.arg = arg[1 : len(arg)-1]
	case arg != "" && tokenLen(arg) == len(arg):
		d.arg = arg
	default:
		d.malformed = true
	}
	return d
}

func (d directive) is(name string) bool { return is(d.name, name) }

// plain reports whether d stands alone, as a permission must.
func (d directive) plain() bool { return !d.hasArg && !d.malformed }

// FieldList is a list of field names, separated by commas, as a directive's
// argument holds it.
type FieldList string

// All yields the names in canonical form.
func (f FieldList) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for l := (list{rest: string(f)}); ; {
			name, more := l.next()
			if !more || !yield(textproto.CanonicalMIMEHeaderKey(name)) {
				return
			}
		}
	}
}

// add takes one occurrence of a directive into account that concerns the fields
// it names, or the whole message when it names none that can be read.
func (f *FieldList) add(d directive, whole *bool) {
	switch {
	case d.malformed || !isFieldList(d.arg):
		*whole = true
	case *f == "":
		*f = FieldList(d.arg)
	default:
		*f += "," + FieldList(d.arg)
	}
}

// isFieldList reports whether s is a list of one to maxFields tokens.
func isFieldList(s string) bool {
	n := 0
	for l := (list{rest: s}); ; n++ {
		name, more := l.next()
		if !more {
			return 0 < n && n <= maxFields
		}
		if !IsToken(name) {
			return false
		}
	}
}

// Delta is the delta-seconds argument of a cache directive (RFC 9111 §1.2.2).
// Without a valid argument, or with two that differ, it is invalid and its Value
// is 0: for every directive but min-fresh that is the careful reading (§4.2.1).
type Delta struct {
	Present bool
	Valid   bool
	Value   time.Duration // whole seconds, at most MaxDelta
}

// MaxDelta stands for every delta-seconds that is larger (RFC 9111 §1.2.2).
const MaxDelta = (1 << 31) * time.Second

// add takes one occurrence of the directive into account.
func (v *Delta) add(d directive) {
	value, ok := ParseDelta(d.arg)
	ok = ok && !d.malformed && !d.text
	switch {
	case !v.Present:
		*v = Delta{Present: true, Valid: ok}
		if ok {
			v.Value = value
		}
	case !ok || value != v.Value:
		*v = Delta{Present: true}
	}
}

// ParseDelta reads delta-seconds; what is larger than MaxDelta becomes it.
func ParseDelta(s string) (time.Duration, bool) {
	n, ok := parseInt(s)
	if !ok {
		return 0, false
	}
	return time.Duration(min(n, int64(MaxDelta/time.Second))) * time.Second, true
}

// ParseAge reads the Age field (RFC 9111 §5.1): the first member of a list
// counts, and a value that is no delta-seconds is as good as none.
func ParseAge(lines []string) (time.Duration, bool) {
	if len(lines) == 0 {
		return 0, false
	}
	first, _, _ := strings.Cut(lines[0], ",")
	return ParseDelta(trimOWS(first))
}

// parseInt reads 1*DIGIT; what does not fit becomes the largest int64.
func parseInt(s string) (n int64, ok bool) {
	if s == "" {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		d := int64(s[i] - '0')
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, true
}
