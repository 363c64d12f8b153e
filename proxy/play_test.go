package proxy

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shatabdi/policy"
	"shatabdi/proxy/origin"
	"shatabdi/proxy/small"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/cachetest"
)

// A play is requests through running proxies with real caches, against a real
// origin, one after the other. Bodies of every size take the swarm's route; the
// time is the play's. The plays are in rfc_test.go and nginx_test.go.
type play struct {
	name  string
	rule  policy.Rule // beside the play's own
	first []change    // how the origin begins: it says max-age=60 and ETag "1", and sends "one"
	acts  []act       // each asks for /x, unless it says otherwise
	alone bool        // means nothing where the next request goes to another node
	swarm bool        // means nothing where everything is small
}

// act is what happens before a request, the request, and what comes of it.
type act struct {
	after time.Duration // that passes before
	at    []change      // what the origin does from now on
	ask   string        // method and path, "GET /x" if empty, and fields, a line each
	want  string        // status, body and nginx's word, such as "200 one HIT"
	says  string        // parameters of Cache-Status, and fields of the answer; separated by "; "
	saw   string        // what the origin was asked by: methods, and the names of conditions
}

type change func(*stage)

func says(name, value string) change { return func(s *stage) { s.header.Set(name, value) } }
func silent(name string) change      { return func(s *stage) { s.header.Del(name) } }
func becomes(body, tag string) change {
	return func(s *stage) { s.body = body; s.header.Set("Etag", tag) }
}
func fails(status int) change { return func(s *stage) { s.status = status } }

// away: it closes connections without a word.
var away = fails(-1)

// stage is the origin.
type stage struct {
	t     *testing.T
	url   string
	clock *clock

	mu     sync.Mutex // guards the fields below
	body   string
	header http.Header
	status int // of every answer; 0: by the request
	saw    []string
}

// clock is what the proxies go by.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, clock: &clock{now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}, body: "one", header: http.Header{
		"Cache-Control": {"max-age=60"}, "Etag": {`"1"`}, "Content-Type": {"text/plain"},
	}}
	s.url = serve(t, s.answer)
	return s
}

func (s *stage) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	body, status := s.body, s.status
	for name, lines := range s.header {
		w.Header()[name] = append([]string(nil), lines...)
	}
	if r.Header.Get("If-Range") == "" && status >= 0 { // not the fetching of spans
		s.saw = append(s.saw, sawOf(r))
	}
	s.mu.Unlock()
	if w.Header().Get("Date") == "" {
		w.Header().Set("Date", s.clock.Now().UTC().Format(http.TimeFormat))
	}
	if location := w.Header().Get("Location"); strings.HasPrefix(location, "/") {
		w.Header().Set("Location", s.url+location)
	}
	switch {
	case status < 0:
		panic(http.ErrAbortHandler)
	case status > 0:
		w.WriteHeader(status)
		io.WriteString(w, "error")
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		body = strings.ReplaceAll(body, "$language", r.Header.Get("Accept-Language"))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func sawOf(r *http.Request) string {
	saw := r.Method
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "Range", "Cookie", "Authorization"} {
		if r.Header.Get(name) != "" {
			saw += " " + name
		}
	}
	return saw
}

func (s *stage) took() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	saw := strings.Join(s.saw, ", ")
	s.saw = nil
	return saw
}

func (s *stage) changes(at []change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range at {
		c(s)
	}
}

// A setting is what the proxies of a play are like.
type setting struct {
	name  string
	nodes int  // on one directory; each request goes to the next
	small bool // keeps in memory what is below the threshold, and that is everything
}

var allSmall = setting{"small", 1, true}

