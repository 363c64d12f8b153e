package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
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
	req   policy.Request
	route policy.Route
	seen  sight             // of its key, before
	since swarmcache.Mark   // of its key, from before the origin was asked
	from  swarmcache.Origin // see source

	// key is under what v is looked up, and stored: that of the route, or, where a
	// response that varies as vary says stands there, that of v's own variant.
	key  policy.Key
	vary []string

	claim  func()    // gives the claim on the first GET back; may be called twice
	first  bool      // that was granted, for what may be small
	asks   *question // that it puts to the origin, and others wait for; nil: none
	behind bool      // no client waits for it

	probes int // that were answered about versions which are no more
	probed int // the status by which the origin has admitted it; 0: it did so before

	trouble trouble // why what is stale has to do

	waits     int                 // questions of others that it has waited for
	collapsed cacheStatus         // what to say then
	alone     swarmcache.ObjectID // about which it waits for nobody any more
}

// cached answers from the cache or through it.
func (p *Proxy) cached(x *exchange, req policy.Request, route policy.Route) {
	if policy.ListsFields(x.r.Header) {
		// The origin will not see them, so they must not select a variant here.
		x.r.Header = x.r.Header.Clone()
		origin.RemoveHopByHop(x.r.Header)
		req.Header = x.r.Header
	}
	v := &visit{exchange: x, req: req, route: route, key: route.Key, claim: func() {}}
	v.outcome = outcomeMiss
	v.seen = p.seen.use(route.Key)
	v.route.Store.Uses = int(v.seen.uses)
	defer v.known()
	for {
		obj, err := p.find(v)
		if err != nil {
			p.fail(x, err)
			return
		}
		if again := p.answer(v, obj); !again {
			return
		}
	}
}

// source is where the object's bytes can be fetched. What is small needs none.
func (v *visit) source(p *Proxy) swarmcache.Origin {
	if v.from == nil {
		v.from = p.origin.Source(v.route.FetchURL, v.req.Header)
	}
	return v.from
}

// ownKey is the key where a rule makes it another than the URL.
func (v *visit) ownKey() policy.Key {
	if v.route.Rekeyed {
		return v.route.Key
	}
	return ""
}

// known lets those go on who wait for what v learns from the origin.
func (v *visit) known() {
	v.claim()
	if v.asks != nil {
		v.asks.end()
		v.asks = nil
	}
}

// answer does what policy says. It reports whether to look again, because
// somebody else has learnt from the origin what was to be asked.
func (p *Proxy) answer(v *visit, obj object) (again bool) {
	if obj == nil {
		d := v.route.Cache.Decide(v.req, nil, p.cfg.Now())
		if d.Reason == policy.ReasonURIMiss && v.vary != nil {
			d.Reason = policy.ReasonVaryMiss
		}
		switch d.Action {
		case policy.Refuse:
			p.refuse(v)
		case policy.Bypass:
			p.bypass(v, d.Reason)
		default:
			p.fetch(v, nil, d)
		}
		return false
	}
	defer obj.Close()
	ver := obj.Version()
	v.route = p.rules().AtResponse(v.route, ver.Stored.Status, ver.Stored.Header, ver.Length)
	d := v.route.Cache.Decide(v.req, &ver.Stored, p.cfg.Now())
	if guarded := v.route.Store.Probe || ver.Stored.Guarded; guarded && d.Action != policy.Refuse && d.Action != policy.Bypass && d.Reason != policy.ReasonVaryMiss {
		if admitted, again := p.mayHave(v, obj); !admitted {
			return again
		}
		d.AskFirst()
	}
	unmet := d.Action != policy.Fetch && hasPreconditions(v.r.Header) && policy.Respond(v.req, &ver.Stored, ver.Length).Status == 0
	switch {
	case d.Action == policy.Refuse, unmet && onlyIfCached(v.r.Header):
		p.refuse(v)
	case d.Action == policy.Bypass:
		p.bypass(v, d.Reason)
	case v.route.Kind != policy.Swarm:
		p.bypass(v, policy.ReasonBypass)
	case unmet: // it speaks of the origin's state (RFC 9111 §4.3.2)
		p.bypass(v, policy.ReasonRequest)
	case d.Action == policy.ServeAndRevalidate:
		p.refresh(v, ver, d)
		p.serveStored(v, obj, d)
	case d.Action == policy.Serve:
		p.serveStored(v, obj, d)
	case d.Reason == policy.ReasonStale || d.Reason == policy.ReasonRequest:
		return p.ask(v, obj, d)
	default:
		p.fetch(v, obj, d)
	}
	return false
}

