package proxy

import (
	"encoding/hex"
	"net/http"
	"strconv"
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
	token("detail", s.Detail)
	h["Cache-Status"] = append(h["Cache-Status"][:len(h["Cache-Status"]):len(h["Cache-Status"])], string(field))
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
