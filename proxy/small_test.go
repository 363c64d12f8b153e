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
	"shatabdi/proxy/small"
)

// performSmall runs plays where everything is small. Those of rfc_test.go and
// nginx_test.go run there too.
func performSmall(t *testing.T, plays []play) {
	for _, p := range plays {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.run(t, allSmall)
		})
	}
}

// RFC 9111 §3, §4.2.2 and RFC 9110 §15.1: statuses.
func TestSmallStatuses(t *testing.T) {
	var plays []play
	body := func(status int) string {
		if status == 204 {
			return fmt.Sprint(status)
		}
		return fmt.Sprint(status, " error")
	}
	stored := func(why string, status int, rule policy.Rule, first ...change) {
		plays = append(plays, play{name: fmt.Sprint(status, " ", why), rule: rule, first: slices.Concat(first, []change{fails(status)}), acts: []act{
			{want: body(status) + " MISS", says: fmt.Sprintf("fwd=uri-miss; fwd-status=%d; stored", status), saw: "GET"},
			{after: 9 * second, want: body(status) + " HIT", says: "hit; Age: 9"},
			{ask: "HEAD /x", want: fmt.Sprint(status, " HIT")},
			{ask: "GET /x\nRange: bytes=0-0", want: body(status) + " HIT"},
			{ask: "GET /x\nCache-Control: only-if-cached", want: body(status) + " HIT"},
		}})
	}
	never := func(why, detail string, status int, rule policy.Rule, first ...change) {
		again := act{want: body(status) + " MISS", says: "detail=" + detail, saw: "GET"}
		plays = append(plays, play{name: fmt.Sprint(status, " ", why), rule: rule, first: slices.Concat(first, []change{fails(status)}), acts: []act{again, again}})
	}
	none := policy.Rule{}
	bare := []change{silent("Cache-Control"), silent("Etag")}
	old := slices.Concat(bare, []change{says("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")})
	for _, status := range []int{203, 204, 300, 301, 302, 307, 308, 400, 403, 404, 405, 410, 414, 451, 500, 501, 503} {
		stored("with a lifetime", status, none)
	}
	for _, status := range []int{203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		stored("by guess", status, none, old...)
		never("without a word", "not-reusable", status, none, bare...)
	}
	for _, status := range []int{302, 307, 400, 403, 500, 503} {
		never("is not guessed", "status", status, none, old...)
	}
	for _, status := range []int{401, 407, 408, 416, 421, 425, 429, 431, 511} {
		never("is for one client", "status", status, none)
	}
	for _, status := range []int{200, 203, 301, 404, 410} {
		never("no-store", "no-store", status, none, says("Cache-Control", "no-store"))
		never("private", "private", status, none, says("Cache-Control", "private, max-age=60"))
	}
	stored("by cache_valid", 404, policy.Rule{CacheValid: texts[policy.Validity](t, "404 10s")}, bare...)
	stored("by cache_valid", 302, policy.Rule{CacheValid: texts[policy.Validity](t, "10s")}, bare...)
	stored("by cache_valid", 500, policy.Rule{CacheValid: texts[policy.Validity](t, "404 1s", "any 10s")}, bare...)
	stored("by cache_valid on a content type", 404, policy.Rule{ContentType: "text/*", CacheValid: texts[policy.Validity](t, "any 10s")}, bare...)
	never("by a cache_valid of 0", "cache_valid", 404, policy.Rule{CacheValid: texts[policy.Validity](t, "404 0", "any 10s")}, bare...)
	never("by cache_valid for others", "not-reusable", 404, policy.Rule{CacheValid: texts[policy.Validity](t, "200 10s")}, bare...)
	performSmall(t, plays)
}

