package proxy

import (
	"context"
	"io"
	"net/http"
	"runtime/debug"
	"sync"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
)

// question is what one request asks the origin about a stored object. Others
// that would ask the same wait for it.
type question struct {
	over chan struct{} // closed when it is answered
	end  func()        // closes over; may be called twice

	// What came of it; written before over is closed.
	answered  bool            // by the origin; else who asked went away, or failed
	confirmed bool            // what is stored stands, for everybody
	failure   policy.Failures // why there is no answer
	err       error           // what to say then; nil where the origin said it
	trouble   trouble         // and of a stale answer
}

// questions are those that this node asks now, at most one about each object.
type questions struct {
	mu  sync.Mutex // guards the map
	now map[swarmcache.ObjectID]*question
}

// put asks a question about id, or finds the one that is being asked.
func (qs *questions) put(id swarmcache.ObjectID) (q *question, ours bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if q := qs.now[id]; q != nil {
		return q, false
	}
	q = &question{over: make(chan struct{})}
	q.end = sync.OnceFunc(func() {
		qs.mu.Lock()
		delete(qs.now, id)
		qs.mu.Unlock()
		close(q.over)
	})
	qs.now[id] = q
	return q, true
}

// ask asks the origin about obj, or waits until another request has done so, and
// then reports whether to look again.
//
// A question that was on its way before this request came may have been answered
// before something changed that this client knows of. So it is good for as much
// as it made fresh, and no more. The next one, which one of those who waited
// puts, is good for all of them.
func (p *Proxy) ask(v *visit, obj object, d policy.Verdict) (again bool) {
	id := obj.Version().ID
	if v.alone == id || v.r.Method != http.MethodGet || !policy.Shares(v.req, v.route.Store) {
		p.fetch(v, obj, d)
		return false
	}
	q, ours := p.questions.put(id)
	if ours {
		v.asks = q
		if d.Reason == policy.ReasonStale && p.learnt(v.r.Context(), obj) {
			v.known()
			return true
		}
		p.fetch(v, obj, d)
		return false
	}
	select {
	case <-q.over:
	case <-v.r.Context().Done():
		p.fail(v.exchange, context.Cause(v.r.Context()))
		return false
	}
	ver := obj.Version()
	if v.waits++; v.waits == 1 {
		v.collapsed = cacheStatus{CacheStatus: d.Forwarded(policy.TakeAnswer, 0), collapsed: true}
	}
	if q.confirmed {
		v.collapsed.Word = "REVALIDATED"
	}
	switch {
	case q.confirmed && v.waits > 1:
		v.outcome = outcomeCollapsed
		p.serve(v, obj, ver.Stored, v.collapsed)
		return false
	case q.failure != 0 && v.route.Cache.StaleOn(q.failure, v.req, &ver.Stored, p.cfg.Now()):
		v.outcome, v.trouble = outcomeStale, q.trouble
		status := cacheStatus{CacheStatus: d.Forwarded(policy.TakeStale, q.trouble.received)}
		status.collapsed = status.Fwd != ""
		p.serve(v, obj, ver.Stored, status)
		return false
	case q.err != nil && v.waits > 1: // the first may lie with the request that asked
		p.fail(v.exchange, q.err)
		return false
	}
	if q.answered && !q.confirmed {
		// For that client alone, or by an error that is to be passed on: then all go
		// by themselves, at once.
		v.alone = id
	}
	return true
}

// judge compares the origin's answer with what is stored. An error is the answer;
// nil: the origin's own, which verdict looks at.
func (p *Proxy) judge(v *visit, old object, d policy.Verdict, answer policy.Stored) error {
	c, ver := &v.route.Cache, old.Version()
	what := c.Answered(d, v.req, &ver.Stored, answer, p.cfg.Now())
	if what == policy.TakeAnswer && d.Conditional != nil && v.conditionFails(answer) {
		what = policy.AskAgain
	}
	status := cacheStatus{CacheStatus: d.Forwarded(what, answer.Status)}
	switch what {
	case policy.Freshen:
		fresh := c.Freshened(ver.Stored, answer)
		head := fresh
		head.Header = policy.WithPrivate(fresh.Header, answer.Header)
		shared := p.renew(v, old, fresh, head)
		if v.asks != nil {
			v.asks.confirmed = shared
		}
		return instead(func() {
			v.outcome = outcomeRevalidated
			p.serve(v, old, head, status)
		})
	case policy.AskAgain:
		return instead(func() {
			d.Conditional = nil
			p.fetch(v, old, d)
		})
	case policy.TakeStale:
		v.trouble = trouble{received: answer.Status, nextHop: v.route.FetchURL.Host}
		if v.asks != nil {
			v.asks.failure, v.asks.trouble = policy.FailureOf(answer.Status), v.trouble
		}
		return instead(func() {
			v.outcome = outcomeStale
			p.serve(v, old, ver.Stored, status)
		})
	}
	if v.behind && needsCredentials(answer.Status) {
		// Nobody's were sent: the next client asks with its own.
		outdated := ver.Stored
		outdated.Invalid = true
		p.record(v, old, outdated)
		return nil
	}
	switch c.Head(v.req, ver.Stored, ver.Length, answer) {
	case policy.HeadConfirms:
		fresh := c.Freshened(ver.Stored, answer)
		head := fresh
		head.Header = policy.WithPrivate(fresh.Header, answer.Header)
		p.renew(v, old, fresh, head)
	case policy.HeadOutdates:
		// It is news of the HEAD's date: what the directory has heard before is not.
		outdated := ver.Stored
		outdated.Invalid, outdated.Header = true, outdated.Header.Clone()
		outdated.Header["Date"] = answer.Header["Date"]
		outdated.RequestTime, outdated.ResponseTime = answer.RequestTime, answer.ResponseTime
		outdated.Undated, outdated.Doubt, outdated.Ahead = false, 0, answer.Ahead
		p.record(v, old, policy.Dated(outdated))
	}
	return nil
}

