package proxy

import (
	"hash/maphash"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/policy/httpheader"
)

// wget, curl and aria2 go on with a download by a bare Range: no If-Range says
// which version they have the beginning of, and none of them looks at the validator
// of what comes. wget takes even the end of a 200 for the rest, and 416 for a sign
// that it has everything. So this node remembers which versions of large objects its
// clients are in the midst of. Who would get the rest of another one is answered 412,
// as if the request had an If-Match: all three then end with an error.
//
// A client is an address and a User-Agent. Two that share both may be taken for one;
// who starts anew is believed to have given up what broke off before, but for another
// version of the same length only after more than a look at it: aria2 begins with a
// request for all also when it goes on, and lets go of that. And it is not
// only downloads that ask for ranges: who reads here and there in an object is to be
// left in peace. So a range is refused only where a download that broke off would go on:
// anywhere in what the client may have, as a program that was killed may have saved any
// beginning. That a request names an end does not tell a reader from a download: aria2
// always does, and what it has noted of its progress may be a minute old. While an answer
// of the other version is on its way, all are refused: aria2 fetches many parts at once.
// Whoever names a version, by If-Range or If-Match, is never refused.

// transfers are what clients have begun to read, and do not have yet.
type transfers struct {
	seed maphash.Seed

	mu    sync.Mutex             // guards the maps and what is in them
	young map[uint64][]*transfer // by client and key
	old   map[uint64][]*transfer // the generation before
}

// transfersMax bounds each generation; a full one becomes the old one.
const transfersMax = 4 << 10

// hasMax bounds the ranges that are kept of what one client has.
const hasMax = 256

// inSockets is how much of what was sent may not have reached a client that went.
const inSockets = 8 << 20

// transferLife is how long a client has to go on with what broke off: until the next
// morning. It may be long, as little is refused by mistake.
const transferLife = 24 * time.Hour

// transfer is one version on its way to one client, by one request or by several.
type transfer struct {
	of      edition
	variant policy.Stored // what selects it, and no more of that
	running int
	anew    int                // of those: from the beginning
	has     []httpheader.Range // of what was sent; in order, apart from each other
	cut     []httpheader.Range // of that, answers that broke off, or may have without a sign: nobody named their end
	last    time.Time          // that something was sent
}

// mayWantRest reports whether a client that goes on with t may ask for r of another
// version, in whose place t's bytes would be. Who has all may ask for what has been
// appended since.
func (t *transfer) mayWantRest(r httpheader.Range, now time.Time) bool {
	switch {
	case t.running > 0:
		return true
	case now.Sub(t.last) > transferLife, r.From >= t.of.length:
		return false
	case t.complete(): // and its last bytes may be lost, and whoever names its end knows no other one
		return r.To == t.of.length || r.To == toTheEnd && t.of.length-inSockets <= r.From
	case t.looked() && r.To != t.of.length && r.Len() <= glance:
		return ends(t.has, r.From)
	}
	return ends(t.has, r.From) || within(t.cut, r.From) || within(slices.DeleteFunc(slices.Clone(t.has), few), r.From)
}

// glance is less than a download that breaks off at once goes on with.
const glance = 512 << 10

// looked reports whether no more came of t than one answer from 0 that broke off early,
// as when somebody has a look at the first lines.
func (t *transfer) looked() bool {
	return len(t.has) == 1 && slices.Equal(t.has, t.cut) && t.has[0].From == 0 && t.has[0].To <= inSockets
}

// few reports whether those bytes may have been read by somebody who reads here and
// there. Of more than that, a program that was killed may have saved any beginning.
func few(r httpheader.Range) bool { return r.From > 0 && r.Len() <= inSockets }

// goesOnAt reports whether t is likely to go on at pos: there and nowhere else, lest
// the rest of one of two downloads that broke off becomes that of the other. One that
// has begun anew, and runs, may be one of many parts.
func (t *transfer) goesOnAt(pos int64) bool {
	return t.anew > 0 || !t.complete() && ends(t.has, pos)
}

// complete, by all that is known here.
func (t *transfer) complete() bool {
	return len(t.has) == 1 && t.has[0].From == 0 && t.has[0].To >= t.of.length
}

