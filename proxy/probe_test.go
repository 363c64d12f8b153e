package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/swarmcache"
)

// vault is an origin that gives to whom it knows, by Authorization.
type vault struct {
	mu             sync.Mutex // guards the fields below
	allowed        string     // all of them, in a row
	body, tag      string
	clock          *clock
	odd            string // what it does when asked for one byte
	probes, wholes int    // of those it knows
}

func (o *vault) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *vault) answer(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	who, body, odd, probe := r.Header.Get("Authorization"), o.body, "", r.Header.Get("Range") == "bytes=0-0"
	known := who != "" && strings.Contains(o.allowed, who)
	w.Header().Set("Etag", o.tag)
	switch {
	case known && probe:
		o.probes++
		odd = o.odd
	case known && r.Method == http.MethodGet && r.Header.Get("Range") == "":
		o.wholes++
	}
	o.mu.Unlock()
	w.Header().Set("Date", o.clock.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Cache-Control", "max-age=3600, stale-if-error=3600")
	switch {
	case !known:
		w.Header().Del("Etag")
		w.Header().Set("Www-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "who are you?")
		return
	case odd == "whole":
		r.Header.Del("Range")
	case odd == "other":
		w.Header().Set("Etag", `"other"`)
		r.Header.Del("If-Range")
	case odd == "longer":
		body += "more"
	case odd == "416", odd == "500", odd == "404":
		w.WriteHeader(map[string]int{"416": 416, "500": 500, "404": 404}[odd])
		return
	case odd == "away":
		o.set(func() { o.probes = 1 }) // net/http may try again
		panic(http.ErrAbortHandler)
	case odd == "silent":
		<-r.Context().Done()
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
}

// Under `auth: probe` bytes are shared, and everybody gets what the origin would give.
func TestAuthProbe(t *testing.T) {
	for _, as := range []setting{{"one node", 1, false}, {"three nodes", 3, false}, allSmall} {
		t.Run(as.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			o := &vault{clock: s.clock, body: "one", tag: `"1"`, allowed: "alice carol"}
			url := serve(t, o.answer) + "/x"
			cast := s.cast(as, policy.Rule{Auth: policy.Probe})
			patience := func(d time.Duration) {
				for _, n := range cast {
					n.patienceProbe = d
				}
			}
			patience(time.Minute)
			// asks has a client ask a node. What it and the origin saw is the status, the
			// body, nginx's word, how often the origin gave one byte and all.
			asks := func(n int, who, want string, fields ...string) {
				t.Helper()
				if who != "" {
					fields = append(fields, "Authorization: "+who)
				}
				o.set(func() { o.probes, o.wholes = 0, 0 })
				node := cast[n%len(cast)]
				res, body := node.get(url, fields...)
				node.quiet(url, res.StatusCode == 200)
				if res.Header.Get("Content-Type") == "text/plain; charset=utf-8" && res.StatusCode > 500 { // our own
					body = "-"
				}
				got := fmt.Sprint(res.StatusCode, " ", body, " ", res.Header.Get("X-Cache-Status"))
				o.set(func() { got += fmt.Sprint(" ", o.probes, " ", o.wholes) })
				if got != want {
					t.Errorf("%s, by node %d: %q, want %q; %v", who, n, got, want, res.Header)
				}
				status := strings.Join(res.Header["Cache-Status"], "")
				if probed := strings.Contains(status, ";fwd=request;fwd-status=20") && strings.Contains(status, ";detail=auth-probe"); probed != (strings.HasSuffix(want, "REVALIDATED 1 0") || strings.HasSuffix(want, "REVALIDATED 2 0")) {
					t.Errorf("%s: %s", want, status)
				}
			}
			refused := "401 who are you? BYPASS 0 0"

			asks(0, "alice", "200 one MISS 0 1")
			asks(0, "alice", "200 one HIT 0 0") // the answer was a word too
			for n := range cast {
				asks(n, "bob", refused)
				asks(n, "", refused)
				asks(n, "carol", "200 one REVALIDATED 1 0")
				asks(n, "carol", "200 one HIT 0 0")
				asks(n, "bob", refused, "Cache-Control: max-stale")
				asks(n, "bob", "504 -  0 0", "Cache-Control: only-if-cached")
				asks(n, "carol", "200 one HIT 0 0", "Cache-Control: only-if-cached")
				asks(n, "carol", "206 n HIT 0 0", "Range: bytes=1-1")
			}
			// The word ends.
			o.set(func() { o.allowed = "alice" })
			asks(0, "carol", "200 one HIT 0 0")
			s.clock.pass(admittedFor)
			for n := range cast {
				asks(n, "carol", refused)
			}
			// Answers of all sorts. Whatever they are, the client gets what is right.
			for _, odd := range []struct{ is, want string }{
				{"whole", "200 one REVALIDATED 1 0"},
				{"longer", "200 one BYPASS 1 1"},
				{"404", "200 one BYPASS 1 1"},
				{"416", "200 one BYPASS 1 1"},
				{"500", "200 one BYPASS 1 1"},
				{"away", "200 one BYPASS 1 1"},
				{"silent", "200 one BYPASS 1 1"},
			} {
				o.set(func() { o.odd = odd.is })
				if odd.is == "silent" {
					patience(50 * time.Millisecond)
				}
				asks(0, "alice", odd.want)
				patience(time.Minute)
				s.clock.pass(admittedFor)
			}
			o.set(func() { o.odd = "" })
			asks(0, "alice", "200 one REVALIDATED 1 0")
			// A new version retires the old one for all; so does a part of another one.
			s.clock.pass(admittedFor)
			o.set(func() { o.body, o.tag = "two", `"2"` })
			asks(1, "alice", "200 two MISS 1 1")
			asks(0, "bob", refused)
			s.clock.pass(admittedFor)
			asks(0, "alice", map[int]string{1: "200 two REVALIDATED 1 0", 3: "200 two REVALIDATED 2 0"}[as.nodes]) // of the old one, and of what node 1 has
			s.clock.pass(admittedFor)
			o.set(func() { o.odd = "other" })
			asks(0, "alice", "200 two MISS 1 1")
			o.set(func() { o.odd = "" })
			// What is stale is asked about by who may have it, and never served for an
			// origin that fails to who may not.
			s.clock.pass(2 * time.Hour)
			asks(0, "bob", refused)
			asks(0, "alice", "200 two REVALIDATED 1 1")
			s.clock.pass(admittedFor)
			for _, n := range cast {
				res, err := n.client().Do(request(t, "HEAD", url, "Authorization: bob"))
				if err != nil || res.StatusCode != http.StatusUnauthorized {
					t.Errorf("HEAD: %v, %v", err, res)
				}
				for _, secret := range []string{"alice", "bob", "carol"} {
					if strings.Contains(n.log.String(), secret) {
						t.Errorf("%s is in the log", secret)
					}
				}
				if all, err := n.cfg.Cache.List("", 100); err == nil {
					for _, rec := range all {
						if policy.ForOutsiders(rec.Version.Stored) || strings.Contains(fmt.Sprint(rec), "alice") {
							t.Errorf("%+v", rec)
						}
					}
				}
			}
		})
	}
}

// Many clients at once, some of whom the origin does not know: each gets his own answer,
// however their requests meet.
func TestAuthProbeOfMany(t *testing.T) {
	for _, as := range []setting{{"swarm", 1, false}, allSmall} {
		t.Run(as.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			o := &vault{clock: s.clock, body: "secret", tag: `"1"`}
			for i := 0; i < 8; i += 2 {
				o.allowed += fmt.Sprintf("user-%d ", i)
			}
			url := serve(t, o.answer) + "/x"
			cast := s.cast(as, policy.Rule{Auth: policy.Probe})
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					for range 4 {
						res, err := cast[0].client().Do(request(t, "GET", url, fmt.Sprintf("Authorization: user-%d", i)))
						if err != nil {
							t.Error(err)
							return
						}
						got, _ := io.ReadAll(res.Body)
						res.Body.Close()
						if want := map[bool]string{true: "secret", false: "who are you?"}[i%2 == 0]; string(got) != want {
							t.Errorf("user-%d got %q (%s)", i, got, res.Header.Get("Cache-Status"))
						}
					}
				})
			}
			wg.Wait()
			for _, n := range cast {
				n.quiet(url, true)
			}
		})
	}
}

