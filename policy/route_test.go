package policy

import (
	"net/http"
	"testing"
)

func TestRouteOfNoRules(t *testing.T) {
	var none *Rules = &Rules{}
	rt := none.Route(getURL(t, "HTTP://me:pw@Origin.test:80/f.iso?a=1#frag"))
	if rt.Kind != Swarm || rt.Reason != "default" || rt.Rule != -1 {
		t.Errorf("got %+v", rt)
	}
	if rt.Key != "http://origin.test/f.iso?a=1" {
		t.Errorf("key %q", rt.Key)
	}
	if got := rt.FetchURL.String(); got != "http://Origin.test:80/f.iso?a=1" {
		t.Errorf("fetch %q: want neither fragment nor userinfo", got)
	}
	if rt.Threshold != 4<<20 || rt.Streams != 4 {
		t.Errorf("threshold %d, streams %d", rt.Threshold, rt.Streams)
	}
}

func TestRouteKind(t *testing.T) {
	rules := Rules{Rules: []Rule{
		{Host: "deny.test", Route: Deny},
		{Host: "*.pass.test", Route: Pass},
		{Path: "/private/**", Route: Pass},
		{Host: "late.test", ContentType: "text/html", Route: Pass},
		{Host: "video.test", ContentType: "video/*", Route: Swarm},
		{Host: "video.test", Route: Pass},
		{Host: "guard.test", ContentType: "video/*", Route: Swarm},
		{Host: "guard.test", Route: Deny},
		{Methods: []string{"HEAD"}, Host: "head.test", Route: Pass},
		{Host: "after.test", Route: Pass},
		{Host: "after.test", ContentType: "video/*", Route: Swarm},
	}}
	if errs := rules.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	withMethod := func(m, u string) Request { r := getURL(t, u); r.Method = m; return r }
	body := getURL(t, "http://o.test/")
	body.HasBody = true
	ws := getURL(t, "http://o.test/")
	ws.Header.Set("Upgrade", "websocket")

	for _, tc := range []struct {
		name   string
		req    Request
		kind   RouteKind
		reason string
		rule   int
	}{
		{"default", getURL(t, "http://o.test/"), Swarm, "default", -1},
		{"exact host", getURL(t, "http://DENY.test/"), Deny, "rule", 0},
		{"deny beats the method", withMethod("POST", "http://deny.test/"), Deny, "rule", 0},
		{"deny of a CONNECT", Request{Method: "CONNECT", URL: mustURL(t, "//deny.test:443")}, Deny, "rule", 0},
		{"subdomain", getURL(t, "http://a.pass.test/"), Pass, "rule", 1},
		{"not the domain itself", getURL(t, "http://pass.test/"), Swarm, "default", -1},
		{"path, decoded", getURL(t, "http://o.test/%70rivate/x"), Pass, "rule", 2},
		{"a rule on the response does not hold yet", getURL(t, "http://late.test/"), Swarm, "default", -1},
		{"may yet be swarm", getURL(t, "http://video.test/"), Swarm, "rule", 4},
		{"a later rule cannot make it swarm", getURL(t, "http://after.test/"), Pass, "rule", 9},
		{"deny does not wait for the response", getURL(t, "http://guard.test/"), Deny, "rule", 7},
		{"method rule", withMethod("HEAD", "http://head.test/"), Pass, "rule", 8},
		{"method rule, other method", getURL(t, "http://head.test/"), Swarm, "default", -1},
		{"POST", withMethod("POST", "http://o.test/"), Pass, "method", -1},
		{"GET with content", body, Pass, "content", -1},
		{"websocket", ws, Pass, "upgrade", -1},
		{"ftp", getURL(t, "ftp://o.test/"), Pass, "scheme", -1},
		{"opaque", getURL(t, "http:o.test"), Pass, "scheme", -1},
		{"no URL", Request{Method: "GET"}, Pass, "scheme", -1},
	} {
		rt := rules.Route(tc.req)
		if rt.Kind != tc.kind || rt.Reason != tc.reason || rt.Rule != tc.rule {
			t.Errorf("%s: got %s (%s, rule %d), want %s (%s, rule %d)", tc.name, rt.Kind, rt.Reason, rt.Rule, tc.kind, tc.reason, tc.rule)
		}
	}
}

