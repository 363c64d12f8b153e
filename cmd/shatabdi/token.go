package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"shatabdi/swarmcache/api"
)

// tokenVariable names the file of the token, for the daemon and for who asks it.
const tokenVariable = "SHATABDI_ADMIN_TOKEN_FILE"

// challenge is what a daemon answers that wants one.
const challenge = `Bearer realm="shatabdi"`

// minToken is what cannot be guessed, if it is random.
const minToken = 16

// readToken reads the secret that a file holds on its one line. As ssh does with keys
// it refuses a file that everybody on the machine can read or write; a group may, which
// is how operators and the daemon share it.
func readToken(name string) (string, error) {
	f, err := os.Open(name)
	var b []byte
	if err == nil {
		defer f.Close()
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o006 != 0 {
			return "", usage("chmod o= "+name+", and make another one if somebody may have read it", "the token in %s: everybody on this machine can read or write it", name)
		}
		b, err = io.ReadAll(io.LimitReader(f, 64<<10))
	}
	if err != nil {
		return "", usage("`openssl rand -hex 32` makes one; the file is for the daemon's user alone", "the token of the admin listener: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usage("`openssl rand -hex 32` makes one", "the token in %s: want one line of at least %d printable characters without spaces", name, minToken)
	}
	return token, nil
}

// guarded asks for a token (RFC 6750) for all but whether the daemon lives and is
// ready, which load balancers ask and which tells nothing of what it has. A page that
// has a browser ask cannot know it, so the name in Host does not matter.
// The token is the one of now.
func guarded(token func() string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		want := sha256.Sum256([]byte(token()))
		sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
		known := strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], want[:]) == 1
		open := (r.URL.Path == "/livez" || r.URL.Path == "/readyz") && r.URL.RawQuery == "" && !wantsJSON(r)
		if !known && !open {
			w.Header().Set("WWW-Authenticate", challenge)
			w.Header().Set("Cache-Control", "no-store")
			api.WriteProblem(w, http.StatusUnauthorized, "this listener wants a token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearing adds a token to requests to a host, and to no other that it redirects to.
type bearing struct {
	token, host string
	next        http.RoundTripper
}

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != b.host {
		return b.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// refusedToken says what to do where a token was wanted.
func (c *client) refusedToken() error {
	err, hint := fmt.Errorf("the daemon on %s wants a token", c.name),
		fmt.Sprintf("name its file with --token-file or %s, or ask on its own machine with --admin unix:DIR/admin.sock", tokenVariable)
	if c.bears {
		err, hint = fmt.Errorf("the daemon on %s does not know this token", c.name), "is it the file that the daemon has as admin.token_file?"
	}
	if c.unread != nil {
		err = fmt.Errorf("%w: %w", err, c.unread)
	}
	return &cliError{exitFailure, tokenWanted{err}, hint}
}

// tokenWanted is what a daemon does not tell without its token.
type tokenWanted struct{ error }

func (e tokenWanted) Unwrap() error { return e.error }
