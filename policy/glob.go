package policy

import "strings"

// matchPath matches a whole path against a glob: "?" is one byte other than
// "/", "*" any run of those, "**" any run at all, and "**/" any number of whole
// segments, none included. Time is at most proportional to the product of the
// lengths for each kind of star: a path from a client cannot make it explode.
func matchPath(pattern, s string) bool {
	// Only the latest star of each kind can be worth extending: whatever an
	// earlier one could reach, the later one can as well.
	star, deep := noStar, noStar
	p, i := 0, 0
	for {
		switch {
		case strings.HasPrefix(pattern[p:], "**"):
			p += 2
			deep = retry{p: p, i: i, on: true}
			if p < len(pattern) && pattern[p] == '/' && (p == 2 || pattern[p-3] == '/') {
				p++
				deep = retry{p: p, i: i, on: true, segments: true}
			}
			star = noStar
			continue
		case p < len(pattern) && pattern[p] == '*':
			p++
			star = retry{p: p, i: i, on: true}
			continue
		case p == len(pattern) && i == len(s):
			return true
		case p < len(pattern) && i < len(s) && (pattern[p] == s[i] || pattern[p] == '?' && s[i] != '/'):
			p++
			i++
			continue
		}
		if star.on && star.i < len(s) && s[star.i] != '/' {
			star.i++
			p, i = star.p, star.i
			continue
		}
		if !deep.extend(s) {
			return false
		}
		star = noStar
		p, i = deep.p, deep.i
	}
}

// retry is where to go on when a star takes in more.
type retry struct {
	p, i     int // place in the pattern after the star, and in the string
	on       bool
	segments bool // of "**/": takes in whole segments
}

var noStar = retry{}

func (r *retry) extend(s string) bool {
	if !r.on || r.i >= len(s) {
		return false
	}
	if !r.segments {
		r.i++
		return true
	}
	n := strings.IndexByte(s[r.i:], '/')
	if n < 0 {
		return false
	}
	r.i += n + 1
	return true
}

// matchHost matches host (lower case, without port) and port against
// "host", "*.domain" (its subdomains, not itself) or "*", each with ":port" or
// for any port.
func matchHost(pattern, host, port string) bool {
	pattern, wantPort := splitPort(pattern)
	if wantPort != "" && wantPort != port {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return suffix == "" || len(host) > len(suffix) && strings.EqualFold(host[len(host)-len(suffix):], suffix)
	}
	return strings.EqualFold(strings.Trim(pattern, "[]"), host)
}

// splitPort cuts ":port" off a host pattern; the colons inside an IPv6 address
// in brackets, or in one without a port, are not it.
func splitPort(pattern string) (host, port string) {
	i := strings.LastIndexByte(pattern, ':')
	if i < 0 || strings.IndexByte(pattern[i:], ']') >= 0 || strings.Count(pattern, ":") > 1 && !strings.HasPrefix(pattern, "[") {
		return pattern, ""
	}
	return pattern[:i], pattern[i+1:]
}

// matchContentType matches a Content-Type, parameters aside, against a glob
// such as "video/*". An absent type matches nothing.
func matchContentType(pattern, contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.Trim(mediaType, " \t"))
	return mediaType != "" && matchPath(strings.ToLower(pattern), mediaType)
}