func TestSmallObjects(t *testing.T) {
	cached := act{want: "200 one MISS", saw: "GET"}
	german, french := "GET /x\nAccept-Language: de", "GET /x\nAccept-Language: fr"
	languages := []change{says("Vary", "Accept-Language"), becomes("in $language", `"1"`)}
	performSmall(t, []play{
		{name: "negative caching ends", first: []change{fails(404), says("Cache-Control", "max-age=10")}, acts: []act{
			{want: "404 error MISS", saw: "GET"},
			{after: 9 * second, at: []change{fails(0)}, want: "404 error HIT", says: "ttl=1"},
			{after: second, want: "200 one EXPIRED", says: "fwd=stale; fwd-status=200; stored", saw: "GET"},
			{want: "200 one HIT"},
		}},
		{name: "§4.1: variants stand side by side", first: languages, acts: []act{
			{ask: german, want: "200 in de MISS", says: "fwd=uri-miss; stored", saw: "GET"},
			{ask: french, want: "200 in fr MISS", says: "fwd=vary-miss; stored", saw: "GET"},
			{want: "200 in MISS", says: "fwd=vary-miss; stored", saw: "GET"},
			{ask: german, want: "200 in de HIT"},
			{ask: french, want: "200 in fr HIT"},
			{ask: "GET /x\nAccept-Language: FR;q=1", want: "200 in fr HIT"},
			{want: "200 in HIT"},
			{after: 30 * second, ask: german + "\nCache-Control: no-cache", want: "200 in de REVALIDATED", saw: "GET If-None-Match"},
			{after: 30 * second, ask: german, want: "200 in de HIT", says: "ttl=30"},
			{ask: french, want: "200 in fr REVALIDATED", says: "fwd=stale", saw: "GET If-None-Match"},
			{ask: "DELETE /x", want: "204 BYPASS", saw: "DELETE"},
			{ask: german, want: "200 in de MISS", says: "fwd=uri-miss", saw: "GET"},
		}},
		{name: "§4.1: one variant's end is its own", first: languages, acts: []act{
			{ask: german, want: "200 in de MISS", saw: "GET"},
			{ask: french, want: "200 in fr MISS", saw: "GET"},
			{at: []change{says("Cache-Control", "no-store"), becomes("in $language", `"2"`)}, ask: german + "\nCache-Control: no-cache", want: "200 in de EXPIRED", saw: "GET If-None-Match"},
			{ask: french, want: "200 in fr HIT"},
			{ask: german, want: "200 in de MISS", says: "fwd=vary-miss; detail=no-store", saw: "GET"},
		}},
		{name: "§4.1: only-if-cached of another variant", first: languages, acts: []act{
			{ask: german, want: "200 in de MISS", saw: "GET"},
			{ask: french + "\nCache-Control: only-if-cached", want: "504"},
		}},
		{name: "§3.3: of a part the whole is asked for when it is known to be small", first: []change{func(s *stage) { s.body = "0123456789" }}, acts: []act{
			{ask: "GET /x\nRange: bytes=1-2", want: "206 12 MISS", says: "detail=partial; fwd-status=206", saw: "GET Range"},
			{ask: "GET /x\nRange: bytes=3-4", want: "206 34 MISS", says: "stored; fwd-status=200; Content-Range: bytes 3-4/10", saw: "GET"},
			{ask: "GET /x\nRange: bytes=5-6", want: "206 56 HIT"},
			{ask: "GET /x\nRange: bytes=20-", want: "416", says: "Content-Range: bytes */10"},
			{want: "200 0123456789 HIT"},
		}},
		{name: "§3.4: a part that is the whole", acts: []act{
			{ask: "GET /x\nRange: bytes=0-", want: "206 one MISS", says: "stored; fwd-status=206; Content-Range: bytes 0-2/3", saw: "GET Range"},
			{want: "200 one HIT", says: "Content-Range: "},
		}},
		{name: "an empty body", first: []change{func(s *stage) { s.body = "" }}, acts: []act{
			{want: "200 MISS", says: "stored; Content-Length: 0", saw: "GET"},
			{want: "200 HIT", says: "hit; Content-Length: 0"},
		}},
		{name: "a coded body keeps its length", first: []change{says("Content-Encoding", "br")}, acts: []act{
			{want: "200 one MISS", saw: "GET"},
			{want: "200 one HIT", says: "Content-Encoding: br; Content-Length: 3"},
		}},
		{name: "what was stored is gone, and its key may be stored again", acts: []act{
			cached,
			{after: minute, at: []change{says("Cache-Control", "private")}, want: "200 one REVALIDATED", saw: "GET If-None-Match"},
			{want: "200 one MISS", says: "detail=private", saw: "GET"},
			{at: []change{says("Cache-Control", "max-age=60")}, want: "200 one MISS", says: "stored", saw: "GET"},
			{want: "200 one HIT"},
		}},
		{name: "a redirect is another key's matter", first: []change{fails(301), says("Location", "/y")}, acts: []act{
			{want: "301 error MISS", saw: "GET"},
			{want: "301 error HIT"},
			{at: []change{fails(0)}, ask: "GET /y", want: "200 one MISS", saw: "GET"},
		}},
		{name: "§4.2.4: a stale error is served as it was stored", first: []change{fails(404), says("Cache-Control", "max-age=10, stale-if-error=60")}, acts: []act{
			{want: "404 error MISS", saw: "GET"},
			{after: 20 * second, at: []change{away}, want: "404 error STALE", says: "hit; ttl=-10; Age: 20"},
		}},
	})
}

