package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"shatabdi/swarmcache/api"
)

func TestExitCodesOfTheClient(t *testing.T) {
	answer := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			w.Write([]byte(body))
		}
	}
	problem := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { api.WriteProblem(w, status, "the reason") }
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		code    int
		says    string
	}{
		"not found":       {problem(404), exitNotFound, "the reason"},
		"bad request":     {problem(422), exitUsage, "the reason"},
		"directory away":  {problem(503), exitFailure, "the reason"},
		"silent":          {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, exitPartial, "does not answer in time"},
		"another program": {answer(200, "text/html", "<html>"), exitFailure, "is no shatabdi daemon (200 OK)"},
		"broken":          {answer(200, "application/json", `{"node":`), exitFailure, "unexpected EOF"},
		"closes":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, exitUnreachable, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tt.handler)
			defer s.Close()
			c, err := newClient(daemonAt{url: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			if name == "silent" {
				c.http.Timeout = 50 * time.Millisecond
			}
			var said bytes.Buffer
			code := speak(&said, c.get(t.Context(), "status", nil, new(api.Status)))
			if code != tt.code || !strings.Contains(said.String(), tt.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tt.code, tt.says, &said)
			}
		})
	}
}

func TestAddressOfTheDaemon(t *testing.T) {
	for given, want := range map[string]string{
		"127.0.0.1:3180":                  "http://127.0.0.1:3180",
		"http://[::1]:3180":               "http://[::1]:3180",
		"localhost:1":                     "http://localhost:1",
		"unix:/run/shatabdi/admin.sock":   "http://localhost",
		"unix:///run/shatabdi/admin.sock": "http://localhost",
		"":                                "http://127.0.0.1:3180",
	} {
		t.Setenv(adminVariable, "")
		if c, err := newClient(daemonAt{url: given}); err != nil || c.base.String() != want {
			t.Errorf("%q: %v, %v", given, c, err)
		}
		t.Setenv(adminVariable, given)
		if c, err := newClient(daemonAt{}); err != nil || c.base.String() != want {
			t.Errorf("%s=%q: %v, %v", adminVariable, given, c, err)
		}
	}
	for _, bad := range []string{"https://127.0.0.1:3180", "http://", "ftp://x"} {
		_, err := newClient(daemonAt{url: bad})
		wants(t, err, exitUsage, "is not the address of a daemon")
	}
}
