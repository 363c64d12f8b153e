package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shatabdi/e2e/openapi"
	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
	"shatabdi/swarmcache/cachetest"
	"shatabdi/swarmcache/download"
	"shatabdi/swarmcache/events"
	"shatabdi/swarmcache/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a node whose cluster is made up and whose cache is real.
type node struct {
	t       *testing.T
	handler http.Handler
	doc     *openapi.Document
	cache   *swarmcache.Cache
	dir     *cachetest.Directories
	cluster *fakeCluster
	events  *events.Hub
	local   string // mode of its configuration
	limits  fakeLimits
	rules   policy.Rules

	explained api.Question
	reload    func() (api.Reloaded, error)

	downloads *download.Downloads
	files     string // where they may go
}

type fakeCluster struct {
	away   error // why it cannot be asked
	full   error // why it takes no job
	mode   string
	nodes  []swarmcache.Node
	leader swarmcache.NodeID
	health *swarmcache.Health
	kept   map[policy.Key]swarmcache.Kept
	drain  bool
	known  []swarmcache.Version // by the directory
	hot    []swarmcache.Hot
	jobs   []swarmcache.Job
	listed int // how often all of them were
	parts  []swarmcache.JobPart
}

var errRefused = errors.New("connection refused")

// asked is the error of all that asks the directory.
func (c *fakeCluster) asked() error {
	if c.away == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", swarmcache.ErrUnavailable, c.away)
}

func (c *fakeCluster) Published(_ context.Context, f func(swarmcache.Version)) error {
	for _, v := range c.known {
		f(v)
	}
	return c.asked()
}

func (c *fakeCluster) StartJob(_ context.Context, j swarmcache.Job) error {
	if c.away == nil && c.full == nil {
		c.jobs = append(c.jobs, j)
	}
	return cmp.Or(c.asked(), c.full)
}

func (c *fakeCluster) CancelJob(_ context.Context, id string) error {
	n := len(c.jobs)
	c.jobs = slices.DeleteFunc(c.jobs, func(j swarmcache.Job) bool { return j.ID == id })
	if len(c.jobs) == n {
		return cmp.Or(c.asked(), swarmcache.ErrNotFound)
	}
	return c.asked()
}

func (c *fakeCluster) Jobs(context.Context) ([]swarmcache.Job, error) {
	c.listed++
	return c.jobs, c.asked()
}

func (c *fakeCluster) Job(_ context.Context, id string) (j swarmcache.Job, err error) {
	i := slices.IndexFunc(c.jobs, func(j swarmcache.Job) bool { return j.ID == id })
	if c.away != nil || i < 0 {
		return j, cmp.Or(c.asked(), swarmcache.ErrNotFound)
	}
	return c.jobs[i], nil
}

func (c *fakeCluster) Parts(context.Context, string) ([]swarmcache.JobPart, error) {
	return c.parts, c.asked()
}

func (c *fakeCluster) Hottest(_ context.Context, n int) ([]swarmcache.Hot, error) {
	return c.hot[:min(n, len(c.hot))], c.asked()
}

func (c *fakeCluster) Health(context.Context) (swarmcache.Health, error) {
	if c.health == nil {
		return swarmcache.Health{}, cmp.Or(c.asked(), swarmcache.ErrNotFound)
	}
	return *c.health, c.asked()
}

func (c *fakeCluster) Kept(_ context.Context, key policy.Key) (swarmcache.Kept, error) {
	k, ok := c.kept[key]
	if !ok {
		return k, cmp.Or(c.asked(), swarmcache.ErrNotFound)
	}
	return k, c.asked()
}

func (c *fakeCluster) StepDown(context.Context) error {
	switch {
	case c.away != nil:
		return c.asked()
	case c.leader != "one":
		return swarmcache.ErrNotLeading
	}
	c.leader = ""
	return nil
}

func (c *fakeCluster) State() error { return c.away }
func (c *fakeCluster) Mode() string { return c.mode }
func (c *fakeCluster) Leader() (string, swarmcache.NodeID, bool) {
	if c.leader == "" {
		return "", "", false
	}
	return "http://10.0.0.1:6969/announce", c.leader, c.leader == "one"
}
func (c *fakeCluster) Nodes(context.Context) ([]swarmcache.Node, error) { return c.nodes, c.asked() }
func (c *fakeCluster) SetMode(_ context.Context, mode string) error {
	if c.away == nil {
		c.mode = mode
	}
	return c.asked()
}

