package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// fetch sends the request to the origin and decides by the head of the answer:
// not to be stored, it passes through; small, it is kept in memory, if that is
// wanted; large, it becomes the first span of a fill. No byte of the body is read
// before that. old, if not nil, is
// what is stored and will not do; where d says so the origin is asked whether it
// still stands (RFC 9111 §4.3.1).
func (p *Proxy) fetch(v *visit, old object, d policy.Verdict) {
	v.prepare = nil
	if v.r.Method == http.MethodHead {
		d.Conditional = nil // there is no body to save
	}
	if d.Conditional != nil {
		v.prepare = func(out *http.Request) {
			for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
				out.Header.Del(name)
			}
			for name, value := range d.Conditional {
				out.Header[name] = value
			}
		}
	} else if v.wantsWhole(p) {
		v.prepare = func(out *http.Request) {
			out.Header.Del("Range")
			out.Header.Del("If-Range")
		}
	}
	v.failed = func(err error) bool { return p.originFailed(v, old, d, err) }
	p.get(v, func(f *fetching, res *http.Response) error {
		defer func() {
			if !f.overheard {
				v.known()
			}
		}()
		if v.asks != nil {
			v.asks.answered = true
		}
		answer := policy.Stored{Status: res.StatusCode, Header: res.Header, RequestTime: f.sent, ResponseTime: p.cfg.Now(), Ahead: p.cfg.Ahead()}
		if old != nil {
			if err := p.judge(v, old, d, answer); err != nil {
				return err
			}
		}
		return p.verdict(f, old, d, answer, res)
	})
}

// wantsWhole reports whether the origin is asked for the whole although the client
// wants a part: of what is small it can be kept.
func (v *visit) wantsWhole(p *Proxy) bool {
	return p.small != nil && v.seen.what == smallKind && len(v.r.Header["Range"]) > 0 && plainGet(v.r) && policy.Shares(v.req, v.route.Store)
}

// verdict decides what becomes of the origin's answer. It returns nil to pass it on.
func (p *Proxy) verdict(f *fetching, old object, d policy.Verdict, received policy.Stored, res *http.Response) error {
	v := f.visit
	status := cacheStatus{CacheStatus: d.Forwarded(policy.TakeAnswer, res.StatusCode), key: v.ownKey()}
	length := policy.WholeLength(received)
	route := p.rules().AtResponse(v.route, res.StatusCode, res.Header, length)
	store := route.Store
	store.Partial = len(v.r.Header["Range"]) > 0 && !v.wantsWhole(p)
	store.AnyStatus = p.small != nil
	if old != nil {
		store.Uses = 0 // it was asked for often enough before
	}

	why := ""
	ok, reason := route.Cache.Storable(v.req, received, store)
	if reason == policy.NotMinUses && (length < 0 || length >= route.Threshold) {
		// It is the whole cluster that asks for it.
		store.Uses = max(store.Uses, p.cache.CountUse(v.r.Context(), route.Key))
		ok, reason = route.Cache.Storable(v.req, received, store)
	}
	forSwarm := received.Status == http.StatusOK || received.Status == http.StatusPartialContent
	switch {
	case route.Kind != policy.Swarm:
		why = "rule"
	case !ok:
		why = reason
	case v.since.Past(): // what it says may be from before
		why = "changed"
	case old != nil && policy.Supersedes(old.Version().Stored.Status) && !policy.Supersedes(received.Status):
		why = policy.NotStatus // an error may be worth keeping, but not in the place of what is stored
	case length < 0:
		if old != nil && d.Reason != policy.ReasonVaryMiss && !same(old, received) {
			p.supersede(v, old) // however the body ends, and before the spool, which would be void
		}
		why = p.spoolBody(f, res, v.version(route, v.keep(route, received), 0), route.Threshold, forSwarm)
	case length >= route.Threshold && !forSwarm:
		why = policy.NotStatus
	case length < route.Threshold && !p.small.Takes(length):
		why = "small"
	case length < route.Threshold && !policy.Entire(received):
		why = policy.NotPartial
		p.seen.note(route.Key, smallKind) // the next one brings the whole
	default:
		ver := v.version(route, v.keep(route, received), length)
		obj, joined, err := p.open(f, res, ver, route.Threshold)
		if err == nil {
			p.recheck(v, obj)
			if route.Store.Probe {
				p.admissions.note(v, obj.Version().ID, p.cfg.Now()) // this answer says so
			}
			switch {
			case !isSmall(obj):
				p.seen.note(route.Key, largeKind)
				p.supersedeSmall(v)
			case old != nil && !isSmall(old) && d.Reason != policy.ReasonVaryMiss:
				p.supersede(v, old)
			}
			if old != nil && obj.Version().ID == old.Version().ID {
				// The bytes are here; what the origin says of them is news, as in a 304.
				joined = false
				p.record(v, obj, ver.Stored)
				if v.asks != nil {
					v.asks.confirmed = true
				}
			}
			status.stored, status.collapsed = !joined, joined
			v.outcome = outcomeMiss
			if joined {
				v.outcome = outcomeCollapsed
			}
			return instead(func() {
				defer obj.Close()
				head, _, _ := policy.Whole(received) // its cookie too
				p.serve(v, obj, head, status)
			})
		}
		if busy := tooBusy(err); busy != nil {
			return busy
		}
		p.degraded("fill", err)
		why = "unavailable"
	}
	if status.Detail = why; why == "" {
		status.stored = true // by the spool, if the body ends well
	} else {
		p.notStored(v, old, d, received, why)
	}
	p.cacheStatus(res.Header, status)
	return nil
}