// startSmall runs a proxy with a threshold of 1000 bytes, and a fake for what is
// larger.
func startSmall(t *testing.T, cfg Config, rules ...policy.Rule) (*node, *fakeCache) {
	t.Helper()
	c := newFake(t)
	cfg.Small = small.New(small.Config{Size: 1 << 20})
	n := startCached(t, c, cfg, rules...)
	n.patience = time.Hour
	return n, c
}

// chunked answers without a length.
func chunked(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		half := len(body) / 2
		io.WriteString(w, body[:half])
		http.NewResponseController(w).Flush()
		io.WriteString(w, body[half:])
	}
}

func plain(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		io.WriteString(w, body)
	}
}

func TestSmallOfUnknownLength(t *testing.T) {
	n, c := startSmall(t, Config{})
	o := newStore(t, "")
	o.answers(chunked(body(900)))
	for _, word := range []string{"MISS", "HIT"} {
		res, got := n.get(o.url + "/x")
		wantAnswer(t, res, got, 200, body(900), word)
	}
	if len(o.took()) != 1 {
		t.Error("not one GET")
	}
	c.wantCalls("local; local; spool; abort")
	o.answers(chunked(body(5000)))
	res, got := n.get(o.url + "/grows")
	wantAnswer(t, res, got, 200, body(5000), "MISS")
	n.work.Wait()
	c.wantCalls("local; local; spool; commit 5000 at least 1000")
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		chunked(body(600_000))(w, r)
	})
	for range 2 { // too large for memory, and no object for the swarm
		res, got = n.get(o.url + "/error")
		wantAnswer(t, res, got, 404, body(600_000), "MISS")
	}
	if reserved := n.small.Coming(); reserved != 0 {
		t.Errorf("%d bytes stay reserved", reserved)
	}
}

// A body that ends early is no object, and looks to the client like what it is.
func TestSmallCutShort(t *testing.T) {
	for name, head := range map[string]string{
		"length":  "Content-Length: 10\r\n\r\nhalf",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"close":   "\r\nhalf", // which cannot be told from a whole one
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := startSmall(t, Config{})
			addr := raw(t, answer("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n"+head))
			for range 2 {
				res, err := n.client().Do(request(t, "GET", "http://"+addr+"/x"))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if string(b) != "half" || (err == nil) != (name == "close") || res.Header.Get("X-Cache-Status") != "MISS" {
					t.Errorf("got %q, %v, %s", b, err, res.Header.Get("Cache-Status"))
				}
				n.work.Wait()
			}
			if _, ok := n.small.Find(keyOf("http://"+addr+"/x"), nil, &policy.Caching{}); ok || n.small.Coming() != 0 {
				t.Error("it was kept")
			}
		})
	}
}

// With a validator the rest comes from the origin, and the client sees one whole.
func TestSmallCutShortIsContinued(t *testing.T) {
	n, _ := startSmall(t, Config{})
	o := newStore(t, body(900))
	var asked atomic.Int32
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Content-Length", "900")
			io.WriteString(w, o.body[:400])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(o.body))
	})
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "MISS")
	if asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
	n.work.Wait()
	res, got = n.get(o.url + "/x") // the pieces were never put together here
	wantAnswer(t, res, got, 200, o.body, "MISS")
}