// conditionFails reports whether the client's condition on the origin's state does
// not hold for answer, the origin's to a question that left the condition out. It
// is the origin that has to say so.
func (v *visit) conditionFails(answer policy.Stored) bool {
	whole, length, ok := policy.Whole(answer)
	return ok && hasPreconditions(v.r.Header) && policy.Respond(v.req, &whole, length).Status == 0
}

// renew puts fresh facts in the place of old's, if they may be shared. Where the
// origin took its permission back, what is stored goes; where only what is this
// client's is in the way, a cookie say, it stays as it is for the others.
func (p *Proxy) renew(v *visit, old object, fresh, received policy.Stored) (shared bool) {
	if v.since.Past() {
		return false
	}
	c, req, store := &v.route.Cache, v.req, v.route.Store
	req.Method, store.Uses, store.AnyStatus = http.MethodGet, 0, p.small != nil
	if ok, _ := c.Storable(req, received, store); ok {
		p.record(v, old, fresh)
		return true
	}
	anybody := policy.Request{Method: http.MethodGet, URL: v.req.URL}
	if ok, _ := c.Storable(anybody, fresh, store); !ok {
		p.supersede(v, old)
	}
	return false
}

// record notes what the origin says of obj now, unless obj was forgotten since the
// origin was asked: the directory would select it again.
func (p *Proxy) record(v *visit, obj object, s policy.Stored) {
	if v.since.Past() {
		return
	}
	if err := obj.Refresh(v.r.Context(), s); err != nil {
		p.degraded("refresh", err)
	}
	p.recheck(v, obj)
}

// originFailed serves what is stored where the origin gives no answer and that
// is permitted (RFC 9111 §4.2.4).
func (p *Proxy) originFailed(v *visit, old object, d policy.Verdict, err error) bool {
	failure := failureOf(err)
	v.trouble = troubleOf(err)
	if v.asks != nil && failure != 0 {
		v.asks.failure, v.asks.err, v.asks.trouble = failure, err, v.trouble
	}
	v.known()
	if old == nil || failure == 0 {
		return false
	}
	s := old.Version().Stored
	if !v.route.Cache.StaleOn(failure, v.req, &s, p.cfg.Now()) {
		return false
	}
	v.outcome = outcomeStale
	p.serve(v, old, s, cacheStatus{CacheStatus: d.Forwarded(policy.TakeStale, 0)})
	return true
}

func needsCredentials(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusProxyAuthRequired
}

// failureOf is what an error of the origin's client means to policy; 0 where the
// origin is not to blame.
func failureOf(err error) policy.Failures {
	switch origin.KindOf(err) {
	case origin.KindCanceled, origin.KindDenied, origin.KindLoop, origin.KindScheme:
		return 0
	case origin.KindDNSTimeout, origin.KindDialTimeout, origin.KindHeaderTimeout, origin.KindStalled:
		return policy.TimedOut
	case origin.KindProtocol, origin.KindHeaderSize, origin.KindCoding:
		return policy.InvalidAnswer
	}
	return policy.Unreachable
}

// refresh asks the origin about ver behind the client's back, with nothing of the
// client's request but what selected ver (RFC 5861 §3). It leaves that to a
// question that is being asked already.
func (p *Proxy) refresh(v *visit, ver swarmcache.Version, d policy.Verdict) {
	q, ours := p.questions.put(ver.ID)
	if !ours {
		return
	}
	header := policy.Background(&ver.Stored)
	b := &visit{
		req:   policy.Request{Method: http.MethodGet, URL: v.req.URL, Header: header},
		route: v.route, key: v.key, vary: v.vary, asks: q, claim: func() {}, behind: true,
	}
	r := (&http.Request{Method: http.MethodGet, URL: v.r.URL, Host: v.r.Host, Header: header, ProtoMajor: 1, ProtoMinor: 1}).WithContext(p.ctx)
	b.exchange = &exchange{id: newID(), w: newRecorder(nowhere{http.Header{}}, r), url: v.url, start: p.cfg.Now()}
	b.r = r.WithContext(context.WithValue(p.ctx, exchangeKey{}, b.exchange))
	p.work.Go(func() {
		defer b.known()
		defer func() {
			// As net/http does for a handler: one request's trouble is not the daemon's.
			if e := recover(); e != nil && e != http.ErrAbortHandler {
				p.log.Error("a question behind a client's back panicked", "panic", e, "stack", string(debug.Stack()))
			}
		}()
		obj, err := p.here(b)
		if err != nil {
			return
		}
		defer obj.Close()
		if obj.Version().ID == ver.ID && !p.learnt(p.ctx, obj) {
			p.fetch(b, obj, d)
		}
	})
}

// learnt reports whether another node has asked the origin meanwhile.
func (p *Proxy) learnt(ctx context.Context, obj object) bool {
	news, err := obj.Renew(ctx)
	if err != nil {
		p.missed("renew", err)
	}
	return news
}

// nowhere is the client of what is done behind a client's back. It reads all, so
// that what comes is kept.
type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header                         { return w.header }
func (w nowhere) WriteHeader(int)                             {}
func (w nowhere) Write(b []byte) (int, error)                 { return len(b), nil }
func (w nowhere) ReadFrom(src io.Reader) (n int64, err error) { return io.Copy(io.Discard, src) }
