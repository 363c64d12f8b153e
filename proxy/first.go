package proxy

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/small"
)

// firsts are the small objects that are asked for now, of which nothing is here:
// one request each, and others wait for it.
type firsts struct {
	mu  sync.Mutex // guards the map
	now map[string]chan struct{}
}

// defaultPatience is how long a request waits for another one's answer that may
// prove to be small. Who has waited for so long asks by itself: the other may be a
// poll that is answered in an hour.
const defaultPatience = 5 * time.Second

// take gives who is first the right to ask for what name says. Others wait until
// release is called; ok is false when it was not, for so long or until ctx ended.
func (f *firsts) take(ctx context.Context, name string, patience time.Duration) (release func(), ok bool) {
	f.mu.Lock()
	over := f.now[name]
	if over == nil {
		over = make(chan struct{})
		f.now[name] = over
		f.mu.Unlock()
		return sync.OnceFunc(func() {
			f.mu.Lock()
			delete(f.now, name)
			f.mu.Unlock()
			close(over)
		}), true
	}
	f.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-over:
		return nil, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, false
}

// findSmall finds what is small. Where nothing answers v, o is what would answer
// other requests for the same URL, if there is such a thing.
func (p *Proxy) findSmall(v *visit) (o *small.Object, selected bool) {
	return p.small.Find(v.route.Key, v.req.Header, &v.route.Cache)
}

// here finds what this node has.
func (p *Proxy) here(v *visit) (object, error) {
	if o, selected := p.findSmall(v); selected {
		return smallObject(o), nil
	}
	obj, err := p.cache.Local(v.key, v.source(p))
	if err == nil && v.varies(obj.Version().Stored) {
		obj.Close()
		return p.cache.Local(v.key, v.source(p))
	}
	return obj, err
}

// await finds what another request brings, where nothing is here and it is not
// expected to be large. A miss comes with the right to be the one that others wait
// for, until v.known.
func (p *Proxy) await(v *visit) (object, error) {
	if !v.mayAwait(p) {
		o, _ := p.findSmall(v)
		return orNone(o), nil
	}
	begun := time.Now()
	for round := 0; ; round++ {
		if round > 0 { // it may have proved large
			if obj, err := p.here(v); err == nil {
				v.known()
				return obj, nil
			}
		}
		o, _ := p.findSmall(v)
		if v.first || round == claimRounds || p.seen.of(v.route.Key).what == passingKind {
			return orNone(o), nil
		}
		release, ok := p.firsts.take(v.r.Context(), v.waitsFor(o), p.patience-time.Since(begun))
		switch {
		case release != nil: // but what the one before brought may be here by now
			v.claim, v.first = release, true
		case v.r.Context().Err() != nil:
			return nil, context.Cause(v.r.Context())
		case !ok:
			return orNone(o), nil
		}
	}
}

// mayAwait reports whether the answer to v is for others too, and theirs for it.
func (v *visit) mayAwait(p *Proxy) bool {
	return p.small != nil && plainGet(v.r) && (len(v.r.Header["Range"]) == 0 || v.wantsWhole(p)) &&
		!onlyIfCached(v.r.Header) && policy.Shares(v.req, v.route.Store)
}

func orNone(o *small.Object) object {
	if o == nil {
		return nil
	}
	return smallObject(o)
}

// waitsFor names what v asks for: the key, and where other variants tell what
// selects, the variant too.
func (v *visit) waitsFor(other *small.Object) string {
	if other == nil {
		return string(v.route.Key)
	}
	selecting, _ := v.route.Cache.Selecting(v.req.Header, other.Version().Stored.Header["Vary"])
	return fmt.Sprint(v.route.Key, " ", map[string][]string(selecting)) // in the order of names
}

// plainGet: there is no condition for the origin to judge.
func plainGet(r *http.Request) bool {
	for _, name := range [...]string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return r.Method == http.MethodGet
}
