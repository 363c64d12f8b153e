package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// maxResumes bounds how often one answer is continued from the origin.
const maxResumes = 3

// resume continues the body of ver at an exact byte, from the origin: the
// client has the bytes before it, so nothing but the very same version will do.
func (p *Proxy) resume(ctx context.Context, src swarmcache.Origin, ver swarmcache.Version, from, to int64) (io.ReadCloser, error) {
	body, err := p.askResume(ctx, src, ver, from, to)
	result := "continued"
	if err != nil {
		result = "failed"
	}
	p.metrics.resumes.WithLabelValues(result).Inc()
	return body, err
}

func (p *Proxy) askResume(ctx context.Context, src swarmcache.Origin, ver swarmcache.Version, from, to int64) (io.ReadCloser, error) {
	if ver.Validator == "" {
		return nil, fmt.Errorf("resume at %d: no strong validator", from)
	}
	res, err := src.Get(ctx, layout.Range{From: from, To: to}, ver.Validator)
	if err != nil {
		return nil, fmt.Errorf("resume at %d: %w", from, err)
	}
	if err = continues(res, ver, from, to); err != nil && again(res, ver) { // it has no ranges
		_, err = io.CopyN(io.Discard, res.Body, from)
	}
	if err != nil {
		res.Body.Close()
		return nil, fmt.Errorf("resume at %d: %w", from, err)
	}
	return &part{io.LimitReader(res.Body, to-from), res.Body}, nil
}

// part is as much of a body as is wanted.
type part struct {
	io.Reader
	io.Closer
}

// again reports whether res is all of ver from its beginning.
func again(res *http.Response, ver swarmcache.Version) bool {
	return policy.SameWhole(ver.Stored, ver.Length, stored(res))
}

func stored(res *http.Response) policy.Stored {
	return policy.Stored{Status: res.StatusCode, Header: res.Header, ResponseTime: time.Now()}
}

// continues checks that res is the bytes [from, to) of ver (RFC 9110 §15.3.7.3).
func continues(res *http.Response, ver swarmcache.Version, from, to int64) error {
	got, ok := policy.PartOf(ver.Stored, ver.Length, stored(res))
	if want := (httpheader.Range{From: from, To: to}); !ok || got != want {
		return fmt.Errorf("the origin sent %q of %q with %s, want %d-%d of %q", res.Header.Get("Content-Range"),
			res.Header.Get("Etag"), res.Status, from, to-1, ver.Validator)
	}
	return nil
}
