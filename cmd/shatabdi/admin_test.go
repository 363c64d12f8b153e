package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"shatabdi/swarmcache/api"
)

func ask(h http.Handler, target, host, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = host
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAdminEndpoints(t *testing.T) {
	ready := newReadiness()
	directory := ready.helpful("directory", patience)
	h := newAdmin(ready, newRegistry(build{Version: "v1.2.3", Go: "go1.26"})).handler()

	if w := ask(h, "/livez", "127.0.0.1:3180", ""); w.Code != 200 {
		t.Errorf("/livez: %d", w.Code)
	}
	if w := ask(h, "/readyz", "127.0.0.1:3180", ""); w.Code != 503 || w.Body.String() != "waiting\n" {
		t.Errorf("/readyz: %d %q", w.Code, w.Body)
	}
	directory.report(nil)
	directory.report(errors.New("connection refused"))
	if w := ask(h, "/readyz?verbose", "127.0.0.1:3180", ""); w.Code != 200 || w.Body.String() != "directory  degraded  connection refused\ndegraded\n" {
		t.Errorf("/readyz?verbose: %d %q", w.Code, w.Body)
	}
	var report api.Readiness
	w := ask(h, "/readyz?verbose", "127.0.0.1:3180", "application/json")
	if err := json.Unmarshal(w.Body.Bytes(), &report); err != nil || !report.Ready || report.Checks[0].State != stateDegraded {
		t.Errorf("%+v %v", report, err)
	}
	w = ask(h, "/metrics", "127.0.0.1:3180", "")
	for _, want := range []string{`shatabdi_build_info{goversion="go1.26",revision="",version="v1.2.3"} 1`, "go_goroutines", "process_open_fds"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if w := ask(h, "/", "127.0.0.1:3180", ""); w.Code != 404 {
		t.Errorf("/: %d", w.Code)
	}
}

func TestAdminAnswersToAddressesOnly(t *testing.T) {
	h := newAdmin(newReadiness(), newRegistry(build{})).handler()
	for host, want := range map[string]int{
		"127.0.0.1:3180":        200,
		"127.0.0.1":             200,
		"[::1]:3180":            200,
		"[::1]":                 200,
		"localhost:3180":        200,
		"LocalHost":             200,
		"attacker.example:3180": 403,
		"localhost.example":     403,
		"127.0.0.1.example":     403,
		"":                      403,
	} {
		if w := ask(h, "/livez", host, ""); w.Code != want {
			t.Errorf("Host: %s: %d, want %d", host, w.Code, want)
		}
	}
}
