package httpheader

import (
	"math"
	"strings"
	"time"
)

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

// ResponseControl is a response's Cache-Control (RFC 9111 §5.2.2, RFC 5861, RFC
// 8246). Restrictions count however they are written, "no-store=x" included; the
// qualified forms private="f" and no-cache="f" count as the unqualified ones, as
// §5.2.2.4 allows. Permissions count only when well-formed.
type ResponseControl struct {
	NoStore, NoCache, Private, NoTransform bool
	MustRevalidate, ProxyRevalidate        bool
	MustUnderstand                         bool
	Public, Immutable                      bool

	MaxAge, SMaxAge                    Delta
	StaleWhileRevalidate, StaleIfError Delta

	// Malformed: some member does not follow the grammar of cache-directive.
	Malformed bool
}

// RequestControl is a request's Cache-Control (RFC 9111 §5.2.1).
type RequestControl struct {
	NoStore, NoCache, OnlyIfCached, NoTransform bool

	MaxAge, MinFresh Delta
	MaxStale         Delta // without argument: any staleness, MaxDelta
	StaleIfError     Delta // RFC 5861 §4

	Malformed bool
}

// ParseResponseControl reads a response's Cache-Control lines.
func ParseResponseControl(lines []string) (c ResponseControl) {
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

func (c *ResponseControl) add(d directive) {
	c.Malformed = c.Malformed || d.malformed
	switch {
	case d.is("max-age"):
		c.MaxAge.add(d)
	case d.is("s-maxage"):
		c.SMaxAge.add(d)
	case d.is("no-store"):
		c.NoStore = true
	case d.is("no-cache"):
		c.NoCache = true
	case d.is("private"):
		c.Private = true
	case d.is("public"):
		c.Public = c.Public || d.plain()
	case d.is("must-revalidate"):
		c.MustRevalidate = true
	case d.is("proxy-revalidate"):
		c.ProxyRevalidate = true
	case d.is("must-understand"):
		c.MustUnderstand = true
	case d.is("no-transform"):
		c.NoTransform = true
	case d.is("immutable"):
		c.Immutable = c.Immutable || d.plain()
	case d.is("stale-while-revalidate"):
		c.StaleWhileRevalidate.add(d)
	case d.is("stale-if-error"):
		c.StaleIfError.add(d)
	}
}

// ParseRequestControl reads a request's Cache-Control lines.
func ParseRequestControl(lines []string) (c RequestControl) {
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

func (c *RequestControl) add(d directive) {
	c.Malformed = c.Malformed || d.malformed
	switch {
	case d.is("max-age"):
		c.MaxAge.add(d)
	case d.is("min-fresh"):
		c.MinFresh.add(d)
	case d.is("max-stale"):
		if d.plain() {
			d.arg, d.hasArg = "2147483648", true
		}
		c.MaxStale.add(d)
	case d.is("no-store"):
		c.NoStore = true
	case d.is("no-cache"):
		c.NoCache = true
	case d.is("only-if-cached"):
		c.OnlyIfCached = true
	case d.is("no-transform"):
		c.NoTransform = true
	case d.is("stale-if-error"):
		c.StaleIfError.add(d)
	}
}

// directive is one member of Cache-Control: token [ "=" ( token / quoted-string ) ].
type directive struct {
	name      string
	arg       string // without its quotes
	hasArg    bool
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

// add takes one occurrence of the directive into account.
func (v *Delta) add(d directive) {
	value, ok := parseDelta(d.arg)
	ok = ok && !d.malformed
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

func parseDelta(s string) (time.Duration, bool) {
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
	return parseDelta(trimOWS(first))
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
