package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// put answers for what was put into the cluster. Nodes that hold it are all there
// is: no name service and no origin is asked.
func (p *Proxy) put(x *exchange, req policy.Request, route policy.Route) {
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPut:
		p.putAt(x)
		return
	default:
		p.fail(x, refused(http.StatusMethodNotAllowed, "http_request_error", "what is in the cluster can be read, and be put there"))
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

// putAt puts a body into the cluster, under its digest, for those who may. A
// precondition is evaluated before it is read.
func (p *Proxy) putAt(x *exchange) {
	ip, ok := clientAddr(x.r)
	if !ok || !contain(p.cfg.AllowPut, ip) {
		p.fail(x, refused(http.StatusForbidden, "http_request_denied",
			fmt.Sprintf("%s may not put anything here; its operator can allow your network with --allow-put", ip)))
		return
	}
	at, ok := swarmcache.PlaceOf(x.r.URL)
	if !ok {
		p.fail(x, refused(http.StatusBadRequest, "http_request_error", "want http://"+swarmcache.PutHost+"/SHA256/NAME"))
		return
	}
	if len(x.r.Header["Content-Range"]) > 0 { // RFC 9110 §14.5
		p.fail(x, refused(http.StatusBadRequest, "http_request_error", "a part of a file cannot be put"))
		return
	}
	key := func(u *url.URL) policy.Key {
		return p.rules().Route(policy.Request{Method: http.MethodGet, URL: u}).Key
	}
	_, created, err := p.cache.PutAt(x.r.Context(), at, key, at.Precondition(x.r.Header), swarmcache.Unstalled(x.w, x.r.Body, swarmcache.StallPut))
	if err != nil {
		p.fail(x, putFailed(err))
		return
	}
	x.w.Header().Set("Etag", at.Tag())
	if created {
		x.w.WriteHeader(http.StatusCreated)
	} else {
		x.w.WriteHeader(http.StatusNoContent)
	}
}

// putFailed is what went wrong with a PUT, as its client is told.
func putFailed(err error) error {
	var status int
	kind := "http_request_error"
	switch {
	case errors.Is(err, swarmcache.ErrPrecondition):
		status = http.StatusPreconditionFailed
	case errors.Is(err, swarmcache.ErrOtherBytes), errors.Is(err, swarmcache.ErrEmpty):
		status = http.StatusUnprocessableEntity
	case errors.Is(err, swarmcache.ErrNoSpace):
		status, kind = http.StatusInsufficientStorage, "proxy_internal_error"
	case errors.Is(err, swarmcache.ErrUnavailable), errors.Is(err, swarmcache.ErrBeingPut):
		status, kind = http.StatusServiceUnavailable, "destination_unavailable"
	case errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
	default:
		return err
	}
	return refused(status, kind, err.Error())
}
