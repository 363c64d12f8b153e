package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vaultRules have the origin asked about each client below /vault/.
func vaultRules(t *testing.T) (file string) {
	file = filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte("rules:\n- path: /vault/**\n  auth: probe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// admitsByOrigin checks `auth: probe` of several daemons that are one cache: what one
// has fetched for a client the others give to whom the origin admits, variant by
// variant, and to nobody else.
func admitsByOrigin(t *testing.T, proxies []string) {
	t.Helper()
	bodies := map[string]string{"en": strings.Repeat("hello ", 2000), "de": strings.Repeat("hallo ", 2000)}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, lang := r.Header.Get("Authorization"), r.Header.Get("Accept-Language")
		w.Header().Set("Vary", "Accept-Language")
		if who != "alice" && (who != "carol" || lang != "en") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Etag", `"`+lang+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(bodies[lang]))
	}))
	defer origin.Close()
	asks := func(proxy, who, lang string) (status int, word string) {
		t.Helper()
		via := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})}
		defer via.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), "GET", origin.URL+"/vault/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {who}, "Accept-Language": {lang}}
		res, err := via.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if want := bodies[lang]; err != nil || res.StatusCode == 200 && string(b) != want || res.StatusCode != 200 && len(b) > 0 {
			t.Fatalf("%s, in %s: %s with %d bytes, %v", who, lang, res.Status, len(b), err)
		}
		return res.StatusCode, res.Header.Get("X-Cache-Status")
	}
	for _, lang := range []string{"en", "de"} {
		if status, word := asks(proxies[0], "alice", lang); status != 200 || word != "MISS" {
			t.Errorf("alice, in %s: %d %s", lang, status, word)
		}
		for i, proxy := range proxies {
			// What the first has is known to the others a moment later; until then they ask
			// the origin, as they may.
			for word, begun := "", time.Now(); word != "HIT"; time.Sleep(20 * time.Millisecond) {
				if _, word = asks(proxy, "alice", lang); time.Since(begun) > time.Minute {
					t.Fatalf("node %d has nothing in %s: %s", i+1, lang, word)
				}
			}
			if status, _ := asks(proxy, "bob", lang); status != http.StatusForbidden {
				t.Errorf("bob, in %s, by node %d: %d", lang, i+1, status)
			}
			status, word := asks(proxy, "carol", lang)
			if lang == "en" && (status != 200 || word != "REVALIDATED") || lang == "de" && status != http.StatusForbidden {
				t.Errorf("carol, in %s, by node %d: %d %s", lang, i+1, status, word)
			}
		}
	}
}
