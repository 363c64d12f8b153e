package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
)

// herd sends n requests at once, the first of them alone until the origin has it.
func herd(t *testing.T, p *node, n int, url string, arrived <-chan struct{}, fields ...string) (words map[string]int) {
	t.Helper()
	var mu sync.Mutex
	words = map[string]int{}
	var wg sync.WaitGroup
	one := func() {
		res, got := p.get(url, fields...)
		mu.Lock()
		defer mu.Unlock()
		words[fmt.Sprint(res.StatusCode, " ", len(got), " ", res.Header.Get("X-Cache-Status"))]++
	}
	wg.Go(one)
	<-arrived
	for range n - 1 {
		wg.Go(one)
	}
	wg.Wait()
	return words
}

// waitingIn is how many requests wait in a function of ours for what another is
// told.
func waitingIn(function string) (n int) {
	b := make([]byte, 4<<20)
	for stack := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
		state, _, _ := strings.Cut(stack, "\n")
		if strings.Contains(state, "[select") && strings.Contains(stack, function) {
			n++
		}
	}
	return n
}

// waiting is how many requests wait for an answer, their own or another's.
func waiting() int { return waitingIn("proxy.(*Proxy).ask(") }

// slow makes o answer the first question only when all of a herd ask or wait.
func slow(t *testing.T, o *store, herd int, answer http.HandlerFunc) (arrived chan struct{}, asked *atomic.Int32) {
	arrived, asked = make(chan struct{}), &atomic.Int32{}
	first := sync.OnceFunc(func() { close(arrived) })
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		nth := asked.Add(1)
		first()
		if nth == 1 {
			eventually(t, "the herd waits", func() bool { return waiting() == herd })
		}
		answer(w, r)
	})
	return arrived, asked
}

func TestOneQuestionAboutOneStaleObject(t *testing.T) {
	// few is what one further question becomes where a client that has arrived is
	// slow to queue up.
	const n, few = 20, 10
	confirmed := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		fields string
		most   int32 // questions
		words  string
	}{
		{"confirmed", confirmed, "", 1, "200 5000 REVALIDATED"},
		{"confirmed, and asked about each time: a second one is for those who came later", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			confirmed(w, r)
		}, "", few, "200 5000 REVALIDATED"},
		{"the clients want it fresh", confirmed, "Cache-Control: no-cache", few, "200 5000 REVALIDATED"},
		{"no answer is nobody's answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", few, "502"},
		{"an error is everybody's own", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "", n, "503 0 EXPIRED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newStore(t, body(5000))
			p, _ := stale(t, o)
			arrived, asked := slow(t, o, n, tt.answer)
			var fields []string
			if tt.fields != "" {
				fields = append(fields, tt.fields)
			}
			words := herd(t, p, n, o.url+"/x", arrived, fields...)
			if asked.Load() > tt.most {
				t.Errorf("the origin was asked %d times, want at most %d", asked.Load(), tt.most)
			}
			for w, k := range words {
				if !strings.HasPrefix(w, tt.words) {
					t.Errorf("%d got %q, want %q", k, w, tt.words)
				}
			}
		})
	}
}

// What is for one client alone neither waits nor is waited for.
func TestCredentialsDoNotQueue(t *testing.T) {
	o := newStore(t, body(5000))
	p, _ := stale(t, o)
	first, release := make(chan struct{}), make(chan struct{})
	var asked atomic.Int32
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			close(first)
			<-release
		}
		w.WriteHeader(304)
	})
	var wg sync.WaitGroup
	wg.Go(func() { p.get(o.url + "/x") })
	<-first
	for _, field := range []string{"Authorization: Basic eDp5", "Cookie: a=b", "Cache-Control: no-store"} {
		res, got := p.get(o.url+"/x", field)
		wantAnswer(t, res, got, 200, o.body, "REVALIDATED", "fwd=stale")
	}
	close(release)
	wg.Wait()
}

func TestHerdOnAChangedObject(t *testing.T) {
	const n = 20
	o := newStore(t, body(5000))
	p, _ := stale(t, o)
	o.becomes(body(6000), `"v2"`)
	arrived, asked := slow(t, o, n, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body(6000)))
	})
	words := herd(t, p, n, o.url+"/x", arrived)
	if asked.Load() != 1 || words["200 6000 EXPIRED"] != n {
		t.Errorf("asked %d times: %v", asked.Load(), words)
	}
}