func hasPreconditions(h http.Header) bool {
	return len(h["If-Match"])+len(h["If-Unmodified-Since"]) > 0
}

func (p *Proxy) refuse(v *visit) {
	p.fail(v.exchange, refused(http.StatusGatewayTimeout, "proxy_internal_response", "only-if-cached was asked for, and it is not"))
}

// claimRounds bounds how often a request waits for somebody else's first GET.
// Each round that ends without an object is an answer too small or not to be
// stored, or a claimer that died; after that many the claim is not worth it.
const claimRounds = 3

// patienceTold is how long a request tries to find what another node's claim
// brought. All who waited for that ask in the same moment; if those to whom the
// directory does not answer at once went to the origin, that would be hundreds.
const patienceTold = 5 * time.Second

// find looks the object up; nil is a miss. When the object is expected to be
// large a miss comes with the claim on its first GET, until v.known. Others wait
// here for that, and then find the fill. Where nothing is here the claim comes
// before the look-up: that it is granted means that there is nothing to find.
// A request whose answer is for nobody else neither claims nor waits.
func (p *Proxy) find(v *visit) (obj object, err error) {
	large := v.route.ExpectLarge
	switch {
	case v.inside != nil:
		large = true
	case v.seen.what != unknownKind:
		large = v.seen.what == largeKind
	}
	if o, selected := p.findSmall(v); selected {
		return smallObject(o), nil
	}
	obj, err = p.cache.Local(v.key, v.source(p))
	if err == nil && v.varies(obj.Version().Stored) {
		obj.Close()
		return p.find(v)
	}
	partly := err == nil && !(obj.Complete() && isCertain(obj))
	switch {
	case partly:
		obj.Close() // the directory may know of a fill to join, or of something newer
	case err == nil:
		return obj, nil
	case !large: // a small object must not wait for the directory
		p.missed("look up here", err)
		return p.await(v)
	}
	ctx := swarmcache.Patiently(v.r.Context())
	v.r = v.r.WithContext(ctx) // for what opens the fill too
	mayClaim := large && v.r.Method == http.MethodGet && !onlyIfCached(v.r.Header) && policy.Shares(v.req, v.route.Store)
	for round, look := 0, partly || !mayClaim; ; round, look = round+1, true {
		if o, selected := p.findSmall(v); selected { // it was not large
			return smallObject(o), nil
		}
		if look {
			obj, err := p.lookUp(v, round > 0)
			var other *swarmcache.OtherVariantError
			switch busy := tooBusy(err); {
			case err == nil:
				return obj, nil
			case busy != nil:
				return nil, busy
			case errors.As(err, &other) && v.varies(other.Stored):
				return p.find(v)
			}
			p.missed("look up", err)
		}
		if !mayClaim || round == claimRounds {
			return nil, nil
		}
		claim, there, err := p.cache.ClaimFirst(ctx, v.key, v.source(p), v.wants)
		var other *swarmcache.OtherVariantError
		var taken *swarmcache.ClaimedError
		switch {
		case there != nil:
			return there, nil
		case err == nil:
			v.claim = sync.OnceFunc(claim)
			return nil, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case tooBusy(err) != nil:
			return nil, tooBusy(err)
		case errors.As(err, &other) && v.varies(other.Stored):
			return p.find(v)
		case !errors.As(err, &taken):
			p.degraded("claim first GET", err)
			return nil, nil
		}
	}
}