// id is an object's id; twelve digits tell them apart, eight do not.
func id(i int) swarmcache.ObjectID {
	return swarmcache.ObjectID(fmt.Sprintf("%012x", i) + strings.Repeat("0", 52))
}

var added = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// record is what a catalogue holds of object i, i bytes long.
func record(i int, key, url string) swarmcache.Record {
	r := swarmcache.Record{Added: added.Unix(), LastUsed: added.Unix() + 60, Complete: i%2 == 0, Pinned: i == 1, Version: swarmcache.Version{
		ID: id(i), Key: policy.Key(key), URL: url, Length: int64(i), PieceLen: 128 << 10, Validator: `"v"`,
		Stored: policy.Stored{Status: 200, Header: http.Header{"Etag": {`"v"`}}, ResponseTime: added},
	}}
	if r.Complete {
		r.Version.InfoHash = swarmcache.InfoHash{1, byte(i)}
	}
	return r
}

// newNode returns a node that holds objects 0 to n-1 of http://origin.test/,
// and more.
func newNode(t *testing.T, n int, more ...swarmcache.Record) *node {
	t.Helper()
	var records []swarmcache.Record
	for i := range n {
		u := fmt.Sprintf("http://origin.test/%d", i)
		records = append(records, record(i, u, u))
	}
	x, dir := cachetest.NewIndex(), t.TempDir()
	for _, r := range append(records, more...) {
		v := r.Version
		name := filepath.Join(dir, string(v.ID[:2]), string(v.ID))
		if err := errors.Join(x.Put(r), x.SetCurrent(v.Key, v.ID), os.MkdirAll(filepath.Dir(name), 0o700),
			os.WriteFile(name, make([]byte, v.Length), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	self := swarmcache.Node{ID: "one", Version: "v1.2.3"}
	nd := &node{t: t, dir: cachetest.NewDirectory(), cluster: &fakeCluster{}, events: events.New(8), local: api.ModeSwarm, limits: fakeLimits{up: 1000}}
	var err error
	nd.cache, err = swarmcache.Open(swarmcache.Config{
		Dir: dir, Index: x, Directory: nd.dir.Node(self), Node: self, Size: 1 << 30, Events: nd.events, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nd.cache.Close() })
	nd.files = t.TempDir()
	nd.downloads = download.New(download.Config{
		Transport: &http.Transport{DisableKeepAlives: true}, Directories: []string{nd.files}, Store: forgetful{},
		Prioritize: func(object, priority string) error {
			return nd.cache.SetPriority(swarmcache.ObjectID(object), policy.Priority(priority))
		},
	})
	t.Cleanup(nd.downloads.Close)
	nd.handler = api.New(api.Config{
		Node: self, Name: "first", Started: time.Now().Add(-90 * time.Second),
		Ready: func() api.Readiness {
			return api.Readiness{Ready: true, State: "degraded", Checks: []api.Check{{Name: "listeners", State: "ok"}, {Name: "tracker", State: "degraded", Reason: "no leader is known"}}}
		},
		Explain: nd.explain, Reload: func() (api.Reloaded, error) { return nd.reload() },
		Settings:  func() []api.Setting { return []api.Setting{{Key: "mode", Value: "swarm", From: "default", Live: true}} },
		Limits:    func() (up, down int64) { return 1000, 0 },
		Counters:  func() api.Counters { return api.Counters{Requests: api.Requests{Hit: 3, Miss: 1}, Sent: 7} },
		LocalMode: func() string { return nd.local }, Rules: func() *policy.Rules { return &nd.rules },
		Cache: nd.cache, Cluster: nd.cluster, Torrents: fakeTorrents{}, Drain: func(_ context.Context, on bool) error { nd.cluster.drain = on; return nil }, Limiter: &nd.limits, Rates: fakeRates{},
		Downloads: nd.downloads, Events: nd.events, Sources: source.New(source.Config{Directories: []string{nd.files}}), UploadDirectories: []string{nd.files}, Proxy: func() string { return "127.0.0.1:3128" },
	})
	w := httptest.NewRecorder()
	nd.handler.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/openapi.json", nil))
	if nd.doc, err = openapi.Parse(w.Body.Bytes()); err != nil || w.Code != 200 {
		t.Fatalf("openapi.json: %d %v", w.Code, err)
	}
	return nd
}

// ask sends one request, checks the response against the document and decodes
// it into out.
func (n *node) ask(method, target, body string, want int, out any, header ...string) *httptest.ResponseRecorder {
	n.t.Helper()
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, b)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	if w.Code != want {
		n.t.Errorf("%s %s: %d, want %d: %s", method, target, w.Code, want, w.Body)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" && want != http.StatusForbidden {
		n.t.Errorf("%s %s: Cache-Control %q", method, target, got)
	}
	if err := n.doc.Check(openapi.Answer{Method: method, Path: r.URL.Path, Status: w.Code, Type: w.Header().Get("Content-Type"), Body: w.Body.Bytes()}); err != nil {
		n.t.Error(err)
	}
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			n.t.Errorf("%s %s: %v: %s", method, target, err, w.Body)
		}
	}
	return w
}