// keep is what is stored of a response: that of the whole object, for others.
func (v *visit) keep(route policy.Route, received policy.Stored) policy.Stored {
	received.Header = route.Cache.ForStorage(received.Header)
	whole, _, _ := policy.Whole(policy.Dated(received))
	whole.Guarded = route.Store.Probe
	whole.Selecting, _ = route.Cache.Selecting(v.r.Header, whole.Header["Vary"])
	return whole
}

// notStored draws the conclusions from an answer that is passed on only: about
// what is stored, and about the next request.
func (p *Proxy) notStored(v *visit, old object, d policy.Verdict, received policy.Stored, why string) {
	if v.r.Method != http.MethodGet || v.since.Past() {
		return
	}
	ofURL := policy.HitForMiss(why) // it does not lie with this request
	if !policy.Supersedes(received.Status) {
		if ofURL && v.seen.what != largeKind && !v.route.ExpectLarge && plainGet(v.r) {
			p.seen.note(v.route.Key, passingKind) // until something better is known
		}
		return
	}
	switch {
	case why == "small":
		p.seen.note(v.route.Key, smallKind)
	case ofURL && why != "unavailable":
		p.seen.note(v.route.Key, passingKind)
	}
	if old == nil || d.Reason == policy.ReasonVaryMiss || why == policy.NotPartial {
		return
	}
	if ofURL || !same(old, received) {
		p.supersede(v, old)
	}
}

// same reports whether received is surely the version that is stored.
func same(old object, received policy.Stored) bool {
	ver := old.Version()
	return ver.Validator != "" && policy.StrongValidator(received.Header, received.ResponseTime) == ver.Validator
}

func (v *visit) version(route policy.Route, s policy.Stored, length int64) swarmcache.Version {
	u := *route.FetchURL
	if route.Store.SharedQuery {
		u.RawQuery, u.ForceQuery = "", false // a capability, which the key leaves out too
	}
	return swarmcache.Version{
		Key: v.keyOf(s), URL: u.String(), Stored: s, Length: length,
		Validator: policy.StrongValidator(s.Header, time.Time{}), Obeyed: v.since.Obeyed,
	}
}

