package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"shatabdi/policy"
	"shatabdi/swarmcache"
	"shatabdi/swarmcache/api"
)

func (n *node) list(query string) (lengths []int64, next string) {
	n.t.Helper()
	var page api.Objects
	n.ask("GET", "/api/v1/objects?"+query, "", 200, &page)
	for _, o := range page.Objects {
		lengths = append(lengths, o.Length)
	}
	return lengths, page.Next
}

// Objects are found by what they are; object i has i bytes, is complete when i is
// even, and 1 is pinned.
func TestObjectsAreChosen(t *testing.T) {
	tagged := record(7, "http://cdn.test/7", "http://cdn.test/7")
	tagged.Version.Stored.Header = http.Header{"Surrogate-Key": {"a b"}, "Cache-Tag": {"c, d"}}
	n := newNode(t, 5, tagged)
	for query, want := range map[string][]int64{
		"sort=size":                         {0, 1, 2, 3, 4, 7},
		"sort=-size":                        {7, 4, 3, 2, 1, 0},
		"sort=-url":                         {4, 3, 2, 1, 0, 7},
		"sort=-size&state=complete":         {4, 2, 0},
		"sort=size&state=partial":           {1, 3, 7},
		"state=pinned":                      {1},
		"match=http://cdn.test/*":           {7},
		"match=*/?&sort=size&state=suspect": nil,
		"tag=b":                             {7},
		"tag=d":                             {7},
		"tag=a%20b":                         nil,
		"match=.*":                          nil, // a glob, and no regular expression
		"older_than=1ns&match=*4":           {4},
		"unused_for=1ns&match=*4":           {4},
	} {
		if got, next := n.list(query); !slices.Equal(got, want) || next != "" {
			t.Errorf("%s: %v, want %v; next %q", query, got, want, next)
		}
	}
	for _, sort := range []string{"size", "-size", "url", "-added", "used"} {
		var all []int64
		cursor := ""
		for {
			got, next := n.list("limit=2&sort=" + sort + cursor)
			all = append(all, got...)
			if next == "" {
				break
			}
			cursor = "&cursor=" + next
		}
		if whole, _ := n.list("sort=" + sort); !slices.Equal(all, whole) || len(all) != 6 {
			t.Errorf("%s: page by page %v, at once %v", sort, all, whole)
		}
	}
	for _, bad := range []string{"sort=colour", "state=good", "older_than=soon", "older_than=-1h", "sort=size&cursor=x"} {
		n.ask("GET", "/api/v1/objects?"+bad, "", 422, nil)
	}
}

func TestPurgeMany(t *testing.T) {
	n := newNode(t, 5, record(7, "http://cdn.test/7", "http://cdn.test/7"))
	order := func(body string, count int) (p api.PurgedMany) {
		t.Helper()
		n.ask("POST", "/api/v1/purge-many", body, 200, &p)
		if p.Count != count || len(p.Keys) != count {
			t.Errorf("%s: %+v, want %d", body, p, count)
		}
		return p
	}
	left := func(want int) {
		t.Helper()
		if got := n.cache.Stats().Objects; got != want {
			t.Errorf("%d objects are left, want %d", got, want)
		}
	}
	order(`{"match": "http://origin.test/*", "dry_run": true}`, 5)
	order(`{"match": "http://origin.test/*", "older_than": "1000000h"}`, 0)
	left(6)
	order(`{"match": "*/3", "soft": true, "scope": "node"}`, 1)
	if r, err := n.cache.Record(id(3)); err != nil || !r.Version.Stored.Invalid {
		t.Errorf("soft: %+v, %v", r, err)
	}
	order(`{"match": "*/4", "soft": true}`, 1)
	if r, err := n.cache.Record(id(4)); err != nil || !r.Version.Stored.Invalid {
		t.Errorf("soft, of the cluster: %+v, %v", r, err)
	}
	left(6)
	order(`{"match": "http://cdn.test/*", "scope": "node"}`, 1)
	left(5)
	order(`{"match": "*/[34]"}`, 0)
	order(`{"older_than": "1ns", "match": "*/?"}`, 5)
	left(0)
	for _, bad := range []string{`{}`, `{"dry_run": true}`, `{"match": "*", "scope": "world"}`, `{"older_than": "x"}`, `{"url": "http://a/"}`} {
		n.ask("POST", "/api/v1/purge-many", bad, 422, nil)
	}
	n.ask("POST", "/api/v1/purge-many", `{"match": "*"}`, 403, nil, "Origin", "http://evil.test")
}

