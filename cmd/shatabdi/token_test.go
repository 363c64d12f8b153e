package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestTokenGuardsTheAdminListener(t *testing.T) {
	a := newAdmin(newReadiness(), newRegistry(build{}))
	first, second := "fedcba9876543210", "0123456789abcdef"
	a.token.Store(&first)
	h := a.handler()
	a.token.Store(&second) // a reload
	for _, tt := range []struct {
		path, authorization string
		want                int
	}{
		{"/livez", "", 200},
		{"/readyz", "", 200},
		{"/readyz?verbose", "", 401},
		{"/metrics", "", 401},
		{"/api/v1/status", "", 401},
		{"/api/v1/status", "Bearer 0123456789abcdeX", 401},
		{"/api/v1/status", "Bearer fedcba9876543210", 401},
		{"/api/v1/status", "Bearer 0123456789abcdef0", 401},
		{"/api/v1/status", "Bearer", 401},
		{"/api/v1/status", "Basic 0123456789abcdef", 401},
		{"/api/v1/status", "Bearer 0123456789abcdef", 503}, // it is starting
		{"/api/v1/status", "bearer 0123456789abcdef", 503},
		{"/metrics", "Bearer 0123456789abcdef", 200},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		r.Host = "node-1.example:3180"
		r.Header.Set("Authorization", tt.authorization)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s, %q: %d, want %d", tt.path, tt.authorization, w.Code, tt.want)
		}
		if w.Code == 401 && (w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Content-Type") != "application/problem+json") {
			t.Errorf("%s: %v", tt.path, w.Header())
		}
	}
	for _, accept := range []string{"application/json", "application/json, */*"} {
		r := httptest.NewRequest("GET", "/readyz", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		if a.handler().ServeHTTP(w, r); w.Code != 401 {
			t.Errorf("the report as %s: %d", accept, w.Code)
		}
	}
}

// Who is redirected elsewhere leaves the token behind.
func TestTokenStaysWithItsDaemon(t *testing.T) {
	const token = "0123456789abcdef"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	var here, there string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { there = r.Header.Get("Authorization") + "asked" }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer s.Close()
	c, err := newClient(daemonAt{url: s.URL, tokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if c.get(t.Context(), "status", nil, nil); here != "Bearer "+token || there != "asked" {
		t.Errorf("the daemon saw %q, the other one %q", here, there)
	}
}

func TestTokensThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "\n", "short": "0123456789abcde\n", "two": "0123456789abcdef\n0123456789abcdef\n", "good": " 0123456789abcdef\n"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := readToken(file)
		if (err == nil) != (name == "good") || err == nil && token != "0123456789abcdef" {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
	for mode, want := range map[os.FileMode]bool{0o600: true, 0o440: true, 0o604: false, 0o602: false} {
		if err := os.Chmod(filepath.Join(dir, "good"), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := readToken(filepath.Join(dir, "good")); (err == nil) != want {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if _, err := readToken(filepath.Join(dir, "none")); err == nil {
		t.Error("no file is a token")
	}
}