func TestDocument(t *testing.T) {
	n := newNode(t, 0)
	var got []string
	for pattern, operation := range n.doc.Operations() {
		method, path, _ := strings.Cut(pattern, " ")
		got = append(got, strings.ToLower(method)+" "+path)
		if operation["summary"] == nil {
			t.Errorf("%s has no summary", pattern)
		}
	}
	slices.Sort(got)
	want := []string{
		"delete /api/v1/downloads/{id}",
		"delete /api/v1/drain",
		"delete /api/v1/objects/{id}",
		"delete /api/v1/objects/{id}/pin",
		"delete /api/v1/warmups/{id}",
		"get /api/v1/cluster/leader",
		"get /api/v1/config",
		"get /api/v1/downloads",
		"get /api/v1/downloads/{id}",
		"get /api/v1/events",
		"get /api/v1/explain",
		"get /api/v1/hot",
		"get /api/v1/limits",
		"get /api/v1/magnets",
		"get /api/v1/mode",
		"get /api/v1/nodes",
		"get /api/v1/objects",
		"get /api/v1/objects/{id}",
		"get /api/v1/objects/{id}/content",
		"get /api/v1/objects/{id}/magnet",
		"get /api/v1/objects/{id}/peers",
		"get /api/v1/objects/{id}/pieces",
		"get /api/v1/objects/{id}/torrent",
		"get /api/v1/sources",
		"get /api/v1/stats",
		"get /api/v1/status",
		"get /api/v1/warmups",
		"get /api/v1/warmups/{id}",
		"patch /api/v1/downloads/{id}",
		"patch /api/v1/limits",
		"patch /api/v1/objects/{id}",
		"post /api/v1/cluster/leader/step-down",
		"post /api/v1/downloads",
		"post /api/v1/downloads/{id}/pause",
		"post /api/v1/downloads/{id}/resume",
		"post /api/v1/drain",
		"post /api/v1/objects/{id}/verify",
		"post /api/v1/purge",
		"post /api/v1/purge-many",
		"post /api/v1/reload",
		"post /api/v1/uploads",
		"post /api/v1/warmups",
		"put /api/v1/mode", "put /api/v1/objects/{id}/pin", "put /api/v1/uploads/{sha256}/{name}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("operations %q", got)
	}
}

func TestStatus(t *testing.T) {
	n := newNode(t, 3)
	var s api.Status
	n.ask("GET", "/api/v1/status", "", 200, &s)
	if s.Node != (api.Self{ID: "one", Name: "first", Version: "v1.2.3"}) || s.Uptime != 90 || s.Started.Location() != time.UTC ||
		s.Cache != (api.Usage{Bytes: 3, Objects: 3, Limit: 1 << 30}) || !s.Directory.Healthy || s.Leader != nil ||
		!s.Readiness.Ready || len(s.Readiness.Checks) != 2 {
		t.Errorf("%+v", s)
	}
	n.cluster.leader, n.cluster.away = "one", errRefused
	n.ask("GET", "/api/v1/status", "", 200, &s)
	if s.Directory != (api.Directory{Reason: "connection refused"}) || s.Leader == nil || !s.Leader.Self {
		t.Errorf("%+v", s)
	}
}

func TestStats(t *testing.T) {
	n := newNode(t, 3)
	var s api.Stats
	n.ask("GET", "/api/v1/stats", "", 200, &s)
	if s.Requests.Hit != 3 || s.Sent != 7 || s.Cache.Objects != 3 || s.Uptime != 90 || len(s.Coming) != 0 || time.Since(s.Time) > time.Minute {
		t.Errorf("%+v", s)
	}
}

