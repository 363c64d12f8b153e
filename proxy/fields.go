package proxy

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
)

// cacheStatus is our member of Cache-Status (RFC 9211 §2).
type cacheStatus struct {
	policy.CacheStatus
	stored    bool
	collapsed bool
	key       policy.Key // where it is not the URL that says it; may be empty
}

// besideStatus is of a request that the cache has not seen.
func besideStatus(route policy.Route, status int) cacheStatus {
	d := policy.Verdict{Action: policy.Bypass, Reason: policy.ReasonBypass}
	if route.Reason == policy.ReasonMethod {
		d.Reason = policy.ReasonMethod
	}
	s := cacheStatus{CacheStatus: d.Forwarded(policy.TakeAnswer, status)}
	if s.Fwd == policy.ReasonBypass && route.Kind == policy.Pass {
		s.Detail = route.Reason
	}
	return s
}

// cacheStatus adds what the cache did to the header of a response: our member
// of Cache-Status after those of caches nearer to the origin, and nginx's word.
func (p *Proxy) cacheStatus(h http.Header, s cacheStatus) {
	h.Set("X-Cache-Status", s.Word)
	field := append(make([]byte, 0, 96), p.label...)
	if s.Hit {
		field = append(field, ";hit;ttl="...)
		field = strconv.AppendInt(field, int64(s.TTL/time.Second), 10)
	}
	token := func(name, value string) {
		if value != "" {
			field = append(append(append(append(field, ';'), name...), '='), value...)
		}
	}
	token("fwd", s.Fwd)
	if s.FwdStatus != 0 {
		field = strconv.AppendInt(append(field, ";fwd-status="...), int64(s.FwdStatus), 10)
	}
	if s.stored {
		field = append(field, ";stored"...)
	}
	if s.collapsed {
		field = append(field, ";collapsed"...)
	}
	if s.key != "" {
		if key, err := httpsfv.Marshal(httpsfv.NewItem(string(s.key))); err == nil { // beyond ASCII it cannot be said
			token("key", key)
		}
	}
	token("detail", s.Detail)
	addMember(h, "Cache-Status", string(field))
}

// addMember adds ours to the members of caches and proxies nearer to the origin.
func addMember(h http.Header, name, member string) {
	h[name] = append(h[name][:len(h[name]):len(h[name])], member)
}

// trouble is what was wrong between us and the origin; the zero one: nothing.
type trouble struct {
	error    string // an error type of RFC 9209 §2.3
	nextHop  string // who was asked
	received int    // the status of what was not passed on
	details  string
}

// troubleOf is what an error means, as its client may know it.
func troubleOf(err error) (t trouble) {
	var hint string
	_, t.error, t.details, hint = explain(err)
	var of *origin.Error
	var ours *refusal
	switch {
	case errors.As(err, &ours):
		t.details = hint
	case errors.As(err, &of):
		t.nextHop = of.Host
	}
	return t
}

// proxyStatus adds our member of Proxy-Status (RFC 9209 §2), where there is
// something to say.
func (p *Proxy) proxyStatus(h http.Header, t trouble) {
	if t == (trouble{}) {
		return
	}
	item := httpsfv.NewItem(p.name)
	if t.error != "" {
		item.Params.Add("error", httpsfv.Token(t.error))
	}
	for _, param := range [...]struct{ name, value string }{{"next-hop", t.nextHop}, {"details", t.details}} {
		if _, err := httpsfv.Marshal(httpsfv.NewItem(param.value)); err == nil && param.value != "" { // beyond ASCII it cannot be said
			item.Params.Add(param.name, param.value)
		}
	}
	if t.received != 0 {
		item.Params.Add("received-status", int64(t.received))
	}
	if member, err := httpsfv.Marshal(httpsfv.List{item}); err == nil {
		addMember(h, "Proxy-Status", member)
	}
}

// wantsSHA256 reports whether a request asks for the SHA-256 of the
// representation (RFC 9530 §4).
func wantsSHA256(h http.Header) bool {
	lines := h["Want-Repr-Digest"]
	if len(lines) == 0 {
		return false
	}
	wants, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return false
	}
	member, _ := wants.Get("sha-256")
	item, ok := member.(httpsfv.Item)
	preference, _ := item.Value.(int64)
	return ok && 0 < preference && preference <= 10
}

// reprDigest tells a digest (RFC 9530 §3), given in hex, if it is known.
func reprDigest(h http.Header, sum string) {
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) == 0 {
		return
	}
	digests := httpsfv.NewDictionary()
	digests.Add("sha-256", httpsfv.NewItem(b))
	if field, err := httpsfv.Marshal(digests); err == nil {
		h.Set("Repr-Digest", field)
	}
}

// label is the node's name as it stands in fields.
func label(name any) string {
	s, _ := httpsfv.Marshal(httpsfv.NewItem(name))
	return s
}

// fieldName is the node's name in a structured field: a token where it is one, a
// string where it is not, as when it begins with a digit.
func fieldName(node string) any {
	if _, err := httpsfv.Marshal(httpsfv.NewItem(httpsfv.Token(node))); err != nil {
		return node
	}
	return httpsfv.Token(node)
}
