package main

import (
	"net/http"
	"net/url"
)

// through sends requests to the proxy of a daemon, https:// too: unlike a browser,
// which asks for a tunnel, we may tell our proxy what we want, and it comes
// through the cache. It is an http.RoundTripper.
type through struct {
	proxy     *url.URL
	transport *http.Transport
}

func newThrough(proxy string) (*through, error) {
	u, err := url.Parse(proxy)
	if err != nil {
		return nil, err
	}
	return &through{u, &http.Transport{DisableCompression: true}}, nil
}

func (t *through) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	whole := *req.URL
	whole.Fragment, whole.RawFragment, whole.User = "", "", nil
	if whole.Path == "" {
		whole.Path = "/"
	}
	out.Host = whole.Host
	out.URL = &url.URL{Scheme: "http", Host: t.proxy.Host, Opaque: whole.String()}
	res, err := t.transport.RoundTrip(out)
	if err == nil {
		res.Request = req // redirects are relative to that
	}
	return res, err
}
