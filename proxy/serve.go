package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
	"shatabdi/proxy/origin"
	"shatabdi/swarmcache"
)

// serveStored answers with what was found.
func (p *Proxy) serveStored(v *visit, obj object, d policy.Verdict) {
	ver := obj.Version()
	status := cacheStatus{CacheStatus: d.CacheStatus()}
	v.outcome = outcomeHit
	switch {
	case d.Reason != policy.ReasonFresh:
		v.outcome = outcomeStale
	case v.probed != 0 && d.Reason == policy.ReasonFresh:
		v.outcome = outcomeRevalidated
		status.CacheStatus = policy.CacheStatus{Word: "REVALIDATED", Fwd: policy.ReasonRequest, FwdStatus: v.probed, Detail: "auth-probe"}
	case v.waits > 0: // another request made it fresh
		v.outcome, status = outcomeCollapsed, v.collapsed
	case obj.Complete():
	case ver.InfoHash.IsZero(): // not sealed yet: another request's fill
		v.outcome = outcomeCollapsed
		status.CacheStatus = policy.CacheStatus{Word: "MISS", Fwd: policy.ReasonURIMiss}
		status.collapsed = true
	default:
		status.Detail = "swarm"
	}
	p.serve(v, obj, ver.Stored, status)
}

// serve answers from obj, with the head of s, in the form that the request asks
// for (RFC 9110 §13.2.2). Preconditions that do not hold here were met at the
// origin: who is served unasked was checked before.
func (p *Proxy) serve(v *visit, obj object, s policy.Stored, status cacheStatus) {
	if v.behind && obj.Complete() {
		return
	}
	ver := obj.Version()
	reply := policy.Respond(v.req, &s, ver.Length)
	if reply.Status == 0 {
		reply = policy.Respond(metPreconditions(v.req), &s, ver.Length)
	}
	if err := p.sends(v, editionOf(s, ver.Length), reply.Status, partOf(reply, ver.Length)); err != nil {
		p.fail(v.exchange, err)
		return
	}
	h := v.w.Header()
	clear(h)
	p.storedHead(h, s, ver.Length)
	if h.Get("Content-Encoding") == "" && h.Get("Repr-Digest") == "" && wantsSHA256(v.r.Header) {
		reprDigest(h, ver.SHA256)
	}
	status.key = v.ownKey()
	p.cacheStatus(h, status)
	p.proxyStatus(h, v.trouble)
	asked := status.Fwd != "" && !status.collapsed && status.Word != "STALE"
	if !asked || h.Get("Age") != "" { // RFC 9111 §4, §5.1
		h.Set("Age", strconv.FormatInt(int64(policy.CurrentAge(s, p.cfg.Now())/time.Second), 10))
	}
	if reply.Status == http.StatusNotModified {
		for _, name := range []string{"Content-Type", "Content-Length", "Content-Encoding"} {
			delete(h, name) // RFC 9110 §15.4.5: they are of the body
		}
		v.w.WriteHeader(reply.Status)
		return
	}
	v.inside.answers(obj)
	if o, counts := obj.(interface{ Used() }); counts && !v.behind && !swarmcache.IsUnasked(v.r.Context()) {
		o.Used()
	}
	if obj.Complete() && p.serveComplete(v, obj, s, reply, status) {
		return
	}
	c := p.newContent(v, obj, reply.Ranges)
	v.w.hold()
	if s.Status == http.StatusOK {
		http.ServeContent(v.w, asking(v.r.Method, reply, ver.Length), "", time.Time{}, c)
	} else {
		v.whole(s.Status, ver.Length, func() { v.w.ReadFrom(c) })
	}
	c.end()
	local, swarm, from := obj.Sources()
	v.bytes = sourceBytes{local: local, swarm: swarm, origin: from + c.resumed}
	if v.w.drop() {
		// The fill ended before its first byte, and nothing was said yet: ask the
		// origin as if there were no cache.
		p.degraded("read", v.w.readErr)
		v.w.readErr = nil
		if _, none := v.from.(noOrigin); none {
			p.fail(v.exchange, errNoReplica)
			return
		}
		v.bypassed(p)
		return
	}
	p.servedOrBroken(v)
}

// serveComplete answers from a body that is here, if it can be opened.
func (p *Proxy) serveComplete(v *visit, obj object, s policy.Stored, reply policy.Reply, status cacheStatus) bool {
	bytes := &v.bytes.local
	if o, ok := obj.(inMemory); ok {
		if status.stored { // it came while the head was being looked at
			bytes = &v.bytes.origin
		}
		if reply.Status == s.Status {
			body := o.Bytes()
			v.whole(s.Status, int64(len(body)), func() { v.w.Write(body) })
			*bytes += v.w.bytes
			return true
		}
	}
	f, err := obj.Open()
	if err != nil {
		return false
	}
	defer f.Close()
	http.ServeContent(v.w, asking(v.r.Method, reply, obj.Version().Length), "", time.Time{}, f)
	*bytes += v.w.bytes
	p.servedOrBroken(v)
	return true
}

// whole sends a body as it is, with a status that http.ServeContent may not know.
func (v *visit) whole(status int, length int64, send func()) {
	if status != http.StatusNoContent { // RFC 9110 §8.6
		v.w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	}
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead && length > 0 {
		send()
	}
}

// partOf is what the body of a reply is of an object; from -1 on: several parts.
func partOf(reply policy.Reply, length int64) httpheader.Range {
	switch len(reply.Ranges) {
	case 0:
		return httpheader.Range{To: length}
	case 1:
		return reply.Ranges[0]
	}
	return httpheader.Range{From: -1}
}

