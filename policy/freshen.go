package policy

import (
	"net/http"
	"slices"

	"shatabdi/policy/httpheader"
)

// Confirms reports whether a 304 with header h304, the answer to a request with
// old's validators, is about old (RFC 9111 §4.3.4). If not, old must be neither
// freshened nor served for it: fetch the whole object.
func (c *Caching) Confirms(old Stored, h304 http.Header) bool {
	if c.changesVary(old.Header, h304) {
		return false
	}
	if len(h304["Etag"]) > 0 {
		is, ok1 := entityTag(h304)
		was, ok2 := entityTag(old.Header)
		switch {
		case !ok1 || !ok2:
			return false
		case is.Weak():
			return is.WeakMatch(was)
		}
		return is.StrongMatch(was)
	}
	if len(h304["Last-Modified"]) > 0 {
		return sameModified(old, h304)
	}
	// No validator at all. The question named exactly one version.
	return true
}

// changesVary reports whether h names other fields in Vary: then Selecting lacks
// what the new one names.
func (c *Caching) changesVary(old, h http.Header) bool {
	return len(h["Vary"]) > 0 && c.Ignore&IgnoreVary == 0 && !SameVary(old["Vary"], h["Vary"])
}

// SameVary reports whether two responses vary on the same fields.
func SameVary(a, b []string) bool {
	was, ok1 := httpheader.ParseVary(a)
	is, ok2 := httpheader.ParseVary(b)
	if !ok1 || !ok2 {
		return false
	}
	slices.Sort(was)
	slices.Sort(is)
	return slices.Equal(was, is)
}

func sameModified(old Stored, h http.Header) bool {
	is, ok1 := lastModified(h, old.ResponseTime)
	was, ok2 := lastModified(old.Header, old.ResponseTime)
	return ok1 && ok2 && is.Equal(was)
}

// Freshened returns old with its header updated from a 304 that Confirms it, a
// HEAD that does, or a 206 that is PartOf it (RFC 9111 §3.2, §3.4, §4.3.4, §4.3.5).
// The times are those of the exchange that brought by. old is not changed.
//
// Ask Storable about the result. With Request{Method: "GET"}, which carries no
// credentials, it says whether the origin took its permission back, and old must
// go; with the request that was sent, whether the new facts may be shared.
func (c *Caching) Freshened(old Stored, by Stored) Stored {
	fresh := old.Header.Clone()
	if fresh == nil {
		fresh = http.Header{}
	}
	// They tell of the old exchange; a 304 without them must not leave them
	// standing beside the new times.
	delete(fresh, "Age")
	delete(fresh, "Date")
	delete(fresh, "Warning")
	for name, lines := range c.ForStorage(by.Header) {
		if !describesBody(name) {
			fresh[name] = lines
		}
	}
	c.withhold(fresh)
	old.Header, old.RequestTime, old.ResponseTime = fresh, by.RequestTime, by.ResponseTime
	old.Invalid, old.Undated, old.Doubt, old.Ahead = false, false, by.Doubt, by.Ahead
	return Dated(old)
}

// WithPrivate is a freshened header for the client whose request brought the 304
// with header h: with what is for this client only, such as Set-Cookie.
func WithPrivate(fresh, h http.Header) http.Header {
	out := fresh.Clone()
	for name, lines := range h {
		if _, ok := fresh[name]; !ok && !describesBody(name) {
			out[name] = lines
		}
	}
	return out
}

// describesBody names the fields on which the stored bytes, and what they are
// known by, depend: no update changes them (RFC 9111 §3.2).
func describesBody(name string) bool {
	switch name {
	case "Content-Encoding", "Content-Length", "Content-Range", "Etag", "Vary":
		return true
	}
	return false
}

// Heads is what the answer to a HEAD tells about a stored GET response.
type Heads int

const (
	HeadTellsNothing Heads = iota
	HeadConfirms           // Freshened updates what is stored
	HeadOutdates           // what is stored is not what a GET would bring: mark it Invalid
)

func (h Heads) String() string {
	return [...]string{"tells-nothing", "confirms", "outdates"}[h]
}

// Head compares the answer to a HEAD with what is stored for the same request,
// length bytes long (RFC 9111 §4.3.5). An answer that names none of the validators
// we know, where we know some, is not taken for a confirmation.
func (c *Caching) Head(req Request, old Stored, length int64, head Stored) Heads {
	switch {
	case req.Method != http.MethodHead || head.Status != http.StatusOK || old.Status != http.StatusOK || !c.SelectedBy(old, req.Header):
		return HeadTellsNothing
	case c.changesVary(old.Header, head.Header):
		return HeadOutdates
	case len(head.Header["Content-Length"]) > 0 && contentLength(head.Header) != length:
		return HeadOutdates
	case joined(head.Header, "Content-Encoding") != joined(old.Header, "Content-Encoding"):
		return HeadOutdates
	}
	hasTag, hasDate := len(head.Header["Etag"]) > 0, len(head.Header["Last-Modified"]) > 0
	switch {
	case !hasTag && !hasDate && hasValidator(&old),
		hasTag && !sameTag(old.Header, head.Header),
		hasDate && !sameModified(old, head.Header):
		return HeadOutdates
	}
	return HeadConfirms
}

// sameTag: as received, weakness included.
func sameTag(a, b http.Header) bool {
	was, ok1 := entityTag(a)
	is, ok2 := entityTag(b)
	return ok1 && ok2 && was == is
}
