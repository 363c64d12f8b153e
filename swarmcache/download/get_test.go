package download

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a sink that begins anew.
type buffer struct {
	bytes.Buffer
	restarts int
}

func (b *buffer) Restart() error { b.Reset(); b.restarts++; return nil }

// stream is one that cannot.
type stream struct{ bytes.Buffer }

func (*stream) Restart() error { return errors.New("it is written already") }

func data(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// server serves content under an entity tag, and cuts the first answers off
// after so many bytes.
type server struct {
	content atomic.Pointer[[]byte]
	tag     atomic.Pointer[string]
	cuts    chan int
	asked   atomic.Int32
	*httptest.Server
}

func newServer(t *testing.T, content []byte, cuts ...int) *server {
	s := &server{cuts: make(chan int, len(cuts))}
	for _, n := range cuts {
		s.cuts <- n
	}
	s.set(content, `"1"`)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) set(content []byte, tag string) { s.content.Store(&content); s.tag.Store(&tag) }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	if tag := *s.tag.Load(); tag != "" {
		w.Header().Set("Etag", tag)
	} else {
		r.Header.Del("Range")
	}
	select {
	case n := <-s.cuts:
		w = &cutter{w, n}
	default:
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(*s.content.Load()))
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	if c.left -= n; c.left == 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (s *server) get(sink Sink, sum string) *Get {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.DisableKeepAlives, tr.Proxy = true, nil
	return &Get{Transport: tr, URL: s.URL, SHA256: sum, Sink: sink}
}

// What breaks off goes on where it was, and its digest is that of the whole.
func TestGetGoesOn(t *testing.T) {
	want := data(1 << 20)
	s := newServer(t, want, 300_000, 1, 200_000)
	sink := &buffer{}
	g := s.get(sink, sumOf(want))
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sink.Bytes(), want) || sink.restarts != 0 || s.asked.Load() != 4 {
		t.Errorf("%d bytes, %d restarts, %d requests", sink.Len(), sink.restarts, s.asked.Load())
	}
	if p := g.Progress(); p.Bytes != 1<<20 || p.Total != 1<<20 {
		t.Errorf("%+v", p)
	}
}

// Another version begins anew; where that cannot be, it fails, and is never mixed.
func TestGetNeverMixesVersions(t *testing.T) {
	first, second := data(1<<20), bytes.Repeat([]byte("new"), 200_000)
	for _, sink := range []Sink{&buffer{}, &stream{}} {
		s := newServer(t, first, 300_000)
		g := s.get(sink, "")
		g.Head = func(*http.Response, int64) error { s.set(second, `"2"`); return nil }
		err := g.Run(t.Context())
		switch sink := sink.(type) {
		case *buffer:
			if err != nil || !bytes.Equal(sink.Bytes(), second) {
				t.Errorf("%d bytes, %v", sink.Len(), err)
			}
		case *stream:
			if broken := (*SinkError)(nil); !errors.As(err, &broken) || !bytes.Equal(sink.Bytes(), first[:300_000]) {
				t.Errorf("%d bytes, %v", sink.Len(), err)
			}
		}
	}
}

// Without a validator nothing is continued within a run; the next one begins anew.
func TestGetWithoutValidator(t *testing.T) {
	want := data(1 << 20)
	s := newServer(t, want, 300_000)
	s.set(want, "")
	sink := &buffer{}
	g := s.get(sink, "")
	var partial *PartialError
	if err := g.Run(t.Context()); !errors.As(err, &partial) || partial.Bytes != 300_000 || partial.Total != 1<<20 {
		t.Errorf("%v", err)
	}
	if err := g.Run(t.Context()); err != nil || !bytes.Equal(sink.Bytes(), want) || sink.restarts != 1 {
		t.Errorf("%v, %d bytes, %d restarts", err, sink.Len(), sink.restarts)
	}
}

// A part that is here already is continued, of the same version only.
func TestGetResumes(t *testing.T) {
	want := data(1 << 20)
	for name, tt := range map[string]struct {
		n         int64
		validator string
		restarts  int
	}{
		"goes on": {400_000, `"1"`, 0}, "another version": {400_000, `"0"`, 1}, "whole": {1 << 20, `"1"`, 1}, // no origin says that it is
		"longer": {1<<20 + 5, `"1"`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, want)
			sink := &buffer{}
			have := append(bytes.Clone(want), "12345"...)[:tt.n]
			sink.Write(have)
			g := s.get(sink, sumOf(want))
			if err := g.Resume(tt.n, tt.validator, bytes.NewReader(have)); err != nil {
				t.Fatal(err)
			}
			if err := g.Run(t.Context()); err != nil || !bytes.Equal(sink.Bytes(), want) || sink.restarts != tt.restarts {
				t.Errorf("%v, %d bytes, %d restarts", err, sink.Len(), sink.restarts)
			}
		})
	}
}

func TestGetFails(t *testing.T) {
	s := newServer(t, data(1000))
	var digest *DigestError
	if err := s.get(&buffer{}, sumOf(nil)).Run(t.Context()); !errors.As(err, &digest) {
		t.Errorf("a wrong digest: %v", err)
	}
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(502)
		io.WriteString(w, "shatabdi: error: the origin refuses connections\nshatabdi: hint: is it running?\nshatabdi: request id: 1\n")
	}))
	defer refuses.Close()
	g := s.get(&buffer{}, "")
	g.URL = refuses.URL
	if err := g.Run(t.Context()); fmt.Sprint(err) != "the answer is 502 Bad Gateway: the origin refuses connections; is it running?" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.get(&buffer{}, "").Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A limit holds from the first byte on, and when it changes.
func TestGetKeepsToItsLimit(t *testing.T) {
	want := data(300_000)
	s := newServer(t, want)
	sink := &buffer{}
	g := s.get(sink, "")
	g.SetLimit(1_000_000)
	began := time.Now()
	if err := g.Run(t.Context()); err != nil || sink.Len() != len(want) {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 20*time.Millisecond {
		t.Errorf("300 kB at 1 MB/s took %v", took)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	at := time.Unix(1000, 0)
	for range 40 {
		m.add(at, 100)
		at = at.Add(100 * time.Millisecond)
	}
	if r := m.rate(at); r < 800 || r > 1200 {
		t.Errorf("100 bytes each 100 ms are %d a second", r)
	}
	if r := m.rate(at.Add(time.Minute)); r != 0 {
		t.Errorf("a minute later: %d", r)
	}
	p := Progress{Bytes: 100, Total: 1100, Rate: 500}
	if d, ok := p.ETA(); !ok || d != 2*time.Second {
		t.Errorf("%v %v", d, ok)
	}
}