func TestAtResponse(t *testing.T) {
	rules := Rules{Default: Defaults{Threshold: 8 * MiB}, Rules: []Rule{
		{Host: "late.test", ContentType: "text/*", Route: Pass},
		{Host: "video.test", ContentType: "video/*", Route: Swarm, Threshold: 1, Streams: 2},
		{Host: "video.test", Route: Pass},
		{Host: "size.test", MinSize: 1 * GiB, Streams: 8, Public: true},
		{Host: "size.test", MaxSize: 16 * MiB, Route: Pass},
	}}
	if errs := rules.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, tc := range []struct {
		name, url, contentType string
		status                 int
		length                 int64
		kind                   RouteKind
		threshold              int64
		streams                int
		public                 bool
	}{
		{"type says pass", "http://late.test/", "text/html; charset=x", 200, 9, Pass, 8 << 20, 4, false},
		{"type says nothing", "http://late.test/", "a/b", 200, 9, Swarm, 8 << 20, 4, false},
		{"type says swarm", "http://video.test/", "video/mp4", 200, 9, Swarm, 1, 2, false},
		{"provisional swarm becomes pass", "http://video.test/", "a/b", 200, 9, Pass, 8 << 20, 4, false},
		{"206 counts", "http://video.test/", "a/b", 206, 9, Pass, 8 << 20, 4, false},
		{"large", "http://size.test/", "", 200, 1 << 30, Swarm, 8 << 20, 8, true},
		{"small", "http://size.test/", "", 200, 16 << 20, Pass, 8 << 20, 4, false},
		{"between", "http://size.test/", "", 200, 16<<20 + 1, Swarm, 8 << 20, 4, false},
		{"length not told: neither large nor small", "http://size.test/", "", 200, -1, Swarm, 8 << 20, 4, false},
		{"an error page that may be stored", "http://late.test/", "text/html", 404, 9, Pass, 8 << 20, 4, false},
		{"what is never stored changes nothing", "http://late.test/", "text/html", 401, 9, Swarm, 8 << 20, 4, false},
	} {
		rt := rules.AtResponse(rules.Route(getURL(t, tc.url)), tc.status, header("Content-Type", tc.contentType), tc.length)
		if rt.Kind != tc.kind || rt.Threshold != tc.threshold || rt.Streams != tc.streams || rt.Store.Public != tc.public {
			t.Errorf("%s: got %s, threshold %d, streams %d, public %v", tc.name, rt.Kind, rt.Threshold, rt.Streams, rt.Store.Public)
		}
	}
	post := getURL(t, "http://video.test/")
	post.Method = "POST"
	if rt := rules.AtResponse(rules.Route(post), 200, header("Content-Type", "video/mp4"), 9); rt.Kind != Pass {
		t.Errorf("a POST became %s at the response", rt.Kind)
	}
}

func TestEverySettingIsDecidedByItsFirstRule(t *testing.T) {
	yes, no := true, false
	rules := Rules{Rules: []Rule{
		{Path: "/**", Threshold: 1},
		{Path: "/**", Threshold: 2, Streams: 3, ExpectLarge: &no},
		{Path: "/**", Streams: 4, ExpectLarge: &yes, Route: Swarm, Key: KeyRule{IgnoreParams: []string{"a"}}},
		{Path: "/**", Route: Pass, Key: KeyRule{IgnoreQuery: true}},
	}}
	rt := rules.Route(getURL(t, "http://o.test/x.iso?a=1&b=2"))
	if rt.Threshold != 1 || rt.Streams != 3 || rt.ExpectLarge || rt.Kind != Swarm || rt.Rule != 2 || rt.Key != "http://o.test/x.iso?b=2" {
		t.Errorf("got %+v", rt)
	}
}

func TestUpgradeToHTTPS(t *testing.T) {
	rules := Rules{Rules: []Rule{{Host: "*.up.test", Upgrade: "https"}, {Host: "[::1]", Upgrade: "https"}}}
	for in, want := range map[string]string{
		"http://a.up.test/x?y":      "https://a.up.test/x?y",
		"http://a.up.test:80/":      "https://a.up.test/",
		"http://a.up.test:/":        "https://a.up.test/",
		"http://a.up.test:8080/":    "https://a.up.test:8080/",
		"http://[::1]:80/":          "https://[::1]/",
		"https://a.up.test:80/":     "https://a.up.test:80/",
		"http://other.test/":        "http://other.test/",
		"ftp://a.up.test/":          "ftp://a.up.test/",
		"http://u:p@a.up.test/a#b":  "https://a.up.test/a",
		"http://a.up.test/%2e%2F?#": "https://a.up.test/%2e%2F?",
	} {
		req := getURL(t, in)
		before := *req.URL
		rt := rules.Route(req)
		if got := rt.FetchURL.String(); got != want {
			t.Errorf("%s: fetched from %s, want %s", in, got, want)
		}
		if *req.URL != before {
			t.Errorf("%s: the request's URL changed", in)
		}
	}
	a, b := rules.Route(getURL(t, "http://a.up.test/x")), rules.Route(getURL(t, "https://a.up.test/x"))
	if a.Key != b.Key || a.Key != "https://a.up.test/x" {
		t.Errorf("one object, two keys: %s, %s", a.Key, b.Key)
	}
}

func TestExpectLarge(t *testing.T) {
	yes, no := true, false
	rules := Rules{Rules: []Rule{
		{Path: "/yes/**", ExpectLarge: &yes}, {Path: "/no/**", ExpectLarge: &no}, {Path: "/pass/**", Route: Pass},
		{Path: "/public/**", Public: true},
	}}
	auth := func(r Request) Request { r.Header.Set("Authorization", "x"); return r }
	for _, tc := range []struct {
		name string
		req  Request
		want bool
	}{
		{"extension", getURL(t, "http://o.test/a.iso"), true},
		{"no extension", getURL(t, "http://o.test/a"), false},
		{"rule: yes", getURL(t, "http://o.test/yes/a"), true},
		{"rule: no", getURL(t, "http://o.test/no/a.iso"), false},
		{"passed", getURL(t, "http://o.test/pass/a.iso"), false},
		{"credentials", auth(getURL(t, "http://o.test/a.iso")), false},
		{"credentials, signed", getURL(t, "http://o.test/a.iso?X-Amz-Signature=1"), false},
		{"credentials, rule: yes", auth(getURL(t, "http://o.test/yes/a")), true},
		{"credentials, rule: public", auth(getURL(t, "http://o.test/public/a.iso")), true},
	} {
		if rt := rules.Route(tc.req); rt.ExpectLarge != tc.want {
			t.Errorf("%s: got %v", tc.name, rt.ExpectLarge)
		}
	}
}

