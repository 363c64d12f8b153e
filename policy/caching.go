package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Caching is what the rules add to HTTP for one request: nginx's directives,
// under nginx's names without "proxy_", and two switches. The zero value adds
// nothing.
//
//	proxy_cache_valid 200 302 10m      cache_valid: [200 302 10m]
//	proxy_ignore_headers Set-Cookie    ignore_headers: [Set-Cookie]
//	proxy_cache_bypass $arg_nocache    cache_bypass: [$arg_nocache]
//	proxy_no_cache $http_pragma        no_cache: [$http_pragma]
//	proxy_cache_min_uses 3             cache_min_uses: 3
//	proxy_cache_use_stale error        cache_use_stale: [error]
//	proxy_cache_background_update on   cache_background_update: true
//	X-Accel-Expires, always obeyed     x_accel_expires: true
//	proxy_cache_key, _methods          key, methods
//	proxy_cache_lock, _revalidate      always on
//
// What HTTP forbids in plain words stays forbidden, as it does not in nginx: a
// stale response that says must-revalidate is not served, whatever
// cache_use_stale says. Whoever wants that ignores Cache-Control.
type Caching struct {
	// Valid gives responses that tell no freshness one, by status; the first entry
	// that fits counts. It also lets them be stored.
	Valid []Validity
	// Ignore are response fields without a say. They are stored and passed on all
	// the same; Set-Cookie is passed on only.
	Ignore Ignored
	// Bypass: when one is true the origin is asked. Its answer may be stored.
	Bypass []Predicate
	// NoCache: when one is true the answer is not stored.
	NoCache []Predicate
	// MinUses is how often a key must be asked for before an answer is stored: by the
	// cluster as a whole, or by this node where it is small or nobody else can be asked.
	MinUses int
	// UseStale are the failures on which a stale response is served.
	UseStale Failures
	// BackgroundUpdate serves what is stale at once and revalidates behind the
	// client's back, where UseStale has Updating.
	BackgroundUpdate bool
	// AccelExpires obeys X-Accel-Expires, before all other fields.
	AccelExpires bool
	// Untargeted turns CDN-Cache-Control off (RFC 9213).
	Untargeted bool
	// Authentic: the response comes over TLS. What does not is never immutable:
	// a forger's word would last too long (RFC 8246 §3).
	Authentic bool
}

// Validity is one cache_valid, written "200 302 10m": statuses, and for how long
// such a response is fresh after it arrived. Without a status it is for 200, 301
// and 302, with "any" for all. A time of 0 forbids storing.
type Validity struct {
	Statuses []int
	Any      bool
	For      time.Duration
}

// validFor returns what Valid says about a status.
func (c *Caching) validFor(status int) (d time.Duration, ok bool) {
	for i := range c.Valid {
		if c.Valid[i].fits(status) {
			return c.Valid[i].For, true
		}
	}
	return 0, false
}

func (v *Validity) fits(status int) bool {
	if v.Any {
		return true
	}
	if len(v.Statuses) == 0 {
		return status == 200 || status == 301 || status == 302
	}
	for _, s := range v.Statuses {
		if s == status {
			return true
		}
	}
	return false
}

// UnmarshalText reads what stands after proxy_cache_valid.
func (v *Validity) UnmarshalText(b []byte) error {
	words := strings.Fields(string(b))
	if len(words) == 0 {
		return fmt.Errorf("empty; want statuses and a time, such as 200 302 10m")
	}
	last := len(words) - 1
	d, ok := parseTime(words[last])
	if !ok {
		return fmt.Errorf("%q: %q is no time; want one such as 30s, 10m, 1h30m or 1d, or seconds", b, words[last])
	}
	read := Validity{For: d}
	for _, w := range words[:last] {
		if w == "any" {
			read.Any = true
			continue
		}
		status, err := strconv.Atoi(w)
		if err != nil || status < 200 || status > 599 {
			return fmt.Errorf("%q: %q is no status; want 200 to 599, or any", b, w)
		}
		read.Statuses = append(read.Statuses, status)
	}
	*v = read
	return nil
}

// MarshalText prints what UnmarshalText reads.
func (v Validity) MarshalText() ([]byte, error) {
	var words []string
	for _, s := range v.Statuses {
		words = append(words, strconv.Itoa(s))
	}
	if v.Any {
		words = append(words, "any")
	}
	return []byte(strings.Join(append(words, timeText(v.For)), " ")), nil
}