func TestLeader(t *testing.T) {
	n := newNode(t, 0)
	n.ask("GET", "/api/v1/cluster/leader", "", 404, nil)
	n.cluster.leader = "two"
	var l api.Leader
	n.ask("GET", "/api/v1/cluster/leader", "", 200, &l)
	if l.ID != "two" || l.Self || l.URL == "" {
		t.Errorf("%+v", l)
	}
	n.ask("POST", "/api/v1/cluster/leader/step-down", "", 409, nil)
	n.cluster.leader, n.cluster.away = "one", errRefused
	n.ask("POST", "/api/v1/cluster/leader/step-down", "", 503, nil)
	n.cluster.away = nil
	var was api.SteppedDown
	n.ask("POST", "/api/v1/cluster/leader/step-down", "", 200, &was)
	if was.ID != "one" || n.cluster.leader != "" {
		t.Errorf("%+v, %q leads", was, n.cluster.leader)
	}
}

func TestNodes(t *testing.T) {
	n := newNode(t, 0)
	n.cluster.leader = "two"
	n.cluster.nodes = []swarmcache.Node{
		{ID: "two", Peers: []netip.AddrPort{netip.MustParseAddrPort("[fd00::2]:42069")}, Zone: "a", Rack: "b"},
		{ID: "one", Draining: true},
	}
	var got api.Nodes
	n.ask("GET", "/api/v1/nodes", "", 200, &got)
	if len(got.Nodes) != 2 || !got.Nodes[0].Self || got.Nodes[0].Leader || !got.Nodes[0].Draining || got.Nodes[1].Self || !got.Nodes[1].Leader {
		t.Errorf("%+v", got)
	}
	n.cluster.nodes = nil
	if w := n.ask("GET", "/api/v1/nodes", "", 200, nil); !strings.Contains(w.Body.String(), `"nodes":[]`) {
		t.Errorf("%s", w.Body)
	}
	n.cluster.away = errRefused
	var p api.Problem
	n.ask("GET", "/api/v1/nodes", "", 503, &p)
	if !strings.Contains(p.Detail, "connection refused") {
		t.Errorf("%+v", p)
	}
}

func TestMode(t *testing.T) {
	n := newNode(t, 0)
	mode := func(want api.Mode) {
		t.Helper()
		var m api.Mode
		if n.ask("GET", "/api/v1/mode", "", 200, &m); m != want {
			t.Errorf("%+v, want %+v", m, want)
		}
	}
	mode(api.Mode{Mode: "swarm", Fleet: "swarm", Local: "swarm"})
	var m api.Mode
	n.ask("PUT", "/api/v1/mode", `{"mode":"pass"}`, 200, &m)
	if n.cluster.mode != "pass" || m.Mode != "pass" {
		t.Errorf("%q %+v", n.cluster.mode, m)
	}
	mode(api.Mode{Mode: "pass", Fleet: "pass", Local: "swarm"})
	n.ask("PUT", "/api/v1/mode", `{"mode":"swarm"}`, 200, nil)
	if n.cluster.mode != "" {
		t.Errorf("%q", n.cluster.mode)
	}
	n.local = "pass"
	mode(api.Mode{Mode: "pass", Fleet: "swarm", Local: "pass"})

	n.cluster.away = errRefused
	n.ask("PUT", "/api/v1/mode", `{"mode":"pass"}`, 503, nil)
	mode(api.Mode{Mode: "pass", Fleet: "swarm", Local: "pass"})
}

func TestObjectsPageByPage(t *testing.T) {
	n := newNode(t, 7)
	for _, limit := range []int{1, 3, 6, 7, 8, 1000} {
		var ids []swarmcache.ObjectID
		target, pages := fmt.Sprintf("/api/v1/objects?limit=%d", limit), 0
		for cursor := ""; ; pages++ {
			var page api.Objects
			n.ask("GET", target+cursor, "", 200, &page)
			if len(page.Objects) > limit {
				t.Errorf("limit %d: %d objects", limit, len(page.Objects))
			}
			for _, o := range page.Objects {
				ids = append(ids, o.ID)
			}
			if page.Next == "" {
				break
			}
			cursor = "&cursor=" + page.Next
		}
		if want := []swarmcache.ObjectID{id(0), id(1), id(2), id(3), id(4), id(5), id(6)}; !slices.Equal(ids, want) {
			t.Errorf("limit %d: %v", limit, ids)
		}
		if want := (7 - 1) / limit; pages != want {
			t.Errorf("limit %d: %d pages more, want %d", limit, pages, want)
		}
	}
}