// Variants are versions of their own: who may have one has not been told about the
// other, and a new version of one leaves the other alone.
func TestAuthProbeOfVariants(t *testing.T) {
	for _, as := range []setting{{"one node", 1, false}, {"three nodes", 3, false}, allSmall} {
		t.Run(as.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			var mu sync.Mutex // guards the two below
			bodies, vary := map[string]string{"en": "hello", "de": "hallo"}, "Accept-Language"
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				who, lang := r.Header.Get("Authorization"), r.Header.Get("Accept-Language")
				w.Header().Set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
				w.Header().Set("Vary", vary)
				if who != "alice" && (who != "carol" || lang != "en") {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				w.Header().Set("Cache-Control", "max-age=3600")
				w.Header().Set("Etag", `"`+bodies[lang]+`"`)
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(bodies[lang]))
			}) + "/x"
			cast := s.cast(as, policy.Rule{Auth: policy.Probe})
			asks := func(n int, who, lang, want string) {
				t.Helper()
				node := cast[n%len(cast)]
				res, body := node.get(url, "Authorization: "+who, "Accept-Language: "+lang)
				node.quiet(url, false) // what carol was refused has been found, and is read by nobody
				if who == "alice" && vary == "Accept-Language" && !as.small {
					eventually(t, "what she got is whole and published", func() bool {
						records, err := node.cfg.Cache.List("", 100)
						return err == nil && slices.ContainsFunc(records, func(r swarmcache.Record) bool {
							return r.Complete && !r.Untold && r.Version.Stored.Header.Get("Etag") == res.Header.Get("Etag")
						})
					})
				}
				if got := fmt.Sprint(res.StatusCode, " ", body, " ", res.Header.Get("X-Cache-Status")); got != want {
					t.Errorf("%s in %s, by node %d: %q, want %q; %v", who, lang, n, got, want, res.Header)
				}
			}
			asks(0, "alice", "en", "200 hello MISS")
			asks(0, "alice", "de", "200 hallo MISS")
			for n := range cast {
				asks(n, "carol", "en", "200 hello REVALIDATED")
				asks(n, "carol", "de", "403  BYPASS") // her word about the other counts for nothing
				asks(n, "bob", "en", "403  BYPASS")
				asks(n, "carol", "en", "200 hello HIT")
			}
			s.clock.pass(admittedFor)
			mu.Lock()
			bodies["de"] = "servus"
			mu.Unlock()
			for n := range cast {
				asks(n, "alice", "en", "200 hello REVALIDATED")
			}
			asks(1, "alice", "de", "200 servus MISS")
			asks(1, "alice", "de", "200 servus HIT")
			asks(0, "carol", "de", "403  BYPASS")
			asks(0, "alice", "de", map[bool]string{true: "200 servus HIT", false: "200 servus REVALIDATED"}[len(cast) == 1])

			// What varies by who asks is nobody else's, whatever the rule says.
			mu.Lock()
			vary = "Authorization"
			bodies["fr"] = "salut"
			mu.Unlock()
			asks(0, "alice", "fr", "200 salut MISS")
			asks(0, "alice", "fr", "200 salut MISS")
		})
	}
}

