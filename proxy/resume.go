package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"shatabdi/policy/httpheader"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// maxResumes bounds how often one answer is continued from the origin.
const maxResumes = 3

// resume continues the body of ver at an exact byte, from the origin: the
// client has the bytes before it, so nothing but the very same version will do.
func (p *Proxy) resume(ctx context.Context, src *origin.Source, ver swarmcache.Version, from, to int64) (io.ReadCloser, error) {
	body, err := p.askResume(ctx, src, ver, from, to)
	result := "continued"
	if err != nil {
		result = "failed"
	}
	p.metrics.resumes.WithLabelValues(result).Inc()
	return body, err
}

func (p *Proxy) askResume(ctx context.Context, src *origin.Source, ver swarmcache.Version, from, to int64) (io.ReadCloser, error) {
	if ver.Validator == "" {
		return nil, fmt.Errorf("resume at %d: no strong validator", from)
	}
	res, err := src.Get(ctx, layout.Range{From: from, To: to}, ver.Validator)
	if err != nil {
		return nil, fmt.Errorf("resume at %d: %w", from, err)
	}
	if err := continues(res, ver, from, to); err != nil {
		res.Body.Close()
		return nil, fmt.Errorf("resume at %d: %w", from, err)
	}
	return res.Body, nil
}

// continues checks that res is the bytes [from, to) of ver (RFC 9110 §15.3.7.3).
func continues(res *http.Response, ver swarmcache.Version, from, to int64) error {
	if res.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("the origin answered %s", res.Status)
	}
	got, ok := httpheader.ParseContentRange(res.Header.Get("Content-Range"))
	want := httpheader.ContentRange{Range: httpheader.Range{From: from, To: to}, Length: ver.Length}
	if !ok || got != want {
		return fmt.Errorf("the origin sent %q, want %q", res.Header.Get("Content-Range"), want)
	}
	validator := res.Header.Get("Etag")
	if validator == "" {
		validator = res.Header.Get("Last-Modified")
	}
	if validator != ver.Validator {
		return fmt.Errorf("the origin has %s now, want %s", validator, ver.Validator)
	}
	if c := res.Header.Get("Content-Encoding"); c != ver.Stored.Header.Get("Content-Encoding") {
		return fmt.Errorf("the origin codes by %q now", c)
	}
	return nil
}