// The rules' part of the promise that nothing private is shared.
func TestSignedURLsAreSharedOnlyByRule(t *testing.T) {
	const signedURL = "http://s3.test/b/k.iso?v=1&X-Amz-Credential=a&X-Amz-Signature=b"
	for _, tc := range []struct {
		name string
		rule Rule
		want bool
		key  Key
	}{
		{"no rule", Rule{Host: "other.test", Public: true}, false, signedURL},
		{"public", Rule{Public: true}, true, signedURL},
		{"ignore_query", Rule{Key: KeyRule{IgnoreQuery: true}}, true, "http://s3.test/b/k.iso"},
		{"ignore_params: all credentials", Rule{Key: KeyRule{IgnoreParams: []string{"X-Amz-*"}}}, true, "http://s3.test/b/k.iso?v=1"},
		{"ignore_params: some", Rule{Key: KeyRule{IgnoreParams: []string{"X-Amz-Signature"}}}, false, "http://s3.test/b/k.iso?v=1&X-Amz-Credential=a"},
		{"ignore_params: others", Rule{Key: KeyRule{IgnoreParams: []string{"v"}}}, false, "http://s3.test/b/k.iso?X-Amz-Credential=a&X-Amz-Signature=b"},
	} {
		rules := Rules{Rules: []Rule{tc.rule}}
		req := getURL(t, signedURL)
		rt := rules.Route(req)
		if rt.Key != tc.key {
			t.Errorf("%s: key %s, want %s", tc.name, rt.Key, tc.key)
		}
		if rt.FetchURL.RawQuery != req.URL.RawQuery {
			t.Errorf("%s: the fetch lost its signature: %s", tc.name, rt.FetchURL)
		}
		if ok, reason := rt.Cache.Storable(req, stored("Etag", `"x"`), rt.Store); ok != tc.want {
			t.Errorf("%s: storable %v %s", tc.name, ok, reason)
		}
	}
}

func TestRouteLeavesTheHeaderAlone(t *testing.T) {
	req := getURL(t, "http://o.test/")
	req.Header = nil
	if rt := (&Rules{}).Route(req); rt.Kind != Swarm {
		t.Errorf("nil header: %+v", rt)
	}
	if rt := (&Rules{}).AtResponse(Route{Kind: Swarm}, 200, http.Header(nil), -1); rt.Kind != Swarm {
		t.Errorf("nil response header: %+v", rt)
	}
}

func TestRouteSettlesCaching(t *testing.T) {
	yes, no := true, false
	rules := Rules{Rules: []Rule{
		{Path: "/a/**", CacheUseStale: []Failures{none}, CacheMinUses: 2, XAccelExpires: &no},
		{Path: "/**", CacheUseStale: []Failures{Unreachable, Status503}, CacheMinUses: 5, XAccelExpires: &yes, CDNCacheControl: &no, CacheBackgroundUpdate: &yes},
		{ContentType: "text/*", IgnoreHeaders: []Ignored{IgnoreVary, IgnoreExpires}, CacheValid: []Validity{validity("1m")}},
		{Host: "s.test", Upgrade: "https", CacheBypass: []Predicate{predicate("$args")}, NoCache: []Predicate{predicate("$http_x")}},
	}}
	if errs := rules.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	a := rules.Route(getURL(t, "http://o.test/a/x")).Cache
	if a.UseStale != none || a.MinUses != 2 || a.AccelExpires || !a.Untargeted || !a.BackgroundUpdate || a.Authentic || a.Ignore != 0 {
		t.Errorf("/a/x: %+v", a)
	}
	rt := rules.Route(getURL(t, "http://s.test/b"))
	if b := rt.Cache; b.UseStale != Unreachable|Status503 || b.MinUses != 5 || !b.AccelExpires || !b.Authentic || len(b.Bypass) != 1 || len(b.NoCache) != 1 {
		t.Errorf("/b: %+v", b)
	}
	late := rules.AtResponse(rt, 200, header("Content-Type", "text/plain"), 9).Cache
	if late.Ignore != IgnoreVary|IgnoreExpires || len(late.Valid) != 1 || !late.Authentic || late.MinUses != 5 {
		t.Errorf("/b at the response: %+v", late)
	}
	if z := (&Rules{}).Route(getURL(t, "https://o.test/")).Cache; !z.Authentic || z.Untargeted || z.AccelExpires || z.UseStale != 0 {
		t.Errorf("no rules: %+v", z)
	}
}
