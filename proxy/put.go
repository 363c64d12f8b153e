package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// put answers for what was put into the cluster. Nodes that hold it are all there
// is: no name service and no origin is asked.
func (p *Proxy) put(x *exchange, req policy.Request, route policy.Route) {
	if m := x.r.Method; m != http.MethodGet && m != http.MethodHead {
		p.fail(x, refused(http.StatusMethodNotAllowed, "http_request_error", "what was put into the cluster can be read only; `shatabdi put` adds to it"))
		return
	}
	v := &visit{exchange: x, req: req, route: route, key: route.Key, from: noOrigin{}, claim: func() {}}
	v.outcome = outcomeHit
	obj, err := p.cache.LookupWanted(x.r.Context(), route.Key, noOrigin{}, v.wants)
	switch {
	case errors.Is(err, swarmcache.ErrUnavailable):
		p.fail(x, refused(http.StatusServiceUnavailable, "destination_unavailable", "it is not on this node, and the directory that knows the others cannot be asked"))
		return
	case errors.Is(err, swarmcache.ErrNoSpace):
		p.fail(x, refused(http.StatusInsufficientStorage, "proxy_internal_error", "there is no room for it on this node"))
		return
	case tooBusy(err) != nil:
		p.fail(x, tooBusy(err))
		return
	case err != nil:
		p.fail(x, errNoReplica)
		return
	}
	defer obj.Close()
	status := cacheStatus{CacheStatus: policy.CacheStatus{Hit: true, Word: "HIT"}}
	if !obj.Complete() {
		status.Detail = "swarm"
	}
	p.serve(v, obj, obj.Version().Stored, status)
}

var errNoReplica = refused(http.StatusNotFound, "destination_not_found", "no node that can be reached holds it; `shatabdi put FILE` on a machine that has the file brings it back")

// noOrigin is the origin of what was put into the cluster.
type noOrigin struct{}

func (noOrigin) Get(context.Context, layout.Range, string) (*http.Response, error) {
	return nil, errNoReplica
}

func (noOrigin) Latency() time.Duration { return 0 }
