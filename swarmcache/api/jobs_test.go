package api_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
)

func TestHotObjects(t *testing.T) {
	n := newNode(t, 0)
	n.cluster.hot = []swarmcache.Hot{
		{Key: "http://o.test/a", URL: "http://o.test/a?token=hunter2", Length: 7, Heat: 2.5, Nodes: 2},
		{Key: "http://o.test/b", URL: "http://o.test/b", Length: 8, Heat: 1, Nodes: 1},
	}
	var hot api.HotObjects
	n.ask("GET", "/api/v1/hot", "", 200, &hot)
	if want := []api.HotObject{{"http://o.test/a", 7, 2.5, 2}, {"http://o.test/b", 8, 1, 1}}; !reflect.DeepEqual(hot.Objects, want) {
		t.Errorf("%+v", hot)
	}
	n.ask("GET", "/api/v1/hot?limit=1", "", 200, &hot)
	if len(hot.Objects) != 1 {
		t.Errorf("%+v", hot)
	}
	n.ask("GET", "/api/v1/hot?limit=0", "", 422, nil)
	n.cluster.away = errRefused
	n.ask("GET", "/api/v1/hot", "", 503, nil)
}

// forgetful is a store that keeps nothing.
type forgetful struct{}

func (forgetful) SetSetting(string, []byte) error                { return nil }
func (forgetful) DropSetting(string) error                       { return nil }
func (forgetful) EachSetting(string, func(string, []byte)) error { return nil }

// What is too long is refused as that, with what to do instead, and nothing of it begins.
func TestWarmupsThatAreTooLong(t *testing.T) {
	n := newNode(t, 0)
	n.cluster.nodes = []swarmcache.Node{{ID: "aaaa1", Name: "one"}}
	order := func(count, length int, rest string) string {
		one := `"http://127.0.0.1:1/` + strings.Repeat("a", length) + `"`
		return `{"urls":[` + strings.Repeat(one+",", count-1) + one + `]` + rest + `}`
	}
	for _, bad := range []struct {
		order string
		full  error
		want  int
		says  string
	}{
		{order(1, 9<<20, ""), nil, 413, "order its parts"},
		{order(1, 17<<20, ""), nil, 413, "too large"},
		{order(10_001, 1, ""), nil, 422, "<= 10000"},
		{order(1, 1, `,"all":true`), swarmcache.ErrJobTooLong, 413, "put it into a manifest"},
		{order(1, 1, `,"all":true`), swarmcache.ErrTooManyJobs, 409, "cancel some"},
	} {
		n.cluster.full = bad.full
		if got := n.ask("POST", "/api/v1/warmups", bad.order, bad.want, nil).Body.String(); !strings.Contains(got, bad.says) {
			t.Errorf("%.60s: %s", bad.order, got)
		}
	}
	if all := n.downloads.Warmups(); len(all) > 0 || len(n.cluster.jobs) > 0 {
		t.Errorf("begun: %+v, %+v", all, n.cluster.jobs)
	}
}

