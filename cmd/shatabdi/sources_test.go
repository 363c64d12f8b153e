package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/rogpeppe/go-internal/testscript"
)

// testS3 runs an S3 server with the bucket models, where the large object is
// llm/large.bin and llm/other.bin, and sets the variable to its address. At /sent
// it tells how many bytes of bodies it sent. It wants an access key: s3 S3
func testS3(ts *testscript.TestScript, _ bool, names []string) {
	backend := s3mem.New()
	ts.Check(backend.CreateBucket("models"))
	for key, text := range map[string]string{"llm/large.bin": large(), "llm/other.bin": large()[8:] + "the end."} {
		meta := map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}
		_, err := backend.PutObject("models", key, meta, strings.NewReader(text), int64(len(text)), nil)
		ts.Check(err)
	}
	h := gofakes3.New(backend).Server()
	var sent atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/sent":
			fmt.Fprint(w, sent.Swap(0))
		case !strings.Contains(r.Header.Get("Authorization"), "Credential=known/"):
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>")
		default:
			h.ServeHTTP(counting{w, &sent}, r)
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv(names[0], s.Listener.Addr().String())
}

// sentByS3 checks that the S3 server at $S3 sent so many large objects since it was
// asked last: sent N
func sentByS3(ts *testscript.TestScript, _ bool, args []string) {
	res, err := http.Get("http://" + ts.Getenv("S3") + "/sent")
	ts.Check(err)
	defer res.Body.Close()
	var n, want float64
	_, err = fmt.Fscan(res.Body, &n)
	ts.Check(err)
	_, err = fmt.Sscan(args[0], &want)
	ts.Check(err)
	if n < want*largeLength || n > want*largeLength+10_000 {
		ts.Fatalf("the S3 server sent %.0f bytes, %.2f large objects; want %s", n, n/largeLength, args[0])
	}
}

// testRegistry runs a registry with the image team/app:v1, of two layers of 5 MiB,
// and sets the variable to its address: registry REGISTRY
func testRegistry(ts *testscript.TestScript, _ bool, names []string) {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(s.Close)
	at := s.Listener.Addr().String()
	image, err := random.Image(largeLength, 2)
	ts.Check(err)
	ref, err := name.ParseReference(at + "/team/app:v1")
	ts.Check(err)
	ts.Check(remote.Write(ref, image))
	ts.Setenv(names[0], at)
}
