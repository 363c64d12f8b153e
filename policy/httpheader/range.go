package httpheader

import (
	"fmt"
	"math"
	"strings"
)

// MaxRanges is how many ranges a request may ask for; with more the field is
// not read, as RFC 9110 §17.15 advises.
const MaxRanges = 64

// Range is a half-open run of bytes of a representation, [From, To).
type Range struct{ From, To int64 }

// Len is the number of bytes in r.
func (r Range) Len() int64 { return r.To - r.From }

// RangeSet is what a Range field asks for, before the length is known.
type RangeSet []rangeSpec

// rangeSpec is one range-spec: first-last, first- (last = -1) or -last (first = -1).
type rangeSpec struct{ first, last int64 }

// ParseRange reads a Range field (RFC 9110 §14.1.2, §14.2). When ok is false the
// field is invalid, in another unit than bytes, or asks for too many ranges: it
// is to be ignored.
func ParseRange(field string) (set RangeSet, ok bool) {
	unit, rest, found := strings.Cut(field, "=")
	if !found || !is(unit, "bytes") {
		return nil, false
	}
	for l := (list{rest: rest}); ; {
		m, more := l.next()
		if !more {
			return set, len(set) > 0
		}
		spec, ok := parseRangeSpec(m)
		if !ok || len(set) == MaxRanges {
			return nil, false
		}
		set = append(set, spec)
	}
}

func parseRangeSpec(s string) (rangeSpec, bool) {
	first, last, found := strings.Cut(s, "-")
	if !found || first == "" && last == "" {
		return rangeSpec{}, false
	}
	spec, ok := rangeSpec{-1, -1}, true
	if first != "" {
		if spec.first, ok = parseInt(first); !ok {
			return rangeSpec{}, false
		}
	}
	if last != "" {
		if spec.last, ok = parseInt(last); !ok {
			return rangeSpec{}, false
		}
	}
	if first != "" && last != "" && spec.last < spec.first {
		return rangeSpec{}, false // §14.1.1: such an int-range is invalid
	}
	return spec, true
}

// Resolve returns the ranges that a representation of that many bytes can
// satisfy, in the order asked for. None means 416 (RFC 9110 §15.5.17) - but an
// empty representation can satisfy nothing, and 200 is the better answer there.
func (set RangeSet) Resolve(length int64) []Range {
	var out []Range
	for _, s := range set {
		if r := s.resolve(length); r.Len() > 0 {
			out = append(out, r)
		}
	}
	return out
}

func (s rangeSpec) resolve(length int64) Range {
	switch {
	case s.first < 0:
		return Range{max(0, length-s.last), length}
	case s.first >= length:
		return Range{}
	case s.last < 0 || s.last >= length:
		return Range{s.first, length}
	default:
		return Range{s.first, s.last + 1}
	}
}

// String prints the set as a Range field.
func (set RangeSet) String() string {
	var b strings.Builder
	b.WriteString("bytes=")
	for i, s := range set {
		if i > 0 {
			b.WriteByte(',')
		}
		switch {
		case s.first < 0:
			fmt.Fprintf(&b, "-%d", s.last)
		case s.last < 0:
			fmt.Fprintf(&b, "%d-", s.first)
		default:
			fmt.Fprintf(&b, "%d-%d", s.first, s.last)
		}
	}
	return b.String()
}

// ContentRange is a Content-Range field (RFC 9110 §14.4).
type ContentRange struct {
	Range  Range // empty: the unsatisfied range of a 416
	Length int64 // of the whole representation; -1: not told
}

// ParseContentRange reads a Content-Range field in bytes.
func ParseContentRange(field string) (c ContentRange, ok bool) {
	unit, rest, found := strings.Cut(field, " ")
	if !found || !is(unit, "bytes") {
		return ContentRange{}, false
	}
	run, length, found := strings.Cut(rest, "/")
	if !found {
		return ContentRange{}, false
	}
	if c.Length = -1; length != "*" {
		if c.Length, ok = parseInt(length); !ok || c.Length == math.MaxInt64 {
			return ContentRange{}, false // MaxInt64: it did not fit
		}
	}
	if run == "*" {
		return c, c.Length >= 0
	}
	first, last, _ := strings.Cut(run, "-")
	from, ok1 := parseInt(first)
	to, ok2 := parseInt(last)
	if !ok1 || !ok2 || to < from || to == math.MaxInt64 || c.Length >= 0 && to >= c.Length {
		return ContentRange{}, false
	}
	c.Range = Range{from, to + 1}
	return c, true
}

// String prints c as a Content-Range field.
func (c ContentRange) String() string {
	length := "*"
	if c.Length >= 0 {
		length = fmt.Sprint(c.Length)
	}
	if c.Range.Len() <= 0 {
		return "bytes */" + length
	}
	return fmt.Sprintf("bytes %d-%d/%s", c.Range.From, c.Range.To-1, length)
}