// cast runs the nodes.
func (s *stage) cast(as setting, rule policy.Rule) (nodes []*node) {
	directory, swarm, yes := cachetest.NewDirectory(), &barter{}, true
	rules := &policy.Rules{
		Default: policy.Defaults{Threshold: 1},
		Rules:   []policy.Rule{rule, {Path: "/**", ExpectLarge: &yes}},
	}
	if as.small {
		rules.Default.Threshold = policy.MiB
		rules.Rules = rules.Rules[:1]
	}
	for i := range as.nodes {
		self := swarmcache.Node{ID: swarmcache.NodeID(fmt.Sprintf("node-%d", i+1))}
		var memory *small.Cache
		if as.small {
			memory = small.New(small.Config{Size: 8 << 20})
		}
		c, err := swarmcache.Open(swarmcache.Config{
			Dir: s.t.TempDir(), Index: cachetest.NewIndex(), Directory: directory.Node(self), Node: self, Swarm: swarm.node(),
			Purged: memory.Forget, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { c.Close() })
		cfg := Config{Cache: c, Small: memory, Now: s.clock.Now, Rules: func() *policy.Rules { return rules }}
		nodes = append(nodes, start(s.t, cfg, origin.Config{}))
	}
	return nodes
}

// quiet waits until what a request began is done: what it wanted is whole, and
// the directory knows.
func (n *node) quiet(url string, wanted bool) {
	n.t.Helper()
	eventually(n.t, "nothing is going on", func() bool {
		n.questions.mu.Lock()
		defer n.questions.mu.Unlock()
		return len(n.questions.now) == 0 && n.metric("shatabdi_requests_in_flight") == 0
	})
	n.work.Wait()
	if !wanted {
		return
	}
	eventually(n.t, "the object is whole and published, with all its variants", func() bool {
		records, err := n.cfg.Cache.List("", 100)
		listed := false
		for _, rec := range records {
			if rec.Version.Key.Base() == keyOf(url) {
				if listed = true; !rec.Complete || rec.Untold {
					return false
				}
			}
		}
		if here, missing := n.cfg.Cache.Local(keyOf(url), nil); !listed && missing == nil {
			here.Close()
			return false // whole, and about to be recorded
		}
		return err == nil && (listed || !slices.ContainsFunc(n.cfg.Cache.Coming(), func(o swarmcache.Coming) bool { return o.Version.Key.Base() == keyOf(url) }))
	})
}

func (p play) run(t *testing.T, as setting) {
	s := newStage(t)
	s.changes(p.first)
	cast := s.cast(as, p.rule)
	for i, a := range p.acts {
		n := cast[i%len(cast)]
		s.clock.pass(a.after)
		s.changes(a.at)
		lines := strings.Split(a.ask, "\n")
		method, path, _ := strings.Cut(lines[0], " ")
		if lines[0] == "" {
			method, path = "GET", "/x"
		}
		req := request(t, method, s.url+path, lines[1:]...)
		res, body := n.do(req)
		n.quiet(s.url+path, res.StatusCode/100 == 2 && body != "")
		got := strings.Join(strings.Fields(fmt.Sprint(res.StatusCode, " ", body, " ", res.Header.Get("X-Cache-Status"))), " ")
		if res.Header.Get("Content-Type") == "text/plain; charset=utf-8" { // our own
			got = fmt.Sprint(res.StatusCode)
		}
		if got != a.want {
			t.Errorf("act %d: got %q, want %q; %v", i+1, got, a.want, res.Header)
		}
		said := strings.Join(res.Header["Cache-Status"], ", ") + ";"
		for want := range strings.SplitSeq(a.says, "; ") {
			name, value, field := strings.Cut(want, ": ")
			switch {
			case want == "":
			case field && res.Header.Get(name) != value:
				t.Errorf("act %d: %s is %q, want %q", i+1, name, res.Header.Get(name), value)
			case !field && !strings.Contains(strings.ReplaceAll(said, "; ", ";"), ";"+want+";"):
				t.Errorf("act %d: Cache-Status %q lacks %s", i+1, said, want)
			}
		}
		if saw := s.took(); saw != a.saw {
			t.Errorf("act %d: the origin saw %q, want %q", i+1, saw, a.saw)
		}
	}
}

// perform runs plays where everything goes through the swarm, on one node and so
// that each request goes to another one, and where everything is small.
func perform(t *testing.T, plays []play) {
	for _, p := range plays {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, as := range []setting{{"one node", 1, false}, {"three nodes", 3, false}, allSmall} {
				if (as.nodes == 1 || !p.alone) && !(as.small && p.swarm) {
					t.Run(as.name, func(t *testing.T) { p.run(t, as) })
				}
			}
		})
	}
}

// Whatever the origin says short of permission, and however many come at once,
// nobody gets what was made for somebody else.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	for _, directives := range []string{"", "private", "no-store", "no-cache", "max-age=60", "max-age=0", "max-age=60, stale-while-revalidate=60", "private, stale-if-error=60"} {
		for _, field := range []string{"Authorization", "Cookie"} {
			for _, as := range []setting{{"swarm", 2, false}, allSmall} {
				t.Run(field+" "+directives+" "+as.name, func(t *testing.T) {
					t.Parallel()
					s := newStage(t)
					url := serve(t, func(w http.ResponseWriter, r *http.Request) {
						if directives != "" {
							w.Header().Set("Cache-Control", directives)
						}
						w.Header().Set("Etag", `"`+r.Header.Get(field)+`"`)
						http.ServeContent(w, r, "", time.Time{}, strings.NewReader("for "+r.Header.Get(field)))
					})
					cast := s.cast(as, policy.Rule{Path: "/none", Route: policy.Pass})
					var wg sync.WaitGroup
					for i := range 6 {
						wg.Go(func() {
							for range 4 {
								who := fmt.Sprint("user-", i)
								n := cast[i%len(cast)]
								res, err := n.client().Do(request(t, "GET", url+"/x", field+": "+who))
								if err != nil {
									t.Error(err)
									return
								}
								got, _ := io.ReadAll(res.Body)
								res.Body.Close()
								if string(got) != "for "+who {
									t.Errorf("%s got %q (%s)", who, got, res.Header.Get("Cache-Status"))
								}
							}
						})
					}
					wg.Wait()
					for _, n := range cast {
						if _, got := n.get(url + "/x"); got != "for " {
							t.Errorf("an anonymous client got %q", got)
						}
						n.quiet(url+"/x", true) // barter knows no fills
					}
				})
			}
		}
	}
}
