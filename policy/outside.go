package policy

import "shatabdi/policy/httpheader"

// ForOutsiders reports whether a stored response may be given to peers that are
// no nodes of the cluster: nobody can tell them of conditions, so there must be
// none. A rule may have had a response stored that its origin calls private.
func ForOutsiders(s Stored) bool {
	cc := httpheader.ParseCacheControl(s.Header["Cache-Control"])
	return !s.Invalid && !s.Guarded && !cc.Private && !cc.NoStore && !cc.NoCache
}
