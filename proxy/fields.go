package proxy

import (
	"encoding/hex"
	"net/http"
	"time"

	"github.com/dunglas/httpsfv"

	"shatabdi/policy"
)

// cacheStatus is our member of Cache-Status (RFC 9211 §2).
type cacheStatus struct {
	policy.CacheStatus
	stored    bool
	collapsed bool
}

// cacheStatus adds what the cache did to the header of a response: our member
// of Cache-Status after those of caches nearer to the origin, and nginx's word.
func (p *Proxy) cacheStatus(h http.Header, s cacheStatus) {
	h.Set("X-Cache-Status", s.Word)
	item := httpsfv.NewItem(p.name)
	if s.Hit {
		item.Params.Add("hit", true)
		item.Params.Add("ttl", int64(s.TTL/time.Second))
	}
	if s.Fwd != "" {
		item.Params.Add("fwd", httpsfv.Token(s.Fwd))
	}
	if s.FwdStatus != 0 {
		item.Params.Add("fwd-status", int64(s.FwdStatus))
	}
	if s.stored {
		item.Params.Add("stored", true)
	}
	if s.collapsed {
		item.Params.Add("collapsed", true)
	}
	if s.Detail != "" {
		item.Params.Add("detail", httpsfv.Token(s.Detail))
	}
	if field, err := httpsfv.Marshal(httpsfv.List{item}); err == nil {
		h["Cache-Status"] = append(h["Cache-Status"][:len(h["Cache-Status"]):len(h["Cache-Status"])], field)
	}
}

// proxyStatus is a Proxy-Status field (RFC 9209 §2).
func (p *Proxy) proxyStatus(kind string) string {
	item := httpsfv.NewItem(p.name)
	item.Params.Add("error", httpsfv.Token(kind))
	s, _ := httpsfv.Marshal(httpsfv.List{item})
	return s
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

// fieldName is the node's name in a structured field: a token where it is one, a
// string where it is not, as when it begins with a digit.
func fieldName(node string) any {
	if _, err := httpsfv.Marshal(httpsfv.NewItem(httpsfv.Token(node))); err != nil {
		return node
	}
	return httpsfv.Token(node)
}