func TestObject(t *testing.T) {
	n := newNode(t, 3)
	var o api.ObjectDetail
	n.ask("GET", "/api/v1/objects/"+string(id(2)), "", 200, &o)
	want := api.ObjectDetail{
		Object: api.Object{
			ID: id(2), Key: "http://origin.test/2", URL: "http://origin.test/2", Length: 2, Complete: true,
			InfoHash: "0102" + strings.Repeat("0", 36), Added: added, LastUsed: added.Add(time.Minute),
		},
		Magnet:    "magnet:2?[]",
		Validator: `"v"`, PieceLength: 128 << 10, Priority: "normal", Arrived: api.From{Local: 2},
		Response: api.Response{Status: 200, Header: map[string][]string{"Etag": {`"v"`}}, Time: added},
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("\n%+v\n%+v", o, want)
	}
	o = api.ObjectDetail{}
	n.ask("GET", "/api/v1/objects/"+string(id(1))[:12], "", 200, &o)
	if o.ID != id(1) || o.Complete || o.InfoHash != "" || !o.Pinned {
		t.Errorf("%+v", o)
	}
	n.ask("GET", "/api/v1/objects/"+string(id(1))[:8], "", 409, nil)
	n.ask("DELETE", "/api/v1/objects/"+string(id(1))[:8], "", 409, nil)
	n.ask("GET", "/api/v1/objects/"+strings.Repeat("f", 64), "", 404, nil)
	n.ask("GET", "/api/v1/objects/"+strings.Repeat("f", 8), "", 404, nil)
	n.ask("GET", "/api/v1/objects/0000", "", 422, nil)
	n.ask("GET", "/api/v1/objects/NOTHEXNOTHEX", "", 422, nil)
}

