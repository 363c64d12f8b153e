package proxy

import (
	"context"
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
// as if the request had an If-Match: all three then end with an error. Whoever names a
// version, by If-Range or If-Match, is never refused.
//
// A client is an address and a User-Agent. Two that share both may be taken for one.
// A program that was killed may have saved any beginning of what it was sent, and
// aria2 asks again for what it has not noted yet: so the rest of a download is all
// from where it began to where it came. Who reads here and there, and always names an
// end, is to be left in peace: only what follows on the last may be the next piece, and
// what was read from the beginning on may be a download in pieces.
//
// Who begins anew gives up what broke off before. That is sure where what there is now
// has another length, or when more of it was sent than sockets hold. It is not before,
// as aria2 begins with a request for all also when it goes on, and lets go of that: who
// asks for more beside such a request waits until it has ended, or goes on for a while.

// transfers are what clients have begun to read, and do not have yet.
type transfers struct {
	seed maphash.Seed

	mu    sync.Mutex             // guards the maps and what is in them
	young map[uint64][]*transfer // by client and key
	old   map[uint64][]*transfer // the generation before
}

// transfersMax bounds each generation; a full one becomes the old one.
const transfersMax = 4 << 10

// versionsMax bounds what is remembered of one client and object: the latest.
const versionsMax = 16

// inSockets is how much of what was sent may not have reached a client that went.
const inSockets = 8 << 20

// transferLife is how long a client has to go on with what broke off: until the next
// morning. It may be long, as little is refused by mistake.
const transferLife = 24 * time.Hour

// patienceLook is how long who lets go of an answer may take to be noticed.
const patienceLook = time.Second

// transfer is one version on its way to one client, by one request or by several.
type transfer struct {
	of      edition
	variant policy.Stored // what selects it, and no more of that
	running int
	anew    int              // of those: from the beginning
	over    chan struct{}    // closed when there is none of those any more
	sent    httpheader.Range // from the first byte to the last that was, whatever is between
	upTo    int64            // all that is before was sent
	open    bool             // some of it by answers that broke off, or may have without a sign: nobody named their end
	last    time.Time        // that something was sent
}

// mayWantRest reports whether a client that goes on with t may ask for r of another
// version, in whose place t's bytes would be. Who has all may ask for what has been
// appended since.
func (t *transfer) mayWantRest(r httpheader.Range, now time.Time) bool {
	switch {
	case t.running > 0: // aria2 fetches many parts at once
		return true
	case now.Sub(t.last) > transferLife, r.From >= t.of.length:
		return false
	case t.complete(): // and its last bytes may be lost, and whoever names its end knows no other one
		return r.To == t.of.length || r.To == toTheEnd && t.of.length-inSockets <= r.From
	case t.open:
		return t.sent.From <= r.From && r.From <= t.sent.To
	}
	return r.From == t.sent.To || r.From <= t.upTo
}

// complete, by all that is known here.
func (t *transfer) complete() bool { return t.upTo >= t.of.length }

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
	who := ip.String() + " " + v.r.UserAgent() + " " + string(v.route.Key)
	v.sent.end(0, p.cfg.Now()) // nothing came of an answer that was about to be sent
	v.sent = sending{}
	unsure, err := p.transfers.sends(v, who, e, body && part.From >= 0, part, p.cfg.Now(), false)
	if unsure == nil {
		return err
	}
	select {
	case <-unsure:
	case <-time.After(p.patienceLook):
	case <-v.r.Context().Done():
		return context.Cause(v.r.Context())
	}
	_, err = p.transfers.sends(v, who, e, body && part.From >= 0, part, p.cfg.Now(), true)
	return err
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

// sends notes that, or refuses it. What is unsure is so until that channel is closed, or
// v has waited for it.
func (t *transfers) sends(v *visit, who string, e edition, body bool, part httpheader.Range, now time.Time, waited bool) (unsure <-chan struct{}, err error) {
	phase, asked := phaseOf(v.r)
	if phase == apart {
		return nil, nil
	}
	at := maphash.String(t.seed, who)
	t.mu.Lock()
	defer t.mu.Unlock()
	var same *transfer
	var others []*transfer
	for _, x := range t.ofLocked(at) {
		switch {
		case !v.mayWant(x):
		case x.of.isNot(e):
			others = append(others, x)
		case phase == anew && x.complete() && x.running == 0:
			t.forgetLocked(at, x)
		case same == nil:
			same = x
		}
	}
	switch phase {
	case anew:
		t.forgetLocked(at, slices.DeleteFunc(slices.Clone(others), func(x *transfer) bool { return x.of.length == e.length })...)
	case goesOn:
		switch {
		case !slices.ContainsFunc(others, func(x *transfer) bool { return x.mayWantRest(asked, now) }):
		case same != nil && same.sent.To == asked.From && !same.complete(): // the rest of that
		case same == nil || same.anew == 0:
			return nil, errOtherVersion
		case !waited:
			return same.over, nil
		default:
			t.forgetLocked(at, others...)
		}
	}
	if !body || v.r.Method != http.MethodGet || e.length < max(1, v.route.Threshold) {
		return nil, nil
	}
	if same == nil {
		same = &transfer{of: e, variant: v.selects(e)}
		all := t.ofLocked(at)
		t.keepLocked(at, append(all[max(0, len(all)-versionsMax+1):len(all):len(all)], same))
	}
	v.sent = sending{transfers: t, at: at, of: same, others: others, part: part, closed: asked.To != toTheEnd, anew: phase == anew}
	v.sent.beginLocked(now)
	return nil, nil
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

// forgetLocked forgets what was given up. What still runs is not.
func (t *transfers) forgetLocked(at uint64, gone ...*transfer) {
	t.keepLocked(at, slices.DeleteFunc(slices.Clone(t.ofLocked(at)), func(x *transfer) bool {
		return x.running == 0 && slices.Contains(gone, x)
	}))
}

// sending is an answer on its way; the zero one is none of a transfer's.
type sending struct {
	*transfers
	at     uint64
	of     *transfer
	others []*transfer // of the same client, and other versions
	part   httpheader.Range
	closed bool // the client named an end
	anew   bool
}

func (s sending) beginLocked(now time.Time) {
	x := s.of
	x.running++
	x.last = now
	if s.anew {
		if x.anew++; x.anew == 1 {
			x.over = make(chan struct{})
		}
	}
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
	x.last = now
	if n > 0 {
		got := httpheader.Range{From: s.part.From, To: s.part.From + n}
		if x.sent.Len() > 0 {
			x.sent = httpheader.Range{From: min(x.sent.From, got.From), To: max(x.sent.To, got.To)}
		} else {
			x.sent = got
		}
		if got.From <= x.upTo && x.upTo < got.To {
			if x.upTo = got.To; x.upTo >= inSockets {
				s.forgetLocked(s.at, s.others...)
			}
		}
		x.open = x.open || !s.closed || n < s.part.Len()
	}
	if s.anew {
		if x.anew--; x.anew == 0 {
			close(x.over)
		}
	}
}
