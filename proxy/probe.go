package proxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/layout"
)

// Under `auth: probe` what is stored is for whoever could have it from the origin.
// That is asked for one byte of the very version, with the client's own credentials.
// If it gives it, the bytes come from wherever they are; any other answer but the
// news of another version is for the origin itself to give, to the client's own
// request. And where others are given what is stored, and it was replaced not long ago,
// other news is rather a version of that client's own: that passes by, or each client
// would take the place of all the others.

const (
	// admittedFor is how long the origin's word counts.
	admittedFor = time.Minute
	// patienceProbe is how long it may take before the request itself is sent.
	patienceProbe = 5 * time.Second
	// versionsApart is for how long a version that was replaced makes it likely that the
	// next one is not another's.
	versionsApart = time.Hour
	// maxAdmissions are remembered; without room one more byte is asked for.
	maxAdmissions = 1 << 16
	// maxProbes are made about versions that turn out to be no more.
	maxProbes = 2
)

// admissions are who may have what, by hashes that mean nothing beyond this process.
type admissions struct {
	once sync.Once
	key  []byte

	mu       sync.Mutex // guards the fields below
	until    map[admission]time.Time
	given    map[swarmcache.ObjectID]time.Time // when anybody was admitted last
	replaced map[policy.Key]time.Time          // when somebody's other version took the place of all
}

type admission struct {
	who [sha256.Size]byte
	id  swarmcache.ObjectID
}

// harmless are the fields by which nobody knows a client. All others may be
// credentials.
var harmless = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma", "User-Agent",
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
}

func (a *admissions) of(v *visit, id swarmcache.ObjectID) (x admission) {
	a.once.Do(func() {
		a.key = make([]byte, sha256.Size)
		rand.Read(a.key) // never fails (crypto/rand)
		a.until = map[admission]time.Time{}
		a.given, a.replaced = map[swarmcache.ObjectID]time.Time{}, map[policy.Key]time.Time{}
	})
	h := hmac.New(sha256.New, a.key)
	say := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	say(v.route.FetchURL.String())
	if v.req.URL.User != nil {
		say(v.req.URL.User.String())
	}
	var names []string
	for name := range v.req.Header {
		if !slices.Contains(harmless, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		say(name)
		for _, line := range v.req.Header[name] {
			say(line)
		}
		say("")
	}
	h.Sum(x.who[:0])
	x.id = id
	return x
}

// note remembers that the origin gives a version to v's client.
func (a *admissions) note(v *visit, id swarmcache.ObjectID, now time.Time) {
	x := a.of(v, id)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.until) >= maxAdmissions {
		for old, until := range a.until {
			if !now.Before(until) {
				delete(a.until, old)
			}
		}
		if len(a.until) >= maxAdmissions {
			clear(a.until)
		}
	}
	a.until[x] = now.Add(admittedFor)
	if len(a.given) >= maxAdmissions {
		clear(a.given)
	}
	a.given[id] = now
}

// replaces reports whether another version takes the place of id for all, and not only
// for the client that was told of it.
func (a *admissions) replaces(key policy.Key, id swarmcache.ObjectID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.replaced[key]) < versionsApart && now.Sub(a.given[id]) < admittedFor {
		return false
	}
	if len(a.replaced) >= maxAdmissions {
		clear(a.replaced)
	}
	a.replaced[key] = now
	return true
}

func (a *admissions) stand(v *visit, id swarmcache.ObjectID, now time.Time) bool {
	x := a.of(v, id)
	a.mu.Lock()
	defer a.mu.Unlock()
	until := a.until[x]
	left := until.Sub(now) // more than it can be: the clock was set
	return left > 0 && left <= admittedFor
}

// mayHave reports whether v's client may have obj. If not, it is answered, or again says
// to look again: obj is no more.
func (p *Proxy) mayHave(v *visit, obj object) (admitted, again bool) {
	ver := obj.Version()
	if p.admissions.stand(v, ver.ID, p.cfg.Now()) {
		return true, false
	}
	switch {
	case onlyIfCached(v.r.Header):
		p.refuse(v)
		return false, false
	case v.r.Method != http.MethodGet || ver.Validator == "" || v.probes == maxProbes:
		p.bypass(v, policy.ReasonBypass)
		return false, false
	}
	v.since = p.cache.Mark(v.route.Key)
	asked := p.cfg.Now()
	switch found, status := p.probe(v, &ver); found {
	case stands:
		p.admissions.note(v, ver.ID, asked)
		v.probed = status
		return true, false
	case replaced:
		v.probes++
		switch {
		case p.learnt(v.r.Context(), obj): // another node has the new one
			return false, true
		case p.admissions.replaces(ver.Key, ver.ID, asked):
			p.supersede(v, obj)
			return false, true
		}
	}
	p.bypass(v, policy.ReasonBypass)
	return false, false
}

// finding is what a probe found.
type finding int

const (
	nothing  finding = iota // it was refused, or failed
	stands                  // the client may have it
	replaced                // the client may have another version
)

// probe asks the origin for one byte of ver in the client's name.
func (p *Proxy) probe(v *visit, ver *swarmcache.Version) (finding, int) {
	ctx, cancel := context.WithTimeout(v.r.Context(), p.patienceProbe)
	defer cancel()
	res, err := p.origin.Source(v.route.FetchURL, v.req.Header).Get(ctx, layout.Range{To: 1}, ver.Validator)
	if err != nil {
		return nothing, 0
	}
	defer res.Body.Close() // unread: of a whole one byte is too much
	answer := policy.Stored{Status: res.StatusCode, Header: res.Header, ResponseTime: p.cfg.Now()}
	whole, length, ok := policy.Whole(answer)
	if !ok {
		return nothing, 0
	}
	switch policy.StrongValidator(whole.Header, answer.ResponseTime) {
	case "":
		return nothing, 0
	case ver.Validator:
	default:
		if res.Header.Get("Content-Type") != ver.Stored.Header.Get("Content-Type") {
			return nothing, 0 // a page to log in at, say: whoever sees one takes nothing from others
		}
		return replaced, 0
	}
	if _, part := policy.PartOf(ver.Stored, ver.Length, answer); !part && (res.StatusCode == http.StatusPartialContent || length != ver.Length) {
		return nothing, 0 // whatever that is
	}
	return stands, res.StatusCode
}