// A purge for the cluster finds what others have, by what the directory knows of it,
// and tells how much that is, each key once.
func TestPurgeManyElsewhere(t *testing.T) {
	n := newNode(t, 2)
	elsewhere := record(8, "http://far.test/8", "http://far.test/8").Version
	elsewhere.Stored.Header = http.Header{"Surrogate-Key": {"models release-7"}}
	french := record(4, string(policy.Key("http://far.test/4").Variant(http.Header{"Accept-Language": {"fr"}})), "http://far.test/4").Version
	n.cluster.known = []swarmcache.Version{elsewhere, french, record(1, "http://origin.test/1", "http://origin.test/1").Version}
	for _, tt := range []struct {
		order string
		count int
		bytes int64
	}{
		{`"match": "*"`, 4, 0 + 1 + 8 + 4},
		{`"match": "*/4"`, 1, 4},
		{`"tag": "release-7"`, 1, 8},
		{`"tag": "release"`, 0, 0},
		{`"match": "*", "older_than": "1000000h"`, 0, 0},
		{`"match": "*", "scope": "node"`, 2, 1},
		{`"match": "*", "unused_for": "1ns"`, 2, 1},
	} {
		var p api.PurgedMany
		n.ask("POST", "/api/v1/purge-many", `{"dry_run": true, `+tt.order+`}`, 200, &p)
		if p.Count != tt.count || p.Bytes != tt.bytes {
			t.Errorf("%s: %+v, want %d of %d bytes", tt.order, p, tt.count, tt.bytes)
		}
	}
	var p api.PurgedMany
	n.ask("POST", "/api/v1/purge-many", `{"tag": "release-7"}`, 200, &p)
	if p.Count != 1 || n.dir.Counts().Withdraws != 1 {
		t.Errorf("%+v, %+v", p, n.dir.Counts())
	}
	n.cluster.away = errRefused
	n.ask("POST", "/api/v1/purge-many", `{"match": "*"}`, 503, nil)
	n.ask("POST", "/api/v1/purge-many", `{"match": "*", "scope": "node"}`, 200, &p)
	if p.Count != 2 {
		t.Errorf("on this node alone: %+v", p)
	}
}

// What was put is read back and handed out, and what is not whole here is not.
func TestVerifyAndContent(t *testing.T) {
	n := newNode(t, 2)
	body := bytes.Repeat([]byte("verified"), 100_000)
	var up api.Upload
	n.put("?name=x.bin", string(body), 201, &up)
	path := "/api/v1/objects/" + string(up.Object)
	var v api.Verified
	n.ask("POST", path+"/verify", "", 200, &v)
	if !v.Intact || v.Length != int64(len(body)) {
		t.Errorf("%+v", v)
	}
	w := n.ask("GET", path+"/content", "", 200, nil)
	if !bytes.Equal(w.Body.Bytes(), body) || w.Header().Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("%d bytes, %v", w.Body.Len(), w.Header())
	}
	n.ask("POST", "/api/v1/objects/"+string(id(1))+"/verify", "", 409, nil)
	n.ask("GET", "/api/v1/objects/"+string(id(1))+"/content", "", 409, nil)
	n.ask("GET", "/api/v1/objects/"+strings.Repeat("f", 64)+"/content", "", 404, nil)
}
