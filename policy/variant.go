package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// Of what one key selects the first response that came stands under the key itself.
// If it varies, it tells the fields that select, and the others stand under keys of
// their own, which begin with it: a URL has no line break.

// Variant is the key of the variant that these values of the selecting fields
// select, as Selecting returns them.
func (k Key) Variant(selecting http.Header) Key {
	// fmt prints maps in key order. The values may be long, and are nobody's business.
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", map[string][]string(selecting)))
	return k.Base() + "\n" + Key(hex.EncodeToString(sum[:16]))
}

// Base is the key without the variant.
func (k Key) Base() Key {
	base, _, _ := strings.Cut(string(k), "\n")
	return Key(base)
}

// VariantOf returns the key of the variant that a request with these fields asks
// for, where a response with the lines vary stands under base. ok is false when
// that cannot be told, or a credential would have to be told apart.
func (c *Caching) VariantOf(base Key, req http.Header, vary []string) (k Key, ok bool) {
	sel, ok := c.Selecting(req, vary)
	if !ok || sel == nil {
		return "", false
	}
	for name := range sel {
		if isCredential(name) {
			return "", false
		}
	}
	return base.Variant(sel), true
}