// varies reports whether s, which stands under v's key, is another variant than v
// asks for. From then on v has the key of its own variant.
func (v *visit) varies(s policy.Stored) bool {
	key, other := v.variantBeside(s)
	if other {
		v.key, v.vary = key, s.Header["Vary"]
	}
	return other
}

func (v *visit) variantBeside(s policy.Stored) (key policy.Key, other bool) {
	if v.vary != nil || v.route.Cache.SelectedBy(s, v.req.Header) {
		return "", false
	}
	return v.route.Cache.VariantOf(v.route.Key, v.req.Header, s.Header["Vary"])
}

// wants reports whether v takes s from under its key, fresh or not.
func (v *visit) wants(s policy.Stored) bool {
	_, other := v.variantBeside(s)
	return !other
}

// keyOf is under what a response is stored that comes to v.
func (v *visit) keyOf(s policy.Stored) policy.Key {
	if v.vary != nil && !policy.SameVary(v.vary, s.Header["Vary"]) {
		return v.route.Key // it selects by other fields from now on
	}
	return v.key
}

// lookUp asks the cluster; told means that another node's claim has just ended.
func (p *Proxy) lookUp(v *visit, told bool) (object, error) {
	ctx := v.r.Context()
	patience := swarmcache.PatienceOf(ctx)
	for {
		begun := time.Now()
		obj, err := p.cache.LookupWanted(ctx, v.key, v.source(p), v.wants)
		if !told || !errors.Is(err, swarmcache.ErrUnavailable) || patience.Spent() > patienceTold {
			return obj, err
		}
		select {
		case <-time.After(100*time.Millisecond + rand.N(400*time.Millisecond)):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		patience.Spend(time.Since(begun))
	}
}

// bypass goes to the origin although the route is swarm.
func (p *Proxy) bypass(v *visit, reason string) {
	v.outcome = outcomeBypass
	v.respond = func(res *http.Response) error {
		p.cacheStatus(res.Header, cacheStatus{CacheStatus: policy.CacheStatus{Word: "BYPASS", Fwd: reason, FwdStatus: res.StatusCode}, key: v.ownKey()})
		return p.passes(v, res)
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

// supersede makes the cluster forget an object. It does not hang on the client: what
// it saw at the origin is true for all.
func (p *Proxy) supersede(v *visit, old object) {
	v.since = v.since.Advance()
	p.forgotten(v.r.Context(), old.Withdraw)
}

// recheck takes obj back, which v has just stored, if its key was forgotten at that
// moment: who did so may have come too early to find it.
func (p *Proxy) recheck(v *visit, obj object) {
	if v.since.Past() {
		p.forgotten(v.r.Context(), obj.Withdraw)
	}
}

func (p *Proxy) forgotten(ctx context.Context, forget func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := forget(ctx); err != nil {
		p.missed("withdraw", err)
	}
}

// invalidate makes the cluster forget what an unsafe method changed (RFC 9111 §4.4).
// The answer waits for it only where something is stored on this node, so that the
// next GET here sees the change; elsewhere it costs the writer nothing.
func (p *Proxy) invalidate(ctx context.Context, u *url.URL, h http.Header) {
	route := p.rules().Route(policy.Request{Method: http.MethodGet, URL: u, Header: h})
	if route.Kind != policy.Swarm {
		return
	}
	p.cache.Mark(route.Key).Advance()
	p.small.Forget(route.Key)
	withdraw := func(ctx context.Context) {
		p.forgotten(ctx, func(ctx context.Context) error { return p.cache.Invalidate(ctx, route.Key) })
	}
	if obj, err := p.cache.Local(route.Key, nil); err == nil {
		obj.Close()
		withdraw(ctx)
		return
	}
	select {
	case p.background <- struct{}{}:
		p.work.Go(func() {
			defer func() { <-p.background }()
			withdraw(p.ctx)
		})
	default:
		withdraw(ctx)
	}
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
