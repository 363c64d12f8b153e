package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// askedOf asks for a URL through a node's proxy, and returns the body and nginx's
// word for where it came from.
func askedOf(t *testing.T, proxy, method, u string) (body, word string) {
	t.Helper()
	tr := &http.Transport{}
	if proxy != "" {
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), res.Header.Get("X-Cache-Status")
}

// Small objects survive kill -9 of their node, but not a purge that was ordered while
// it was down, nor a run in which nobody looked after them.
func TestSmallObjectsOutliveTheirNode(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprintf(w, "%s %d", r.URL.Path, asked.Add(1))
	}))
	t.Cleanup(origin.Close)
	first, second := testConfig(t), testConfig(t)
	second.Admin.Listen = freeAddr(t)
	allow := []string{"--allow-destination", "127.0.0.0/8", "--advertise", "127.0.0.1"}
	other := startProcess(t, first, allow...).proxy()
	start := func(more ...string) (*process, string) {
		p := startProcess(t, second, append(append(more, allow...), "--etcd-endpoints", first.Etcd.ListenClient[0])...)
		return p, p.proxy()
	}
	node, proxy := start("--small", "cache")
	kept, _ := askedOf(t, proxy, "GET", origin.URL+"/kept")
	askedOf(t, proxy, "GET", origin.URL+"/purged")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		metrics, _ := askedOf(t, "", "GET", "http://"+second.Admin.Listen+"/metrics")
		if strings.Contains(metrics, "shatabdi_small_disk_written_total 2\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("they were not written to the disk")
		}
	}
	node.signal(syscall.SIGKILL)
	node.Wait()
	askedOf(t, other, "PURGE", origin.URL+"/purged")
	asked.Store(10)

	node, proxy = start("--small", "cache")
	if body, word := askedOf(t, proxy, "GET", origin.URL+"/purged"); body != "/purged 11" {
		t.Errorf("purged while it was down: %q, %s", body, word)
	}
	if body, word := askedOf(t, proxy, "GET", origin.URL+"/kept"); body != kept || word != "HIT" {
		t.Errorf("after kill -9: %q, %s", body, word)
	}
	node.signal(syscall.SIGTERM)
	node.Wait()

	node, _ = start("--small", "pass")
	node.signal(syscall.SIGTERM)
	node.Wait()
	_, proxy = start("--small", "cache")
	if body, word := askedOf(t, proxy, "GET", origin.URL+"/kept"); body != "/kept 12" {
		t.Errorf("after a run without them: %q, %s", body, word)
	}
}
