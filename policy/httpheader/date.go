package httpheader

import (
	"strings"
	"time"
)

// imfFixdate is the preferred form of an HTTP date (RFC 9110 §5.6.7).
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// FormatDate prints t as an HTTP date.
func FormatDate(t time.Time) string { return t.UTC().Format(imfFixdate) }

// ParseDate reads an HTTP date in any of its three forms (RFC 9110 §5.6.7).
// Names match in any case, as RFC 9111 §4.2 asks; nothing else is forgiven: no
// other zone than GMT, no fractions, no missing digits. ref resolves the two-digit
// year of the RFC 850 form: a date more than 50 years after it is in the past.
//
// net/http.ParseTime is not used because it takes fractions of seconds and, in
// the RFC 850 form, any zone, which it reads as GMT.
func ParseDate(s string, ref time.Time) (time.Time, bool) {
	switch {
	case len(s) == len(imfFixdate) && s[3] == ',':
		return parseFixdate(s)
	case strings.IndexByte(s, ',') > 0:
		return parseRFC850(s, ref)
	default:
		return parseAsctime(s)
	}
}

// parseFixdate reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseFixdate(s string) (time.Time, bool) {
	if !fits(s, "???, ?? ??? ???? ??:??:?? ???") || !isOneOf(s[:3], shortDays[:]) || !is(s[26:], "GMT") {
		return time.Time{}, false
	}
	return date(number(s[12:16]), month(s[8:11]), number(s[5:7]), s[17:25])
}

// parseRFC850 reads "Sunday, 06-Nov-94 08:49:37 GMT".
func parseRFC850(s string, ref time.Time) (time.Time, bool) {
	day, s, _ := strings.Cut(s, ",")
	if !fits(s, " ??-???-?? ??:??:?? ???") || !isOneOf(day, longDays[:]) || !is(s[20:], "GMT") {
		return time.Time{}, false
	}
	yy := number(s[8:10])
	if yy < 0 {
		return time.Time{}, false
	}
	year := ref.UTC().Year()/100*100 + yy
	t, ok := date(year, month(s[4:7]), number(s[1:3]), s[11:19])
	switch limit := ref.AddDate(50, 0, 0); {
	case ok && t.After(limit):
		return date(year-100, month(s[4:7]), number(s[1:3]), s[11:19])
	case ok && !t.AddDate(100, 0, 0).After(limit):
		return date(year+100, month(s[4:7]), number(s[1:3]), s[11:19])
	}
	return t, ok
}

// parseAsctime reads "Sun Nov  6 08:49:37 1994".
func parseAsctime(s string) (time.Time, bool) {
	if !fits(s, "??? ??? ?? ??:??:?? ????") || !isOneOf(s[:3], shortDays[:]) {
		return time.Time{}, false
	}
	day := s[8:10]
	if day[0] == ' ' {
		day = day[1:]
	}
	return date(number(s[20:]), month(s[4:7]), number(day), s[11:19])
}

// date puts a date together; a leap second becomes the first of the next minute.
func date(year int, m time.Month, day int, clock string) (time.Time, bool) {
	hour, minute, sec := number(clock[0:2]), number(clock[3:5]), number(clock[6:8])
	if year < 0 || m == 0 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || sec < 0 || sec > 60 {
		return time.Time{}, false
	}
	t := time.Date(year, m, day, hour, minute, 0, 0, time.UTC)
	if t.Day() != day {
		return time.Time{}, false // 31 April, 29 February
	}
	return t.Add(time.Duration(sec) * time.Second), true
}

// fits reports whether s has the shape of pattern, where ? is any byte.
func fits(s, pattern string) bool {
	if len(s) != len(pattern) {
		return false
	}
	for i := range pattern {
		if pattern[i] != '?' && pattern[i] != s[i] {
			return false
		}
	}
	return true
}

// number reads digits, few enough not to overflow; -1 when they are not digits.
func number(s string) int {
	n := 0
	for i := range len(s) {
		if !isDigit(s[i]) {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

var (
	shortDays = [...]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}
	longDays  = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
	months    = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
)

func isOneOf(s string, names []string) bool {
	for _, n := range names {
		if is(s, n) {
			return true
		}
	}
	return false
}

// month returns the month named s, 0 for none.
func month(s string) time.Month {
	for i, n := range months {
		if is(s, n) {
			return time.Month(i + 1)
		}
	}
	return 0
}