// What the key leaves out of the URL may be a credential.
func TestObjectsHideIgnoredParameters(t *testing.T) {
	n := newNode(t, 0, record(7, "http://signed.test/f?v=1", "http://signed.test/f?v=1&token=hunter2"))
	n.rules.Rules = []policy.Rule{{Host: "signed.test", Key: policy.KeyRule{IgnoreParams: []string{"token"}}}}
	for _, target := range []string{"/api/v1/objects", "/api/v1/objects?url=" + url.QueryEscape("http://SIGNED.test:80/f?token=other&v=1")} {
		var page api.Objects
		w := n.ask("GET", target, "", 200, &page)
		if len(page.Objects) != 1 || page.Objects[0].URL != "http://signed.test/f?v=1" || strings.Contains(w.Body.String(), "hunter2") {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
}

func TestObjectsByURL(t *testing.T) {
	n := newNode(t, 3)
	n.rules.Rules = []policy.Rule{{Host: "origin.test", Key: policy.KeyRule{IgnoreQuery: true}}}
	var page api.Objects
	n.ask("GET", "/api/v1/objects?url="+url.QueryEscape("HTTP://Origin.Test:80/1?sig=x#f"), "", 200, &page)
	if len(page.Objects) != 1 || page.Objects[0].ID != id(1) || page.Next != "" {
		t.Errorf("%+v", page)
	}
	n.ask("GET", "/api/v1/objects?url=http%3A%2F%2Forigin.test%2Fnone", "", 200, &page)
	if len(page.Objects) != 0 {
		t.Errorf("%+v", page)
	}
	n.ask("GET", "/api/v1/objects?url=origin.test", "", 422, nil)
}

func TestPin(t *testing.T) {
	n := newNode(t, 3)
	path := "/api/v1/objects/" + string(id(2))
	for _, step := range []struct {
		method string
		pinned bool
	}{{"PUT", true}, {"PUT", true}, {"DELETE", false}, {"DELETE", false}} {
		var o api.ObjectDetail
		n.ask(step.method, path+"/pin", "", 200, &o)
		if o.ID != id(2) || o.Pinned != step.pinned {
			t.Errorf("%s: told %v", step.method, o.Pinned)
		}
		n.ask("GET", path, "", 200, &o)
		if o.Pinned != step.pinned {
			t.Errorf("%s: %v", step.method, o.Pinned)
		}
	}
	n.ask("PUT", "/api/v1/objects/"+strings.Repeat("f", 64)+"/pin", "", 404, nil)
	n.ask("DELETE", "/api/v1/objects/"+string(id(1))[:8]+"/pin", "", 409, nil)
	n.ask("PUT", path+"/pin", "", 403, nil, "Origin", "http://evil.test")
}

// What is on a volume that is missing is found by its URL as well, for its pin is on record.
func TestUnpinWhatIsAway(t *testing.T) {
	r := record(4, "http://origin.test/4", "http://origin.test/4")
	r.Volume, r.Pinned = "missing", true
	n := newNode(t, 1, r)
	var page api.Objects
	n.ask("GET", "/api/v1/objects?url="+url.QueryEscape(r.Version.URL), "", 200, &page)
	if len(page.Objects) != 1 || page.Objects[0].ID != id(4) || !page.Objects[0].Away || page.Objects[0].Complete || !page.Objects[0].Pinned {
		t.Fatalf("%+v", page)
	}
	path := "/api/v1/objects/" + string(id(4))
	var o api.ObjectDetail
	n.ask("DELETE", path+"/pin", "", 200, &o)
	for range 2 {
		if o.Pinned || !o.Away || o.Complete || o.Arrived != (api.From{}) {
			t.Errorf("%+v", o)
		}
		n.ask("GET", path, "", 200, &o)
	}
	n.ask("GET", "/api/v1/objects", "", 200, &page)
	if len(page.Objects) != 1 || page.Objects[0].ID != id(0) {
		t.Errorf("what is here: %+v", page)
	}
	n.ask("GET", path+"/content", "", 409, nil)
	n.ask("POST", path+"/verify", "", 404, nil)
	n.ask("DELETE", path, "", 404, nil)
}

func TestDelete(t *testing.T) {
	n := newNode(t, 3)
	if w := n.ask("DELETE", "/api/v1/objects/"+string(id(1)), "", 204, nil); w.Body.Len() != 0 {
		t.Errorf("%q", w.Body)
	}
	n.ask("DELETE", "/api/v1/objects/"+string(id(1)), "", 404, nil)
	n.ask("GET", "/api/v1/objects/"+string(id(1)), "", 404, nil)
	var page api.Objects
	n.ask("GET", "/api/v1/objects?url=http%3A%2F%2Forigin.test%2F1", "", 200, &page)
	if s := n.cache.Stats(); len(page.Objects) != 0 || s.Objects != 2 || s.Bytes != 2 {
		t.Errorf("%+v %+v", page, s)
	}
}

func TestPurge(t *testing.T) {
	n := newNode(t, 3)
	n.rules.Rules = []policy.Rule{{Host: "up.test", Upgrade: "https"}}
	var p api.Purged
	n.ask("POST", "/api/v1/purge", `{"url":"http://ORIGIN.test:80/%31","dry_run":true}`, 200, &p)
	if p != (api.Purged{Key: "http://origin.test/1", Removed: true, Count: 1, DryRun: true}) || n.dir.Counts().Withdraws != 0 {
		t.Errorf("%+v, %+v", p, n.dir.Counts())
	}
	n.cluster.known = []swarmcache.Version{{Key: "http://origin.test/away"}}
	n.ask("POST", "/api/v1/purge", `{"url":"http://origin.test/away","dry_run":true}`, 200, &p)
	if p != (api.Purged{Key: "http://origin.test/away", Count: 1, DryRun: true}) {
		t.Errorf("%+v", p)
	}
	n.ask("POST", "/api/v1/purge", `{"url":"http://origin.test/away","dry_run":true,"scope":"node"}`, 200, &p)
	if p.Count != 0 {
		t.Errorf("%+v", p)
	}
	for _, how := range []string{`"soft":true`, `"soft":false`} {
		n.ask("POST", "/api/v1/purge", `{"url":"http://origin.test/0","scope":"node",`+how+`}`, 200, &p)
		if p.Count != 1 {
			t.Errorf("%s: %+v", how, p)
		}
	}
	n.ask("GET", "/api/v1/objects/"+string(id(0)), "", 404, nil)
	n.ask("POST", "/api/v1/purge", `{"url":"http://ORIGIN.test:80/%31"}`, 200, &p)
	if p != (api.Purged{Key: "http://origin.test/1", Removed: true, Count: 1}) || n.dir.Counts().Withdraws != 1 {
		t.Errorf("%+v, %+v", p, n.dir.Counts())
	}
	n.ask("GET", "/api/v1/objects/"+string(id(1)), "", 404, nil)
	n.ask("POST", "/api/v1/purge", `{"url":"http://origin.test/1"}`, 200, &p)
	if p.Removed || n.dir.Counts().Withdraws != 2 { // others may have it
		t.Errorf("%+v, %+v", p, n.dir.Counts())
	}
	n.ask("POST", "/api/v1/purge", `{"url":"http://up.test/f"}`, 200, &p)
	if p.Key != "https://up.test/f" {
		t.Errorf("%+v", p)
	}

	n.dir.SetAvailable(false)
	n.ask("POST", "/api/v1/purge", `{"url":"http://origin.test/2"}`, 503, nil)
	n.ask("GET", "/api/v1/objects/"+string(id(2)), "", 404, nil) // gone here all the same
}

func TestBadRequests(t *testing.T) {
	n := newNode(t, 1)
	for _, tt := range []struct {
		method, target, body string
		want                 int
		says                 string
		header               []string
	}{
		{"GET", "/api/v1/nothing", "", 404, "openapi.json", nil},
		{"POST", "/api/v1/status", "", 405, "POST /api/v1/status is not part", nil},
		{"GET", "/api/v1/objects?limit=0", "", 422, "query.limit", nil},
		{"GET", "/api/v1/objects?limit=1001", "", 422, "query.limit", nil},
		{"GET", "/api/v1/objects?limit=many", "", 422, "query.limit", nil},
		{"GET", "/api/v1/objects?cursor=x", "", 422, "query.cursor", nil},
		{"GET", "/api/v1/objects?page=2", "", 422, "query.page", nil},
		{"PUT", "/api/v1/mode", `{"mode":"off"}`, 422, "body.mode", nil},
		{"PUT", "/api/v1/mode", `{}`, 422, "mode", nil},
		{"PUT", "/api/v1/mode", `{"mode":"pass","for":"ever"}`, 422, "body.for", nil},
		{"PUT", "/api/v1/mode", `{"mode":`, 400, "", nil},
		{"PUT", "/api/v1/mode", ``, 400, "", nil},
		{"PUT", "/api/v1/mode", `{"mode":"pass"}`, 415, "", []string{"Content-Type", "text/plain"}},
		{"POST", "/api/v1/purge", `{"url":"ftp://origin.test/1"}`, 422, "body.url", nil},
		{"POST", "/api/v1/purge", `{"url":"/1"}`, 422, "body.url", nil},
		{"POST", "/api/v1/purge", `{"url":"http://[/"}`, 422, "body.url", nil},
		{"POST", "/api/v1/purge", `{"url":"` + strings.Repeat("a", 64<<10) + `"}`, 413, "too large", nil},
		{"POST", "/api/v1/purge", `{"url":"http://origin.test/0"}`, 403, "another site", []string{"Sec-Fetch-Site", "cross-site"}},
		{"POST", "/api/v1/purge", `{"url":"http://origin.test/0"}`, 403, "another site", []string{"Sec-Fetch-Site", "same-site"}},
		{"POST", "/api/v1/purge", `{"url":"http://origin.test/0"}`, 403, "another site", []string{"Origin", "http://evil.test"}},
		{"DELETE", "/api/v1/objects/" + string(id(0)), "", 403, "another site", []string{"Origin", "null"}},
	} {
		w := n.ask(tt.method, tt.target, tt.body, tt.want, nil, tt.header...)
		if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s %s: Content-Type %q", tt.method, tt.target, got)
		}
		if !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s %s: no %q in %s", tt.method, tt.target, tt.says, w.Body)
		}
	}
	if n.cluster.mode != "" || n.cache.Stats().Objects != 1 {
		t.Errorf("a refused request was obeyed")
	}
	// The node's own pages, and programs, may.
	n.ask("PUT", "/api/v1/mode", `{"mode":"pass"}`, 200, nil, "Sec-Fetch-Site", "same-origin")
	n.ask("PUT", "/api/v1/mode", `{"mode":"pass"}`, 200, nil, "Origin", "http://example.com") // httptest's Host
	n.ask("GET", "/api/v1/mode", "", 200, nil, "Sec-Fetch-Site", "none")                      // typed by hand
}