func TestSmallFillOutlivesTheClient(t *testing.T) {
	n, _ := startSmall(t, Config{})
	o := newStore(t, body(900))
	rest := make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "900")
		io.WriteString(w, o.body[:400])
		http.NewResponseController(w).Flush()
		<-rest
		io.WriteString(w, o.body[400:])
	})
	res, err := n.client().Do(request(t, "GET", o.url+"/x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 400)); err != nil {
		t.Error(err)
	}
	res.Body.Close()
	eventually(t, "the client is gone", func() bool { return n.metric("shatabdi_requests_in_flight") == 0 })
	close(rest)
	n.work.Wait()
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, o.body, "HIT")
}

// Concurrent misses of one key are one request to the origin.
func TestSmallMissesCollapse(t *testing.T) {
	const clients = 20
	for name, answer := range map[string]http.HandlerFunc{
		"known length":   plain(body(900)),
		"unknown length": chunked(body(900)),
		"not found": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			io.WriteString(w, body(900))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := startSmall(t, Config{})
			o := newStore(t, "")
			var asked atomic.Int32
			arrived := make(chan struct{})
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					close(arrived)
					eventually(t, "the others wait", func() bool { return waitingIn("proxy.(*firsts).take(") == clients-1 })
				}
				answer(w, r)
			})
			words := herd(t, n, clients, o.url+"/x", arrived)
			if asked.Load() != 1 {
				t.Errorf("the origin was asked %d times: %v", asked.Load(), words)
			}
			for w, k := range words {
				if !strings.Contains(w, " 900 ") {
					t.Errorf("%d got %q", k, w)
				}
			}
		})
	}
}

// What was not expected to be large: those who waited find its fill.
func TestSmallWaitersFindTheLarge(t *testing.T) {
	const clients = 10
	n, _ := startSmall(t, Config{})
	o := newStore(t, "")
	var asked atomic.Int32
	arrived := make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			close(arrived)
			eventually(t, "the others wait", func() bool { return waitingIn("proxy.(*firsts).take(") == clients-1 })
		}
		plain(body(5000))(w, r)
	})
	words := herd(t, n, clients, o.url+"/x", arrived)
	if asked.Load() != 1 {
		t.Errorf("the origin was asked %d times: %v", asked.Load(), words)
	}
}

// Variants collapse each for itself, once it is known what selects.
func TestSmallVariantsDoNotQueue(t *testing.T) {
	n, _ := startSmall(t, Config{})
	o := newStore(t, "")
	o.set("Vary", "Accept-Language")
	echo := func(w http.ResponseWriter, r *http.Request) { plain(r.Header.Get("Accept-Language"))(w, r) }
	o.answers(echo)
	n.get(o.url+"/x", "Accept-Language: en")
	n.work.Wait()
	o.took()
	var asked atomic.Int32
	together := make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 { // both are here: neither waited for the other
			eventually(t, "the twins wait", func() bool { return waitingIn("proxy.(*firsts).take(") == 2 })
			close(together)
		}
		<-together
		echo(w, r)
	})
	var wg sync.WaitGroup
	for _, language := range []string{"de", "fr", "de", "fr"} {
		wg.Go(func() {
			if _, got := n.get(o.url+"/x", "Accept-Language: "+language); got != language {
				t.Errorf("want %q, got %q", language, got)
			}
		})
	}
	wg.Wait()
	if got := asked.Load(); got != 2 {
		t.Errorf("the origin was asked %d times", got)
	}
}

// Hit-for-miss: of a key that proved uncacheable nobody waits for another, until
// it is cacheable again. A failing one too.
func TestSmallUncacheableDoesNotSerialise(t *testing.T) {
	const clients = 10
	for name, answer := range map[string]http.HandlerFunc{
		"no-store": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			plain("x")(w, r)
		},
		"error": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Del("Cache-Control")
			w.WriteHeader(500)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := startSmall(t, Config{})
			o := newStore(t, "")
			var here, asked atomic.Int32
			arrived, all := make(chan struct{}), make(chan struct{})
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					close(arrived)
					eventually(t, "the others wait", func() bool { return waitingIn("proxy.(*firsts).take(") == clients-1 })
				} else if here.Add(1) == clients-1 { // at the same time
					close(all)
				} else {
					<-all
				}
				answer(w, r)
			})
			herd(t, n, clients, o.url+"/x", arrived)
			if asked.Load() != clients {
				t.Errorf("asked %d times", asked.Load())
			}
			o.answers(plain("y"))
			for _, word := range []string{"MISS", "HIT"} {
				res, got := n.get(o.url + "/x")
				wantAnswer(t, res, got, 200, "y", word)
			}
		})
	}
}

