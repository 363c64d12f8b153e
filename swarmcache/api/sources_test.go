package api_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"shatabdi/swarmcache/api"
)

func TestSources(t *testing.T) {
	n := newNode(t, 0)
	n.rules.Schemes = []string{"file"}
	if err := os.WriteFile(filepath.Join(n.files, "a.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	list := func(raw string) string { return "/api/v1/sources?url=" + url.QueryEscape(raw) }
	var l api.Listing
	n.ask("GET", list("file://"+n.files+"/"), "", 200, &l)
	if !l.Many || len(l.Items) != 1 || l.Items[0] != (api.ListingItem{URL: "file://" + n.files + "/a.txt", Name: "a.txt", Length: 5}) {
		t.Errorf("%+v", l)
	}
	for _, one := range []string{"file://" + n.files + "/a.txt", "http://example.com/"} {
		n.ask("GET", list(one), "", 200, &l)
		if l.Many || len(l.Items) != 0 {
			t.Errorf("%s: %+v", one, l)
		}
	}
	n.ask("GET", list("file:///etc/"), "", 403, nil)
	n.ask("GET", list("file://"+n.files+"/none/"), "", 404, nil)
	n.ask("GET", list("ftp://example.com/"), "", 422, nil)
	n.ask("GET", list("file://"), "", 422, nil)
}
