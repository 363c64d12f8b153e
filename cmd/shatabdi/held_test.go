package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shatabdi/swarmcache/api"
)

// An origin that keeps its answers to itself holds up neither the end of a daemon, a
// client that waits for one no longer than the drain timeout, nor what was ordered,
// which goes on after a restart.
func TestStopsWhileAnOriginHoldsItsAnswers(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("swarm...", 1<<18)
	release, asked := make(chan struct{}), atomic.Int64{}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hold := func() {
			asked.Add(1)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		if strings.HasPrefix(r.URL.Path, "/silent") || r.URL.Path == "/list" {
			hold()
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		io.WriteString(w, body[:1000])
		w.(http.Flusher).Flush()
		if strings.HasPrefix(r.URL.Path, "/begun") {
			hold()
		}
		io.WriteString(w, body[1000:])
	}))
	defer origin.Close()
	c, dir := testConfig(t), t.TempDir()
	c.DrainTimeout = 500 * time.Millisecond
	c.Admin.Listen, c.Proxy.Listen = freeAddr(t), freeAddr(t)
	ask := func(method, path, order string, out any) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+c.Admin.Listen+api.Prefix+path, strings.NewReader(order))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 300 || json.Unmarshal(b, out) != nil {
			t.Fatalf("%s %s: %s, %v: %s", method, path, res.Status, err, b)
		}
	}
	file := filepath.Join(t.TempDir(), "shatabdi.yaml")
	if err := os.WriteFile(file, []byte("downloads: {directories: ["+dir+"]}"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() *process {
		p := startProcess(t, c, "--config", file, "--allow-destination", "127.0.0.1")
		p.until("ready")
		return p
	}

	p := start()
	var download api.Download
	ask("POST", "downloads", fmt.Sprintf(`{"url":"%s/begun","destination":"%s/file"}`, origin.URL, dir), &download)
	var own, job api.Warmup
	ask("POST", "warmups", fmt.Sprintf(`{"urls":["%s/silent/1","%[1]s/begun/1"]}`, origin.URL), &own)
	ask("POST", "warmups", fmt.Sprintf(`{"urls":["%s/silent/2","%[1]s/begun/2"],"all":true}`, origin.URL), &job)
	proxy := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: c.Proxy.Listen}), DisableKeepAlives: true}
	waits := make(chan error, 1)
	go func() {
		res, err := (&http.Client{Transport: proxy}).Get(origin.URL + "/silent/client")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		waits <- err
	}()
	go func() { // it waits for a list that does not come
		res, err := http.Post("http://"+c.Admin.Listen+api.Prefix+"warmups", "application/json", strings.NewReader(fmt.Sprintf(`{"manifest":"%s/list"}`, origin.URL)))
		if err == nil {
			res.Body.Close()
		}
	}()
	for deadline := time.Now().Add(time.Minute); asked.Load() < 7; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the origin was asked %d times", asked.Load())
		}
	}
	p.signal(syscall.SIGTERM)
	p.exits(0) // its watchdog does not wait for an origin
	if err := <-waits; err == nil {
		t.Error("the client was told that it has everything")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}

	close(release)
	p = start()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ask("GET", "downloads/"+download.ID, "", &download)
		ask("GET", "warmups/"+own.ID, "", &own)
		ask("GET", "warmups/"+job.ID, "", &job)
		if download.State == "done" && own.State == "done" && job.State == "done" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %+v, %+v, %+v", download, own, job)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != body || own.Done != 2 || job.Done != 2 {
		t.Errorf("%d bytes, %v; %+v, %+v", len(got), err, own, job)
	}
	p.signal(syscall.SIGTERM)
	p.exits(0)
}