// An origin that has a version for each client: they do not take each other's place all
// the time, and what several have in common stays theirs.
func TestAuthProbeOfVersionsForEach(t *testing.T) {
	for _, as := range []setting{{"one node", 1, false}, allSmall} {
		t.Run(as.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			var team atomic.Value
			team.Store("team")
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				of := r.Header.Get("Authorization")
				if of == "alice" || of == "carol" {
					of = team.Load().(string)
				}
				w.Header().Set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
				w.Header().Set("Cache-Control", "max-age=36000")
				w.Header().Set("Etag", `"`+of+`"`)
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader("for "+of))
			}) + "/x"
			node := s.cast(as, policy.Rule{Auth: policy.Probe})[0]
			asks := func(who, want string) {
				t.Helper()
				res, body := node.get(url, "Authorization: "+who)
				node.quiet(url, true)
				if got := body + " " + res.Header.Get("X-Cache-Status"); got != want {
					t.Errorf("%s: %q, want %q; %v", who, got, want, res.Header)
				}
			}
			asks("alice", "for team MISS")
			asks("bob", "for bob MISS") // for all we know it is the new one
			for range 2 {
				asks("alice", "for team BYPASS") // but it was not
				asks("bob", "for bob HIT")
			}
			s.clock.pass(admittedFor)
			asks("alice", "for team MISS") // nobody wants his
			for range 3 {
				for _, who := range []string{"bob", "dave", "erin"} {
					asks(who, "for "+who+" BYPASS")
				}
				asks("alice", "for team HIT")
				s.clock.pass(admittedFor)
				asks("carol", "for team REVALIDATED")
				asks("alice", "for team REVALIDATED")
			}
			s.clock.pass(admittedFor - time.Second)
			team.Store("new") // and nobody is given the old one any more
			asks("erin", "for erin BYPASS")
			s.clock.pass(time.Second)
			asks("carol", "for new MISS")
			asks("alice", "for new REVALIDATED")
			asks("alice", "for new HIT")
		})
	}
}