// Another version of unknown length ends the old one, even if it proves too small
// to be stored.
func TestAnotherVersionOfUnknownLength(t *testing.T) {
	o := newStore(t, body(5000))
	p, _ := stale(t, o)
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v2"`)
		io.WriteString(w, "two")
		http.NewResponseController(w).Flush()
	})
	for _, word := range []string{"EXPIRED", "MISS"} {
		res, got := p.get(o.url + "/x")
		wantAnswer(t, res, got, 200, "two", word)
	}
}

// The version that is stored, sent again with an unknown length, renews it.
func TestSameVersionOfUnknownLength(t *testing.T) {
	s := newStage(t)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", etag)
		w.Header().Set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
		io.WriteString(w, "one")
		http.NewResponseController(w).Flush()
	}) + "/x"
	n := s.cast(setting{nodes: 1}, policy.Rule{})[0]
	for _, word := range []string{"MISS", "EXPIRED", "HIT"} {
		if word == "EXPIRED" {
			s.clock.pass(minute)
		}
		res, got := n.get(url)
		wantAnswer(t, res, got, 200, "one", word)
		n.quiet(url, true)
	}
}

// One asks behind the clients' backs, and nobody waits.
func TestStaleWhileRevalidateAsksOnce(t *testing.T) {
	o := newStore(t, body(5000))
	o.set("Cache-Control", "max-age=60, stale-while-revalidate=86400")
	p, c := stale(t, o)
	release := make(chan struct{})
	var asked atomic.Int32
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		w.WriteHeader(304)
	})
	for range 10 {
		res, got := p.get(o.url + "/x")
		wantAnswer(t, res, got, 200, o.body, "UPDATING", "hit", "detail=stale-while-revalidate")
	}
	close(release)
	eventually(t, "refreshed", func() bool { return strings.Contains(c.took(), "refresh") })
	p.work.Wait()
	if asked.Load() != 1 {
		t.Errorf("the origin was asked %d times", asked.Load())
	}
	res, got := p.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "HIT", "hit")
}

// A 304 about something else is followed by a question without conditions, also
// behind the clients' backs.
func TestBackgroundAsksForTheWhole(t *testing.T) {
	o := newStore(t, body(5000))
	o.set("Cache-Control", "max-age=60, stale-while-revalidate=86400")
	p, _ := stale(t, o)
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v2"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body(6000)))
	})
	res, got := p.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "UPDATING")
	p.work.Wait()
	if asked := o.took(); len(asked) != 2 || asked[0].Header.Get("If-None-Match") != etag || asked[1].Header.Get("If-None-Match") != "" {
		t.Errorf("the origin saw %v", asked)
	}
	res, got = p.get(o.url + "/x")
	wantAnswer(t, res, got, 200, body(6000), "HIT")
}

// What the origin gives only to those who prove themselves cannot be asked for
// behind a client's back: the next client asks with its own credentials.
func TestBackgroundHasNoCredentials(t *testing.T) {
	o := newStore(t, body(5000))
	o.set("Cache-Control", "public, max-age=60, stale-while-revalidate=86400")
	p, _ := stale(t, o)
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Etag", `"v2"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body(6000)))
	})
	res, got := p.get(o.url+"/x", "Authorization: Basic eDp5")
	wantAnswer(t, res, got, 200, o.body, "UPDATING")
	p.work.Wait()
	res, got = p.get(o.url+"/x", "Authorization: Basic eDp5")
	wantAnswer(t, res, got, 200, body(6000), "EXPIRED")
}

// The one who asks goes away: another one asks.
func TestQuestionOfAClientThatLeaves(t *testing.T) {
	o := newStore(t, body(5000))
	p, _ := stale(t, o)
	var asked atomic.Int32
	first := make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			close(first)
			<-r.Context().Done()
			return
		}
		w.WriteHeader(304)
	})
	leaver := p.dial()
	leaver.send("GET %s/x HTTP/1.1\r\nHost: x\r\n\r\n", o.url)
	<-first
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if res, got := p.get(o.url + "/x"); res.StatusCode != 200 || got != o.body {
				t.Errorf("got %s", res.Status)
			}
		})
	}
	eventually(t, "they wait", func() bool { return waiting() == 6 })
	leaver.Close()
	wg.Wait()
	if asked.Load() != 2 {
		t.Errorf("the origin was asked %d times, want once more", asked.Load())
	}
}

