package swarm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"shatabdi/swarmcache"
)

func TestOneNodeFillsAndHits(t *testing.T) {
	s := newSite(t, 20<<20+12345)
	l := newLab(t, 1)
	l.all(t, s)
	if n := s.sent.Load(); n != int64(len(s.data)) {
		t.Errorf("the origin sent %d bytes of %d", n, len(s.data))
	}
	gets := s.gets.Load()
	l.all(t, s)
	if s.gets.Load() != gets {
		t.Error("the second download asked the origin")
	}
}

func TestEightNodesReadTheOriginOnce(t *testing.T) {
	s := newSite(t, 32<<20)
	s.limit = rate.NewLimiter(16<<20, 64<<10)
	l := newLab(t, 8)
	l.all(t, s)
	if x := float64(s.sent.Load()) / float64(len(s.data)); x > 1.2 {
		t.Errorf("the origin sent %.3f x the object", x)
	}
	t.Logf("%+v, origin %.3f x in %d GETs", l.dir.Counts(), float64(s.sent.Load())/float64(len(s.data)), s.gets.Load())
}

func TestOriginWithoutRanges(t *testing.T) {
	s := newSite(t, 8<<20)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"x"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		w.Write(s.data)
	}
	l := newLab(t, 3)
	l.all(t, s)
	if x := float64(s.sent.Load()) / float64(len(s.data)); x > 1.2 {
		t.Errorf("the origin sent %.3f x the object", x)
	}
}

func TestOriginLiesAboutRanges(t *testing.T) {
	s := newSite(t, 8<<20)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Etag", `"x"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		io.Copy(w, bytes.NewReader(s.data))
	}
	newLab(t, 3).all(t, s)
}

func TestOriginWithoutValidator(t *testing.T) {
	s := newSite(t, 8<<20)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		io.Copy(w, bytes.NewReader(s.data))
	}
	l := newLab(t, 3)
	l.all(t, s)
	if x := float64(s.sent.Load()) / float64(len(s.data)); x > 1.2 {
		t.Errorf("the origin sent %.3f x the object", x)
	}
}

func TestRestartHits(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 1)
	l.all(t, s)
	sent := s.sent.Load()
	l.forgetAll(t) // nothing is remembered but what is on disk
	l.restart(t, 0)
	l.all(t, s)
	if s.sent.Load() != sent {
		t.Error("a complete object was fetched again after a restart")
	}
}

func TestDirectoryAway(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 2)
	l.dir.SetAvailable(false)
	l.all(t, s)
}

// Nodes that began alone, because the directory did not answer, find each other
// when it does, and then share what is left.
func TestAloneUntilTheDirectoryAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t, 32<<20)
	s.limit = rate.NewLimiter(6<<20, 256<<10)
	l := newLab(t, 3)
	l.dir.SetAvailable(false)
	defer time.AfterFunc(500*time.Millisecond, func() { l.dir.SetAvailable(true) }).Stop()
	l.all(t, s)
	if sent := s.sent.Load(); sent > 2*int64(len(s.data)) {
		t.Errorf("the origin sent %d bytes of %d; 3 nodes stayed alone", sent, len(s.data))
	}
}

// Nodes that have no directory at all meet at the tracker, tell each other the hashes,
// and take turns.
func TestAloneTogether(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(4<<20, 256<<10)
	l := newLab(t, 4)
	l.track(t)
	l.dir.SetAvailable(false)
	l.allFor(t, s, 2.7) // each for itself would make it 4
}

// A node that has no directory is told the hashes by those who have one, and leaves the
// origin to them.
func TestAloneAmongOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	s.limit = rate.NewLimiter(4<<20, 256<<10)
	l := newLab(t, 3)
	l.track(t)
	l.nodes[2].wire.cut.Store(true) // for good
	l.allFor(t, s, 1.75)            // for itself it would make it 2
}