// What is for one client alone neither waits nor is waited for.
func TestSmallCredentialsDoNotQueue(t *testing.T) {
	n, _ := startSmall(t, Config{})
	o := newStore(t, "")
	first, release := make(chan struct{}), make(chan struct{})
	var asked atomic.Int32
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			close(first)
			<-release
		}
		plain("for "+r.Header.Get("Authorization")+r.Header.Get("Cookie"))(w, r)
	})
	var wg sync.WaitGroup
	wg.Go(func() { n.get(o.url + "/x") })
	<-first
	for _, field := range []string{"Authorization: a", "Cookie: b", "Cache-Control: no-store"} {
		res, got := n.get(o.url+"/x", field)
		name, value, _ := strings.Cut(field, ": ")
		if name == "Cache-Control" {
			value = ""
		}
		wantAnswer(t, res, got, 200, "for "+value, "MISS")
	}
	close(release)
	wg.Wait()
	n.work.Wait()
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, "for ", "HIT")
}

// A poll that is answered in an hour keeps nobody waiting for that long: whoever is
// out of patience asks by itself, and who waits for a body that drips too.
func TestSmallPatience(t *testing.T) {
	f := firsts{now: map[string]chan struct{}{}}
	release, ok := f.take(t.Context(), "x", time.Hour)
	if release == nil || !ok {
		t.Fatal("not the first")
	}
	if again, ok := f.take(t.Context(), "x", time.Nanosecond); again != nil || ok {
		t.Error("waits for ever")
	}
	done := make(chan bool)
	go func() {
		_, ok := f.take(t.Context(), "x", time.Hour)
		done <- ok
	}()
	eventually(t, "it waits", func() bool { return waitingIn("proxy.(*firsts).take(") == 1 })
	release()
	if !<-done {
		t.Error("was not woken")
	}
	if again, _ := f.take(t.Context(), "x", time.Hour); again == nil {
		t.Error("the claim stays")
	}
}

// What was asked before a change at the origin is not stored after it.
func TestSmallInvalidatedOnItsWay(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{"known length": plain("old"), "unknown length": chunked("old")} {
		for _, forget := range []string{"PUT", "purge"} {
			t.Run(name+" "+forget, func(t *testing.T) {
				n, c := startSmall(t, Config{})
				o := newStore(t, "")
				here, release := make(chan struct{}), make(chan struct{})
				o.answers(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == "PUT" {
						return
					}
					close(here)
					<-release
					answer(w, r)
				})
				var wg sync.WaitGroup
				wg.Go(func() {
					if _, got := n.get(o.url + "/x"); got != "old" {
						t.Errorf("got %q", got)
					}
				})
				<-here
				if forget == "PUT" {
					n.do(request(t, "PUT", o.url+"/x"))
				} else {
					c.Mark(keyOf(o.url + "/x")).Advance()
					n.small.Forget(keyOf(o.url + "/x"))
				}
				close(release)
				wg.Wait()
				o.answers(plain("new"))
				res, got := n.get(o.url + "/x")
				wantAnswer(t, res, got, 200, "new", "MISS")
			})
		}
	}
}

// An object that grows beyond the threshold, or shrinks below it, changes places.
func TestSmallBecomesLargeAndBack(t *testing.T) {
	n, c := startSmall(t, Config{})
	o := newStore(t, body(900))
	for _, step := range []struct {
		size  int
		calls string
	}{
		{900, "local; local"},
		{5000, "fill 5000 body ranges=true"},
		{800, "local; withdraw"},
		{6000, "fill 6000 body ranges=true"},
	} {
		o.becomes(body(step.size), fmt.Sprintf(`"%d"`, step.size))
		res, got := n.get(o.url+"/x", "Cache-Control: no-cache")
		if got != o.body {
			t.Errorf("%d: %s, %d bytes", step.size, res.Status, len(got))
		}
		n.work.Wait()
		c.wantCalls(step.calls)
		res, got = n.get(o.url + "/x")
		wantAnswer(t, res, got, 200, o.body, "HIT")
		c.took()
	}
}

