package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"shatabdi/proxy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/download"
)

// maxHot bounds how many hot objects a node warms up with.
const maxHot = 1000

// tellHot lets the others know now and then what clients of this node want most.
func (p *parts) tellHot(every time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			select {
			case <-time.After(every/2 + rand.N(every)):
			case <-ctx.Done():
				return nil
			}
			p.cluster.TellHot(ctx, p.cache.Hot(swarmcache.MaxHot)) // the next time, if the directory is away
		}
	}
}

// hottest are the n objects that clients of all nodes want most.
func (p *parts) hottest(ctx context.Context, n int) (specs []download.Spec, err error) {
	if n == 0 {
		return nil, nil
	}
	hot, err := p.cluster.Hottest(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("what is hot: %w", err)
	}
	for _, h := range hot {
		specs = append(specs, download.Spec{URL: h.URL})
	}
	return specs, nil
}

// unasked is for what no client has asked for.
type unasked struct{ px *proxy.Proxy }

func (u unasked) RoundTrip(r *http.Request) (*http.Response, error) {
	return u.px.RoundTrip(r.WithContext(swarmcache.Unasked(r.Context())))
}
