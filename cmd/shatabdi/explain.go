package main

import (
	"context"
	"math"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
	"shatabdi/tracker/wire"
)

// explain tells the API what the proxy would do, and who takes part in what it would
// find.
func (p *parts) explain(px *proxy.Proxy) func(context.Context, api.Question) api.Explanation {
	return func(ctx context.Context, q api.Question) api.Explanation {
		now := time.Now()
		e := px.Explain(ctx, q.Request, q.Ask)
		out := api.Explanation{
			Key: e.Route.Key, FetchURL: e.Route.FetchURL.String(), Last: e.Last,
			Route: api.ExplainedRoute{
				Reasoned:  api.Because(string(e.Route.Kind), e.Route.Reason),
				Threshold: e.Route.Threshold, Streams: e.Route.Streams, ExpectLarge: e.Route.ExpectLarge,
			},
			Stored: explainedStored(&e, now), Verdict: explainedVerdict(&e), From: p.explainedFrom(ctx, &e), Answer: explainedAnswer(e.Answer),
		}
		if i := e.Route.Rule; i >= 0 {
			rules := p.rules()
			out.Route.Rule = &i
			if i < len(rules.Rules) {
				out.Route.RuleName = rules.Rules[i].Name
			}
		}
		return out
	}
}

func explainedVerdict(e *proxy.Explanation) api.Reasoned {
	switch {
	case e.Route.Kind != policy.Swarm:
		return api.Because(string(e.Route.Kind), e.Route.Reason)
	case e.Detour == proxy.DetourMode:
		return api.Reasoned{Decision: "pass", Reason: e.Detour, Text: "caching is turned off: the mode is pass"}
	case e.Detour == proxy.DetourSigned:
		return api.Reasoned{Decision: "pass", Reason: e.Detour, Text: "the request's signature covers Range: no other range may be asked for in its name"}
	}
	because := api.Because(e.Verdict.Action.String(), e.Verdict.Reason)
	if e.Stored != nil && (e.Route.Store.Probe || e.Stored.Stored.Guarded) {
		because.Text += "; and only if the origin gives a byte of it to these very credentials (auth: probe)"
	}
	return because
}

func explainedStored(e *proxy.Explanation, now time.Time) *api.ExplainedStored {
	if e.Stored == nil {
		return nil
	}
	v := e.Stored
	lifetime, _ := e.Route.Cache.FreshnessLifetime(v.Stored)
	age := policy.CurrentAge(v.Stored, now)
	s := &api.ExplainedStored{
		Length: v.Length, Validator: v.Validator,
		Age: int64(age / time.Second), FreshFor: int64(math.Floor((lifetime - age).Seconds())),
	}
	if until := now.Add(lifetime - age).UTC().Truncate(time.Second); until.Year() < 10_000 && !v.Stored.Invalid {
		s.FreshUntil = &until
	}
	if e.Memory {
		s.Complete, s.Here = true, v.Length
		return s
	}
	s.Object = string(v.ID)
	if l := e.Where.Local; l != nil && l.Version.ID == v.ID {
		a := e.Where.Arrived
		s.Complete, s.Here = l.Complete, a.Stored+a.Peers+a.Origin
	}
	return s
}

// explainedFrom says where the bytes come from if they are those that are stored;
// to ask the origin about them costs none.
func (p *parts) explainedFrom(ctx context.Context, e *proxy.Explanation) (from api.ExplainedFrom) {
	w := &e.Where
	if w.Away != nil {
		from.Directory = w.Away.Error()
	}
	if w.Fill != nil {
		from.Fill = &api.ExplainedFill{Opener: string(w.Fill.Opener), Single: w.Fill.Single, Here: w.Coming}
	}
	from.Peers = p.swarmOf(ctx, e.Stored)
	cached := e.Verdict.Served() || e.Verdict.Action == policy.Revalidate
	switch {
	case e.Route.Kind == policy.Deny || e.Verdict.Action == policy.Refuse:
		from.Source = "nobody"
	case e.Route.Kind != policy.Swarm || e.Detour != "" || !cached || e.Stored == nil:
		from.Source = "origin"
		if w.Fill != nil && e.Route.Kind == policy.Swarm && e.Detour == "" {
			from.Source = "fill"
		}
	case e.Memory:
		from.Source = "memory"
	case w.Local != nil && w.Local.Complete && w.Local.Version.ID == e.Stored.ID:
		from.Source = "here"
	case w.Fill != nil || w.Coming:
		from.Source = "fill"
	case from.Peers != nil && from.Peers.Complete > 0:
		from.Source = "peers"
	default:
		from.Source = "origin"
	}
	return from
}

// swarmOf asks the tracker who takes part in the sealed torrent of v.
func (p *parts) swarmOf(ctx context.Context, v *swarmcache.Version) *api.ExplainedPeers {
	url := p.leader.Load()
	if v == nil || v.InfoHash.IsZero() || url == nil || *url == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	swarms, err := wire.Scrape(ctx, p.direct, *url, wire.InfoHash(v.InfoHash))
	if err != nil {
		return nil
	}
	peers := &api.ExplainedPeers{}
	for _, s := range swarms {
		peers.Complete, peers.Incomplete = s.Complete, s.Incomplete
	}
	return peers
}

func explainedAnswer(a *proxy.Answer) *api.ExplainedAnswer {
	switch {
	case a == nil:
		return nil
	case a.Err != nil:
		return &api.ExplainedAnswer{Verdict: api.Reasoned{Decision: "pass", Reason: "error", Text: "the origin did not answer: " + a.Err.Error()}}
	}
	out := &api.ExplainedAnswer{Status: a.Status, Explicit: a.Explicit, Verdict: api.Because("pass", a.Reason)}
	fresh := int64(a.Lifetime / time.Second)
	out.Fresh = &fresh
	if a.Length >= 0 {
		out.Length = &a.Length
	}
	switch a.Reason {
	case "":
		out.Verdict = api.Because("store", "")
	case "small":
		out.Verdict.Text = "it is smaller than the threshold, and small responses are not kept (--small cache keeps them)"
	}
	return out
}
