package source

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"go.uber.org/goleak"

	"shatabdi/swarmcache/layout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// s3Server is a real S3 server, and in front of it what looks at the access keys,
// which that server does not.
type s3Server struct {
	url     string
	backend *s3mem.Backend
}

// The access keys, by what S3 says to them.
var s3Refusals = map[string]string{"known": "", "unknown": "InvalidAccessKeyId", "wrong": "SignatureDoesNotMatch", "old": "ExpiredToken", "poor": "AccessDenied", "": "AccessDenied"}

func startS3(t *testing.T) *s3Server {
	t.Helper()
	s := &s3Server{backend: s3mem.New()}
	must(t, s.backend.CreateBucket("models"))
	h := gofakes3.New(s.backend).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		key, _, _ = strings.Cut(key, "/")
		if code := s3Refusals[key]; code != "" {
			w.WriteHeader(http.StatusForbidden)
			if r.Method != http.MethodHead {
				xml.NewEncoder(w).Encode(struct {
					XMLName       xml.Name `xml:"Error"`
					Code, Message string
				}{Code: code, Message: "the key " + key})
			}
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *s3Server) put(t *testing.T, key string, b []byte) {
	t.Helper()
	meta := map[string]string{"Content-Type": "application/x-model", "Last-Modified": time.Now().UTC().Format(http.TimeFormat)}
	_, err := s.backend.PutObject("models", key, meta, bytes.NewReader(b), int64(len(b)), nil)
	must(t, err)
}

// credentials puts some into the environment.
func s3Keys(t *testing.T, access, secret string) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_PROFILE", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "")
}

func TestS3(t *testing.T) {
	srv := startS3(t)
	want := content(1, 200_000)
	srv.put(t, "a/b c?.bin", want)
	srv.put(t, "a/d.bin", []byte("d"))
	srv.put(t, "a/empty", nil)
	srv.put(t, "e.bin", []byte("e"))
	s3Keys(t, "known", "s3cr3t")
	s := New(Config{S3: S3{Buckets: []string{"*"}, Endpoint: srv.url, Region: "us-east-1", PathStyle: true}})
	isOrigin(t, s, "s3://models/a/b%20c%3F.bin", want)
	res, _ := ask(t, s, "HEAD", "s3://models/a/d.bin")
	if res.Header.Get("Content-Type") != "application/x-model" || res.Header.Get("Last-Modified") == "" || res.Header.Get("Cache-Control") != "public, max-age=0" {
		t.Error(res.Header)
	}
	refuses(t, s, "s3://models/none", 404, "there is no s3://models/none")
	refuses(t, s, "s3://nobucket/none", 404, "there is no")
	refuses(t, New(Config{S3: S3{Buckets: []string{"other"}, Endpoint: srv.url}}), "s3://models/e.bin", 403, "the bucket models is none that this node may read")
	refuses(t, s, "s3://models/a/d.bin?x=1", 400, "want s3://BUCKET/KEY")

	items, err := s.List(t.Context(), "s3://models/a/")
	if err != nil || len(items) != 2 || items[0] != (Item{URL: "s3://models/a/b%20c%3F.bin", Name: "b c?.bin", Length: 200_000}) || items[1].Name != "d.bin" {
		t.Errorf("%+v, %v", items, err)
	}
	if all, err := s.List(t.Context(), "s3://models"); len(all) != 3 || err != nil {
		t.Errorf("%+v, %v", all, err)
	}
	if items, err := s.List(t.Context(), "s3://models/e.bin"); items != nil || err != nil {
		t.Errorf("an object is itself: %v, %v", items, err)
	}
	if _, err := s.List(t.Context(), "s3://models/none/"); err == nil || !strings.Contains(err.Error(), "nothing under") {
		t.Errorf("%v", err)
	}
}

// Bytes of a version that is no more are not to be had, also where the server does
// not heed If-Match.
func TestS3ObjectChanges(t *testing.T) {
	srv := startS3(t)
	srv.put(t, "a.bin", content(1, 1000))
	s3Keys(t, "known", "s3cr3t")
	s := New(Config{S3: S3{Buckets: []string{"*"}, Endpoint: srv.url, Region: "us-east-1", PathStyle: true}})
	u, err := url.Parse("s3://models/a.bin")
	must(t, err)
	src := s.byScheme["s3"]
	i, err := src.Stat(t.Context(), u)
	must(t, err)
	srv.put(t, "a.bin", content(2, 1000))
	if _, err := src.Open(t.Context(), u, i, layout.Range{From: 10, To: 20}); !errors.Is(err, ErrChanged) {
		t.Errorf("a range: %v", err)
	}
	if _, err := src.Open(t.Context(), u, i, layout.Range{To: 1000}); !errors.Is(err, ErrChanged) {
		t.Errorf("the whole: %v", err)
	}
	res, got := ask(t, s, "GET", "s3://models/a.bin", "Range: bytes=10-19", `If-Range: "`+i.Validator+`"`)
	if res.StatusCode != 200 || got != string(content(2, 1000)) {
		t.Errorf("%d, %d bytes", res.StatusCode, len(got))
	}
}