// One that began alone with other spans than the others have takes up theirs.
func TestAloneWithOtherSpans(t *testing.T) {
	t.Parallel()
	s := newSite(t, 32<<20)
	s.limit = rate.NewLimiter(6<<20, 256<<10)
	s.latency = 2 * time.Second // as the opener knows; who is alone has the spans that are usual
	l := newLab(t, 2)
	other := l.nodes[1].wire
	other.cut.Store(true)
	met := make(chan swarmcache.FillRecord, 1)
	go func() {
		met <- l.fill(t, s)
		waitFor(t, func() bool { return s.gets.Load() > 1 }) // it has begun
		other.cut.Store(false)
	}()
	l.all(t, s)
	if r := <-met; !r.Flat {
		t.Fatalf("spans of %d pieces, as usual: nothing to take up", r.MaxSpan)
	}
	if x := s.times(); x > 1.7 {
		t.Errorf("the origin sent %.2f x the object: a node stayed alone", x)
	}
}

// A node whose fill began before its record stood, and which could not make it
// stand for a while, finds the others too.
func TestOpenerIsAloneUntilTheDirectoryAnswers(t *testing.T) {
	t.Parallel()
	s := newSite(t, 32<<20)
	s.limit = rate.NewLimiter(3<<20, 256<<10)
	l := newLab(t, 2)
	var once sync.Once
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			l.dir.SetAvailable(false) // behind the claim, and before the record
			time.AfterFunc(4*time.Second, func() { l.dir.SetAvailable(true) })
		})
		w.Header().Set("Etag", *s.etag.Load())
		http.ServeContent(w, r, "obj.bin", time.Time{}, bytes.NewReader(s.data))
	}
	l.all(t, s)
	if sent := s.sent.Load(); sent > int64(len(s.data))*17/10 {
		t.Errorf("the origin sent %d bytes of %d; the opener stayed alone", sent, len(s.data))
	}
}

func TestChangedDuringFill(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 1)
	// The first body breaks half-way; by then there is another version.
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		tag := `"old"`
		if s.gets.Load() > 1 {
			tag = `"new"`
		}
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Etag", tag)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		w.Write(s.data[:len(s.data)/2])
		panic(http.ErrAbortHandler)
	}
	b, err := l.nodes[0].download(t.Context(), s)
	if !errors.Is(err, swarmcache.ErrFillEnded) {
		t.Fatalf("%d bytes, %v; want ErrFillEnded", len(b), err)
	}
	if !bytes.Equal(b, s.data[:len(b)]) {
		t.Error("wrong bytes before the end")
	}
	if !strings.Contains(err.Error(), swarmcache.EndChanged) {
		t.Errorf("error %q does not say why", err)
	}
}

// Servers behind one name whose tags differ: a claimer that meets another one
// does not end the fill. Everybody gets one version whole.
func TestServersWithDifferingTags(t *testing.T) {
	s := newSite(t, 8<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", fmt.Sprintf(`"server-%d"`, s.gets.Load()%2))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
	}
	newLab(t, 3).all(t, s)
}

// Ranges that name other bytes than were asked for are as good as none.
func TestShiftedRanges(t *testing.T) {
	s := newSite(t, 8<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		if r.Header.Get("Range") == "" {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 1-%d/%d", len(s.data)-1, len(s.data)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(s.data[1:])
	}
	newLab(t, 3).all(t, s)
}

func TestBrokenBodyIsResumed(t *testing.T) {
	s := newSite(t, 8<<20)
	l := newLab(t, 1)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v"`)
		if r.Header.Get("Range") == "" {
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
			w.Write(s.data[:3<<20])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.data))
	}
	l.all(t, s)
}

func TestRangeFillsItsOwnSpans(t *testing.T) {
	s := newSite(t, 64<<20)
	l := newLab(t, 1)
	h := http.Header{"Etag": {`"v1"`}}
	obj, err := l.nodes[0].Fill(t.Context(), s.version(h, int64(len(s.data))), true, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	from, to := int64(40<<20+7), int64(41<<20)
	r := obj.NewReader(t.Context(), from, to)
	b, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(b, s.data[from:to]) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	r.Close()
	if n := s.sent.Load(); n > 8<<20 {
		t.Errorf("the origin sent %d bytes for a range of 1 MiB", n)
	}
}