// metPreconditions is req without the conditions that the origin alone can judge.
func metPreconditions(req policy.Request) policy.Request {
	req.Header = req.Header.Clone()
	req.Header.Del("If-Match")
	req.Header.Del("If-Unmodified-Since")
	return req
}

// asking is a request to which http.ServeContent can but give that reply.
func asking(method string, reply policy.Reply, length int64) *http.Request {
	r := &http.Request{Method: method, Header: http.Header{}}
	switch reply.Status {
	case http.StatusRequestedRangeNotSatisfiable:
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", length))
	case http.StatusPartialContent:
		r.Header.Set("Range", rangeField(reply.Ranges))
	}
	return r
}

func rangeField(ranges []httpheader.Range) string {
	b := []byte("bytes=")
	for i, r := range ranges {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendInt(b, r.From, 10), '-')
		b = strconv.AppendInt(b, r.To-1, 10)
	}
	return string(b)
}

// bypassed sends v to the origin after the cache could not deliver.
func (v *visit) bypassed(p *Proxy) {
	v.prepare, v.failed, v.outcome, v.bytes = nil, nil, outcomeMiss, sourceBytes{}
	v.inside.answers(nil)
	v.respond = func(res *http.Response) error {
		p.cacheStatus(res.Header, cacheStatus{CacheStatus: policy.CacheStatus{
			Word: "MISS", Fwd: policy.ReasonURIMiss, FwdStatus: res.StatusCode, Detail: "unavailable",
		}, key: v.ownKey()})
		return p.passes(v, res)
	}
	p.send(v.exchange, v.r)
}

// servedOrBroken breaks the framing of a body that could not be read to its end.
func (p *Proxy) servedOrBroken(v *visit) {
	err := v.w.readErr
	if err == nil {
		return
	}
	v.failure, v.err = string(origin.KindIncomplete), err
	if v.r.Context().Err() != nil {
		v.failure = string(origin.KindCanceled)
	}
	panic(http.ErrAbortHandler)
}

// storedHead sets the header of a stored response.
func (p *Proxy) storedHead(h http.Header, s policy.Stored, length int64) {
	for name, lines := range s.Header {
		h[name] = lines[:len(lines):len(lines)]
	}
	h.Del("Content-Length")
	if h.Get("Content-Encoding") != "" {
		// ServeContent leaves the length of coded content to us, suspecting that
		// we code it on the way.
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or ServeContent would guess one
	}
	origin.AddVia(h, 1, 1, p.origin.Node())
}

// content is the body of an object that is still growing, for ServeContent. It
// asks the object only for the bytes that will be sent, and goes on from the
// origin itself when the object's bytes stop coming.
type content struct {
	p      *Proxy
	source swarmcache.Origin
	ctx    context.Context
	cancel context.CancelFunc
	obj    object
	length int64
	ranges []httpheader.Range // what the client gets; none: all

	// mu guards the fields below: ServeContent reads several ranges from a
	// goroutine that it leaves behind when the client goes.
	mu      sync.Mutex
	pos     int64
	until   int64         // where the range being read ends; valid while body is open
	body    io.ReadCloser // at pos; nil: not open
	lost    bool          // the object cannot deliver the rest
	resumed int64         // bytes from the origin, past the cache
	tries   int
}

func (p *Proxy) newContent(v *visit, obj object, ranges []httpheader.Range) *content {
	c := &content{p: p, source: v.source(p), obj: obj, length: obj.Version().Length, ranges: ranges}
	c.ctx, c.cancel = context.WithCancel(v.r.Context())
	return c
}

// Seek implements io.Seeker.
func (c *content) Seek(off int64, whence int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		off += c.pos
	case io.SeekEnd:
		off += c.length
	}
	if off < 0 {
		return 0, errors.New("seek before the start")
	}
	if off != c.pos {
		c.pos = off
		c.shutLocked()
	}
	return off, nil
}

// Read implements io.Reader.
func (c *content) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.pos < c.length {
		if err := c.openLocked(); err != nil {
			return 0, err
		}
		n, err := c.body.Read(b)
		c.pos += int64(n)
		if c.lost {
			c.resumed += int64(n)
		}
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		c.shutLocked()
		if c.ctx.Err() != nil {
			return 0, context.Cause(c.ctx)
		}
		if err == io.EOF {
			if c.pos >= c.until {
				continue // a neighbouring range may follow
			}
			err = io.ErrUnexpectedEOF
		}
		c.lost = true
		if c.tries++; c.tries > maxResumes {
			return 0, fmt.Errorf("at byte %d of %d: %w", c.pos, c.length, err)
		}
	}
	return 0, io.EOF
}

// openLocked opens the bytes from pos to where the client's range ends.
func (c *content) openLocked() (err error) {
	switch {
	case c.body != nil:
		return nil
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	}
	c.until = c.wantedLocked()
	if !c.lost {
		c.body = c.obj.NewReader(c.ctx, c.pos, c.until)
		return nil
	}
	body, err := c.p.resume(c.ctx, c.source, c.obj.Version(), c.pos, c.until)
	if err == nil {
		c.body = body
	}
	return err
}

// wantedLocked is the end of what will be read from pos on.
func (c *content) wantedLocked() int64 {
	for _, r := range c.ranges {
		if r.From <= c.pos && c.pos < r.To {
			return r.To
		}
	}
	return c.length
}

func (c *content) shutLocked() {
	if c.body != nil {
		c.body.Close()
		c.body = nil
	}
}

// end gives up what is open, and whoever still reads.
func (c *content) end() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutLocked()
}
