package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// methodPurge is no method of any RFC; Squid, Varnish and nginx made it known.
const methodPurge = "PURGE"

// purged is the answer to PURGE. The fields are those of the REST API's purge.
type purged struct {
	Key     policy.Key `json:"key"`
	Removed bool       `json:"removed"`
	Count   int        `json:"count"` // of responses on this node; the others are told and not asked
}

// purge makes every node forget what a URL selects, for those who may order that.
func (p *Proxy) purge(x *exchange) {
	ip, ok := clientAddr(x.r)
	if !ok || !contain(p.cfg.AllowPurge, ip) {
		p.fail(x, refused(http.StatusForbidden, "http_request_denied",
			fmt.Sprintf("%s may not purge; its operator can allow your network with --allow-purge", ip)))
		return
	}
	key := p.rules().Route(policy.Request{Method: http.MethodGet, URL: x.r.URL}).Key
	if key == "" {
		p.fail(x, refused(http.StatusBadRequest, "http_request_error", "want the http:// or https:// URL of what is to be forgotten"))
		return
	}
	n, err := p.cache.Purge(x.r.Context(), key)
	switch {
	case errors.Is(err, swarmcache.ErrUnavailable):
		p.fail(x, refused(http.StatusServiceUnavailable, "destination_unavailable",
			"this node has forgotten it, and the directory that tells the others cannot be asked; ask again"))
		return
	case err != nil:
		p.fail(x, err)
		return
	}
	body, err := json.Marshal(purged{key, n > 0, n})
	if err != nil {
		p.fail(x, err)
		return
	}
	body = append(body, '\n')
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(http.StatusOK)
	x.w.Write(body)
}