// ends reports whether one of those ranges ends at pos.
func ends(ranges []httpheader.Range, pos int64) bool {
	return slices.ContainsFunc(ranges, func(r httpheader.Range) bool { return r.To == pos })
}

// within reports whether pos is in one of those ranges, or where it ends.
func within(ranges []httpheader.Range, pos int64) bool {
	return slices.ContainsFunc(ranges, func(r httpheader.Range) bool { return r.From <= pos && pos <= r.To })
}

// edition is what tells a client's versions of an object apart: what it could see.
type edition struct {
	length        int64 // -1: unknown
	tag, modified string
	vary          []string
}

func editionOf(s policy.Stored, length int64) edition {
	return edition{length, s.Header.Get("Etag"), s.Header.Get("Last-Modified"), s.Header["Vary"]}
}

// selects is what makes v get the variant that e is.
func (v *visit) selects(e edition) (s policy.Stored) {
	if selecting, ok := v.route.Cache.Selecting(v.req.Header, e.vary); ok && len(e.vary) > 0 {
		s.Header, s.Selecting = http.Header{"Vary": e.vary}, selecting
	}
	return s
}

// mayWant reports whether v asks for the variant that t is of, in whatever version.
func (v *visit) mayWant(t *transfer) bool { return v.route.Cache.SelectedBy(t.variant, v.req.Header) }

// isNot reports whether e and other are surely not the same. Without an entity tag
// (a 416 needs none) and a date the length has to do.
func (e edition) isNot(other edition) bool {
	switch {
	case e.length >= 0 && other.length >= 0 && e.length != other.length:
		return true
	case e.tag != "" && other.tag != "":
		return strings.TrimPrefix(e.tag, "W/") != strings.TrimPrefix(other.tag, "W/")
	}
	return e.modified != "" && other.modified != "" && e.modified != other.modified
}

func newTransfers() *transfers {
	return &transfers{seed: maphash.MakeSeed(), young: map[uint64][]*transfer{}}
}

// phase is where in a download a request stands.
type phase int

const (
	apart  phase = iota // it says itself which version it is about, or is about none
	anew                // it begins
	goesOn              // it may be the continuation of one
)

// toTheEnd is what ends a range that names no end.
const toTheEnd = math.MaxInt64

// phaseOf tells that, and which bytes r is about.
func phaseOf(r *http.Request) (p phase, asked httpheader.Range) {
	h := r.Header
	asked.To = toTheEnd
	if r.Method == http.MethodHead || len(h["If-Range"])+len(h["If-Match"])+len(h["If-Unmodified-Since"]) > 0 {
		return apart, asked
	}
	if len(h["Range"]) == 0 {
		return anew, asked
	}
	first, last, _ := strings.Cut(strings.ToLower(h.Get("Range")), "-")
	from, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(first, "bytes=")), 10, 64)
	if err != nil { // the last bytes of whatever it is, or nonsense
		return apart, asked
	}
	if to, err := strconv.ParseInt(strings.TrimSpace(last), 10, 64); err == nil && to < toTheEnd {
		asked.To = to + 1
	}
	if asked.From = from; from == 0 {
		return anew, asked
	}
	return goesOn, asked
}

// sends notes that v is about to be answered with part of e (from -1 on: with several),
// if status says so. It returns an error if v goes on with another version.
func (p *Proxy) sends(v *visit, e edition, status int, part httpheader.Range) error {
	body := status == http.StatusOK || status == http.StatusPartialContent
	if v.inside != nil || v.behind || !body && status != http.StatusRequestedRangeNotSatisfiable {
		return nil
	}
	if _, none := v.from.(noOrigin); none { // its URL is its digest
		return nil
	}
	ip, _ := clientAddr(v.r)
	now := p.cfg.Now()
	v.sent.end(0, now) // nothing came of an answer that was about to be sent
	v.sent = sending{}
	who := ip.String() + " " + v.r.UserAgent() + " " + string(v.route.Key)
	return p.transfers.sends(v, who, e, body && part.From >= 0, part, now)
}

