package proxy

import (
	"context"
	"net/http"
	"strings"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// Explanation is what would become of a request now, and why.
type Explanation struct {
	Request policy.Request
	Route   policy.Route
	// Detour says why the request would go past the cache although the route is
	// swarm: DetourMode or DetourSigned; "" when it would not.
	Detour string

	Where  swarmcache.Where
	Stored *swarmcache.Version // what would be looked at; nil: nothing is known
	Memory bool                // it is small, and in this node's memory
	// Verdict is what policy says, if the cache is asked at all.
	Verdict policy.Verdict
	// Last is what the last answer of the origin was, as far as it is remembered:
	// "" for not at all, "stored", "small" or "not-stored".
	Last string
	// Answer is what the origin says, if it was to be asked.
	Answer *Answer
}

// Why a request goes past the cache although no rule and no field of it says so.
const (
	DetourMode   = "mode"         // caching is turned off
	DetourSigned = "signed-range" // no other range may be asked for in the client's name
)

// Answer is the head of an origin's answer, and what would become of it.
type Answer struct {
	Err    error // there was none; the other fields are empty
	Status int
	Header http.Header
	Length int64  // of the whole body; -1: not told
	Reason string // why it is not stored, a reason of policy.Storable, "rule" or "small"; "": it is stored
	// Lifetime is for how long it is fresh after it was made, and Explicit whether
	// somebody says so.
	Lifetime time.Duration
	Explicit bool
}

// Explain tells what would become of a request. Nothing of it happens, but that with
// ask the origin is sent a GET, of whose answer the head is read.
func (p *Proxy) Explain(ctx context.Context, req policy.Request, ask bool) Explanation {
	if policy.ListsFields(req.Header) {
		req.Header = req.Header.Clone()
		origin.RemoveHopByHop(req.Header)
	}
	e := Explanation{Request: req, Route: p.rules().Route(req)}
	put := strings.EqualFold(req.URL.Hostname(), swarmcache.PutHost)
	switch {
	case e.Route.Kind == policy.Swarm && p.passing() && !put:
		e.Detour = DetourMode
	case e.Route.Kind == policy.Swarm && rangeSigned(req.Header, req.URL) && !put:
		e.Detour = DetourSigned
	}
	if e.Route.Key == "" || p.cfg.Cache == nil {
		return e
	}
	p.locate(ctx, &e)
	if e.Route.Kind == policy.Swarm && e.Detour == "" {
		p.judgeStored(&e)
	}
	switch p.seen.of(e.Route.Key).what {
	case largeKind:
		e.Last = "stored"
	case smallKind:
		e.Last = "small"
	case passingKind:
		e.Last = "not-stored"
	}
	if ask && !put && e.Route.Kind != policy.Deny {
		e.Answer = p.ofOrigin(ctx, &e)
	}
	return e
}

// locate finds what the request would meet.
func (p *Proxy) locate(ctx context.Context, e *Explanation) {
	e.Where = p.cfg.Cache.Where(ctx, e.Route.Key)
	if o, selected := p.small.Find(e.Route.Key, e.Request.Header, &e.Route.Cache); selected {
		v := o.Version()
		e.Stored, e.Memory = &v, true
		return
	}
	e.Stored = e.Where.Selects()
}

// judgeStored is answer's decision.
func (p *Proxy) judgeStored(e *Explanation) {
	if e.Stored == nil {
		e.Verdict = e.Route.Cache.Decide(e.Request, nil, p.cfg.Now())
		return
	}
	s := &e.Stored.Stored
	e.Route = p.rules().AtResponse(e.Route, s.Status, s.Header, e.Stored.Length)
	e.Verdict = e.Route.Cache.Decide(e.Request, s, p.cfg.Now())
	unmet := e.Verdict.Action != policy.Fetch && hasPreconditions(e.Request.Header) && policy.Respond(e.Request, s, e.Stored.Length).Status == 0
	switch {
	case e.Verdict.Action == policy.Refuse:
	case unmet && onlyIfCached(e.Request.Header):
		e.Verdict.Action = policy.Refuse
	case unmet:
		e.Verdict.Action, e.Verdict.Reason = policy.Bypass, policy.ReasonRequest
	}
}

// ofOrigin is what the origin says now, and verdict's decision about it.
func (p *Proxy) ofOrigin(ctx context.Context, e *Explanation) *Answer {
	sent := p.cfg.Now()
	res, err := p.origin.Source(e.Route.FetchURL, e.Request.Header).Get(ctx, layout.Range{}, "")
	if err != nil {
		return &Answer{Err: err}
	}
	res.Body.Close()
	s := policy.Stored{Status: res.StatusCode, Header: res.Header, RequestTime: sent, ResponseTime: p.cfg.Now(), Ahead: p.cfg.Ahead()}
	a := &Answer{Status: res.StatusCode, Header: res.Header, Length: policy.WholeLength(s)}
	req := e.Request
	req.Method = http.MethodGet
	route := p.rules().AtResponse(p.rules().Route(req), s.Status, s.Header, a.Length)
	a.Lifetime, a.Explicit = route.Cache.FreshnessLifetime(s)
	store := route.Store
	store.AnyStatus = p.small != nil
	store.Uses = int(p.seen.of(route.Key).uses) + 1
	ok, reason := route.Cache.Storable(req, s, store)
	switch {
	case route.Kind != policy.Swarm:
		a.Reason = "rule"
	case !ok:
		a.Reason = reason
	case a.Length >= route.Threshold && s.Status != http.StatusOK:
		a.Reason = policy.NotStatus
	case a.Length >= 0 && a.Length < route.Threshold && !p.small.Takes(a.Length):
		a.Reason = "small"
	}
	return a
}
