package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"shatabdi/swarmcache/events"
)

// read sends one request for the events that are kept.
func (n *node) read(target string, header ...string) (kinds []string, all []events.Event) {
	n.t.Helper()
	w := n.ask("GET", target, "", 200, nil, header...)
	for line := range strings.Lines(w.Body.String()) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e events.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			n.t.Fatal(err)
		}
		kinds, all = append(kinds, e.Kind), append(all, e)
	}
	return kinds, all
}

func TestEventsAreKept(t *testing.T) {
	n := newNode(t, 2)
	n.ask("POST", "/api/v1/purge", `{"url":"http://origin.test/0"}`, 200, nil)
	n.events.Tell(events.Event{Kind: events.Leader, Node: "two"})
	kinds, all := n.read("/api/v1/events?follow=false")
	if fmt.Sprint(kinds) != "[purged leader]" || all[0].Key != "http://origin.test/0" || all[1].ID == "" {
		t.Errorf("%v %+v", kinds, all)
	}
	for range 9 {
		n.events.Tell(events.Event{Kind: events.Leader})
	}
	// Behind the first: of the ten that came since, eight are kept.
	kinds, got := n.read("/api/v1/events?follow=false", "Last-Event-ID", all[0].ID)
	if len(kinds) != 9 || kinds[0] != events.Lost || got[0].Count != 2 {
		t.Errorf("%v", kinds)
	}
	if kinds, _ = n.read("/api/v1/events?follow=false&kind=purged,completed&after=" + got[8].ID); len(kinds) != 0 {
		t.Errorf("%v", kinds)
	}
	if kinds, got = n.read("/api/v1/events?follow=false", "Last-Event-ID", "x-1"); kinds[0] != events.Lost || got[0].Count != 0 || len(kinds) != 9 {
		t.Errorf("%v", kinds)
	}
	n.ask("GET", "/api/v1/events?kind=nonsense", "", 422, nil)
	n.ask("GET", "/api/v1/events?follow=maybe", "", 422, nil)
}

// A stream tells what happens, ends with its client and with the hub, and there
// are not too many.
func TestEventsStream(t *testing.T) {
	n := newNode(t, 0)
	s := httptest.NewServer(n.handler)
	defer s.Close()
	client := s.Client()
	open := func(ctx context.Context) *http.Response {
		req, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/api/v1/events", nil)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first := open(ctx)
	defer first.Body.Close()
	n.events.Tell(events.Event{Kind: events.Readiness, State: "ok"})
	line, err := bufio.NewReader(first.Body).ReadString('\n')
	if line != "event: readiness\n" || err != nil {
		t.Fatalf("%q %v", line, err)
	}
	var all []*http.Response
	for range 63 {
		all = append(all, open(ctx))
	}
	refused := open(ctx)
	refused.Body.Close()
	if refused.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("65 streams: %s", refused.Status)
	}
	for _, res := range all[:62] {
		res.Body.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		res := open(ctx)
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("streams whose clients are gone stay")
		}
	}
	n.events.Close()
	if _, err := bufio.NewReader(all[62].Body).ReadString(0); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("after the end: %v", err)
	}
	all[62].Body.Close()
}

// What only reads is refused to other sites' pages too: it may hold a stream open,
// or have an origin asked.
func TestOtherSitesReadNothing(t *testing.T) {
	n := newNode(t, 0)
	for _, path := range []string{"events?follow=false", "explain?url=http://a.test/&ask=true", "config", "status", "objects"} {
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://evil.test"}, {"Origin", "null"},
		} {
			n.ask("GET", "/api/v1/"+path, "", 403, nil, header...)
		}
	}
	n.read("/api/v1/events?follow=false", "Sec-Fetch-Site", "none")
	n.read("/api/v1/events?follow=false", "Sec-Fetch-Site", "same-origin", "Origin", "http://example.com")
	n.read("/api/v1/events?follow=false", "Origin", "http://example.com") // the host that httptest asks
}
