package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/swarmcache"
)

// fetch sends the request to the origin and decides by the head of the answer:
// small or not to be stored, it passes through; large, it becomes the first
// span of a fill. No byte of the body is read before that. old, if not nil, is
// what is stored and will not do. done is called when the verdict is known.
func (p *Proxy) fetch(v *visit, old object, d policy.Verdict, done func()) {
	p.get(v, func(f *fetching, res *http.Response) error {
		defer done()
		return p.verdict(f, old, d, res)
	})
}

// revalidate asks the origin whether obj still stands (RFC 9111 §4.3).
func (p *Proxy) revalidate(v *visit, obj object, d policy.Verdict, done func()) {
	if v.r.Method == http.MethodHead {
		p.fetch(v, obj, d, done) // there is no body to save
		return
	}
	v.prepare = func(out *http.Request) {
		for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
			out.Header.Del(name)
		}
		for name, value := range d.Conditional {
			out.Header[name] = value
		}
	}
	p.get(v, func(f *fetching, res *http.Response) error {
		defer done()
		if res.StatusCode != http.StatusNotModified {
			return p.verdict(f, obj, d, res)
		}
		return p.confirmed(f, obj, d, res)
	})
}

// confirmed takes a 304 to a revalidation.
func (p *Proxy) confirmed(f *fetching, obj object, d policy.Verdict, res *http.Response) error {
	v, old := f.visit, obj.Version().Stored
	if !v.route.Cache.Confirms(old, res.Header) {
		return instead(func() { // it is about something else: fetch the whole
			v.prepare = nil
			p.fetch(v, obj, d, func() {})
		})
	}
	fresh := v.route.Cache.Freshened(old, res.Header, f.sent, p.cfg.Now())
	received := fresh
	received.Header = mergedHeader(fresh.Header, res.Header)
	anybody := policy.Request{Method: http.MethodGet, URL: v.req.URL}
	if ok, _ := v.route.Cache.Storable(v.req, received, v.route.Store); ok {
		if err := p.cache.Refresh(v.r.Context(), obj, fresh); err != nil {
			p.degraded("refresh", err)
		}
	} else if ok, _ := v.route.Cache.Storable(anybody, received, v.route.Store); !ok {
		// The origin took back its permission. When only this client's request is
		// in the way, its cookie say, the object stays as it is for the others.
		p.withdraw(v.r.Context(), v.route.Key)
	}
	return instead(func() {
		v.outcome = outcomeRevalidated
		p.serve(v, obj, fresh, "REVALIDATED", cacheStatus{fwd: d.Reason, fwdStatus: http.StatusNotModified})
	})
}

// mergedHeader is what a freshened response says, with the fields of the 304
// that are not stored but forbid storing, such as Set-Cookie.
func mergedHeader(fresh, h304 http.Header) http.Header {
	if len(h304["Set-Cookie"]) == 0 {
		return fresh
	}
	h := fresh.Clone()
	h["Set-Cookie"] = h304["Set-Cookie"]
	return h
}

// verdict decides what becomes of the origin's answer. It returns nil to pass it on.
func (p *Proxy) verdict(f *fetching, old object, d policy.Verdict, res *http.Response) error {
	v := f.visit
	why := ""
	defer func() {
		if why != "" && old != nil && v.r.Method == http.MethodGet && d.Reason != policy.ReasonVaryMiss && replaces(res.StatusCode) {
			p.withdraw(v.r.Context(), v.route.Key)
		}
	}()

	stored := policy.Stored{Status: res.StatusCode, Header: v.route.Cache.ForStorage(res.Header), RequestTime: f.sent, ResponseTime: p.cfg.Now()}
	if stored.Header.Get("Date") == "" {
		stored.Header.Set("Date", httpheader.FormatDate(stored.ResponseTime)) // RFC 9110 §6.6.1
	}
	status := cacheStatus{fwd: d.Reason, fwdStatus: res.StatusCode}
	word := "MISS"
	if old != nil {
		word = "EXPIRED"
	}
	whole, length, _ := policy.Whole(stored)
	route := p.rules().AtResponse(v.route, res.StatusCode, res.Header, length)
	store := route.Store
	store.Partial = len(v.r.Header["Range"]) > 0
	stored.Selecting, _ = route.Cache.Selecting(v.r.Header, res.Header["Vary"])
	whole.Selecting = stored.Selecting

	received := stored // ForStorage took out Set-Cookie, which must be judged
	received.Header = res.Header
	ok, reason := route.Cache.Storable(v.req, received, store)
	switch {
	case route.Kind != policy.Swarm:
		why = "rule"
	case !ok:
		why = reason
	case length < 0:
		why = p.spoolBody(f, res, p.version(route, whole, 0), route.Threshold)
	case length < route.Threshold:
		why = "small"
	default:
		obj, joined, err := p.open(f, res, p.version(route, whole, length))
		if err == nil {
			p.seen.note(route.Key, true)
			status.stored, status.collapsed = !joined, joined
			v.outcome = outcomeMiss
			if joined {
				v.outcome = outcomeCollapsed
			}
			return instead(func() {
				defer obj.Close()
				p.serve(v, obj, whole, word, status)
			})
		}
		p.degraded("fill", err)
		why = "unavailable"
	}
	if v.r.Method == http.MethodGet && replaces(res.StatusCode) && why != "unavailable" && why != "" {
		p.seen.note(route.Key, false)
	}
	if status.detail = why; why == "" {
		status.stored = true // by the spool, if the body ends well
	}
	p.cacheStatus(res.Header, word, status)
	return nil
}

// replaces reports whether an answer shows that what is stored is gone or
// changed. Other errors show nothing.
func replaces(status int) bool {
	return status < 400 && status != http.StatusNotModified || status == http.StatusNotFound || status == http.StatusGone
}

func (p *Proxy) version(route policy.Route, s policy.Stored, length int64) swarmcache.Version {
	u := *route.FetchURL
	if route.Store.SharedQuery {
		u.RawQuery, u.ForceQuery = "", false // a capability, which the key leaves out too
	}
	return swarmcache.Version{
		Key: route.Key, URL: u.String(), Stored: s, Length: length,
		Validator: policy.StrongValidator(s.Header, time.Time{}),
	}
}

// open opens or joins the fill of ver. The body of a 206 is not the object's
// beginning: it is closed unread, and the range comes out of the fill.
func (p *Proxy) open(f *fetching, res *http.Response, ver swarmcache.Version) (obj object, joined bool, err error) {
	ctx := f.visit.r.Context()
	if res.StatusCode == http.StatusPartialContent {
		obj, err = p.cache.Fill(ctx, ver, true, nil, f.visit.source)
		return obj, false, err // the engine closes the body
	}
	if err := f.keep(); err != nil {
		return nil, false, err
	}
	body := &keptBody{ReadCloser: res.Body, end: f.cancel}
	ranges := strings.EqualFold(res.Header.Get("Accept-Ranges"), "bytes")
	obj, err = p.cache.Fill(ctx, ver, ranges, body, f.visit.source)
	if err != nil {
		f.tie(ctx)
		return nil, false, err
	}
	res.Body = http.NoBody
	return obj, body.closed.Load() && !body.read.Load(), nil
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
}

// get sends v's request and lets respond see the head of the answer.
func (p *Proxy) get(v *visit, respond func(*fetching, *http.Response) error) {
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
	v.respond = func(res *http.Response) error { return respond(f, res) }
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
