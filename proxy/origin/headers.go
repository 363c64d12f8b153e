package origin

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// hopByHop are the fields that concern one connection only (RFC 9110 §7.6.1),
// whether or not Connection lists them.
var hopByHop = []string{
	"Connection",
	"Proxy-Connection", // never standard, still sent
	"Keep-Alive",
	"Te",
	"Transfer-Encoding",
	"Upgrade",
	"Trailer", // net/http writes its own from Request.Trailer
	"Proxy-Authenticate",
	"Proxy-Authorization",
	"Proxy-Authentication-Info",
}

// RemoveHopByHop removes the fields that a proxy must not forward: those that
// Connection lists and those that are hop-by-hop by definition.
func RemoveHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// trimNames gives the fields of an answer the names that they were meant to have: white
// space before the colon is no part of it (RFC 9112 §5.1), but net/http leaves it there,
// and nobody would see a no-store. Of a field that says where the body ends it has taken
// no notice: then nobody knows.
func trimNames(h http.Header) error {
	for name, lines := range h {
		if !strings.HasSuffix(name, " ") {
			continue
		}
		meant := http.CanonicalHeaderKey(strings.TrimRight(name, " "))
		if meant == "Content-Length" || meant == "Transfer-Encoding" {
			return fmt.Errorf("malformed field name %q", name)
		}
		delete(h, name)
		h[meant] = append(h[meant], lines...)
	}
	return nil
}

// AddVia appends to Via that the message came in by HTTP/major.minor and passed
// node (RFC 9110 §7.6.3). Version 0 means 1.1.
func AddVia(h http.Header, major, minor int, node string) {
	if major == 0 {
		major, minor = 1, 1
	}
	via := fmt.Sprintf("%d.%d %s", major, minor, node)
	if old := h["Via"]; len(old) > 0 {
		via = strings.Join(old, ", ") + ", " + via
	}
	h["Via"] = []string{via}
}

// ViaHas reports whether a message passed node before.
func ViaHas(h http.Header, node string) bool {
	for _, list := range h["Via"] {
		for hop := range strings.SplitSeq(list, ",") {
			// received-protocol RWS received-by [ RWS comment ]
			if f := strings.Fields(hop); len(f) >= 2 && strings.EqualFold(f[1], node) {
				return true
			}
		}
	}
	return false
}
