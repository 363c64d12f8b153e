package source

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// startRegistry runs a registry; password: "" is for everybody.
func startRegistry(t *testing.T, password string) string {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); password != "" && got != password && r.Method != http.MethodPut && r.Method != http.MethodPost && r.Method != http.MethodPatch {
			w.Header().Set("Www-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestImage(t *testing.T) {
	host := startRegistry(t, "")
	image, err := random.Image(50_000, 3)
	must(t, err)
	ref, err := name.ParseReference(host + "/team/app:v1")
	must(t, err)
	must(t, remote.Write(ref, image))
	s := New(Config{})

	items, err := s.List(t.Context(), "oci://"+host+"/team/app:v1")
	if err != nil || len(items) != 5 { // manifest, configuration, layers
		t.Fatalf("%+v, %v", items, err)
	}
	layers, err := image.Layers()
	must(t, err)
	for i, l := range layers {
		d, err := l.Digest()
		must(t, err)
		body, err := l.Compressed()
		must(t, err)
		want, err := io.ReadAll(body)
		must(t, err)
		at := fmt.Sprintf("oci://%s/team/app/blobs/%s", host, d)
		if items[2+i] != (Item{at, "blobs/sha256/" + d.Hex, d.Hex, int64(len(want)), "application/vnd.docker.image.rootfs.diff.tar.gzip"}) {
			t.Errorf("%+v", items[2+i])
		}
		isOrigin(t, s, at, want)
		if res, _ := ask(t, s, "HEAD", at); res.Header.Get("Etag") != `"`+d.String()+`"` || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Error(res.Header)
		}
	}
	manifest, err := image.RawManifest()
	must(t, err)
	isOrigin(t, s, items[0].URL, manifest)
	digest, err := image.Digest()
	must(t, err)
	same, err := s.List(t.Context(), fmt.Sprintf("oci://%s/team/app@%s", host, digest))
	if err != nil || len(same) != len(items) || same[0] != items[0] {
		t.Errorf("by digest: %+v, %v", same, err)
	}
	if one, err := s.List(t.Context(), items[1].URL); one != nil || err != nil {
		t.Errorf("a blob is itself: %+v, %v", one, err)
	}
	refuses(t, s, "oci://"+host+"/team/app:v1", 400, "an image is many objects")
	refuses(t, s, "oci://"+host+"/team/app/blobs/sha256:"+strings.Repeat("0", 64), 404, "there is no sha256:000")
	for raw, want := range map[string]string{
		"oci://" + host + "/team/app:none":            "there is no none in ",
		"oci://" + host + "/team/app:v1?platform=x":   "is no platform",
		"oci://" + host + "/team/app:v1?x=1":          "want oci://HOST/REPOSITORY:TAG",
		"oci://127.0.0.1:1/team/app:v1":               "cannot be asked about v1",
		"oci://" + host + "/Team/app:v1?platform=all": "want oci://HOST/REPOSITORY:TAG",
	} {
		if _, err := s.List(t.Context(), raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", raw, err, want)
		}
	}
}

func TestImageForSeveralPlatforms(t *testing.T) {
	host := startRegistry(t, "")
	var adds []mutate.IndexAddendum
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := random.Image(1000, 1)
		must(t, err)
		adds = append(adds, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	ref, err := name.ParseReference(host + "/app:v1")
	must(t, err)
	must(t, remote.WriteIndex(ref, mutate.AppendManifests(empty.Index, adds...)))
	at := "oci://" + host + "/app:v1"
	for raw, want := range map[string]int{at + "?platform=linux/arm64": 4, at + "?platform=linux/amd64": 4, at + "?platform=all": 7} {
		if items, err := New(Config{}).List(t.Context(), raw); len(items) != want || err != nil {
			t.Errorf("%s: %d of %d, %v", raw, len(items), want, err)
		}
	}
	arm, err := New(Config{Registry: Registry{Platform: "linux/arm64"}}).List(t.Context(), at)
	must(t, err)
	d, err := adds[1].Add.(v1.Image).Digest()
	must(t, err)
	if arm[1].SHA256 != d.Hex {
		t.Errorf("another platform's: %+v", arm)
	}
	_, err = New(Config{}).List(t.Context(), at+"?platform=linux/s390x")
	if err == nil || !strings.Contains(err.Error(), "is not there for linux/s390x; choose with ?platform= among linux/amd64, linux/arm64, or all") {
		t.Error(err)
	}
}

func TestRegistryCredentials(t *testing.T) {
	host := startRegistry(t, "s3cr3t")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	config := func(auths string) string {
		file := filepath.Join(t.TempDir(), "config.json")
		must(t, os.WriteFile(file, []byte(auths), 0o600))
		return file
	}
	auth := func(password string) string {
		return config(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:"+password))))
	}
	image, err := random.Image(1000, 1)
	must(t, err)
	ref, err := name.ParseReference(host + "/app:v1")
	must(t, err)
	right := auth("s3cr3t")
	must(t, remote.Write(ref, image, remote.WithAuthFromKeychain(dockerConfig(right))))
	for file, want := range map[string]string{
		right:            "",
		auth("wr0ng"):    "refuses the credentials from",
		config(`{}`):     "wants credentials for app, and there are none",
		config("s3cr3t"): "is no config.json",
		"/none":          "cannot be read",
		"":               "wants credentials for app, and there are none",
	} {
		s := New(Config{Registry: Registry{CredentialsFile: file}})
		items, err := s.List(t.Context(), "oci://"+host+"/app:v1")
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want == "":
			if res, _ := ask(t, s, "GET", items[2].URL); res.StatusCode != 200 {
				t.Errorf("a layer: %d", res.StatusCode)
			}
		case err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "wr0ng"):
			t.Errorf("%v; want %q", err, want)
		}
	}
}
