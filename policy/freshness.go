package policy

import (
	"net/http"
	"time"

	"shatabdi/policy/httpheader"
)

// Heuristic freshness (RFC 9111 §4.2.2): a tenth of the time since the last
// modification, but never more than a day.
const (
	heuristicFraction = 10
	heuristicMax      = 24 * time.Hour
)

// CurrentAge is the time since the origin generated or validated s, as well as
// it can be known (RFC 9111 §4.2.3). It never falls when now rises.
func CurrentAge(s Stored, now time.Time) time.Duration { return currentAge(&s, now) }

func currentAge(s *Stored, now time.Time) time.Duration {
	residentTime := max(0, now.Sub(s.ResponseTime))
	return add(add(ageAtArrival(s), residentTime), s.Doubt)
}

func ageAtArrival(s *Stored) time.Duration {
	ageValue, _ := httpheader.ParseAge(s.Header["Age"])
	apparentAge := max(0, arrival(s).Sub(dateOf(s)))
	responseDelay := max(0, s.ResponseTime.Sub(s.RequestTime))
	correctedAge := add(ageValue, responseDelay)
	return max(apparentAge, correctedAge)
}

// add saturates: a date in the year 1 makes an age that a Duration cannot hold.
func add(a, b time.Duration) time.Duration {
	if sum := a + b; sum >= a {
		return sum
	}
	return 1<<63 - 1
}

// Doubts is how large several doubts are together.
func Doubts(of ...time.Duration) (sum time.Duration) {
	for _, d := range of {
		sum = add(sum, d)
	}
	return sum
}

// FreshnessLifetime is for how long s is fresh after it was generated, and
// whether that is the origin's or the operator's word or a guess by Last-Modified
// (RFC 9111 §4.2.1, §4.2.2). What is invalid or contradicts itself is 0: stale.
func (c *Caching) FreshnessLifetime(s Stored) (lifetime time.Duration, explicit bool) {
	t := c.terms(&s)
	return t.lifetime, t.explicit
}

// expiresIn is Expires less Date; 0 for a value that is no date, such as "0"
// (RFC 9111 §5.3), and for two values that differ.
func expiresIn(s *Stored) time.Duration {
	value, ok := single(s.Header, "Expires")
	expires, valid := httpheader.ParseDate(value, s.ResponseTime)
	if !ok || !valid {
		return 0
	}
	return max(0, expires.Sub(dateOf(s)))
}

// heuristicLifetime guesses. Where the response does not speak to us in another
// field, a Pragma alone is an old server that means no-cache (RFC 9111 §5.4).
func heuristicLifetime(s *Stored, targeted bool) time.Duration {
	if len(s.Header["Pragma"]) > 0 && len(s.Header["Cache-Control"]) == 0 && !targeted {
		return 0
	}
	modified, ok := lastModified(s.Header, s.ResponseTime)
	if !ok {
		return 0
	}
	return min(heuristicMax, max(0, dateOf(s).Sub(modified))/heuristicFraction)
}

// Older reports whether the origin certainly made a before b (RFC 9111 §4: the most
// recent response counts). By the Dates of one clock that is certain.
func Older(a, b *Stored) bool {
	of, doubtA := dated(a)
	than, doubtB := dated(b)
	return than.Sub(of) > add(doubtA, doubtB)
}

// dated is when s was generated, and the doubt about that.
func dated(s *Stored) (time.Time, time.Duration) {
	if d, ok := headerDate(s.Header, s.ResponseTime); ok && !s.Undated {
		return d, 0
	}
	return s.ResponseTime.Truncate(time.Second), s.Doubt // as Date counts
}

// dateOf is when s was generated: its Date, or when it arrived (RFC 9110 §6.6.1).
func dateOf(s *Stored) time.Time {
	if d, ok := headerDate(s.Header, s.ResponseTime); ok && !s.Undated {
		return d
	}
	return arrival(s)
}

func arrival(s *Stored) time.Time { return s.ResponseTime.Add(-s.Ahead) }

// Dated returns s, received without a Date, with that of its arrival (RFC 9110
// §6.6.1). It changes the header in its place.
func Dated(s Stored) Stored {
	if s.Undated = s.Undated || s.Header.Get("Date") == ""; s.Undated {
		s.Header["Date"] = []string{httpheader.FormatDate(arrival(&s))}
	}
	return s
}

// Shifted is s as a clock counts its times that shows d more, give or take a doubt, and
// is that much ahead.
func Shifted(s Stored, d, doubt, ahead time.Duration) Stored {
	s.RequestTime, s.ResponseTime = s.RequestTime.Add(d), s.ResponseTime.Add(d)
	s.Doubt, s.Ahead = add(s.Doubt, doubt), ahead
	return s
}

// headerDate is the Date field. ref is a time near which it must be.
func headerDate(h http.Header, ref time.Time) (time.Time, bool) {
	value, ok := single(h, "Date")
	if !ok {
		return time.Time{}, false
	}
	return httpheader.ParseDate(value, ref)
}

func lastModified(h http.Header, ref time.Time) (time.Time, bool) {
	value, ok := single(h, "Last-Modified")
	if !ok {
		return time.Time{}, false
	}
	return httpheader.ParseDate(value, ref)
}

// single returns the value of a field that may stand only once. Lines that
// repeat the same value are forgiven. name must be in canonical form.
func single(h http.Header, name string) (string, bool) {
	lines := h[name]
	if len(lines) == 0 {
		return "", false
	}
	for _, l := range lines[1:] {
		if l != lines[0] {
			return "", false
		}
	}
	return lines[0], true
}