// An origin that is out of order says nothing of what is stored: its error may be
// kept for as long as it allows, but not in the place of an object.
func TestErrorThatMayBeKeptReplacesNothing(t *testing.T) {
	for _, size := range []int{900, 5000} { // small, and for the swarm
		n, c := startSmall(t, Config{})
		var broken atomic.Bool
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if broken.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("ETag", `"1"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body(size)))
		})
		n.get(url + "/x")
		n.work.Wait()
		c.took()
		broken.Store(true)
		if res, _ := n.get(url+"/x", "Cache-Control: no-cache"); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%d bytes: %s", size, res.Status)
		}
		n.work.Wait()
		if calls := c.took(); strings.Contains(fmt.Sprint(calls), "withdraw") {
			t.Errorf("%d bytes: %v", size, calls)
		}
		res, got := n.get(url + "/x")
		wantAnswer(t, res, got, 200, body(size), "HIT")
	}
}

// A part is asked for as a part by who may not share the whole.
func TestRangeOfASmallObjectWithCredentials(t *testing.T) {
	n, _ := startSmall(t, Config{})
	o := newStore(t, body(900))
	n.get(o.url + "/x")
	n.work.Wait()
	res, got := n.get(o.url+"/x", "Range: bytes=10-19", "Authorization: Basic YTpi")
	if res.StatusCode != http.StatusPartialContent || got != o.body[10:20] {
		t.Errorf("%s, %d bytes", res.Status, len(got))
	}
}

func TestSmallModePass(t *testing.T) {
	var passing atomic.Bool
	n, _ := startSmall(t, Config{Mode: func() string {
		if passing.Load() {
			return "pass"
		}
		return "swarm"
	}})
	o := newStore(t, "one")
	n.get(o.url + "/x")
	n.work.Wait()
	o.becomes("two", `"2"`)
	passing.Store(true)
	if res, got := n.get(o.url + "/x"); got != "two" || res.Header.Get("Cache-Status") != "" {
		t.Errorf("%q, %s", got, res.Header.Get("Cache-Status"))
	}
	n.do(request(t, "PUT", o.url+"/x")) // is heard all the same
	passing.Store(false)
	res, got := n.get(o.url + "/x")
	wantAnswer(t, res, got, 200, "two", "MISS")
}

// Many clients of many changing objects never see a mixture, an old one after its
// invalidation, or another's.
func TestSmallUnderChange(t *testing.T) {
	n, _ := startSmall(t, Config{})
	var versions [4]atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		k := int(r.URL.Path[1] - '0')
		if r.Method == "PUT" {
			versions[k].Add(1)
			return
		}
		v := versions[k].Load()
		w.Header().Set("Cache-Control", "max-age=60")
		text := strings.Repeat(fmt.Sprintf("%d:%d;", k, v), 100)
		if v%2 == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		}
		io.WriteString(w, text)
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 40 {
				k := (i + j) % len(versions)
				if j%8 == 7 {
					res, err := n.client().Do(request(t, "PUT", fmt.Sprint(url, "/", k)))
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
				}
				res, err := n.client().Do(request(t, "GET", fmt.Sprint(url, "/", k)))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				one, _, _ := strings.Cut(string(b), ";")
				if err != nil || string(b) != strings.Repeat(one+";", 100) || !strings.HasPrefix(one, fmt.Sprint(k, ":")) {
					t.Errorf("got %q, %v", b, err)
				}
			}
		})
	}
	wg.Wait()
	n.work.Wait()
	for k := range versions { // all writers have been answered
		_, got := n.get(fmt.Sprint(url, "/", k))
		if want := fmt.Sprintf("%d:%d;", k, versions[k].Load()); !strings.HasPrefix(got, want) {
			t.Errorf("at the end %.10q, want %q", got, want)
		}
	}
	if n.small.Coming() != 0 {
		t.Error("bytes stay reserved")
	}
}