// passes is sends for an answer of the origin's that is passed on.
func (p *Proxy) passes(v *visit, res *http.Response) error {
	length := policy.WholeLength(policy.Stored{Status: res.StatusCode, Header: res.Header})
	part := httpheader.Range{To: length}
	switch res.StatusCode {
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		length, part.From = -1, -1
		if c, ok := httpheader.ParseContentRange(res.Header.Get("Content-Range")); ok {
			length, part = c.Length, c.Range
		}
	}
	if err := p.sends(v, editionOf(policy.Stored{Header: res.Header}, length), res.StatusCode, part); err != nil {
		return instead(func() { p.fail(v.exchange, err) })
	}
	return nil
}

func (t *transfers) sends(v *visit, who string, e edition, body bool, part httpheader.Range, now time.Time) error {
	phase, asked := phaseOf(v.r)
	if phase == apart {
		return nil
	}
	at := maphash.String(t.seed, who)
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.ofLocked(at)
	switch phase {
	case anew:
		all = slices.DeleteFunc(slices.Clone(all), func(t *transfer) bool {
			return t.running == 0 && v.mayWant(t) && (t.of.length != e.length || t.complete() && !t.of.isNot(e))
		})
	case goesOn:
		likely, other := false, false
		for _, t := range all {
			switch {
			case !v.mayWant(t):
			case !t.of.isNot(e):
				likely = likely || t.goesOnAt(asked.From)
			default:
				other = other || t.mayWantRest(asked, now)
			}
		}
		if other && !likely {
			return errOtherVersion
		}
	}
	if body && v.r.Method == http.MethodGet && e.length >= max(1, v.route.Threshold) {
		i := slices.IndexFunc(all, func(t *transfer) bool { return !t.of.isNot(e) && v.mayWant(t) })
		if i < 0 {
			i, all = len(all), append(all, &transfer{of: e, variant: v.selects(e)})
		}
		all[i].running++
		all[i].last = now
		v.sent = sending{transfers: t, of: all[i], part: part, closed: asked.To != toTheEnd, anew: phase == anew}
		if phase == anew {
			all[i].anew++
			for _, other := range all {
				if other.of.isNot(e) && v.mayWant(other) {
					v.sent.before = append(v.sent.before, other)
				}
			}
		}
	}
	t.keepLocked(at, all)
	return nil
}

var errOtherVersion = refused(http.StatusPreconditionFailed, "http_request_error",
	"the object has changed since this download began, and the rest of what you have is not to be had; remove it and begin anew")

func (t *transfers) ofLocked(at uint64) []*transfer {
	if all, ok := t.young[at]; ok {
		return all
	}
	return t.old[at]
}

func (t *transfers) keepLocked(at uint64, all []*transfer) {
	delete(t.old, at)
	if len(all) == 0 {
		delete(t.young, at)
		return
	}
	if len(t.young) >= transfersMax {
		t.old, t.young = t.young, map[uint64][]*transfer{}
	}
	t.young[at] = all
}

// sending is an answer on its way; the zero one is none of a transfer's.
type sending struct {
	*transfers
	of     *transfer
	part   httpheader.Range
	closed bool // the client named an end
	anew   bool
	before []*transfer // which it gives up, if it is more than a look
}

// end notes that n bytes were sent, and that was all of the answer.
func (s sending) end(n int64, now time.Time) {
	if s.of == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of
	x.running--
	if s.anew {
		x.anew--
	}
	if n >= inSockets {
		for _, other := range s.before {
			if other.running == 0 {
				other.has, other.cut = nil, nil
			}
		}
	}
	x.last = now
	got := httpheader.Range{From: s.part.From, To: s.part.From + n}
	if len(x.has) < hasMax { // else it will never have proved complete
		x.has = join(x.has, got)
	}
	if len(x.cut) < hasMax && !(s.closed && n == s.part.Len()) {
		x.cut = join(x.cut, got)
	}
}

// join adds a range to others, which are in order and apart from each other.
func join(ranges []httpheader.Range, r httpheader.Range) []httpheader.Range {
	if r.Len() <= 0 {
		return ranges
	}
	i, _ := slices.BinarySearchFunc(ranges, r.From, func(x httpheader.Range, from int64) int { return int(min(max(x.To-from, -1), 1)) })
	j := i
	for ; j < len(ranges) && ranges[j].From <= r.To; j++ {
		r.From, r.To = min(r.From, ranges[j].From), max(r.To, ranges[j].To)
	}
	return slices.Replace(ranges, i, j, r)
}
