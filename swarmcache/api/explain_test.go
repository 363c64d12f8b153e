package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"shatabdi/swarmcache/api"
)

// explain notes what it is asked.
func (n *node) explain(_ context.Context, q api.Question) api.Explanation {
	n.explained = q
	rule, length := 1, int64(7)
	return api.Explanation{
		Key: "http://origin.test/0", FetchURL: q.Request.URL.String(), Last: "small",
		Route:   api.ExplainedRoute{Reasoned: api.Because("swarm", "default"), Rule: &rule, Threshold: 4 << 20},
		Stored:  &api.ExplainedStored{Length: 7, Age: 1, FreshFor: -1, FreshUntil: &added},
		Verdict: api.Because("fetch", "uri-miss"),
		From:    api.ExplainedFrom{Source: "peers", Peers: &api.ExplainedPeers{Complete: 2}, Fill: &api.ExplainedFill{Opener: "two"}},
		Answer:  &api.ExplainedAnswer{Status: 200, Length: &length, Verdict: api.Because("pass", "private")},
	}
}

func TestExplain(t *testing.T) {
	n := newNode(t, 0)
	var e api.Explanation
	q := url.Values{"url": {"http://origin.test/0"}, "header": {"Cache-Control: no-cache", "Accept: a, b"}, "ask": {"true"}}
	n.ask("GET", "/api/v1/explain?"+q.Encode(), "", 200, &e)
	r := n.explained.Request
	if r.Method != "GET" || r.URL.String() != q.Get("url") || r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("Accept") != "a, b" || !n.explained.Ask {
		t.Errorf("asked %+v", n.explained)
	}
	if e.URL != q.Get("url") || e.FetchURL != "" || e.Verdict.Clause != "RFC 9111 §4" || e.Answer.Verdict.Text == "" {
		t.Errorf("%+v", e)
	}
	for bad, says := range map[string]string{
		"": "url", "url=/x": "query.url", "url=ftp://a/b": "query.url", "url=http://a/&header=none": "query.header", "url=http://a/&method=BREW": "method", "url=http://a/&x=y": "x",
	} {
		var p api.Problem
		n.ask("GET", "/api/v1/explain?"+bad, "", 422, &p)
		if !strings.Contains(fmt.Sprint(p), says) {
			t.Errorf("%s: %+v does not say %q", bad, p, says)
		}
	}
}

func TestReload(t *testing.T) {
	n := newNode(t, 0)
	n.reload = func() (api.Reloaded, error) {
		return api.Reloaded{Changed: []api.SettingChange{{Key: "mode", From: "swarm", To: "pass"}}, Restart: []api.SettingChange{}, Warnings: []string{}}, nil
	}
	var r api.Reloaded
	n.ask("POST", "/api/v1/reload", "", 200, &r)
	if len(r.Changed) != 1 || r.Changed[0].To != "pass" {
		t.Errorf("%+v", r)
	}
	n.reload = func() (api.Reloaded, error) {
		return api.Reloaded{}, fmt.Errorf("read: %w", &api.ConfigError{Problems: []api.ConfigProblem{{"a.yaml:1:2", "wrong"}, {"", "bad"}}})
	}
	var p api.Problem
	n.ask("POST", "/api/v1/reload", "", 422, &p)
	if len(p.Errors) != 2 || p.Errors[0].Location != "a.yaml:1:2" || p.Errors[1].Message != "bad" {
		t.Errorf("%+v", p)
	}
	n.reload = func() (api.Reloaded, error) { return api.Reloaded{}, errors.New("it stops") }
	n.ask("POST", "/api/v1/reload", "", 503, nil)
	n.ask("POST", "/api/v1/reload", "", 403, nil, "Sec-Fetch-Site", "cross-site")
}

func TestConfig(t *testing.T) {
	n := newNode(t, 0)
	var c api.Settings
	n.ask("GET", "/api/v1/config", "", 200, &c)
	if len(c.Settings) != 1 || c.Settings[0].Key != "mode" {
		t.Errorf("%+v", c)
	}
}