// What is missing or refused is named, and no secret is.
func TestS3Credentials(t *testing.T) {
	srv := startS3(t)
	srv.put(t, "a.bin", []byte("a"))
	file := filepath.Join(t.TempDir(), "credentials")
	must(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = known\naws_secret_access_key = s3cr3t\n[half]\naws_access_key_id = known\n"+
		"[other]\naws_secret_access_key = s3cr3t\n[bad]\naws_access_key_id = unknown\naws_secret_access_key = s3cr3t\n"), 0o600))
	at := func(cfg S3) *Sources {
		cfg.Buckets = []string{"models"}
		cfg.Endpoint, cfg.Region, cfg.PathStyle = srv.url, "us-east-1", true
		return New(Config{S3: cfg})
	}
	for _, c := range []struct {
		name           string
		access, secret string
		cfg            S3
		want           string // empty: it works
	}{
		{name: "environment", access: "known", secret: "s3cr3t"},
		{name: "file", cfg: S3{CredentialsFile: file}},
		{name: "file before environment", access: "unknown", secret: "s3cr3t", cfg: S3{CredentialsFile: file}},
		{name: "none", want: "S3 wants credentials for s3://models/a.bin, and there are none\nshatabdi: hint: set AWS_ACCESS_KEY_ID"},
		{name: "half", access: "known", want: "AWS_SECRET_ACCESS_KEY is not in the environment"},
		{name: "other half", secret: "s3cr3t", want: "AWS_ACCESS_KEY_ID is not in the environment"},
		{name: "half a profile", cfg: S3{CredentialsFile: file, Profile: "half"}, want: "aws_secret_access_key is not in profile half of " + file},
		{name: "another half", cfg: S3{CredentialsFile: file, Profile: "other"}, want: "aws_access_key_id is not in profile other of " + file},
		{name: "no profile", cfg: S3{CredentialsFile: file, Profile: "none"}, want: "there is no profile none in " + file},
		{name: "no file", cfg: S3{CredentialsFile: file + "x"}, want: "cannot be read: open " + file + "x: no such file"},
		{name: "unknown", access: "unknown", secret: "s3cr3t", want: "does not know the access key from the environment (AWS_ACCESS_KEY_ID)"},
		{name: "unknown in a file", cfg: S3{CredentialsFile: file, Profile: "bad"}, want: "does not know the access key from profile bad of " + file},
		{name: "wrong", access: "wrong", secret: "s3cr3t", want: "refuses the secret key from the environment"},
		{name: "expired", access: "old", secret: "s3cr3t", want: "refuses the session token from the environment"},
		{name: "not allowed", access: "poor", secret: "s3cr3t", want: "does not let the credentials from the environment (AWS_ACCESS_KEY_ID) read s3://models/a.bin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s3Keys(t, c.access, c.secret)
			res, got := ask(t, at(c.cfg), "GET", "s3://models/a.bin")
			switch {
			case c.want == "" && (res.StatusCode != 200 || got != "a"):
				t.Errorf("%d %q", res.StatusCode, got)
			case c.want != "" && (res.StatusCode != 403 || !strings.Contains(got, c.want)):
				t.Errorf("%d %q; want %q", res.StatusCode, got, c.want)
			}
			if strings.Contains(got, "s3cr3t") {
				t.Error("it tells the secret")
			}
		})
	}
	s3Keys(t, "known", "s3cr3t")
	refuses(t, New(Config{S3: S3{Buckets: []string{"models"}, Endpoint: "http://127.0.0.1:1", Region: "us-east-1", PathStyle: true}}), "s3://models/a.bin", 502, "S3 cannot be asked about s3://models/a.bin: ")
}

// Who does not want the answer any more does not wait for it.
func TestS3IsCanceled(t *testing.T) {
	asked, done := make(chan struct{}, 10), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	defer srv.Close()
	defer close(done)
	s3Keys(t, "known", "s3cr3t")
	s := New(Config{S3: S3{Buckets: []string{"*"}, Endpoint: srv.URL, Region: "us-east-1", PathStyle: true}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	req, err := http.NewRequestWithContext(ctx, "GET", "s3://models/a.bin", nil)
	must(t, err)
	if res, err := s.RoundTrip(req); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", res, err)
		io.Copy(io.Discard, res.Body)
	}
}