// The one who asks brings the failure about: another one asks.
func TestFailureOfOneRequest(t *testing.T) {
	o := newStore(t, body(5000))
	p, _ := stale(t, o)
	arrived := make(chan struct{})
	first := sync.OnceFunc(func() { close(arrived) }) // the client of the origin may try again
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Breaks") == "" {
			w.WriteHeader(304)
			return
		}
		first()
		eventually(t, "they wait", func() bool { return waiting() == 6 })
		panic(http.ErrAbortHandler)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if res, _ := p.get(o.url+"/x", "X-Breaks: 1"); res.StatusCode != 502 {
			t.Errorf("who breaks it got %s", res.Status)
		}
	})
	<-arrived
	for range 5 {
		wg.Go(func() {
			if res, got := p.get(o.url + "/x"); res.StatusCode != 200 || got != o.body {
				t.Errorf("got %s", res.Status)
			}
		})
	}
	wg.Wait()
}

// Who waits for another's question hears of the origin's trouble, too; and has waited
// for an answer only where one came.
func TestTroubleOfAnothersQuestion(t *testing.T) {
	for _, c := range []struct {
		name, status, proxy string
		answer              http.HandlerFunc
	}{
		{"an error", ";fwd=stale;fwd-status=503;collapsed;detail=stale-if-error", ";received-status=503",
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		{"no answer", ";hit;ttl=-", ";error=connection_terminated",
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newStore(t, body(5000))
			o.set("Cache-Control", "max-age=60, stale-if-error=86400")
			p, _ := stale(t, o)
			arrived, _ := slow(t, o, 2, c.answer)
			var wg sync.WaitGroup
			one := func() {
				res, got := p.get(o.url + "/x")
				if res.StatusCode != 200 || got != o.body || !strings.Contains(res.Header.Get("Proxy-Status"), c.proxy) {
					t.Errorf("%s, %q", res.Status, res.Header["Proxy-Status"])
				}
				// The one who asked has not waited for another's answer.
				status := res.Header.Get("Cache-Status")
				if !strings.Contains(status, c.status) && !strings.Contains(status, strings.ReplaceAll(c.status, ";collapsed", "")) {
					t.Error(status)
				}
				if strings.Contains(status, "hit") && strings.Contains(status, "collapsed") {
					t.Error("neither sent on nor served:", status)
				}
			}
			wg.Go(one)
			<-arrived
			wg.Go(one)
			wg.Wait()
		})
	}
}

// Every kind of failure means something to policy, by nginx's words.
func TestFailureOfKinds(t *testing.T) {
	want := map[origin.Kind]policy.Failures{
		origin.KindDenied: 0, origin.KindLoop: 0, origin.KindScheme: 0, origin.KindCanceled: 0,
		origin.KindDNSTimeout: policy.TimedOut, origin.KindDialTimeout: policy.TimedOut,
		origin.KindHeaderTimeout: policy.TimedOut, origin.KindStalled: policy.TimedOut,
		origin.KindProtocol: policy.InvalidAnswer, origin.KindHeaderSize: policy.InvalidAnswer, origin.KindCoding: policy.InvalidAnswer,
		origin.KindDNS: policy.Unreachable, origin.KindRefused: policy.Unreachable, origin.KindUnroutable: policy.Unreachable,
		origin.KindUnavailable: policy.Unreachable, origin.KindTerminated: policy.Unreachable, origin.KindIncomplete: policy.Unreachable,
		origin.KindTLS: policy.Unreachable, origin.KindCertificate: policy.Unreachable, origin.KindAlert: policy.Unreachable,
	}
	for kind := range answers {
		if _, told := want[kind]; !told {
			t.Errorf("no row says what %s means", kind)
		}
	}
	for kind, failure := range want {
		if got := failureOf(&origin.Error{Kind: kind}); got != failure {
			t.Errorf("%s: %v, want %v", kind, got, failure)
		}
		status, _, _, _ := explain(&origin.Error{Kind: kind})
		if failure == policy.TimedOut && status != 504 || failure == policy.Unreachable && status/100 != 5 {
			t.Errorf("%s is answered %d", kind, status)
		}
	}
}