// timeText drops the zero units of Duration.String: 10m, not 10m0s.
func timeText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// timeUnits are nginx's, longest name first.
var timeUnits = [...]struct {
	name string
	d    time.Duration
}{
	{"ms", time.Millisecond},
	{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}, {"w", 7 * 24 * time.Hour},
	{"M", 30 * 24 * time.Hour}, {"y", 365 * 24 * time.Hour}, {"", time.Second},
}

// maxTime bounds a time: more is a slip.
const maxTime = 100 * 365 * 24 * time.Hour

// parseTime reads a time in nginx's notation: 90, 90s, 1h30m, 1d.
func parseTime(s string) (total time.Duration, ok bool) {
	for s != "" {
		digits := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 0 {
			digits = len(s)
		}
		n, err := strconv.ParseUint(s[:digits], 10, 31)
		if err != nil {
			return 0, false
		}
		rest := s[digits:]
		for _, u := range timeUnits {
			if after, found := strings.CutPrefix(rest, u.name); found {
				if s = after; u.name == "" && s != "" || time.Duration(n) > maxTime/u.d {
					return 0, false
				}
				total, ok = min(maxTime, total+time.Duration(n)*u.d), true
				break
			}
		}
	}
	return total, ok
}

// Ignored is a set of response fields that have no say in caching.
type Ignored uint8

// The fields that can be ignored.
const (
	IgnoreCacheControl Ignored = 1 << iota
	IgnoreExpires
	IgnoreSetCookie
	IgnoreVary
	IgnoreAccelExpires
)

var ignoredNames = [...]string{"Cache-Control", "Expires", "Set-Cookie", "Vary", "X-Accel-Expires"}

// UnmarshalText reads the name of one field.
func (i *Ignored) UnmarshalText(b []byte) error {
	n, err := nameIn(ignoredNames[:], string(b))
	*i = 1 << n
	return err
}

// MarshalText prints the names.
func (i Ignored) MarshalText() ([]byte, error) {
	return []byte(strings.Join(namesOf(ignoredNames[:], uint16(i)), " ")), nil
}

// Failures is a set of reasons for which a stale response may be served.
type Failures uint16

// What can keep the origin from giving its answer.
const (
	Unreachable   Failures = 1 << iota // no connection, or it broke before the head of the answer was here
	TimedOut                           // no answer in time
	InvalidAnswer                      // what came is no HTTP
	Updating                           // no failure: another request is asking the origin already
	Status500
	Status502
	Status503
	Status504
	Status403
	Status404
	Status429
	none // "off": says that there is nothing to say
)

var failureNames = [...]string{
	"error", "timeout", "invalid_header", "updating",
	"http_500", "http_502", "http_503", "http_504", "http_403", "http_404", "http_429", "off",
}

// serverErrors are what RFC 5861 §4 calls an error: what makes a 500, 502, 503 or 504.
const serverErrors = Unreachable | TimedOut | InvalidAnswer | Status500 | Status502 | Status503 | Status504

// FailureOf returns the failure that a status stands for, 0 for none.
func FailureOf(status int) Failures {
	switch status {
	case 500:
		return Status500
	case 502:
		return Status502
	case 503:
		return Status503
	case 504:
		return Status504
	case 403:
		return Status403
	case 404:
		return Status404
	case 429:
		return Status429
	}
	return 0
}

// UnmarshalText reads the name of one failure, as nginx spells it.
func (f *Failures) UnmarshalText(b []byte) error {
	n, err := nameIn(failureNames[:], string(b))
	*f = 1 << n
	return err
}

// MarshalText prints the names.
func (f Failures) MarshalText() ([]byte, error) {
	return []byte(strings.Join(namesOf(failureNames[:], uint16(f)), " ")), nil
}

func nameIn(names []string, s string) (int, error) {
	for i, name := range names {
		if strings.EqualFold(name, s) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is not known, want one of %s", s, strings.Join(names, ", "))
}

func namesOf(names []string, bits uint16) (set []string) {
	for i, name := range names {
		if bits&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return set
}

// union joins sets that a configuration lists one by one.
func union[S ~uint8 | ~uint16](sets []S) (all S) {
	for _, s := range sets {
		all |= s
	}
	return all
}