// open opens or joins the fill of ver. The body of a 206 is not the object's
// beginning: it is closed unread, and the range comes out of the fill.
func (p *Proxy) open(f *fetching, res *http.Response, ver swarmcache.Version, threshold int64) (obj object, joined bool, err error) {
	ctx := f.visit.r.Context()
	if ver.Length < threshold {
		obj, err = p.openSmall(f, res, ver)
		return obj, false, err
	}
	if res.StatusCode == http.StatusPartialContent {
		obj, err = p.cache.Fill(ctx, ver, true, nil, f.visit.source(p))
		return obj, false, err // the engine closes the body
	}
	if err := f.keep(); err != nil {
		return nil, false, err
	}
	body := &keptBody{ReadCloser: res.Body, end: f.cancel}
	ranges := strings.EqualFold(res.Header.Get("Accept-Ranges"), "bytes")
	obj, err = p.cache.Fill(ctx, ver, ranges, body, f.visit.source(p))
	if err != nil {
		f.tie(ctx)
		return nil, false, err
	}
	res.Body = http.NoBody
	return obj, body.closed.Load() && !body.read.Load(), nil
}

// openSmall keeps a small response as its body comes, whoever reads along.
func (p *Proxy) openSmall(f *fetching, res *http.Response, ver swarmcache.Version) (object, error) {
	if err := f.keep(); err != nil {
		return nil, err
	}
	ver.Key = f.visit.route.Key // it keeps variants side by side by itself
	o, err := p.small.Open(ver, f.visit.since)
	if err != nil {
		f.tie(f.visit.r.Context())
		return nil, err
	}
	if policy.Supersedes(ver.Stored.Status) {
		p.seen.note(ver.Key, smallKind)
	}
	body := res.Body
	res.Body = http.NoBody
	fill := func() {
		defer f.cancel()
		defer body.Close()
		defer context.AfterFunc(p.ctx, f.cancel)()
		if err := o.Fill(p.origin.Unstalled(body, o.Read, f.cancel)); err != nil {
			p.degraded("fill in memory", err)
		}
	}
	if ver.Length == 0 {
		fill() // nothing to wait for
	} else {
		p.work.Go(fill)
	}
	return smallObject(o), nil
}

// supersedeSmall removes what a large object takes the place of.
func (p *Proxy) supersedeSmall(v *visit) {
	if o, selected := p.findSmall(v); selected {
		p.supersede(v, o)
	}
}

// keptBody is a response body that has outlived its client's request.
type keptBody struct {
	io.ReadCloser
	end          context.CancelFunc // of the request's context
	read, closed atomic.Bool
}

func (b *keptBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.ReadCloser.Read(p)
}

func (b *keptBody) Close() error {
	b.closed.Store(true)
	defer b.end()
	return b.ReadCloser.Close()
}

// fetching is a GET whose answer may outlive the client: its context ends with
// the client's only while they are tied.
type fetching struct {
	visit  *visit
	sent   time.Time
	cancel context.CancelFunc
	untie  func() bool
	kept   bool

	overheard bool // its body tells what others wait for
}

// get sends v's request and lets respond see the head of the answer.
func (p *Proxy) get(v *visit, respond func(*fetching, *http.Response) error) {
	v.since = p.cache.Mark(v.route.Key)
	f := &fetching{visit: v, sent: p.cfg.Now()}
	ctx, cancel := context.WithCancel(context.WithoutCancel(v.r.Context()))
	f.cancel = cancel
	f.tie(v.r.Context())
	defer func() {
		if !f.kept {
			f.untie()
			cancel()
		}
	}()
	v.respond = func(res *http.Response) error {
		if err := respond(f, res); err != nil {
			return err
		}
		return p.passes(v, res)
	}
	p.send(v.exchange, v.r.WithContext(ctx))
}

func (f *fetching) tie(ctx context.Context) {
	f.kept = false
	f.untie = context.AfterFunc(ctx, f.cancel)
}

// keep lets the answer outlive the client, unless the client has gone already.
func (f *fetching) keep() error {
	if !f.untie() {
		return context.Canceled
	}
	f.kept = true
	return nil
}