// What a request's own cookie keeps from being stored says nothing of the next.
func TestHitForMiss(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{})
	n.get(o.url+"/a.iso", "Cookie: a=b")
	c.wantCalls("local") // by guess no claim for credentials
	n.get(o.url+"/a.iso", "Cache-Control: no-store")
	c.wantCalls("local; lookup")
	n.get(o.url + "/a.iso")
	c.wantCalls("local; claim; fill 5000 body ranges=true")
	o.set("Cache-Control", "private")
	for _, calls := range []string{"local; claim", "local"} { // then it is known
		n.get(o.url + "/b.iso")
		c.wantCalls(calls)
	}
}

func TestMinUses(t *testing.T) {
	c, o := newFake(t), newStore(t, body(5000))
	n := startCached(t, c, Config{}, policy.Rule{Path: "/**", CacheMinUses: 3})
	for i, detail := range []string{"cache_min_uses", "cache_min_uses", ""} {
		res, got := n.get(o.url + "/x")
		if detail == "" {
			wantAnswer(t, res, got, 200, o.body, "MISS", "stored")
		} else {
			wantAnswer(t, res, got, 200, o.body, "MISS", "detail="+detail)
		}
		if len(o.took()) != 1 {
			t.Errorf("request %d", i)
		}
	}
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "HIT")
}

// What other nodes were asked for counts too.
func TestMinUsesOfTheCluster(t *testing.T) {
	for elsewhere, want := range map[int]string{-1: "detail=cache_min_uses", 0: "detail=cache_min_uses", 1: "detail=cache_min_uses", 2: "stored"} {
		c, o := newFake(t), newStore(t, body(5000))
		c.elsewhere = elsewhere
		n := startCached(t, c, Config{}, policy.Rule{Path: "/**", CacheMinUses: 3})
		res, got := n.get(o.url + "/x")
		wantAnswer(t, res, got, 200, o.body, "MISS", want)
	}
	// What is small is for this node alone, and nobody is asked about it.
	c, o := newFake(t), newStore(t, body(500))
	n := startCached(t, c, Config{}, policy.Rule{Path: "/**", CacheMinUses: 3})
	n.get(o.url + "/x")
	if c.elsewhere != 0 {
		t.Error("it was counted")
	}
}

// RFC 8246: over TLS an immutable response is not asked about, whoever reloads.
func TestImmutableOverTLS(t *testing.T) {
	var asked atomic.Int32
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=60, immutable")
		w.Header().Set("Etag", etag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body(5000)))
	}))
	defer secure.Close()
	rules := &policy.Rules{Default: policy.Defaults{Threshold: 1000}, Rules: []policy.Rule{{Path: "/**", Upgrade: "https"}}}
	n := start(t, Config{Rules: func() *policy.Rules { return rules }}, origin.Config{
		TLS: &tls.Config{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
	})
	n.cache = newFake(t)
	at := strings.Replace(secure.URL, "https:", "http:", 1)
	for i, word := range []string{"MISS", "HIT"} {
		res, got := n.get(at+"/x", "Cache-Control: max-age=0")
		wantAnswer(t, res, got, 200, body(5000), word)
		if asked.Load() != 1 {
			t.Errorf("request %d: the origin was asked %d times", i+1, asked.Load())
		}
	}
	res, got := n.get(at+"/x", "Cache-Control: no-cache")
	wantAnswer(t, res, got, 200, body(5000), "REVALIDATED", "fwd=request")
}

// What the directory heard before a HEAD does not make fresh again what the HEAD
// outdated (RFC 9111 §4.3.5).
func TestOutdatedByHeadForAll(t *testing.T) {
	s := newStage(t)
	url := s.url + "/x"
	cast := s.cast(setting{nodes: 2}, policy.Rule{})
	want := func(n *node, method, want string) {
		t.Helper()
		res, got := n.do(request(t, method, url))
		n.quiet(url, got != "")
		if got += " " + res.Header.Get("X-Cache-Status"); got != want {
			t.Errorf("%s: got %q, want %q", method, got, want)
		}
	}
	want(cast[0], "GET", "one MISS")
	s.clock.pass(61 * second)
	want(cast[1], "GET", "one REVALIDATED")
	s.clock.pass(5 * second)
	s.changes([]change{becomes("three", `"2"`)})
	want(cast[0], "HEAD", " EXPIRED")
	want(cast[0], "GET", "three EXPIRED")
	want(cast[0], "GET", "three HIT")
}