// Several nodes warm up: what each has told adds up, and one that is away is waited
// for by nobody.
func TestWarmupOfSeveralNodes(t *testing.T) {
	n := newNode(t, 0)
	n.cluster.nodes = []swarmcache.Node{{ID: "aaaa1", Name: "one"}, {ID: "aaaa2", Name: "two"}, {ID: "bbbb3", Name: "three", Draining: true}}
	const url = "http://o.test/x"
	for _, bad := range []struct {
		order string
		want  int
		says  string
	}{
		{`{"urls":["` + url + `"],"nodes":["none"]}`, 422, "no node that lives has the name or id"},
		{`{"urls":["` + url + `"],"nodes":["aaaa"]}`, 422, "is the name or id of 2 nodes"},
		{`{"urls":["` + url + `"],"nodes":["one"],"all":true}`, 422, "not both"},
		{`{"urls":["x"],"all":true}`, 422, "absolute URL"},
		{`{"all":true}`, 422, "give urls, or a manifest"},
		{`{"manifest":"http://127.0.0.1:1/","all":true}`, 502, "the manifest"},
		{`{"urls":["file:///nowhere/"],"all":true}`, 422, "absolute URL"},
		{`{"urls":["` + url + `","` + url + `?X-Amz-Signature=hush"],"all":true}`, 422, "is not for the directory"},
		{`{"manifest":"` + url + `?access_token=hush","nodes":["one"]}`, 422, "is not for the directory"},
	} {
		if got := n.ask("POST", "/api/v1/warmups", bad.order, bad.want, nil).Body.String(); !strings.Contains(got, bad.says) {
			t.Errorf("%s: %s", bad.order, got)
		}
	}
	if len(n.cluster.jobs) > 0 {
		t.Fatalf("of what is wrong is left: %+v", n.cluster.jobs)
	}

	var w api.Warmup
	n.ask("POST", "/api/v1/warmups", `{"urls":["`+url+`","shatabdi://00/a"],"all":true,"pinned":true}`, 201, &w)
	j := n.cluster.jobs[0]
	if !reflect.DeepEqual(j.Nodes, []swarmcache.NodeID{"aaaa1", "aaaa2"}) || !j.Pinned || j.By != "one" || len(j.URLs) != 2 || j.URLs[1] != "http://objects.shatabdi/00/a" {
		t.Errorf("%+v", j)
	}
	states := func() (got string) {
		t.Helper()
		n.ask("GET", "/api/v1/warmups/"+w.ID, "", 200, &w)
		got = w.State
		for _, one := range w.Nodes {
			got += " " + one.State
		}
		return got
	}
	is := func(want string) {
		t.Helper()
		if got := states(); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	is("running waiting waiting")
	// This node's part, which nothing is left to do of, is not the whole.
	if _, err := n.downloads.Warm(w.ID, nil); err != nil {
		t.Fatal(err)
	}
	is("running waiting waiting")
	told := func(p swarmcache.JobPart) {
		p.Job, p.At = j.ID, time.Now()
		n.cluster.parts = append(n.cluster.parts, p)
	}
	told(swarmcache.JobPart{Node: "aaaa1", Over: true, Objects: 2, Done: 2, Bytes: 10, Total: 10, Peers: 4, Origin: 6})
	is("running done waiting")
	told(swarmcache.JobPart{Node: "aaaa2", Objects: 2, Done: 1, Failed: 1, Bytes: 5, Total: 5, Peers: 5, Failures: []swarmcache.JobFailure{{URL: url, Error: "gone"}}})
	is("running done running")
	n.cluster.nodes = n.cluster.nodes[:1]
	is("partial done away")
	if w.Objects != 4 || w.Done != 3 || w.Failed != 1 || w.Bytes != 15 || w.From != (api.From{Peers: 9, Origin: 6}) ||
		!reflect.DeepEqual(w.Failures, []api.WarmupFailure{{URL: url, Error: "gone", Node: "aaaa2"}}) {
		t.Errorf("%+v", w)
	}
	if n.cluster.listed > 0 {
		t.Error("all are read for the sake of one")
	}
	var all api.Warmups
	n.ask("GET", "/api/v1/warmups", "", 200, &all)
	if len(all.Warmups) != 1 || all.Warmups[0].State != "partial" {
		t.Errorf("%+v", all)
	}

	n.cluster.away = errRefused
	n.ask("POST", "/api/v1/warmups", `{"urls":["`+url+`"],"all":true}`, 503, nil)
	n.ask("GET", "/api/v1/warmups/"+w.ID, "", 503, nil)
	n.ask("GET", "/api/v1/warmups", "", 200, &all)
	if len(all.Warmups) != 0 {
		t.Errorf("a part is taken for the whole: %+v", all)
	}
	n.ask("DELETE", "/api/v1/warmups/"+strings.Repeat("0", 20), "", 503, nil)
	n.cluster.away = nil
	n.ask("DELETE", "/api/v1/warmups/"+w.ID, "", 204, nil)
	n.ask("DELETE", "/api/v1/warmups/"+w.ID, "", 404, nil)
	n.ask("GET", "/api/v1/warmups/"+w.ID, "", 404, nil)

	// This node's own needs no directory.
	n.cluster.away = errRefused
	n.ask("POST", "/api/v1/warmups", `{"urls":["http://127.0.0.1:1/x"]}`, 201, &w)
	n.ask("DELETE", "/api/v1/warmups/"+w.ID, "", 204, nil)
}
