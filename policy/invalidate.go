package policy

import (
	"net/http"
	"net/url"
)

// Invalidates reports whether the response to such a request makes what is
// stored under its URL stale (RFC 9111 §4.4): not an error, and the method not
// known to be safe.
func Invalidates(method string, status int) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return false
	}
	return status >= 200 && status < 400
}

// Invalidated returns the URLs of which what is stored must not be used again
// without asking, now that req was answered so (RFC 9111 §4.4): its own, and
// those in Location and Content-Location, unless they are of another origin -
// nobody may empty a stranger's cache. nil when nothing changed.
func Invalidated(req Request, status int, h http.Header) []*url.URL {
	if req.URL == nil || !Invalidates(req.Method, status) {
		return nil
	}
	urls := []*url.URL{req.URL}
	for _, name := range [...]string{"Location", "Content-Location"} {
		value, ok := single(h, name)
		if !ok {
			continue
		}
		u, err := req.URL.Parse(value)
		if err != nil || !isWeb(u) || !sameOrigin(u, req.URL) || KeyOf(u, KeyRule{}) == KeyOf(req.URL, KeyRule{}) {
			continue
		}
		urls = append(urls, u)
	}
	return urls
}

// sameOrigin is RFC 9110 §4.3.1: scheme, host and port.
func sameOrigin(a, b *url.URL) bool {
	scheme := lowerASCII(a.Scheme)
	return scheme == lowerASCII(b.Scheme) && hostPort(a, scheme) == hostPort(b, scheme)
}