// What the origin was asked before a change is for the client that asked, and is
// not stored after it (RFC 9111 §4.4).
func TestChangedBeforeTheHead(t *testing.T) {
	changes := map[string]func(n *node, url string){
		"PUT": func(n *node, url string) { n.do(request(t, "PUT", url)) },
		"purge": func(n *node, url string) {
			if _, err := n.cfg.Cache.Purge(t.Context(), keyOf(url)); err != nil {
				t.Error(err)
			}
		},
	}
	answers := map[string]func(body string) http.HandlerFunc{"known length": plain, "unknown length": chunked}
	for change, changed := range changes {
		for name, answer := range answers {
			t.Run(change+" "+name, func(t *testing.T) {
				s := newStage(t)
				asked, release := make(chan struct{}), make(chan struct{})
				var gets atomic.Int32
				url := serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", "max-age=60")
					switch {
					case r.Method != http.MethodGet:
						w.WriteHeader(http.StatusNoContent)
					case gets.Add(1) == 1:
						close(asked)
						<-release
						answer("one")(w, r)
					default:
						answer("two")(w, r)
					}
				}) + "/x"
				n := s.cast(setting{nodes: 1}, policy.Rule{})[0]
				var wg sync.WaitGroup
				wg.Go(func() {
					res, got := n.get(url)
					wantAnswer(t, res, got, 200, "one", "MISS", "detail=changed")
				})
				<-asked
				changed(n, url)
				n.work.Wait() // what nobody waits for is done, so that nothing comes to help
				close(release)
				wg.Wait()
				for _, word := range []string{"MISS", "HIT"} {
					n.quiet(url, word == "HIT")
					res, got := n.get(url)
					wantAnswer(t, res, got, 200, "two", word)
				}
			})
		}
	}
}

// A change in the very moment in which an answer begins to be stored is not missed.
func TestChangedAtTheHead(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"known length": plain(body(5000)), "unknown length": chunked(body(5000))} {
		t.Run(name, func(t *testing.T) {
			c, o := newFake(t), newStore(t, "")
			n := startCached(t, c, Config{})
			o.answers(answer)
			c.begins = sync.OnceFunc(func() {
				n.do(request(t, "PUT", o.url+"/x"))
				n.work.Wait()
			})
			for _, word := range []string{"MISS", "MISS", "HIT"} {
				res, got := n.get(o.url + "/x")
				wantAnswer(t, res, got, 200, body(5000), word)
				n.work.Wait()
			}
		})
	}
}

// What the origin confirmed before a change does not stand after it.
func TestChangedBeforeItIsConfirmed(t *testing.T) {
	o := newStore(t, body(5000))
	n, c := stale(t, o)
	asked, release := make(chan struct{}), make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			return
		}
		close(asked)
		<-release
		w.WriteHeader(http.StatusNotModified)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		res, got := n.get(o.url + "/x")
		wantAnswer(t, res, got, 200, o.body, "REVALIDATED")
	})
	<-asked
	n.do(request(t, "PUT", o.url+"/x"))
	close(release)
	wg.Wait()
	c.wantCalls("local; local; withdraw") // and no refresh
}

// A body of unknown length that was on its way when its resource changed is not
// what is stored of it (RFC 9111 §4.4).
func TestChangedWhileSpooled(t *testing.T) {
	s := newStage(t)
	arrived, put := make(chan struct{}), make(chan struct{})
	var gets atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		body, first := "two", gets.Add(1) == 1
		if first {
			body = "one"
		}
		w.Header().Set("Etag", `"`+body+`"`)
		io.WriteString(w, body[:1])
		http.NewResponseController(w).Flush()
		if first {
			close(arrived)
			<-put
		}
		io.WriteString(w, body[1:])
	}) + "/x"
	n := s.cast(setting{nodes: 1}, policy.Rule{})[0]
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, got := n.get(url); got != "one" {
			t.Errorf("got %q", got)
		}
	})
	<-arrived
	n.do(request(t, "PUT", url))
	n.work.Wait() // withdrawn
	close(put)
	wg.Wait()
	for _, word := range []string{"MISS", "HIT"} {
		n.quiet(url, true)
		res, got := n.get(url)
		wantAnswer(t, res, got, 200, "two", word)
	}
}
