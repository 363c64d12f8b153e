package swarm_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"shatabdi/swarmcache"
)

func readAll(t *testing.T, obj *swarmcache.Object) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := obj.NewReader(ctx, 0, obj.Version().Length)
	defer r.Close()
	return io.ReadAll(r)
}

// taste reads n bytes through a node and goes away.
func taste(t *testing.T, n *labNode, s *site, bytes int64) {
	t.Helper()
	obj, err := n.get(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	r := obj.NewReader(t.Context(), 0, obj.Version().Length)
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, bytes); err != nil {
		t.Fatal(err)
	}
}

// Nobody wants the rest: the origin is not read any further.
func TestClientLeavesEarly(t *testing.T) {
	t.Parallel()
	s := newSite(t, 24<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 1)
	taste(t, l.nodes[0], s, 1<<20)
	waitFor(t, func() bool { return s.busy.Load() == 0 })
	if s.times() > 0.3 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
	l.all(t, s) // and what was fetched is of use
	if s.times() > 1.15 {
		t.Errorf("the origin sent %.3f x the object in all", s.times())
	}
}

// Most is here: finishing costs less than what was spent.
func TestClientLeavesLate(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 1)
	taste(t, l.nodes[0], s, 6<<20)
	waitFor(t, func() bool {
		obj, err := l.nodes[0].Local(s.key(), s)
		if err != nil {
			return false
		}
		defer obj.Close()
		return obj.Complete()
	})
	if s.times() > 1.01 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// One of two clients of a node goes away: the other does not notice.
func TestOtherClientStays(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	s.limit = rate.NewLimiter(8<<20, 64<<10)
	l := newLab(t, 1)
	var wg sync.WaitGroup
	wg.Go(func() { l.all(t, s) })
	wg.Go(func() { taste(t, l.nodes[0], s, 1<<20) })
	wg.Wait()
	if s.gets.Load() != 1 {
		t.Errorf("%d GETs for two clients of one cold key", s.gets.Load())
	}
}

// The opener of a fill without ranges is the only way to its bytes: it goes on
// for the others when its own client leaves.
func TestOpenerOfSingleFillStaysForOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, 8<<20)
	s.limit = rate.NewLimiter(4<<20, 64<<10)
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		w.Write(s.data)
	}
	l := newLab(t, 2)
	var wg sync.WaitGroup
	other := make(chan struct{})
	wg.Go(func() {
		obj, err := l.nodes[0].get(t.Context(), s)
		if err != nil {
			t.Error(err)
			return
		}
		defer obj.Close()
		r := obj.NewReader(t.Context(), 0, obj.Version().Length)
		defer r.Close()
		io.CopyN(io.Discard, r, 256<<10)
		<-other
	})
	l.fill(t, s)
	b := make(chan []byte)
	go func() {
		obj, err := l.nodes[1].get(t.Context(), s)
		if err != nil {
			t.Error(err)
			b <- nil
			return
		}
		defer obj.Close()
		r := obj.NewReader(t.Context(), 0, obj.Version().Length)
		defer r.Close()
		var first [1]byte
		io.ReadFull(r, first[:])
		close(other)
		rest, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		b <- append(first[:], rest...)
	}()
	if sha256.Sum256(<-b) != sha256.Sum256(s.data) {
		t.Error("wrong bytes")
	}
	wg.Wait()
	if s.times() > 1.01 {
		t.Errorf("the origin sent %.3f x the object", s.times())
	}
}

// Who opens a fill reads it a moment later: the body must still be there.
func TestFillWaitsForItsFirstReader(t *testing.T) {
	t.Parallel()
	s := newSite(t, 4<<20)
	l := newLab(t, 1)
	obj, err := l.nodes[0].get(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	for end := time.Now().Add(400 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if l.dir.Counts().Leaves > 0 {
			t.Fatal("the fill ended before anybody could read it")
		}
	}
	if b, err := readAll(t, obj); err != nil || sha256.Sum256(b) != sha256.Sum256(s.data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if s.gets.Load() != 1 {
		t.Errorf("%d GETs", s.gets.Load())
	}
}

// A Range's transfer ends with its range, and the file comes free.
func TestRangeTransferEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, 16<<20)
	l := newLab(t, 1)
	n := l.nodes[0]
	obj, err := n.Fill(t.Context(), s.version(http.Header{"Etag": {`"v1"`}}, int64(len(s.data))), true, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	r := obj.NewReader(t.Context(), 1<<20, 12<<20) // more than half
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	obj.Close()
	waitFor(t, func() bool { return l.dir.Counts().Leaves > 0 })
}
