package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
)

// visit is a request on the swarm route: what the cache's path needs to know of
// it besides the exchange.
type visit struct {
	*exchange
	req    policy.Request
	route  policy.Route
	source *origin.Source // where the object's spans can be fetched
}

// cached answers from the cache or through it.
func (p *Proxy) cached(x *exchange, req policy.Request, route policy.Route) {
	v := &visit{exchange: x, req: req, route: route, source: p.origin.Source(route.FetchURL, x.r.Header)}
	v.outcome = outcomeMiss
	obj, release, err := p.find(v)
	defer release()
	if err != nil {
		p.fail(x, err)
		return
	}
	var stored *policy.Stored
	if obj != nil {
		defer obj.Close()
		ver := obj.Version()
		stored = &ver.Stored
	}
	switch d := route.Cache.Decide(req, stored, p.cfg.Now()); d.Action {
	case policy.Serve:
		if !meetsPreconditions(x.r.Header, stored) {
			p.bypass(v, policy.ReasonRequest)
			return
		}
		p.serveStored(v, obj, d)
	case policy.Revalidate, policy.ServeAndRevalidate:
		p.revalidate(v, obj, d, release)
	case policy.Fetch:
		p.fetch(v, obj, d, release)
	case policy.Refuse:
		p.fail(x, refused(http.StatusGatewayTimeout, "http_request_denied", "only-if-cached was asked for, and it is not"))
	case policy.Bypass:
		p.bypass(v, d.Reason)
	}
}

// claimRounds bounds how often a request waits for somebody else's first GET.
// Each round that ends without an object is an answer too small or not to be
// stored, or a claimer that died; after that many the claim is not worth it.
const claimRounds = 3

// find looks the object up; nil is a miss. When the object is expected to be
// large a miss comes with the claim on its first GET: release it as soon as the
// answer is known. Others wait here for that, and then find the fill. Where
// nothing is here the claim comes before the look-up: that it is granted means
// that there is nothing to find.
func (p *Proxy) find(v *visit) (obj object, release func(), err error) {
	release = func() {}
	large := v.route.ExpectLarge
	if known, is := p.seen.recall(v.route.Key); known {
		large = is
	}
	obj, err = p.cache.Local(v.route.Key, v.source)
	partly := err == nil && !obj.Complete()
	switch {
	case partly:
		obj.Close() // the directory may know of a fill to join
	case err == nil:
		return obj, release, nil
	case !large: // a small object must not wait for the directory
		p.missed("look up here", err)
		return nil, release, nil
	}
	ctx := v.r.Context()
	mayClaim := large && v.r.Method == http.MethodGet && !onlyIfCached(v.r.Header)
	for round, look := 0, partly || !mayClaim; ; round, look = round+1, true {
		if look {
			if obj, err := p.cache.Lookup(ctx, v.route.Key, v.source); err == nil {
				return obj, release, nil
			} else {
				p.missed("look up", err)
			}
		}
		if !mayClaim || round == claimRounds {
			return nil, release, nil
		}
		claim, err := p.cache.ClaimFirst(ctx, v.route.Key)
		var taken *swarmcache.ClaimedError
		switch {
		case err == nil:
			return nil, sync.OnceFunc(claim), nil
		case ctx.Err() != nil:
			return nil, release, context.Cause(ctx)
		case !errors.As(err, &taken):
			p.degraded("claim first GET", err)
			return nil, release, nil
		}
	}
}

// bypass goes to the origin although the route is swarm.
func (p *Proxy) bypass(v *visit, reason string) {
	v.outcome = outcomeBypass
	v.respond = func(res *http.Response) error {
		p.cacheStatus(res.Header, "BYPASS", cacheStatus{fwd: reason, fwdStatus: res.StatusCode})
		return nil
	}
	p.pass(v.exchange)
}

// missed and degraded note that an accelerator failed; the request goes on.
func (p *Proxy) missed(what string, err error) {
	if !errors.Is(err, swarmcache.ErrNotFound) {
		p.degraded(what, err)
	}
}

func (p *Proxy) degraded(what string, err error) {
	p.metrics.degraded.Inc()
	p.log.Debug("the cache failed; going on without it", "step", what, "error", err)
}

// withdraw makes the cluster forget what key selects. It does not hang on the
// client: what it saw at the origin is true for all.
func (p *Proxy) withdraw(ctx context.Context, key policy.Key) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := p.cache.Withdraw(ctx, key); err != nil {
		p.missed("withdraw", err)
	}
}

// invalidate withdraws what an unsafe method changed (RFC 9111 §4.4). The
// answer waits for it only where something is stored on this node, so that the
// next GET here sees the change; elsewhere it costs the writer nothing.
func (p *Proxy) invalidate(ctx context.Context, u *url.URL, h http.Header) {
	route := p.rules().Route(policy.Request{Method: http.MethodGet, URL: u, Header: h})
	if route.Kind != policy.Swarm {
		return
	}
	if obj, err := p.cache.Local(route.Key, nil); err == nil {
		obj.Close()
		p.withdraw(ctx, route.Key)
		return
	}
	select {
	case p.background <- struct{}{}:
		p.work.Go(func() {
			defer func() { <-p.background }()
			p.withdraw(p.ctx, route.Key)
		})
	default:
		p.withdraw(ctx, route.Key)
	}
}

// meetsPreconditions reports whether If-Match and If-Unmodified-Since hold for
// what is stored. They speak of the origin's state (RFC 9111 §4.3.2), so when
// they do not hold here, the origin is asked.
func meetsPreconditions(h http.Header, s *policy.Stored) bool {
	if lines := h["If-Match"]; len(lines) > 0 {
		tags, any, ok := httpheader.ParseETags(lines)
		if !ok {
			return false
		}
		tag, _ := httpheader.ParseETag(s.Header.Get("Etag"))
		for _, t := range tags {
			any = any || t.StrongMatch(tag)
		}
		return any
	}
	if since := h.Get("If-Unmodified-Since"); since != "" {
		limit, err1 := http.ParseTime(since)
		modified, err2 := http.ParseTime(s.Header.Get("Last-Modified"))
		return err1 == nil && err2 == nil && !modified.After(limit)
	}
	return true
}

func onlyIfCached(h http.Header) bool {
	return httpheader.ParseRequestControl(h["Cache-Control"]).OnlyIfCached
}

// rangeSigned reports whether the client's signature covers Range (AWS SigV4):
// then no other range may be asked for in its name.
func rangeSigned(h http.Header, u *url.URL) bool {
	if len(h["Range"]) == 0 {
		return false
	}
	_, signed, _ := strings.Cut(h.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	if signed == "" && strings.Contains(u.RawQuery, "X-Amz-SignedHeaders") {
		signed = u.Query().Get("X-Amz-SignedHeaders")
	}
	for name := range strings.SplitSeq(signed, ";") {
		if strings.EqualFold(strings.TrimSpace(name), "range") {
			return true
		}
	}
	return false
}
